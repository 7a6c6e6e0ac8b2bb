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
mod refill;
mod reply;
mod room;
mod scheduler;
mod stall;
mod statistics;
mod stopping;
mod stragglers;
mod sweep;
mod threads;
mod turns;
mod watchdog;
mod workers;

use std::{borrow::Cow, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use hookwright_domain::{
    id::{DeliveryId, IdGenerator, WebhookId},
    outcome::DeliveryState,
};
use hookwright_storage::{Store, StoreError, StoredEvent};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, oneshot, watch},
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
    committer::Committer,
    disabling::Disabling,
    due::DueTimes,
    inbox::Inbox,
    lane::{Shared, WakeHandle},
    lanes::Lanes,
    lease::Lease,
    membership::Membership,
    memory::Memory,
    recorder::Recorder,
    refill::Refills,
    scheduler::Scheduler,
    stall::Commits,
    statistics::Statistics,
    stopping::Stopping,
    stragglers::Stragglers,
    threads::Threads,
    turns::Turns,
    watchdog::Watchdog,
    workers::Workers,
};
use crate::{
    catalogue::{Catalogue, Target, Webhook},
    clock,
    metrics::Metrics,
    request::{PreparedRequest, RequestFormat},
    sender::Sender,
    trace::TraceContext,
};

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
    metrics: Arc<Metrics>,
    lanes: Lanes,
    scheduler: Scheduler,
    stragglers: Stragglers,
    turns: Arc<Turns<WakeHandle>>,
    lease: Arc<Lease>,
    membership: Membership,
    commits: Commits,
    clocks: Clocks,
    /// The work on what a former run left unfinished.
    recovery: Mutex<Option<JoinHandle<()>>>,
    memory: Arc<Memory>,
    checkpoint: Checkpoint,
    inbox: Arc<Inbox>,
    recorder: Recorder,
    statistics: Statistics,
    changes: Changes,
    disabling: Disabling,
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
        let clocks = Clocks::new(store.clone(), Arc::clone(&ids));
        let (stragglers, stopping) = (Stragglers::default(), Stopping::default());
        let watchdog = Watchdog::new(Handle::current());
        let workers = Workers::new(workers::Handles {
            format: options.format.clone(),
            sender,
            threads,
            turns: Arc::clone(&turns),
            recorder: recorder.clone(),
            statistics: statistics.clone(),
            disabling: disabling.clone(),
            clocks: clocks.clone(),
            metrics: Arc::clone(&metrics),
            stopping: stopping.clone(),
            watchdog: watchdog.clone(),
        });
        let due_times = DueTimes::new(store.clone(), Arc::clone(&catalogue), Arc::clone(&metrics));
        let scheduler = Scheduler::new(scheduler::Handles {
            lanes: lanes.clone(),
            turns: Arc::clone(&turns),
            room,
            workers,
            refills: Refills::new(store.clone(), Arc::clone(&catalogue), due_times.clone()),
            due_times,
            recorder: recorder.clone(),
            stragglers: stragglers.clone(),
            clocks: clocks.clone(),
            stopping: stopping.clone(),
            watchdog: watchdog.clone(),
        });
        let inner = Arc::new(Inner {
            lanes,
            scheduler,
            turns,
            memory,
            lease,
            membership: Membership::new(options.configuration),
            commits: Commits::default(),
            clocks,
            recovery: Mutex::default(),
            store,
            catalogue,
            ids,
            options,
            metrics,
            stragglers,
            checkpoint: Checkpoint::default(),
            recorder,
            inbox,
            statistics,
            changes: Changes::default(),
            disabling,
            stopping,
            watchdog,
        });
        let recovery = inner.plan_recovery().await?;
        let committer = spawn_committer(&inner);
        let mut tasks = vec![
            inner
                .watchdog
                .spawn_for_good("timer", inner.scheduler.clone().run_timer()),
            inner
                .watchdog
                .spawn_for_good("memory keeper", inner.scheduler.clone().run_room()),
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
                .spawn_for_good("probing", inner.scheduler.clone().run_probes()),
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
        self.inner.scheduler.note_due_now(webhook.raw());
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
        self.inner.scheduler.webhook_changed(webhook.raw());
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

#[cfg(test)]
mod tests;
