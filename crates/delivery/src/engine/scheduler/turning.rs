//! Turns of workers: a worker that ends passes its turn to the lane that has waited longest.
//!
//! If a called lane has no work any more, it passes the turn to the next one. While the engine stops no lane is called:
//! turns are released, and the engine waits until all of them are free.

use std::{sync::Arc, time::Duration};

use super::{
    super::{
        lane::{Lane, WakeHandle},
        turns::Account,
    },
    Handles, Scheduler,
};
use crate::clock;

/// The delay of the first probe after sending was paused, and the longest delay after failed probes.
const PROBE_MIN: Duration = Duration::from_millis(250);
const PROBE_MAX: Duration = Duration::from_secs(10);
/// The interval of reviews while turns are scarce.
const REVIEW: Duration = Duration::from_millis(500);

impl Scheduler {
    /// Starts a worker that its lane has counted, and that has its turn.
    pub(super) fn start_worker(&self, lane: &Arc<Lane>) {
        let (scheduler, lane) = (self.clone(), Arc::clone(lane));
        self.handles().workers.spawn(lane.webhook.raw(), async move {
            let workers = &scheduler.handles().workers;
            if workers.run(&lane, || scheduler.resume_sending()).await {
                scheduler.look_at_idle_connections(&lane);
            }
            scheduler.pass_turn(&lane);
        });
    }

    /// Passes the turn to the lane that has waited longest. This lane may then take or wait for another one.
    fn pass_turn(&self, lane: &Arc<Lane>) {
        let stopping = self.handles().stopping.has_begun();
        if let Some((next, account)) = self.handles().turns.give(lane.release_turn()) {
            self.start_next(next, account);
        }
        if !stopping {
            self.look(lane);
        }
    }

    /// Starts a worker for a lane that got a turn in `account`, or for the next lane in the queue if that one has no work
    /// any more.
    fn start_next(&self, handle: WakeHandle, account: Account) {
        let stopping = self.handles().stopping.has_begun();
        let mut next = Some((handle, account));
        while let Some((handle, account)) = next {
            let lane = handle.lane().filter(|_| !stopping);
            if let Some(lane) = lane.filter(|lane| lane.called(account, clock::schedule_us())) {
                self.start_worker(&lane);
                self.look(&lane);
                return;
            }
            next = self.handles().turns.give(account);
        }
    }

    /// Lets lanes send again that waited while the lease had ended, or while sending was paused.
    pub(in super::super) fn resume_sending(&self) {
        while let Some((handle, account)) = self.handles().turns.resume() {
            self.start_next(handle, account);
        }
    }

    /// Starts workers where turns became free without a worker that ended, until the engine stops.
    pub(in super::super) async fn run_turns(self) {
        loop {
            self.handles().turns.freed().await;
            self.resume_sending();
        }
    }

    /// Reviews all lanes while turns are scarce, until the engine stops: those whose attempts make no progress hold
    /// turns of the doubtful part then, although nothing else happens in them.
    pub(in super::super) async fn run_reviews(self) {
        let Handles { turns, lanes, .. } = self.handles();
        loop {
            turns.scarce().await;
            while turns.are_scarce() {
                tokio::time::sleep(REVIEW).await;
                lanes.all().iter().for_each(|lane| self.look(lane));
            }
        }
    }

    /// Allows one attempt from time to time while sending is paused, until the engine stops.
    pub(in super::super) async fn run_probes(self) {
        let faults = self.handles().turns.faults();
        loop {
            faults.tripped().await;
            let mut pause = PROBE_MIN;
            while faults.is_paused() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PROBE_MAX);
                faults.allow_probe();
                if let Some((handle, account)) = self.handles().turns.resume() {
                    self.start_next(handle, account);
                }
            }
        }
    }
}
