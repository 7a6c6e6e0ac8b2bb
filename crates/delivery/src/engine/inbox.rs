//! What waits for the committer: bounded, and quiet. Whoever adds something wakes the committer only for what it is
//! waiting for; an outcome that can ride on a later commit wakes nobody.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, oneshot};

use super::command::{Draft, PublishResults, Record};

/// How many outcomes may wait. Workers wait beyond that.
const RECORDS_MAX: usize = 8_192;
/// How much may wait to be published, in units of [`UNIT`]. Publishers wait beyond that.
const UNITS_MAX: usize = 64 << 10;
const UNIT: usize = 1 << 10;
/// The bounds of one commit.
const COMMIT_EVENTS_MAX: usize = 2_000;
const COMMIT_BYTES_MAX: usize = 16 << 20;
const COMMIT_RECORDS_MAX: usize = 4_000;

/// See the module.
pub(super) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    units: Semaphore,
    records: Semaphore,
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
    calls: std::collections::VecDeque<PublishCall>,
    events: usize,
    bytes: usize,
    records: Vec<Record>,
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
            records: Semaphore::new(RECORDS_MAX),
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
        self.records.acquire().await.map_err(|_| Closed)?.forget();
        let mut state = self.state.lock();
        if state.closed {
            return Err(Closed);
        }
        state.urgent |= record.ordering_key.is_some();
        state.records.push(record);
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
                || state.bytes >= COMMIT_BYTES_MAX
                || state.records.len() + usize::from(state.checkpoint.is_some()) >= records)
        {
            state.wake_at = None;
            self.wake.notify_one();
        }
    }

    /// Blocks until there is anything, or until `patience` is over.
    pub(super) fn wait(&self, patience: Option<Duration>) {
        self.wait_for(1, 1, patience.map(|patience| Instant::now() + patience));
    }

    /// Blocks until `deadline` for company: with nothing but records at hand, for any event; else for `events`.
    pub(super) fn linger(&self, deadline: Instant, events: usize) {
        self.wait_for(events.clamp(1, COMMIT_EVENTS_MAX), COMMIT_RECORDS_MAX, Some(deadline));
    }

    fn wait_for(&self, events: usize, records: usize, deadline: Option<Instant>) {
        let mut state = self.state.lock();
        loop {
            let waiting = state.records.len() + usize::from(state.checkpoint.is_some());
            if state.events >= events
                || waiting >= records
                || state.bytes >= COMMIT_BYTES_MAX
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
    pub(super) fn take(&self) -> Gathered {
        let mut state = self.state.lock();
        let mut gathered = Gathered {
            rejoin: std::mem::take(&mut state.rejoin),
            ..Gathered::default()
        };
        state.urgent = false;
        let (mut events, mut bytes, mut units) = (0, 0, 0);
        while let Some(call) = state.calls.front() {
            let full = events + call.drafts.len() > COMMIT_EVENTS_MAX || bytes + call.bytes > COMMIT_BYTES_MAX;
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
        let taken = state.records.len().min(COMMIT_RECORDS_MAX);
        if taken == state.records.len() {
            gathered.records = std::mem::take(&mut state.records);
            // What the checkpoint relies on is in this commit or an earlier one.
            gathered.checkpoint = state.checkpoint.take();
            gathered.stop = state.stop && state.calls.is_empty();
        } else {
            gathered.records = state.records.drain(..taken).collect();
        }
        drop(state);
        self.units.add_permits(units);
        self.records.add_permits(taken);
        gathered
    }

    /// The committer ends: whoever waits for room, or comes later, is told.
    pub(super) fn close(&self) {
        self.units.close();
        self.records.close();
        let mut state = self.state.lock();
        state.closed = true;
        // Dropping the calls tells their publishers.
        state.calls.clear();
    }
}
