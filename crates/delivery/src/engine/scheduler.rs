//! The scheduler: decides when to look at lanes and which of them work, and carries out their actions
//! ([`LaneActions`]).
//!
//! ```text
//!   timer: its time has come ---+                  +--> worker, with a turn
//!   room: memory has a place ---+--> look at lane -+--> refill
//!   turns: one was released  ---+        ^         +--> records of deliveries that end or return to the store
//!   callers, committer, notices -+       |         +--> timer: look again at
//!                                        +-------------- (the worker or the refill has ended)
//! ```
//!
//! | module | what it schedules |
//! | --- | --- |
//! | [`turning`] | workers: which lane gets the next turn |
//! | [`timer`] | looks at lanes at their times |
//! | this one | the rest: notes of pending deliveries, refills, records, places in memory |
//!
//! Five tasks run until the engine stops: [`Scheduler::run_timer`], [`Scheduler::run_room`], [`Scheduler::run_turns`],
//! [`Scheduler::run_reviews`], [`Scheduler::run_probes`]. If one ends earlier, the engine fails ([`super::watchdog`]). If a lane with due
//! deliveries is not looked at, the sweep finds it ([`super::sweep`]).

mod timer;
mod turning;

use std::sync::Arc;

use self::timer::Timer;
use super::{
    clocks::Clocks,
    due::DueTimes,
    lane::{Job, Lane, LaneActions, WakeHandle},
    lanes::Lanes,
    record::Record,
    recorder::Recorder,
    refill::Refills,
    room::RoomQueue,
    stopping::Stopping,
    stragglers::Stragglers,
    turns::Turns,
    watchdog::Watchdog,
    workers::Workers,
};
use crate::clock;

/// How long an idle connection is kept.
const CONNECTION_IDLE_US: i64 = 60_000_000;

/// A handle to the scheduler. Cheap to clone.
#[derive(Clone)]
pub(super) struct Scheduler(Arc<Shared>);

struct Shared {
    handles: Handles,
    timer: Timer,
}

/// The dependencies of the scheduler.
pub(super) struct Handles {
    pub(super) lanes: Lanes,
    pub(super) turns: Arc<Turns<WakeHandle>>,
    pub(super) room: Arc<RoomQueue<WakeHandle>>,
    pub(super) workers: Workers,
    pub(super) refills: Refills,
    pub(super) due_times: DueTimes,
    pub(super) recorder: Recorder,
    pub(super) stragglers: Stragglers,
    pub(super) clocks: Clocks,
    pub(super) stopping: Stopping,
    pub(super) watchdog: Watchdog,
}

impl Scheduler {
    pub(super) fn new(handles: Handles) -> Self {
        Self(Arc::new(Shared {
            handles,
            timer: Timer::default(),
        }))
    }

    fn handles(&self) -> &Handles {
        &self.0.handles
    }

    /// Carries out a lane's actions.
    pub(super) fn act(&self, lane: &Arc<Lane>, actions: LaneActions) {
        for _ in 0..actions.workers {
            self.start_worker(lane);
        }
        if actions.refill {
            self.start_refill(lane);
        }
        if let Some(at) = actions.wake_at {
            self.0.timer.at(at, lane.webhook.raw());
        }
        self.record_all(lane, actions.park, Record::parked);
        self.record_all(lane, actions.cancel, Record::cancelled);
        if actions.cancel_stored {
            // If the queue is full, the sweep repeats this.
            self.handles().stragglers.add(lane.webhook.raw());
        }
    }

    /// Looks at a lane.
    pub(super) fn look(&self, lane: &Arc<Lane>) {
        let actions = lane.look(clock::schedule_us());
        self.act(lane, actions);
    }

    /// Looks at the lane of a webhook that was reconfigured. A lane detects the change by itself with its next step, so
    /// a webhook without a lane needs none.
    pub(super) fn webhook_changed(&self, webhook: i64) {
        if let Some(lane) = self.handles().lanes.find(webhook) {
            self.look(&lane);
        }
    }

    /// Notes that a pending delivery to a webhook is due now.
    pub(super) fn note_due_now(&self, webhook: i64) {
        let lane = self.handles().lanes.get(webhook);
        let now = clock::schedule_us();
        let actions = lane.note_due(now, now);
        self.act(&lane, actions);
    }

    /// Notes that a pending delivery to a webhook is due at `due_at`, which may be past.
    pub(super) fn look_at_stored(&self, webhook: i64, due_at: i64) {
        let Handles { due_times, lanes, .. } = self.handles();
        if due_times.is_beyond(webhook, due_at, clock::schedule_us()) {
            self.start_correction(webhook);
        }
        let lane = lanes.get(webhook);
        let actions = lane.note_due(due_at, clock::schedule_us());
        self.act(&lane, actions);
    }

    /// Corrects due times of a webhook, and looks at the deliveries that are due then.
    fn start_correction(&self, webhook: i64) {
        let scheduler = self.clone();
        self.handles().watchdog.spawn("correction of due times", async move {
            scheduler.handles().due_times.correct_all(webhook).await;
            scheduler.note_due_now(webhook);
        });
    }

    /// Starts a refill of a lane.
    fn start_refill(&self, lane: &Arc<Lane>) {
        let (scheduler, lane) = (self.clone(), Arc::clone(lane));
        self.handles().watchdog.spawn("refill", async move {
            let actions = scheduler.handles().refills.refill(&lane).await;
            scheduler.act(&lane, actions);
        });
    }

    /// Queues a record of each of these deliveries for the committer, in a task, because a lane's caller cannot wait
    /// for a permit.
    fn record_all(&self, lane: &Arc<Lane>, jobs: Vec<Job>, make: fn(&Arc<Lane>, &Job, i64) -> Record) {
        if jobs.is_empty() {
            return;
        }
        let (recorder, lane) = (self.handles().recorder.clone(), Arc::clone(lane));
        self.handles().watchdog.spawn("records", async move {
            for job in jobs {
                recorder.record(make(&lane, &job, clock::schedule_us())).await;
            }
        });
    }

    /// Looks at lanes at their times, until the engine stops.
    pub(super) async fn run_timer(self) {
        let Handles { lanes, clocks, .. } = self.handles();
        loop {
            let due = self.0.timer.next().await;
            clocks.look().await;
            for webhook in due {
                let Some(lane) = lanes.find(webhook) else { continue };
                if lane.close_idle() {
                    self.look_at_idle_connections(&lane);
                }
                self.look(&lane);
            }
        }
    }

    /// Schedules a look at a lane for the time at which its idle connections must be closed.
    fn look_at_idle_connections(&self, lane: &Lane) {
        let at = later_second(clock::schedule_us() + CONNECTION_IDLE_US);
        self.0.timer.at(at, lane.webhook.raw());
    }

    /// Calls lanes that are waiting for a place in memory, until the engine stops.
    pub(super) async fn run_room(self) {
        let room = &self.handles().room;
        loop {
            room.freed().await;
            while let Some((handle, place)) = room.next() {
                if let Some(lane) = handle.lane() {
                    let actions = lane.called_for_room(place, clock::schedule_us());
                    self.act(&lane, actions);
                }
            }
        }
    }
}

/// Rounds up to whole seconds, so that many requests for about the same time are merged.
fn later_second(at: i64) -> i64 {
    (at / 1_000_000 + 1) * 1_000_000
}
