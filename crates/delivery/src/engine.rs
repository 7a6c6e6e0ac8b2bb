//! The engine: takes checked events, makes them durable and delivers them.
//!
//! ```text
//! publish -> committer -> lanes -> workers -> committer
//!               |           ^                    |
//!             store --------+ (refill)  <--------+ outcomes, retries
//! ```
//!
//! [`Engine`] is a cheap handle. What it promises: an event is acknowledged only after its commit; every durable delivery
//! is attempted until it ends; memory is bounded whatever the backlog; a crash repeats at most the attempts whose outcome
//! was not committed.

mod batch;
mod changes;
mod checkpoint;
mod clocks;
mod command;
mod committer;
mod disabling;
mod due;
mod faults;
mod health;
mod inbox;
mod lane;
mod lanes;
mod lease;
mod limit;
mod membership;
mod memory;
mod progress;
mod record;
mod recorder;
mod recovery;
mod reply;
mod room;
mod stall;
mod statistics;
mod stopping;
mod stragglers;
mod sweep;
mod threads;
mod timer;
mod turns;
mod watchdog;
mod worker;

use std::{borrow::Cow, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use hookwright_domain::{
    id::{DeliveryId, IdGenerator, WebhookId},
    outcome::DeliveryState,
};
use hookwright_storage::{ReadLimits, Store, StoreError, StoredEvent, fault};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, mpsc, oneshot, watch},
    task::JoinHandle,
};

pub use self::clocks::ClockReport;
pub use self::command::{Draft, PublishError, PublishResults, Published};
pub use self::disabling::{DisableReason, DisableRequest, FAILURES_MIN};
pub use self::faults::FailingPart;
pub use self::stall::Stall;
use self::{
    changes::Changes,
    checkpoint::Checkpoint,
    clocks::Clocks,
    committer::{Committer, HandOver},
    disabling::Disabling,
    inbox::Inbox,
    lane::{Job, Lane, LaneActions, Read, Shared, WakeHandle},
    lanes::Lanes,
    lease::Lease,
    membership::Membership,
    memory::Memory,
    record::Record,
    recorder::Recorder,
    room::RoomQueue,
    stall::Commits,
    statistics::Statistics,
    stopping::Stopping,
    stragglers::Stragglers,
    threads::Threads,
    timer::Timer,
    turns::Turns,
    watchdog::Watchdog,
};
use crate::{
    catalogue::{Catalogue, Target, Webhook},
    clock,
    metrics::Metrics,
    request::{PreparedRequest, RequestFormat},
    sender::Sender,
    trace::TraceContext,
};

/// When a lane reads back again after that ended by a panic.
const REFILL_PANICKED_US: i64 = 10_000_000;
/// How many lanes read back from the store at once.
const REFILLS_MAX: usize = 4;
/// How long an idle connection is kept.
const CONNECTION_IDLE_US: i64 = 60_000_000;
/// How long the end of the engine waits for its statistics to be stored.
const STATS_TIMEOUT: Duration = Duration::from_secs(2);
/// The part of the engine without which no attempt can be recorded.
const COMMITTER: &str = "committer";
/// Why nothing is accepted and nothing sent for a moment.
const LEASE_LOST: &str = "this node has lost its lease and is joining the others again";

/// What the engine can be told.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Attempts under way at once, over all webhooks.
    pub concurrent_attempts_max: usize,
    /// Attempts under way at once for one webhook.
    pub concurrent_attempts_per_webhook_max: usize,
    /// Bytes of payload that may wait in memory.
    pub memory_bytes_max: usize,
    /// A webhook that only failed for this long is disabled.
    pub disable_after: Duration,
    /// How the webhook's request looks: header prefix and user agent.
    pub format: RequestFormat,
    /// Accept events, and send nothing.
    pub hold: bool,
    /// The version of the configuration that the catalogue was filled from.
    pub configuration: i64,
}

/// Handle to a running engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
    committer: Arc<Mutex<Option<std::thread::JoinHandle<bool>>>>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

pub(crate) struct Inner {
    store: Store,
    catalogue: Arc<Catalogue>,
    ids: Arc<IdGenerator>,
    options: EngineOptions,
    sender: Sender,
    metrics: Arc<Metrics>,
    lanes: Lanes,
    room: Arc<RoomQueue<WakeHandle>>,
    stragglers: Stragglers,
    turns: Arc<Turns<WakeHandle>>,
    lease: Arc<Lease>,
    membership: Membership,
    commits: Commits,
    clocks: Clocks,
    /// The work on what a former run left unfinished.
    recovery: Mutex<Option<JoinHandle<()>>>,
    timer: Timer,
    memory: Arc<Memory>,
    refills: Semaphore,
    checkpoint: Checkpoint,
    inbox: Arc<Inbox>,
    recorder: Recorder,
    statistics: Statistics,
    changes: Changes,
    disabling: Disabling,
    threads: Threads,
    stopping: Stopping,
    watchdog: Watchdog,
}

impl Engine {
    /// Starts the engine on the current runtime: the committer on a thread of its own, then recovery of what a former run
    /// left unfinished, while new work already flows. The receiver tells which webhooks to disable.
    ///
    /// # Errors
    /// When the store cannot tell what is pending.
    pub async fn start(
        store: Store,
        catalogue: Arc<Catalogue>,
        ids: Arc<IdGenerator>,
        sender: Sender,
        metrics: Arc<Metrics>,
        options: EngineOptions,
    ) -> Result<(Self, mpsc::Receiver<DisableRequest>), StoreError> {
        let (disabling, disable_requests) = Disabling::new(options.disable_after, store.lease().is_some());
        let known_health = health::known(&store).await?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = Threads::start(cores).map_err(|error| StoreError::Unreachable(error.to_string()))?;
        let lease = Arc::new(Lease::new(store.lease().is_some()));
        let turns = Arc::new(Turns::new(options.concurrent_attempts_max, Arc::clone(&lease)).hold(options.hold));
        let memory = Arc::new(Memory::new(options.memory_bytes_max));
        let shared = Shared {
            several_nodes: store.lease().is_some(),
            hold: options.hold,
            ..Shared::new(Arc::clone(&catalogue), Arc::clone(&memory), Arc::clone(&turns))
        };
        let inbox = Arc::new(Inbox::new());
        let room = Arc::clone(&shared.room);
        let lanes = Lanes::new(
            options.memory_bytes_max,
            options.concurrent_attempts_per_webhook_max,
            shared,
            known_health,
        );
        let recorder = Recorder::new(Arc::clone(&inbox), Arc::clone(&memory));
        let statistics = Statistics::new(store.clone(), lanes.clone());
        let inner = Arc::new(Inner {
            room,
            lanes,
            turns,
            memory,
            lease,
            membership: Membership::new(options.configuration),
            commits: Commits::default(),
            clocks: Clocks::new(store.clone(), Arc::clone(&ids)),
            recovery: Mutex::default(),
            refills: Semaphore::new(REFILLS_MAX),
            store,
            catalogue,
            ids,
            options,
            sender,
            metrics,
            stragglers: Stragglers::default(),
            timer: Timer::default(),
            checkpoint: Checkpoint::default(),
            recorder,
            inbox,
            statistics,
            changes: Changes::default(),
            disabling,
            threads,
            stopping: Stopping::default(),
            watchdog: Watchdog::new(Handle::current()),
        });
        let recovery = inner.plan_recovery().await?;
        let committer = spawn_committer(&inner);
        let mut tasks = vec![
            inner.watchdog.spawn_for_good("timer", Arc::clone(&inner).run_timer()),
            inner
                .watchdog
                .spawn_for_good("memory keeper", Arc::clone(&inner).keep_memory()),
            inner
                .watchdog
                .spawn_for_good("checkpoint keeper", Arc::clone(&inner).keep_checkpoint()),
            inner
                .watchdog
                .spawn_for_good("statistics", inner.statistics.clone().run()),
            inner
                .watchdog
                .spawn_for_good("sweep", Arc::clone(&inner).keep_sweeping()),
            inner
                .watchdog
                .spawn_for_good("cancellation", inner.stragglers.clone().run(inner.store.clone())),
            inner
                .watchdog
                .spawn_for_good("probing", Arc::clone(&inner).keep_probing()),
        ];
        if let Some(lease) = inner.store.lease() {
            tasks.push(
                inner
                    .watchdog
                    .spawn_for_good("lease keeper", Arc::clone(&inner).keep_lease(lease)),
            );
        }
        *inner.recovery.lock() = Some(inner.watchdog.spawn("recovery", Arc::clone(&inner).recover(recovery)));
        let engine = Self {
            inner,
            committer: Arc::new(Mutex::new(Some(committer))),
            tasks: Arc::new(Mutex::new(tasks)),
        };
        Ok((engine, disable_requests))
    }

    /// Publishes events: returns when they are durable, with a result for each in order.
    pub async fn publish(&self, drafts: Vec<Draft>) -> PublishResults {
        let count = drafts.len();
        let refused = |error: PublishError| (0..count).map(|_| Err(error.clone())).collect();
        if self.inner.stopping.has_begun() {
            return refused(PublishError::Stopping);
        }
        let losses = self.inner.membership.losses();
        if !self.inner.membership.may_accept() {
            return refused(PublishError::Unavailable(LEASE_LOST));
        }
        self.inner.memory.ease().await;
        let (reply, answer) = oneshot::channel();
        if self.inner.inbox.publish(drafts, losses, reply).await.is_err() {
            return refused(PublishError::Stopping);
        }
        answer.await.unwrap_or_else(|_| refused(PublishError::Stopping))
    }

    /// Tells the engine that a delivery waits in the store: a ping that was committed together with its webhook.
    pub fn stored(&self, webhook: WebhookId) {
        let now = clock::schedule_us();
        let lane = self.inner.lanes.get(webhook.raw());
        let actions = lane.note_due(now, now);
        self.inner.act(&lane, actions);
    }

    /// Tells the engine that a delivery was ended in the store: one that only waits in memory is not sent any more.
    pub fn skipped(&self, webhook: WebhookId, delivery: DeliveryId) {
        self.inner.lanes.forget(webhook.raw(), delivery.raw());
    }

    /// Told when a delivery to a webhook whose deliveries are fetched comes to wait in the store by this node's doing.
    pub fn arrivals(&self, webhook: WebhookId) -> Arc<Notify> {
        self.inner.lanes.get(webhook.raw()).arrivals()
    }

    /// The headers of one attempt, signed now; `None` when the webhook's secret cannot be opened.
    pub fn signed_headers(
        &self,
        webhook: &Webhook,
        delivery: DeliveryId,
        number: u32,
        event: &StoredEvent,
    ) -> Option<Vec<(String, String)>> {
        let parent = TraceContext::of_event(event);
        let trace = parent.child(&parent.attempt_span(delivery, number), delivery.raw(), number);
        let prepared = PreparedRequest::new(&self.inner.options.format, webhook, delivery.raw(), event, &trace)?;
        let owned = |(name, value): (&str, Cow<'_, str>)| (name.to_owned(), value.into_owned());
        Some(prepared.headers.into_iter().map(owned).collect())
    }

    /// Changes whenever the outcomes of deliveries have become durable by this node's doing.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.inner.changes.subscribe()
    }

    /// Tells the engine that a caller has changed deliveries in the store.
    pub fn changed(&self) {
        self.inner.changes.notify();
    }

    /// Counts a delivery that was fetched and acknowledged.
    pub fn acknowledged(&self, webhook: WebhookId, organization: i64, event: i64, took: Duration) {
        let lane = self.inner.lanes.get(webhook.raw());
        self.inner
            .statistics
            .count(&lane, organization, event, DeliveryState::Delivered, took);
    }

    /// Tells the engine that the catalogue holds a webhook changed: its lane pauses, resumes or closes accordingly.
    pub fn webhook_changed(&self, webhook: WebhookId) {
        self.inner.webhook_changed(webhook);
        // What waited for one that was deleted is cancelled.
        self.inner.changes.notify();
    }

    /// Versions of the configuration that other nodes made, as this one hears of them: the catalogue is to be filled again.
    pub fn configurations(&self) -> tokio::sync::watch::Receiver<i64> {
        self.inner.membership.subscribe()
    }

    /// Tells the engine that the catalogue holds a version of the configuration.
    pub fn configured(&self, version: i64) {
        self.inner.membership.confirm(version);
    }

    /// Whether events are accepted and sent here: else the reason, for people to read.
    ///
    /// # Errors
    /// While this node's lease has ended, or it is joining the others again.
    pub fn may_work(&self) -> Result<(), &'static str> {
        if !self.inner.membership.may_accept() {
            Err(LEASE_LOST)
        } else if self.inner.lease.holds() {
            Ok(())
        } else {
            Err("this node cannot renew its lease, and sends nothing")
        }
    }

    /// Which part of the engine has failed, if one has: what is owed is safe in the store, and needs a fresh process.
    pub fn failed(&self) -> Option<&'static str> {
        self.inner.watchdog.failed()
    }

    /// Waits until a part of the engine fails.
    pub async fn failure(&self) -> &'static str {
        self.inner.watchdog.wait().await
    }

    /// Starts a task that runs until the server stops: the engine fails if it panics or ends before.
    pub fn supervise(&self, part: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.inner.watchdog.spawn_for_good(part, task)
    }

    /// The server stops: what was started by [`Engine::supervise`] may end.
    pub fn let_end(&self) {
        self.inner.watchdog.stop();
    }

    /// What holds the engine up, if anything does: a webhook that is slow or fails does not.
    pub fn stall(&self) -> Option<Stall> {
        self.inner.stall()
    }

    /// Whether this server was told to send nothing.
    pub fn holds(&self) -> bool {
        self.inner.options.hold
    }

    /// What is known of this machine's clock, after a look at it.
    pub async fn clock(&self) -> ClockReport {
        self.inner.clocks.look().await;
        self.inner.clocks.report()
    }

    /// The parts of the operator's that attempts fail by, and whether sending is paused because of them.
    pub fn failing_parts(&self) -> Vec<FailingPart> {
        self.inner.turns.faults().failing(clock::schedule_us())
    }

    /// Whether what waits for a webhook is sent at present: it is active, and its backlog is not being discarded.
    pub fn is_active(&self, webhook: WebhookId) -> bool {
        let catalogue = &self.inner.catalogue;
        matches!(catalogue.target(webhook.raw()), Target::Active(_)) && catalogue.discard(webhook.raw()).is_none()
    }

    /// How old the oldest due delivery is, how many deliveries are in memory, and how many attempts are under way.
    pub fn gauges(&self) -> Gauges {
        let lanes = self.inner.lanes.all();
        Gauges {
            deliveries_in_memory: lanes.iter().map(|lane| lane.held()).sum(),
            memory_bytes: self.inner.memory.used(),
            attempts_under_way: self.inner.turns.taken(),
            lanes: lanes.len(),
            lease_holds: self.inner.lease.holds(),
        }
    }

    /// Stops: no new events, no new attempts; waits up to `limit` for the attempts under way, then commits what is known.
    /// Returns whether everything that happened is durable.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.let_end();
        self.inner.stopping.begin();
        // From now on no attempt begins: one that did after the wait below would find nobody to record its outcome.
        self.inner.lease.lost();
        // Nobody would record what comes of the attempts.
        let limit = if self.failed() == Some(COMMITTER) {
            Duration::ZERO
        } else {
            limit
        };
        let in_time = tokio::time::timeout(limit, self.inner.turns.wait_until_free())
            .await
            .is_ok();
        if !in_time {
            tracing::warn!(
                attempts = self.inner.turns.taken(),
                "attempts still under way will be made again after the next start"
            );
        }
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        if tokio::time::timeout(STATS_TIMEOUT, self.inner.statistics.store())
            .await
            .is_err()
        {
            tracing::warn!("the last seconds of the statistics could not be stored");
        }
        // How far the schedule clock is, for the next start.
        let _ = tokio::time::timeout(STATS_TIMEOUT, self.inner.store.keep_clock()).await;
        if let Some(recovery) = self.inner.recovery.lock().take() {
            recovery.abort();
        }
        self.inner.inbox.stop();
        let committer = self.committer.lock().take();
        let Some(committer) = committer else { return true };
        let joined = tokio::task::spawn_blocking(move || committer.join()).await;
        matches!(joined, Ok(Ok(true)))
    }
}

/// What the engine holds right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauges {
    /// Deliveries in memory.
    pub deliveries_in_memory: usize,
    /// What they count against the memory limit.
    pub memory_bytes: usize,
    /// Attempts under way.
    pub attempts_under_way: usize,
    /// Lanes.
    pub lanes: usize,
    /// Whether this node may send.
    pub lease_holds: bool,
}

/// The committer has a thread of its own: a commit to SQLite blocks it, and nothing else.
fn spawn_committer(inner: &Arc<Inner>) -> std::thread::JoinHandle<bool> {
    let inner = Arc::clone(inner);
    let run = move || {
        let committer = Committer::new(Arc::clone(&inner));
        let work = || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => Some(committer.run(&runtime)),
            Err(error) => {
                tracing::error!(%error, "the committer could not start");
                None
            }
        };
        let ended = std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_default();
        if ended.is_none() {
            inner.watchdog.fail(COMMITTER);
            // Callers that wait for it get an error.
            inner.inbox.close();
        }
        ended.unwrap_or_default()
    };
    std::thread::Builder::new()
        .name("committer".to_owned())
        .spawn(run)
        .expect("the operating system gives a thread at start")
}

impl Inner {
    /// Does what a lane wants.
    fn act(self: &Arc<Self>, lane: &Arc<Lane>, actions: LaneActions) {
        for _ in 0..actions.workers {
            self.spawn_worker(lane);
        }
        if actions.refill {
            self.watchdog.spawn("refill", Arc::clone(self).refill(Arc::clone(lane)));
        }
        if let Some(at) = actions.wake_at {
            self.timer.at(at, lane.webhook.raw());
        }
        self.record_all(lane, actions.park, Record::parked);
        self.record_all(lane, actions.cancel, Record::cancelled);
        if actions.cancel_stored {
            // Where the queue is full the sweep comes back to it.
            self.stragglers.add(lane.webhook.raw());
        }
    }

    /// Queues a record of each of these deliveries for the committer, in a task: a lane's caller cannot wait for a permit.
    fn record_all(self: &Arc<Self>, lane: &Arc<Lane>, jobs: Vec<Job>, make: fn(&Arc<Lane>, &Job, i64) -> Record) {
        if jobs.is_empty() {
            return;
        }
        let (inner, lane) = (Arc::clone(self), Arc::clone(lane));
        self.watchdog.spawn("records", async move {
            for job in jobs {
                inner.recorder.record(make(&lane, &job, clock::schedule_us())).await;
            }
        });
    }

    /// Gives durable deliveries to their lanes.
    fn hand_over(self: &Arc<Self>, deliveries: impl Iterator<Item = HandOver>, now: i64) {
        for HandOver { lane, job } in deliveries {
            let actions = match job {
                Some(job) => lane.enqueue(job, now),
                None if fault::is_planted("lost-notice") => continue,
                None => lane.note_due(now, now),
            };
            self.act(&lane, actions);
        }
    }

    /// Looks at lanes when their time has come.
    async fn run_timer(self: Arc<Self>) {
        loop {
            let due = self.timer.next().await;
            self.clocks.look().await;
            for webhook in due {
                let lane = self.lanes.find(webhook);
                let Some(lane) = lane else { continue };
                let now = clock::schedule_us();
                if lane.close_idle() {
                    self.timer.at(later_second(now + CONNECTION_IDLE_US), webhook);
                }
                let actions = lane.look(now);
                self.act(&lane, actions);
            }
        }
    }

    /// Calls lanes that wait for room in memory, until the engine stops.
    async fn keep_memory(self: Arc<Self>) {
        loop {
            self.room.freed().await;
            while let Some((handle, place)) = self.room.next() {
                if let Some(lane) = handle.lane() {
                    let actions = lane.called_for_room(place, clock::schedule_us());
                    self.act(&lane, actions);
                }
            }
        }
    }

    /// Reads back what is due for a lane.
    async fn refill(self: Arc<Self>, lane: Arc<Lane>) {
        // Few at a time: each may read as much as there is room for when it begins.
        let Ok(_permit) = self.refills.acquire().await else {
            return;
        };
        let now = clock::schedule_us();
        let read = AssertUnwindSafe(self.read_due(&lane, now)).catch_unwind().await;
        let read = read.unwrap_or_else(|_| {
            // A row that cannot be read holds up its own lane, and no other.
            tracing::error!(webhook = %lane.webhook, "reading what is due ended by a panic: this is a bug; will try again");
            Read {
                next_due: Some(now + REFILL_PANICKED_US),
                ..Read::default()
            }
        });
        let actions = lane.refilled(read, clock::schedule_us());
        self.act(&lane, actions);
    }

    /// What is due for a lane and fits into it, and when what was not read is due.
    async fn read_due(&self, lane: &Lane, now: i64) -> Read {
        let plan = lane.plan_refill();
        let webhook = lane.webhook.raw();
        let discard = self.catalogue.discard(webhook);
        let limits = ReadLimits {
            rows: plan.rows,
            bytes: plan.bytes,
            first_bytes: plan.first_bytes,
        };
        let due = self.store.due_beyond(discard, webhook, now, limits);
        match due.await {
            Ok(mut refill) => {
                if self.is_wrong(webhook, &refill, now) {
                    refill.more_due |= self.mend_due(webhook, now).await;
                }
                let jobs = refill.rows.into_iter().map(|row| Job {
                    delivery: row.pending.delivery_id,
                    webhook: row.pending.webhook_id,
                    event: Arc::new(row.event),
                    attempts: u32::try_from(row.pending.attempts).unwrap_or_default(),
                    ordering_key: row.pending.ordering_key,
                });
                let next_due = if refill.more_due { Some(now) } else { refill.next_due };
                Read {
                    jobs: jobs.collect(),
                    next_due,
                    too_large: refill.too_large,
                }
            }
            Err(error) => {
                tracing::warn!(%error, webhook = %lane.webhook, "cannot read what is due; will try again");
                Read {
                    next_due: Some(now + 1_000_000),
                    ..Read::default()
                }
            }
        }
    }

    /// The catalogue holds a webhook changed: its lane, which finds that out by itself with its next step, takes one.
    fn webhook_changed(self: &Arc<Self>, id: WebhookId) {
        let lane = self.lanes.find(id.raw());
        if let Some(lane) = lane {
            let actions = lane.look(clock::schedule_us());
            self.act(&lane, actions);
        }
    }
}

/// Rounds up to whole seconds, so that many wishes for about the same time become one.
fn later_second(at: i64) -> i64 {
    (at / 1_000_000 + 1) * 1_000_000
}

#[cfg(test)]
mod tests;
