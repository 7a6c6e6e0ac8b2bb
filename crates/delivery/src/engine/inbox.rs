//! What waits for the committer: bounded, and quiet. Whoever adds something wakes the committer only for what it is
//! waiting for; an outcome that can ride on a later commit wakes nobody.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, oneshot};

use super::command::{Draft, PublishResults, Record};

/// How much may wait as outcomes, in units of [`UNIT`], and so how many outcomes. Workers wait beyond that.
const RECORD_UNITS_MAX: usize = 8 << 10;
/// How much may wait to be published, in units of [`UNIT`]. Publishers wait beyond that.
const UNITS_MAX: usize = 64 << 10;
const UNIT: usize = 1 << 10;

/// The bounds of one commit. A single event or record may exceed the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) events: usize,
    pub(super) event_bytes: usize,
    pub(super) records: usize,
    pub(super) record_bytes: usize,
}

impl Bounds {
    pub(super) const MAX: Self = Self {
        events: 2_000,
        event_bytes: 16 << 20,
        records: 4_000,
        record_bytes: 8 << 20,
    };
}

/// See the module.
pub(super) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    units: Semaphore,
    record_units: Semaphore,
}

/// A publish call that waits.
pub(super) struct PublishCall {
    pub(super) drafts: Vec<Draft>,
    pub(super) reply: oneshot::Sender<PublishResults>,
    bytes: usize,
    units: usize,
}

#[derive(Default)]
struct State {
    calls: VecDeque<PublishCall>,
    events: usize,
    bytes: usize,
    records: VecDeque<Record>,
    record_bytes: usize,
    /// Some record waits for no company.
    urgent: bool,
    checkpoint: Option<i64>,
    stop: bool,
    /// The lease was lost.
    rejoin: bool,
    /// The committer has ended: nothing is taken any more.
    closed: bool,
    /// The committer waits for so many events or records.
    wake_at: Option<(usize, usize)>,
}

/// What goes into one commit.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) calls: Vec<PublishCall>,
    pub(super) records: Vec<Record>,
    pub(super) checkpoint: Option<i64>,
    pub(super) stop: bool,
    pub(super) rejoin: bool,
}

/// The committer has ended.
#[derive(Debug)]
pub(super) struct Closed;

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            units: Semaphore::new(UNITS_MAX),
            record_units: Semaphore::new(RECORD_UNITS_MAX),
        }
    }

    /// Waits for room, then queues a publish call.
    pub(super) async fn publish(
        &self,
        drafts: Vec<Draft>,
        reply: oneshot::Sender<PublishResults>,
    ) -> Result<(), Closed> {
        let bytes = drafts.iter().map(|draft| draft.payload.len()).sum::<usize>();
        let units = (drafts.len() + bytes / UNIT).min(UNITS_MAX);
        let permits = u32::try_from(units).unwrap_or(u32::MAX);
        self.units.acquire_many(permits).await.map_err(|_| Closed)?.forget();
        let mut state = self.state.lock();
        if state.closed {
            return Err(Closed);
        }
        state.events += drafts.len();
        state.bytes += bytes;
        state.calls.push_back(PublishCall {
            drafts,
            reply,
            bytes,
            units,
        });
        self.wake_if_wanted(&mut state);
        Ok(())
    }

    /// Waits for room, then queues a record.
    pub(super) async fn record(&self, record: Record) -> Result<(), Closed> {
        let permits = u32::try_from(record_units(&record)).unwrap_or(u32::MAX);
        let room = self.record_units.acquire_many(permits).await;
        room.map_err(|_| Closed)?.forget();
        let mut state = self.state.lock();
        if state.closed {
            return Err(Closed);
        }
        state.urgent |= record.ordering_key.is_some();
        state.record_bytes += record.bytes();
        state.records.push_back(record);
        self.wake_if_wanted(&mut state);
        Ok(())
    }

    /// Has the checkpoint stored with, or after, everything recorded so far.
    pub(super) fn checkpoint(&self, id: i64) -> Result<(), Closed> {
        let mut state = self.state.lock();
        state.checkpoint = Some(id);
        self.wake_if_wanted(&mut state);
        if state.closed { Err(Closed) } else { Ok(()) }
    }

    /// Tells the committer that the lease was lost.
    pub(super) fn rejoin(&self) {
        self.state.lock().rejoin = true;
        self.wake.notify_one();
    }

    /// Has the committer end after what has come in so far.
    pub(super) fn stop(&self) {
        self.state.lock().stop = true;
        self.wake.notify_one();
    }

    fn wake_if_wanted(&self, state: &mut State) {
        if let Some((events, records)) = state.wake_at
            && (state.urgent
                || state.events >= events
                || state.is_full(records)
                || state.records.len() + usize::from(state.checkpoint.is_some()) >= records)
        {
            state.wake_at = None;
            self.wake.notify_one();
        }
    }

    /// Blocks until there is anything that the committer takes, or until `patience` is over. It takes no records while those that
    /// it has are not stored.
    pub(super) fn wait(&self, patience: Option<Duration>, takes_records: bool) {
        let records = if takes_records { 1 } else { usize::MAX };
        self.wait_for(1, records, patience.map(|patience| Instant::now() + patience));
    }

    /// Blocks until `deadline` for company: with nothing but records at hand, for any event; else for `events`.
    pub(super) fn linger(&self, deadline: Instant, events: usize) {
        self.wait_for(events.clamp(1, Bounds::MAX.events), Bounds::MAX.records, Some(deadline));
    }

    fn wait_for(&self, events: usize, records: usize, deadline: Option<Instant>) {
        let mut state = self.state.lock();
        loop {
            let waiting = state.records.len() + usize::from(state.checkpoint.is_some());
            if state.events >= events
                || waiting >= records
                || state.is_full(records)
                || state.stop
                || state.rejoin
                || state.urgent
            {
                break;
            }
            state.wake_at = Some((events, records));
            match deadline {
                None => self.wake.wait(&mut state),
                Some(deadline) => {
                    if self.wake.wait_until(&mut state, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        state.wake_at = None;
    }

    /// How many events wait.
    pub(super) fn events(&self) -> usize {
        self.state.lock().events
    }

    /// Takes as much as one commit may hold, in the order in which it came.
    pub(super) fn take(&self, bounds: Bounds) -> Gathered {
        let mut state = self.state.lock();
        let mut gathered = Gathered {
            rejoin: std::mem::take(&mut state.rejoin),
            ..Gathered::default()
        };
        state.urgent = false;
        let (mut events, mut bytes, mut units) = (0, 0, 0);
        while let Some(call) = state.calls.front() {
            let full = events + call.drafts.len() > bounds.events || bytes + call.bytes > bounds.event_bytes;
            if full && events > 0 {
                break;
            }
            events += call.drafts.len();
            bytes += call.bytes;
            units += call.units;
            gathered.calls.extend(state.calls.pop_front());
        }
        state.events -= events;
        state.bytes -= bytes;
        let (record_units, record_bytes) = state.take_records(bounds, &mut gathered.records);
        state.record_bytes -= record_bytes;
        if state.records.is_empty() {
            // What the checkpoint relies on is in this commit or an earlier one.
            gathered.checkpoint = state.checkpoint.take();
        }
        gathered.stop = state.stop && state.calls.is_empty();
        drop(state);
        self.units.add_permits(units);
        self.record_units.add_permits(record_units);
        gathered
    }

    /// Whether no record waits.
    pub(super) fn has_no_records(&self) -> bool {
        self.state.lock().records.is_empty()
    }

    /// The committer ends: whoever waits for room, or comes later, is told.
    pub(super) fn close(&self) {
        self.units.close();
        self.record_units.close();
        let mut state = self.state.lock();
        state.closed = true;
        // Dropping the calls tells their publishers.
        state.calls.clear();
    }
}

impl State {
    /// Whether there is as much as one commit may hold in bytes, for a committer that waits for so many records.
    fn is_full(&self, records: usize) -> bool {
        self.bytes >= Bounds::MAX.event_bytes || (records < usize::MAX && self.record_bytes >= Bounds::MAX.record_bytes)
    }

    /// Takes records within the bounds. Returns their units and bytes.
    fn take_records(&mut self, bounds: Bounds, into: &mut Vec<Record>) -> (usize, usize) {
        let (mut units, mut bytes) = (0, 0);
        while into.len() < bounds.records
            && let Some(record) = self.records.front()
        {
            let more = record.bytes();
            if bytes + more > bounds.record_bytes && !into.is_empty() {
                break;
            }
            bytes += more;
            units += record_units(record);
            into.extend(self.records.pop_front());
        }
        (units, bytes)
    }
}

/// How much room a record takes among those that wait.
fn record_units(record: &Record) -> usize {
    record.bytes().div_ceil(UNIT).min(RECORD_UNITS_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt as _;
    use hookwright_domain::id::{DeliveryId, WebhookId};
    use hookwright_storage::AttemptRow;

    use super::{
        super::{
            command::Change,
            health::Health,
            lane::{Lane, LaneLimits, Shared, tests::catalogue},
            lease::Lease,
            memory::Memory,
            turns::Turns,
        },
        *,
    };

    fn lane(memory: &Arc<Memory>) -> Arc<Lane> {
        let limits = LaneLimits {
            jobs: 10,
            bytes: 1 << 20,
            attempts: 2,
        };
        let shared = Shared {
            catalogue: catalogue(),
            memory: Arc::clone(memory),
            turns: Arc::new(Turns::new(3, Arc::new(Lease::new(false)))),
            several_nodes: false,
            hold: false,
        };
        let lane = Lane::new(WebhookId::from_raw(7), limits, shared, Health::default());
        Arc::new(lane)
    }

    fn record(lane: &Arc<Lane>, delivery: i64, body_bytes: usize) -> Record {
        let attempt = AttemptRow {
            delivery_id: delivery,
            number: 1,
            event_id: delivery - 1,
            organization_id: 1,
            webhook_id: 7,
            started_at: 0,
            duration_us: 0,
            status: Some(200),
            error_class: None,
            error_message: None,
            delivery_state: 1,
            details: String::new(),
            response_body: Some(vec![0; body_bytes]),
        };
        Record {
            lane: Arc::clone(lane),
            delivery: DeliveryId::from_raw(delivery),
            change: Change::Attempted {
                attempt: Arc::new(attempt),
                retry: None,
            },
            health: None,
            load: None,
            ordering_key: None,
        }
    }

    #[tokio::test]
    async fn a_commit_takes_outcomes_within_its_bytes_and_in_order() {
        let (inbox, lane) = (Inbox::new(), lane(&Arc::new(Memory::new(1 << 20))));
        for delivery in 1..=5 {
            inbox.record(record(&lane, delivery, 1_000)).await.unwrap();
        }
        inbox.checkpoint(9).unwrap();
        let bounds = Bounds {
            record_bytes: 3_000,
            ..Bounds::MAX
        };
        let mut taken = Vec::new();
        loop {
            let gathered = inbox.take(bounds);
            assert!(gathered.records.len() <= 2, "{} of 1,400 bytes", gathered.records.len());
            taken.extend(gathered.records.iter().map(|record| record.delivery.raw()));
            match gathered.checkpoint {
                Some(checkpoint) => break assert_eq!(checkpoint, 9),
                None => assert!(
                    taken.len() < 5,
                    "the checkpoint comes with the last of what was recorded before it"
                ),
            }
        }
        assert_eq!(taken, [1, 2, 3, 4, 5]);
        inbox.record(record(&lane, 6, 1 << 20)).await.unwrap();
        assert_eq!(inbox.take(bounds).records.len(), 1, "a large one goes alone");
    }

    #[tokio::test]
    async fn outcomes_that_wait_are_bounded_in_bytes_and_count_as_memory() {
        let memory = Arc::new(Memory::new(1 << 20));
        let (inbox, lane) = (Inbox::new(), lane(&memory));
        let mut waiting = 0;
        loop {
            let mut record = record(&lane, waiting + 1, 16 << 10);
            record.load = Some(memory.load(record.bytes()));
            // Else tokio would have so many in a row wait all the same.
            match tokio::task::unconstrained(inbox.record(record)).now_or_never() {
                Some(added) => added.unwrap(),
                None => break,
            }
            waiting += 1;
        }
        assert!((400..600).contains(&waiting), "8 MiB in pieces of 16 KiB: {waiting}");
        assert!(memory.used() > 6 << 20);
        let mut taken = 0;
        while let gathered = inbox.take(Bounds::MAX)
            && !gathered.records.is_empty()
        {
            taken += gathered.records.len();
        }
        assert_eq!(taken, usize::try_from(waiting).unwrap());
        assert_eq!(
            memory.used(),
            0,
            "they are gone, and so is the one that waited for room"
        );
        assert!(
            inbox.record(record(&lane, 1, 0)).now_or_never().is_some(),
            "there is room again"
        );
    }
}
