//! The committer: the only task that makes events and outcomes durable, on its own thread.
//!
//! ```text
//!   gather --> admit (ids, places) --> commit --+--> answer publishers, hand deliveries to lanes, settle outcomes
//!     ^                                         |
//!     +--- unsaved records, unclear events <----+--> failed
//! ```
//!
//! It takes everything from the inbox as soon as the last commit is done, so that batches form by themselves under load
//! and a single event waits for no other. Outcomes join the next commit of events, or are committed alone after
//! [`OUTCOME_LINGER`]. The committer assigns ids in the order of commits, so an event with a higher id was committed
//! later.
//!
//! Every commit is bounded in events, rows, records and bytes, including commits that repeat a failed one. A larger
//! publish call is divided into several commits, and is answered after the last of them. An event is never divided.
//!
//! | failure | what follows |
//! | --- | --- |
//! | the store does not answer | publishers get an error; records wait, and the next commit retries after a pause |
//! | a commit took too long | it is repeated in smaller parts |
//! | the store refuses a commit | it is divided until the faulty row is alone ([`isolate`]) |
//! | the lease was lost | memory is cleared, and this node joins the others again ([`super::rejoin`]) |
//! | a panic | the engine fails; waiting callers get an error |
//!
//! Only after the commit, publishers get their answers, deliveries are handed to their lanes, and deliveries with a
//! durable outcome leave memory.

mod admission;
mod answers;
mod intake;
mod isolate;
#[cfg(test)]
mod loss;
mod settling;

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use hookwright_domain::id::IdGenerator;
use hookwright_storage::{Batch, CommitError, Committed, Store, StoreError, fault};

use self::{
    answers::{answer, promised, publish_error, refuse, refuse_replies, results},
    intake::{Intake, exclusive},
};
use super::{
    batch,
    changes::Changes,
    command::PublishError,
    disabling::Disabling,
    inbox::{Bounds, Gathered, Inbox},
    invariant::{Broken, Invariant},
    lanes::Lanes,
    membership::{LEASE_LOST, Membership},
    memory::Memory,
    record::Record,
    rejoin::Rejoin,
    scheduler::Scheduler,
    stall::Commits,
    watchdog::Watchdog,
    watermark::{NewWatermark, Watermark},
};
use crate::{clock, metrics::Metrics};

/// The part of the engine that records attempts.
pub(super) const NAME: &str = "committer";
/// How long outcomes wait for a commit of events.
const OUTCOME_LINGER: Duration = Duration::from_millis(20);
/// How long events wait for more under high load: an fsync costs as much CPU as several events.
const EVENT_LINGER: Duration = Duration::from_micros(300);
/// The delay before records that could not be stored are retried.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The error that publishers get; the log has the details.
const NO_ANSWER: &str = "the store does not answer";
/// How far timeouts reduce the limits of a commit, as a divisor.
const DIVISOR_MAX: usize = 64;
/// How many outcomes a commit may contain before a planted timeout of the fault harness applies.
const PLANTED_RECORDS_MAX: usize = 100;

/// The committer.
pub(super) struct Committer {
    handles: Handles,
    /// Records that are not stored yet, in order: those of a failed commit, and those queued behind them.
    unsaved: VecDeque<Record>,
    /// Some of them may be stored already.
    repeated: bool,
    /// The last commit failed.
    failed: bool,
    /// Divides the limits of a commit. Doubled after each timeout.
    divisor: usize,
    /// A watermark to store with or after everything that was recorded before it.
    watermark: Option<NewWatermark>,
    /// Events of a failed commit, which may be stored.
    unclear: Vec<Intake>,
    /// The lease was lost, and this node has not joined again yet.
    lost: bool,
    /// Events in the last commit: more than one means that publishers are waiting for each other.
    last_events: usize,
}

/// The dependencies of the committer.
#[derive(Clone)]
pub(super) struct Handles {
    pub(super) store: Store,
    pub(super) ids: Arc<IdGenerator>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) lanes: Lanes,
    pub(super) memory: Arc<Memory>,
    pub(super) scheduler: Scheduler,
    pub(super) watermark: Watermark,
    pub(super) membership: Membership,
    pub(super) rejoin: Rejoin,
    pub(super) disabling: Disabling,
    pub(super) changes: Changes,
    pub(super) commits: Commits,
    pub(super) metrics: Arc<Metrics>,
}

impl Committer {
    pub(super) fn new(handles: Handles) -> Self {
        Self {
            handles,
            unsaved: VecDeque::new(),
            repeated: false,
            failed: false,
            divisor: 1,
            watermark: None,
            unclear: Vec::new(),
            lost: false,
            last_events: 0,
        }
    }

    /// Runs until it is stopped. Returns false if records remain unsaved.
    pub(super) fn run(mut self, runtime: &tokio::runtime::Runtime) -> bool {
        if let Err(error) = runtime.block_on(self.handles.store.commit_from_here()) {
            tracing::warn!(%error, "the connection for commits is not available yet; the first commit will open it");
        }
        loop {
            let gathered = self.gather();
            let stop = gathered.stop;
            runtime.block_on(self.commit(gathered));
            debug_assert!(self.check().is_ok(), "{:?}", self.check());
            if stop {
                // The rest is stored in as many commits as needed, unless one fails.
                let left = |this: &Self| !(this.unsaved.is_empty() && this.handles.inbox.has_no_records());
                while left(&self) && !self.failed && !self.lost && self.unclear.is_empty() {
                    let rest = self.handles.inbox.take(self.room());
                    runtime.block_on(self.commit(rest));
                }
                let left = left(&self);
                self.handles.inbox.close();
                fault::point("drain");
                // The other nodes adopt the rest at once, from memory or the store. Without other nodes, the next start
                // recovers it.
                if let Err(error) = runtime.block_on(self.handles.store.leave()) {
                    tracing::warn!(%error, "the lease could not be released: it will end by itself");
                }
                return !left;
            }
        }
    }

    /// Checks the invariants between commits.
    fn check(&self) -> Result<(), Broken> {
        let held = self.unclear.is_empty() || self.handles.watermark.is_committing();
        Invariant::UnclearEventsHoldWatermark.check(held, || format!("{} events are unclear", self.unclear.len()))
    }

    /// Waits for anything to commit, then briefly for more if a larger batch is likely.
    fn gather(&self) -> Gathered {
        let inbox = &self.handles.inbox;
        let room = self.room();
        let patience = if self.lost || self.failed || !self.unclear.is_empty() {
            Some(RETRY_PAUSE)
        } else {
            (!self.unsaved.is_empty() || self.watermark.is_some()).then_some(Duration::ZERO)
        };
        inbox.wait(patience, room.records > 0);
        let begun = Instant::now();
        if inbox.events() == 0 && self.unsaved.is_empty() {
            inbox.linger(begun + OUTCOME_LINGER, 1);
        }
        let waiting = inbox.events();
        if self.last_events > 1 && waiting > 0 {
            // As many events as were answered last time, beside those that are queued already: then all publishers have
            // returned.
            inbox.linger(Instant::now() + EVENT_LINGER, waiting + self.last_events);
        }
        inbox.take(room)
    }

    /// The limits of the next commit.
    fn bounds(&self) -> Bounds {
        let part = |max: usize| (max / self.divisor).max(1);
        Bounds {
            events: part(Bounds::MAX.events),
            event_bytes: part(Bounds::MAX.event_bytes),
            event_rows: part(Bounds::MAX.event_rows),
            records: part(Bounds::MAX.records),
            record_bytes: part(Bounds::MAX.record_bytes),
        }
    }

    /// The part of the next commit's limits that is left for the inbox.
    fn room(&self) -> Bounds {
        let bounds = self.bounds();
        let bytes = self.unsaved.iter().map(Record::bytes).sum::<usize>();
        let full = !self.unclear.is_empty() || bytes >= bounds.record_bytes;
        Bounds {
            records: if full {
                0
            } else {
                bounds.records.saturating_sub(self.unsaved.len())
            },
            record_bytes: bounds.record_bytes.saturating_sub(bytes),
            ..bounds
        }
    }

    /// The records of the next commit: as many of the unsaved ones as fit.
    fn next_records(&mut self) -> Vec<Record> {
        let bounds = self.bounds();
        let mut bytes = 0;
        let fits = |record: &&Record| {
            bytes += record.bytes();
            bytes <= bounds.record_bytes
        };
        let count = self.unsaved.iter().take(bounds.records).take_while(fits).count();
        self.unsaved.drain(..count.max(1).min(self.unsaved.len())).collect()
    }

    async fn commit(&mut self, gathered: Gathered) {
        if gathered.rejoin {
            self.lose().await;
        }
        self.unsaved.extend(gathered.records);
        self.watermark = self.watermark.max(gathered.watermark);
        if self.lost && !self.rejoin().await {
            refuse(gathered.calls, &PublishError::Unavailable(LEASE_LOST));
            return;
        }
        if !self.settle_unclear().await {
            refuse(gathered.calls, &PublishError::Unavailable(NO_ANSWER));
            return;
        }
        let now = clock::schedule_us();
        // Other nodes own the attempts that were in flight when the lease was lost.
        self.unsaved.retain(|record| !record.lane.is_abandoned());
        let records = self.next_records();
        self.handles.watermark.set_committing(true);
        let (intakes, new_events, replies) = self.admit(gathered.calls, now);
        self.last_events = intakes.len();
        if !intakes.is_empty() {
            fault::panic_if_planted("committer-panic");
        }
        let losses = self.handles.membership.losses();
        // A watermark from before a loss concerns deliveries that other nodes own now. It would skip deliveries whose
        // rows were dropped.
        self.watermark = self.watermark.filter(|watermark| watermark.losses == losses);
        let watermark = self.watermark.filter(|_| self.unsaved.is_empty());
        let mut batch = batch::build(new_events, &records, watermark.map(|watermark| watermark.id));
        batch.repeated = self.repeated;
        batch.exclusive = exclusive(&intakes);
        if batch.is_empty() {
            self.failed = false;
            self.handles.watermark.set_committing(false);
            answer(replies, &[]);
            return;
        }
        let replies = if fault::is_planted("ack-before-commit") {
            answer(replies, &promised(&intakes));
            Vec::new()
        } else {
            replies
        };
        match self.store(&batch, records.len()).await {
            Ok(committed) => {
                fault::point("after-commit");
                if let Some(watermark) = watermark {
                    self.watermark = None;
                    self.handles.watermark.stored(watermark.id);
                }
                // Publishers come first: they publish more while the deliveries are handed over.
                answer(replies, &results(&intakes, &committed));
                self.hand_off(intakes, &committed, now);
                self.handles.watermark.set_committing(false);
                self.settle(records, &committed, now);
            }
            Err(error) if isolate::may_be_a_row(&error) => {
                let events = intakes.into_iter().zip(batch.events).collect();
                self.isolate(events, records, replies, error).await;
            }
            Err(error) => {
                tracing::error!(%error, events = intakes.len(), outcomes = records.len(), "commit failed");
                refuse_replies(replies, &publish_error(&error));
                self.give_up(intakes, records, &error).await;
            }
        }
    }

    /// Makes a batch durable.
    async fn store(&mut self, batch: &Batch, records: usize) -> Result<Committed, CommitError> {
        let begun = Instant::now();
        self.handles.commits.begins();
        let result = if records > PLANTED_RECORDS_MAX && fault::is_planted("large-commit-timeout") {
            Err(CommitError::Store(StoreError::Timeout(0)))
        } else {
            self.handles.store.commit(batch).await
        };
        self.handles.commits.ends();
        match &result {
            Ok(_) => {
                self.handles.commits.succeeded();
                self.handles.metrics.committed(begun.elapsed(), records);
                self.failed = false;
                self.repeated &= !self.unsaved.is_empty();
                self.divisor = (self.divisor / 2).max(1);
            }
            Err(_) => self.handles.metrics.commit_failed(),
        }
        result
    }

    /// Handles a failed commit, which may have reached the store. Its records come first in the next one.
    async fn give_up(&mut self, intakes: Vec<Intake>, records: Vec<Record>, error: &CommitError) {
        self.handles.commits.failed();
        self.failed = true;
        self.unclear.extend(intakes);
        self.put_back(records);
        match error {
            CommitError::Store(StoreError::LeaseLost) => self.lose().await,
            CommitError::Store(error) if error.is_timeout() => self.divisor = (self.divisor * 2).min(DIVISOR_MAX),
            _ => {}
        }
    }

    /// Puts records that could not be stored before all others.
    fn put_back(&mut self, records: Vec<Record>) {
        self.repeated = true;
        for record in records.into_iter().rev() {
            self.unsaved.push_front(record);
        }
    }

    /// Handles the loss of the lease: nothing in memory belongs to this node any more, and nothing may be accepted with
    /// its configuration.
    async fn lose(&mut self) {
        self.lost = true;
        self.handles.rejoin.give_up().await;
        self.unsaved.clear();
        self.watermark = None;
        // Stored events are adopted with all others. Events that were not stored can never be stored.
        self.unclear.clear();
    }

    async fn rejoin(&mut self) -> bool {
        match self.handles.rejoin.join().await {
            Ok(()) => {
                tracing::info!(node = self.handles.store.node(), "joined the other nodes again");
                self.lost = false;
                // The events of calls that arrived meanwhile were refused.
                self.handles.watermark.set_committing(false);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "cannot join the other nodes yet; will try again");
                false
            }
        }
    }
}

/// Starts the committer on its own thread, because a commit to SQLite blocks the thread. The thread returns whether
/// everything that happened is durable.
pub(super) fn start(handles: Handles, watchdog: Watchdog) -> std::thread::JoinHandle<bool> {
    let run = move || {
        let inbox = Arc::clone(&handles.inbox);
        let committer = Committer::new(handles);
        let work = || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => Some(committer.run(&runtime)),
            Err(error) => {
                tracing::error!(%error, "the committer could not start");
                None
            }
        };
        let ended = std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_default();
        if ended.is_none() {
            watchdog.fail(NAME);
            // Waiting callers get an error.
            inbox.close();
        }
        ended.unwrap_or_default()
    };
    std::thread::Builder::new()
        .name(NAME.to_owned())
        .spawn(run)
        .expect("the operating system provides a thread at the start")
}
