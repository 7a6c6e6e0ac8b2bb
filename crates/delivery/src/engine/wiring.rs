//! The wiring of the engine: creates each component and gives it the handles that it needs. It contains no other logic.
//!
//! [`super`] shows the components. From the bottom up they are: shared state ([`Base`]), the scheduler with its
//! workers, recovery, the committer, and the tasks that run until the engine stops.

use std::sync::Arc;

use hookwright_domain::id::IdGenerator;
use hookwright_storage::{Store, StoreError};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};

use super::{
    adoption::{self, Adoption},
    changes::Changes,
    clocks::Clocks,
    committer,
    disabling::{DisableRequest, Disabling},
    due::DueTimes,
    health,
    heartbeat::Heartbeats,
    inbox::Inbox,
    inspection::Inspection,
    lane::{Shared, WakeHandle},
    lanes::Lanes,
    lease::Lease,
    membership::Membership,
    memory::Memory,
    options::EngineOptions,
    recorder::Recorder,
    recovery::{self, Recovery},
    refill::Refills,
    rejoin::Rejoin,
    room::RoomQueue,
    scheduler::{self, Scheduler},
    stall::Commits,
    statistics::Statistics,
    stopping::Stopping,
    stragglers::Stragglers,
    sweep::Sweep,
    threads::Threads,
    turns::Turns,
    watchdog::Watchdog,
    watermark::Watermark,
    watermark_keeper::WatermarkKeeper,
    workers::{self, Workers},
};
use crate::{catalogue::Catalogue, descriptors::Descriptors, metrics::Metrics, sender::Sender};

/// The parts that [`super::Engine`] offers to the server.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) options: EngineOptions,
    pub(super) lanes: Lanes,
    pub(super) memory: Arc<Memory>,
    pub(super) turns: Arc<Turns<WakeHandle>>,
    pub(super) lease: Arc<Lease>,
    pub(super) membership: Membership,
    pub(super) inbox: Arc<Inbox>,
    pub(super) scheduler: Scheduler,
    pub(super) statistics: Statistics,
    pub(super) changes: Changes,
    pub(super) clocks: Clocks,
    pub(super) commits: Commits,
    pub(super) recovery: Recovery,
    pub(super) stopping: Stopping,
    pub(super) watchdog: Watchdog,
    /// The committer's thread, until the engine has stopped.
    pub(super) committer: Mutex<Option<std::thread::JoinHandle<bool>>>,
    /// The tasks that run until the engine stops.
    pub(super) tasks: Mutex<Vec<JoinHandle<()>>>,
    #[cfg(test)]
    pub(super) committer_handles: committer::Handles,
}

/// Creates all components and starts those with a task.
pub(super) async fn start(
    store: Store,
    catalogue: Arc<Catalogue>,
    ids: Arc<IdGenerator>,
    sender: Sender,
    metrics: Arc<Metrics>,
    options: EngineOptions,
) -> Result<(Parts, mpsc::Receiver<DisableRequest>), StoreError> {
    let (disabling, disable_requests) = Disabling::new(options.disable_after, store.lease().is_some());
    let descriptors = sender.descriptors().clone();
    let base = Base::new(store, catalogue, ids, metrics, disabling, descriptors, options).await?;
    let scheduler = base.scheduler(sender)?;
    let recovery = base.recovery(&scheduler);
    let stretch = recovery.plan().await?;
    let committer_handles = base.committer(&scheduler, &recovery);
    let committer = committer::start(committer_handles.clone(), base.watchdog.clone());
    let tasks = base.start_tasks(&scheduler);
    recovery.start(stretch);
    let parts = Parts {
        store: base.store,
        catalogue: base.catalogue,
        options: base.options,
        lanes: base.lanes,
        memory: base.memory,
        turns: base.turns,
        lease: base.lease,
        membership: base.membership,
        inbox: base.inbox,
        scheduler,
        statistics: base.statistics,
        changes: base.changes,
        clocks: base.clocks,
        commits: base.commits,
        recovery,
        stopping: base.stopping,
        watchdog: base.watchdog,
        committer: Mutex::new(Some(committer)),
        tasks: Mutex::new(tasks),
        #[cfg(test)]
        committer_handles,
    };
    Ok((parts, disable_requests))
}

/// The state that components share, and the components that depend only on it.
struct Base {
    store: Store,
    catalogue: Arc<Catalogue>,
    ids: Arc<IdGenerator>,
    metrics: Arc<Metrics>,
    options: EngineOptions,
    lease: Arc<Lease>,
    membership: Membership,
    memory: Arc<Memory>,
    room: Arc<RoomQueue<WakeHandle>>,
    turns: Arc<Turns<WakeHandle>>,
    lanes: Lanes,
    inbox: Arc<Inbox>,
    recorder: Recorder,
    watermark: Watermark,
    statistics: Statistics,
    disabling: Disabling,
    changes: Changes,
    clocks: Clocks,
    commits: Commits,
    stragglers: Stragglers,
    stopping: Stopping,
    watchdog: Watchdog,
}

impl Base {
    async fn new(
        store: Store,
        catalogue: Arc<Catalogue>,
        ids: Arc<IdGenerator>,
        metrics: Arc<Metrics>,
        disabling: Disabling,
        descriptors: Descriptors,
        options: EngineOptions,
    ) -> Result<Self, StoreError> {
        let known_health = health::known(&store).await?;
        let several_nodes = store.lease().is_some();
        let lease = Arc::new(Lease::new(several_nodes));
        let turns = Arc::new(Turns::new(options.concurrent_attempts_max, Arc::clone(&lease)).hold(options.hold));
        let memory = Arc::new(Memory::new(options.memory_bytes_max));
        let shared = Shared {
            descriptors,
            several_nodes,
            hold: options.hold,
            ..Shared::new(Arc::clone(&catalogue), Arc::clone(&memory), Arc::clone(&turns))
        };
        let room = Arc::clone(&shared.room);
        let attempts_max = options.concurrent_attempts_per_webhook_max;
        let lanes = Lanes::new(options.memory_bytes_max, attempts_max, shared, known_health);
        let inbox = Arc::new(Inbox::new());
        Ok(Self {
            recorder: Recorder::new(Arc::clone(&inbox), Arc::clone(&memory)),
            statistics: Statistics::new(store.clone(), lanes.clone()),
            clocks: Clocks::new(store.clone(), Arc::clone(&ids)),
            membership: Membership::new(options.configuration),
            watermark: Watermark::default(),
            changes: Changes::default(),
            commits: Commits::default(),
            stragglers: Stragglers::default(),
            stopping: Stopping::default(),
            watchdog: Watchdog::new(Handle::current()),
            store,
            catalogue,
            ids,
            metrics,
            options,
            lease,
            memory,
            room,
            turns,
            lanes,
            inbox,
            disabling,
        })
    }

    /// The scheduler, with the workers and refills that it starts.
    fn scheduler(&self, sender: Sender) -> Result<Scheduler, StoreError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = Threads::start(cores).map_err(|error| StoreError::Unreachable(error.to_string()))?;
        let workers = Workers::new(workers::Handles {
            format: self.options.format.clone(),
            sender,
            threads,
            turns: Arc::clone(&self.turns),
            lease: Arc::clone(&self.lease),
            recorder: self.recorder.clone(),
            statistics: self.statistics.clone(),
            disabling: self.disabling.clone(),
            clocks: self.clocks.clone(),
            metrics: Arc::clone(&self.metrics),
            stopping: self.stopping.clone(),
            watchdog: self.watchdog.clone(),
        });
        let due_times = DueTimes::new(
            self.store.clone(),
            Arc::clone(&self.catalogue),
            Arc::clone(&self.metrics),
        );
        let refills = Refills::new(self.store.clone(), Arc::clone(&self.catalogue), due_times.clone());
        Ok(Scheduler::new(scheduler::Handles {
            lanes: self.lanes.clone(),
            turns: Arc::clone(&self.turns),
            room: Arc::clone(&self.room),
            workers,
            refills,
            due_times,
            recorder: self.recorder.clone(),
            stragglers: self.stragglers.clone(),
            clocks: self.clocks.clone(),
            stopping: self.stopping.clone(),
            watchdog: self.watchdog.clone(),
        }))
    }

    fn recovery(&self, scheduler: &Scheduler) -> Recovery {
        Recovery::new(recovery::Handles {
            store: self.store.clone(),
            ids: Arc::clone(&self.ids),
            lanes: self.lanes.clone(),
            memory: Arc::clone(&self.memory),
            scheduler: scheduler.clone(),
            recorder: self.recorder.clone(),
            watermark: self.watermark.clone(),
            membership: self.membership.clone(),
            metrics: Arc::clone(&self.metrics),
            watchdog: self.watchdog.clone(),
        })
    }

    fn committer(&self, scheduler: &Scheduler, recovery: &Recovery) -> committer::Handles {
        committer::Handles {
            store: self.store.clone(),
            ids: Arc::clone(&self.ids),
            inbox: Arc::clone(&self.inbox),
            lanes: self.lanes.clone(),
            memory: Arc::clone(&self.memory),
            scheduler: scheduler.clone(),
            watermark: self.watermark.clone(),
            membership: self.membership.clone(),
            rejoin: Rejoin {
                store: self.store.clone(),
                ids: Arc::clone(&self.ids),
                lanes: self.lanes.clone(),
                lease: Arc::clone(&self.lease),
                membership: self.membership.clone(),
                recovery: recovery.clone(),
            },
            disabling: self.disabling.clone(),
            changes: self.changes.clone(),
            commits: self.commits.clone(),
            metrics: Arc::clone(&self.metrics),
        }
    }

    fn watermark_keeper(&self) -> WatermarkKeeper {
        WatermarkKeeper {
            store: self.store.clone(),
            ids: Arc::clone(&self.ids),
            lanes: self.lanes.clone(),
            membership: self.membership.clone(),
            inbox: Arc::clone(&self.inbox),
            recorder: self.recorder.clone(),
            watermark: self.watermark.clone(),
        }
    }

    fn sweep(&self, scheduler: &Scheduler) -> Sweep {
        Sweep {
            store: self.store.clone(),
            catalogue: Arc::clone(&self.catalogue),
            lanes: self.lanes.clone(),
            scheduler: scheduler.clone(),
            stragglers: self.stragglers.clone(),
            lease: Arc::clone(&self.lease),
            inspection: self.inspection(),
            metrics: Arc::clone(&self.metrics),
            hold: self.options.hold,
        }
    }

    fn inspection(&self) -> Inspection {
        Inspection {
            lanes: self.lanes.clone(),
            memory: Arc::clone(&self.memory),
            room: Arc::clone(&self.room),
            turns: Arc::clone(&self.turns),
            inbox: Arc::clone(&self.inbox),
            watermark: self.watermark.clone(),
            membership: self.membership.clone(),
            metrics: Arc::clone(&self.metrics),
        }
    }

    fn heartbeats(&self, scheduler: &Scheduler) -> Heartbeats {
        Heartbeats {
            store: self.store.clone(),
            membership: self.membership.clone(),
            lease: Arc::clone(&self.lease),
            adoption: Adoption::new(adoption::Handles {
                store: self.store.clone(),
                lanes: self.lanes.clone(),
                scheduler: scheduler.clone(),
                metrics: Arc::clone(&self.metrics),
                watchdog: self.watchdog.clone(),
            }),
            inbox: Arc::clone(&self.inbox),
            lanes: self.lanes.clone(),
            turns: Arc::clone(&self.turns),
            scheduler: scheduler.clone(),
            clocks: self.clocks.clone(),
            stopping: self.stopping.clone(),
            hold: self.options.hold,
        }
    }

    /// Starts the tasks that run until the engine stops.
    fn start_tasks(&self, scheduler: &Scheduler) -> Vec<JoinHandle<()>> {
        let watchdog = &self.watchdog;
        let mut tasks = vec![
            watchdog.spawn_permanent("timer", scheduler.clone().run_timer()),
            watchdog.spawn_permanent("memory keeper", scheduler.clone().run_room()),
            watchdog.spawn_permanent("turns", scheduler.clone().run_turns()),
            watchdog.spawn_permanent("review of receivers", scheduler.clone().run_reviews()),
            watchdog.spawn_permanent("probing", scheduler.clone().run_probes()),
            watchdog.spawn_permanent("watermark keeper", self.watermark_keeper().run()),
            watchdog.spawn_permanent("statistics", self.statistics.clone().run()),
            watchdog.spawn_permanent("sweep", self.sweep(scheduler).run()),
            watchdog.spawn_permanent("cancellation", self.stragglers.clone().run(self.store.clone())),
        ];
        if let Some(lease) = self.store.lease() {
            tasks.push(watchdog.spawn_permanent("lease keeper", self.heartbeats(scheduler).run(lease)));
        }
        tasks
    }
}
