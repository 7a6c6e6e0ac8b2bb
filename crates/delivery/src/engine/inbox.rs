//! The inbox of the committer: a bounded queue of publish calls and records.
//!
//! | queue | bound | who waits beyond it |
//! | --- | --- | --- |
//! | publish calls | 64 MiB of payloads and lists of webhooks | publishers |
//! | records | 8 MiB | workers, and others that record |
//! | watermark | one: the newest | no caller |
//!
//! Callers wake the committer only for what it is waiting for. An outcome that can join a later commit does not wake
//! it.
//!
//! | state | what happens |
//! | --- | --- |
//! | open | the committer takes calls and records in order, as much as one commit may contain |
//! | stopping | the committer takes what has arrived so far, and ends |
//! | closed: the committer has ended | waiting and later callers get an error |

mod bounds;
mod call;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, oneshot};

use self::bounds::Size;
pub(super) use self::{bounds::Bounds, call::PublishCall};
use super::{
    command::{Draft, PublishResults},
    invariant::{Broken, Invariant},
    record::Record,
    watermark::NewWatermark,
};

/// The limit on queued records, in units of [`UNIT`]. Beyond it, workers wait.
const RECORD_UNITS_MAX: usize = 8 << 10;
/// The limit on queued publish calls, in units of [`UNIT`]. Beyond it, publishers wait.
const UNITS_MAX: usize = 64 << 10;
const UNIT: usize = 1 << 10;

/// The inbox of the committer.
pub(super) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    units: Semaphore,
    record_units: Semaphore,
}

#[derive(Default)]
struct State {
    calls: VecDeque<PublishCall>,
    size: Size,
    records: VecDeque<Record>,
    record_bytes: usize,
    /// A record must be committed at once.
    urgent: bool,
    watermark: Option<NewWatermark>,
    stop: bool,
    /// The lease was lost.
    rejoin: bool,
    /// The committer has ended: nothing is accepted any more.
    closed: bool,
    /// How many events or records the committer is waiting for.
    wake_at: Option<(usize, usize)>,
}

/// The content of one commit.
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

    /// Waits for free capacity, then queues a publish call.
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

    /// Waits for free capacity, then queues a record.
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

    /// Queues a watermark, which is stored with or after everything recorded so far.
    pub(super) fn watermark(&self, watermark: NewWatermark) -> Result<(), Closed> {
        let mut state = self.state.lock();
        state.watermark = Some(watermark);
        self.wake_if_wanted(&mut state);
        if state.closed { Err(Closed) } else { Ok(()) }
    }

    /// Notifies the committer that the lease was lost.
    pub(super) fn rejoin(&self) {
        self.state.lock().rejoin = true;
        self.wake.notify_one();
    }

    /// Makes the committer end after what has arrived so far.
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

    /// Blocks until there is anything that the committer takes, or until `patience` is over. With `takes_records`
    /// false, the committer has unsaved records and takes no others.
    pub(super) fn wait(&self, patience: Option<Duration>, takes_records: bool) {
        let records = if takes_records { 1 } else { usize::MAX };
        self.wait_for(1, records, patience.map(|patience| Instant::now() + patience));
    }

    /// Blocks until `deadline` for more to commit. If there are only records, any event ends the wait, otherwise
    /// `events` events.
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

    /// How many events are queued.
    pub(super) fn events(&self) -> usize {
        self.state.lock().size.events
    }

    /// Takes as much as one commit may contain, in order of arrival. If a call is larger, it takes a part. The rest is
    /// queued behind the calls that arrived meanwhile, so that it delays each of them by at most one commit.
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
            // Everything that the watermark depends on is in this commit or an earlier one.
            gathered.watermark = state.watermark.take();
        }
        gathered.stop = state.stop && state.calls.is_empty();
        drop(state);
        self.units.add_permits(units);
        self.record_units.add_permits(record_units);
        gathered
    }

    /// Whether no record is queued.
    pub(super) fn has_no_records(&self) -> bool {
        self.state.lock().records.is_empty()
    }

    /// Checks the invariants of the inbox.
    pub(super) fn check(&self) -> Result<(), Broken> {
        let state = self.state.lock();
        if state.closed {
            return Ok(());
        }
        let size = state.calls.iter().fold(Size::default(), |size, call| size + call.size);
        let record_bytes = state.records.iter().map(Record::bytes).sum::<usize>();
        // A permit is taken before its call or record is queued, and released after it was taken out.
        let units = self.units.available_permits() + state.calls.iter().map(|call| call.units).sum::<usize>();
        let queued_units = state.records.iter().map(record_units).sum::<usize>();
        let record_units = self.record_units.available_permits() + queued_units;
        let adds_up = (size, record_bytes) == (state.size, state.record_bytes)
            && units <= UNITS_MAX
            && record_units <= RECORD_UNITS_MAX;
        Invariant::InboxAddsUp.check(adds_up, || {
            let counted = (state.size, state.record_bytes);
            format!(
                "{size:?} and {record_bytes} bytes are queued, {counted:?} are counted; {units} and {record_units} \
                 permits"
            )
        })
    }

    /// Closes the inbox when the committer ends: waiting and later callers get an error.
    pub(super) fn close(&self) {
        self.units.close();
        self.record_units.close();
        let mut state = self.state.lock();
        state.closed = true;
        // Dropping the calls sends their publishers an error.
        state.calls.clear();
    }
}

impl State {
    /// Whether the queue reaches a commit's limit on bytes or rows, for a committer that is waiting for `records`
    /// records.
    fn is_full(&self, records: usize) -> bool {
        let Size { bytes, rows, .. } = self.size;
        bytes >= Bounds::MAX.event_bytes
            || rows >= Bounds::MAX.event_rows
            || (records < usize::MAX && self.record_bytes >= Bounds::MAX.record_bytes)
    }

    /// Takes records within the limits. Returns their units and bytes.
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

/// The units that a record occupies in the queue.
fn record_units(record: &Record) -> usize {
    record.bytes().div_ceil(UNIT).min(RECORD_UNITS_MAX)
}

#[cfg(test)]
mod tests;
