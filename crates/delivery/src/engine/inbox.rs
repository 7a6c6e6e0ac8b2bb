//! What waits for the committer: bounded, and quiet. Whoever adds something wakes the committer only for what it is
//! waiting for; an outcome that can ride on a later commit wakes nobody.

use std::{
    collections::VecDeque,
    ops::{Add, Sub},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, oneshot};

use super::{
    command::{Draft, PublishResults},
    record::Record,
    reply::Reply,
    watermark::NewWatermark,
};

/// How much may wait as outcomes, in units of [`UNIT`], and so how many outcomes. Workers wait beyond that.
const RECORD_UNITS_MAX: usize = 8 << 10;
/// How much may wait to be published, in units of [`UNIT`]. Publishers wait beyond that.
const UNITS_MAX: usize = 64 << 10;
const UNIT: usize = 1 << 10;

/// The bounds of one commit. A single event may exceed the rows, and a single event or record the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) events: usize,
    pub(super) event_bytes: usize,
    /// Rows of events and of their deliveries that may have to wait. 20,000 of them took 0.5 s on SQLite and 0.3 s on PostgreSQL in an
    /// unoptimised build on two busy cores: a twentieth of the time limit of a commit, which leaves room for a slow disk.
    pub(super) event_rows: usize,
    pub(super) records: usize,
    pub(super) record_bytes: usize,
}

impl Bounds {
    pub(super) const MAX: Self = Self {
        events: 2_000,
        event_bytes: 16 << 20,
        event_rows: 20_000,
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

/// A publish call that waits, or what is left of one, or a part that goes into a commit.
pub(super) struct PublishCall {
    pub(super) drafts: Vec<Draft>,
    pub(super) reply: Reply,
    /// How often the lease had been lost when the call came.
    pub(super) losses: u64,
    size: Size,
    units: usize,
}

/// How much events are for a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    events: usize,
    bytes: usize,
    rows: usize,
}

impl Size {
    fn of(draft: &Draft) -> Self {
        Self {
            events: 1,
            bytes: draft.payload.len(),
            rows: draft.rows(),
        }
    }

    fn fits(self, bounds: Bounds) -> bool {
        self.events <= bounds.events && self.bytes <= bounds.event_bytes && self.rows <= bounds.event_rows
    }

    /// What this takes of the room for calls that wait; each has a list of webhooks beside its payload.
    fn units(self) -> usize {
        (self.events + (self.bytes + self.rows * size_of::<i64>()) / UNIT).min(UNITS_MAX)
    }
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            bytes: self.bytes + other.bytes,
            rows: self.rows + other.rows,
        }
    }
}

impl Sub for Size {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            events: self.events - other.events,
            bytes: self.bytes - other.bytes,
            rows: self.rows - other.rows,
        }
    }
}

impl PublishCall {
    fn new(drafts: Vec<Draft>, losses: u64, reply: oneshot::Sender<PublishResults>) -> Self {
        let size = drafts.iter().map(Size::of).fold(Size::default(), Size::add);
        Self {
            drafts,
            reply: Reply::Whole(reply),
            losses,
            size,
            units: size.units(),
        }
    }

    /// Divides a call that is too large for a commit: as much as one may hold, at least one event, and the rest. Each event stays
    /// whole.
    fn divide(mut self, bounds: Bounds) -> (Self, Option<Self>) {
        let mut size = Size::default();
        let mut count = 0;
        for draft in &self.drafts {
            let with = size + Size::of(draft);
            if count > 0 && !with.fits(bounds) {
                break;
            }
            size = with;
            count += 1;
        }
        if count == self.drafts.len() {
            return (self, None);
        }
        let rest = self.drafts.split_off(count);
        let units = size.units().min(self.units);
        let (reply, rest_reply) = self.reply.divide(count + rest.len());
        let rest = Self {
            drafts: rest,
            reply: rest_reply,
            losses: self.losses,
            size: self.size - size,
            units: self.units - units,
        };
        let part = Self {
            drafts: self.drafts,
            reply,
            losses: self.losses,
            size,
            units,
        };
        (part, Some(rest))
    }
}

#[derive(Default)]
struct State {
    calls: VecDeque<PublishCall>,
    size: Size,
    records: VecDeque<Record>,
    record_bytes: usize,
    /// Some record waits for no company.
    urgent: bool,
    watermark: Option<NewWatermark>,
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
    pub(super) watermark: Option<NewWatermark>,
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
        losses: u64,
        reply: oneshot::Sender<PublishResults>,
    ) -> Result<(), Closed> {
        let call = PublishCall::new(drafts, losses, reply);
        let permits = u32::try_from(call.units).unwrap_or(u32::MAX);
        self.units.acquire_many(permits).await.map_err(|_| Closed)?.forget();
        let mut state = self.state.lock();
        if state.closed {
            return Err(Closed);
        }
        state.size = state.size + call.size;
        state.calls.push_back(call);
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

    /// Has the watermark stored with, or after, everything recorded so far.
    pub(super) fn watermark(&self, watermark: NewWatermark) -> Result<(), Closed> {
        let mut state = self.state.lock();
        state.watermark = Some(watermark);
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
                || state.size.events >= events
                || state.is_full(records)
                || state.records.len() + usize::from(state.watermark.is_some()) >= records)
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
            let waiting = state.records.len() + usize::from(state.watermark.is_some());
            if state.size.events >= events
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
        self.state.lock().size.events
    }

    /// Takes as much as one commit may hold, in the order in which it came. Of a call that is larger than that it takes a part;
    /// the rest goes behind the calls that came meanwhile, so that it holds up none of them for more than one commit.
    pub(super) fn take(&self, bounds: Bounds) -> Gathered {
        let mut state = self.state.lock();
        let mut gathered = Gathered {
            rejoin: std::mem::take(&mut state.rejoin),
            ..Gathered::default()
        };
        state.urgent = false;
        let (mut size, mut units) = (Size::default(), 0);
        while let Some(call) = state.calls.front() {
            let fits = (size + call.size).fits(bounds);
            if !fits && size.events > 0 {
                break;
            }
            let Some(call) = state.calls.pop_front() else { break };
            let (part, rest) = if fits { (call, None) } else { call.divide(bounds) };
            size = size + part.size;
            units += part.units;
            gathered.calls.push(part);
            state.calls.extend(rest);
        }
        state.size = state.size - size;
        let (record_units, record_bytes) = state.take_records(bounds, &mut gathered.records);
        state.record_bytes -= record_bytes;
        if state.records.is_empty() {
            // What the watermark relies on is in this commit or an earlier one.
            gathered.watermark = state.watermark.take();
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
    /// Whether there is as much as one commit may hold in bytes or rows, for a committer that waits for so many records.
    fn is_full(&self, records: usize) -> bool {
        let Size { bytes, rows, .. } = self.size;
        bytes >= Bounds::MAX.event_bytes
            || rows >= Bounds::MAX.event_rows
            || (records < usize::MAX && self.record_bytes >= Bounds::MAX.record_bytes)
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
    use hookwright_domain::id::{DeliveryId, EventId, WebhookId};
    use hookwright_storage::AttemptRow;
    use proptest::prelude::*;

    use super::{
        super::{
            command::{PublishError, Published},
            health::Health,
            lane::{Lane, LaneLimits, Shared, tests::catalogue},
            lease::Lease,
            memory::Memory,
            record::Change,
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
        let shared = Shared::new(
            catalogue(),
            Arc::clone(memory),
            Arc::new(Turns::new(3, Arc::new(Lease::new(false)))),
        );
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

    /// An event that is known by its time.
    fn draft(number: i64, webhooks: usize, payload_bytes: usize) -> Draft {
        Draft {
            occurred_at: Some(number),
            ..Draft::sample(&vec![7; webhooks], vec![b' '; payload_bytes])
        }
    }

    fn number(draft: &Draft) -> i64 {
        draft.occurred_at.unwrap()
    }

    /// What the committer answers to an event.
    fn stored(draft: &Draft) -> Result<Published, PublishError> {
        Ok(Published {
            event: EventId::from_raw(number(draft)),
            delivery_count: draft.webhooks.len(),
            repeated: false,
        })
    }

    fn rows(gathered: &Gathered) -> usize {
        let drafts = gathered.calls.iter().flat_map(|call| &call.drafts);
        drafts.map(Draft::rows).sum()
    }

    fn answer(gathered: Gathered) {
        for call in gathered.calls {
            let results = call.drafts.iter().map(stored).collect();
            call.reply.send(results);
        }
    }

    #[tokio::test]
    async fn a_call_of_more_rows_than_a_commit_may_write_is_taken_in_parts() {
        let inbox = Inbox::new();
        let (reply, mut large) = oneshot::channel();
        inbox
            .publish((0..1_000).map(|n| draft(n, 100, 2)).collect(), 0, reply)
            .await
            .unwrap();
        let first = inbox.take(Bounds::MAX);
        assert!(rows(&first) <= Bounds::MAX.event_rows, "{} rows", rows(&first));
        answer(first);
        // A small call that comes now waits for one commit at most.
        let (reply, mut small) = oneshot::channel();
        inbox.publish(vec![draft(5_000, 1, 2)], 0, reply).await.unwrap();
        let mut commits = 1;
        while inbox.events() > 0 {
            assert!(large.try_recv().is_err(), "it is answered when all of it is durable");
            answer(inbox.take(Bounds::MAX));
            commits += 1;
            if commits == 2 {
                assert!(small.try_recv().is_ok(), "the small call waits behind the large one");
            }
        }
        assert!(commits >= 101_000 / Bounds::MAX.event_rows, "{commits} commits");
        let results = large.try_recv().unwrap();
        let events: Vec<i64> = results.into_iter().map(|result| result.unwrap().event.raw()).collect();
        assert_eq!(events, (0..1_000).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_taken_whole_in_order_and_within_the_bounds(
            calls in proptest::collection::vec(proptest::collection::vec((0usize..60, 0usize..3_000), 1..40), 1..12),
            events in 1usize..30,
            event_bytes in 1usize..10_000,
            event_rows in 1usize..200,
        ) {
            let inbox = Inbox::new();
            let bounds = Bounds { events, event_bytes, event_rows, ..Bounds::MAX };
            let mut answers = Vec::new();
            let mut expected = Vec::new();
            for (call, drafts) in calls.iter().enumerate() {
                let (reply, answer) = oneshot::channel();
                let id = |at: usize| i64::try_from(call * 1_000 + at).unwrap();
                let drafts: Vec<Draft> =
                    drafts.iter().enumerate().map(|(at, (webhooks, bytes))| draft(id(at), *webhooks, *bytes)).collect();
                expected.push(drafts.iter().map(number).collect::<Vec<_>>());
                inbox.publish(drafts, 0, reply).now_or_never().unwrap().unwrap();
                answers.push(answer);
            }
            while inbox.events() > 0 {
                let gathered = inbox.take(bounds);
                let drafts: Vec<&Draft> = gathered.calls.iter().flat_map(|call| &call.drafts).collect();
                prop_assert!(!drafts.is_empty());
                let bytes: usize = drafts.iter().map(|draft| draft.payload.len()).sum();
                let within = drafts.len() <= events && bytes <= event_bytes && rows(&gathered) <= event_rows;
                prop_assert!(within || drafts.len() == 1, "{} events", drafts.len());
                answer(gathered);
            }
            for (mut answer, expected) in answers.into_iter().zip(expected) {
                let results = answer.try_recv().unwrap();
                let events: Vec<i64> = results.into_iter().map(|result| result.unwrap().event.raw()).collect();
                prop_assert_eq!(events, expected);
            }
            prop_assert_eq!(inbox.units.available_permits(), UNITS_MAX, "all room is given back");
            prop_assert_eq!(inbox.state.lock().size, Size::default());
        }
    }

    #[tokio::test]
    async fn a_commit_takes_outcomes_within_its_bytes_and_in_order() {
        let (inbox, lane) = (Inbox::new(), lane(&Arc::new(Memory::new(1 << 20))));
        for delivery in 1..=5 {
            inbox.record(record(&lane, delivery, 1_000)).await.unwrap();
        }
        let watermark = NewWatermark { losses: 0, id: 9 };
        inbox.watermark(watermark).unwrap();
        let bounds = Bounds {
            record_bytes: 3_000,
            ..Bounds::MAX
        };
        let mut taken = Vec::new();
        loop {
            let gathered = inbox.take(bounds);
            assert!(gathered.records.len() <= 2, "{} of 1,400 bytes", gathered.records.len());
            taken.extend(gathered.records.iter().map(|record| record.delivery.raw()));
            match gathered.watermark {
                Some(found) => break assert_eq!(found, watermark),
                None => assert!(
                    taken.len() < 5,
                    "the watermark comes with the last of what was recorded before it"
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
