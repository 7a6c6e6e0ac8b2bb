//! Heartbeats: renew the lease, say what this node has in force and how it is doing, and bring back how the others are doing.
//!
//! | what a heartbeat brings | what follows |
//! | --- | --- |
//! | the lease was renewed | lanes that waited for it send again |
//! | it was lost | nothing is sent; the committer gives up what this node held, and joins again ([`super::rejoin`]) |
//! | no answer | nothing, until the lease ends by itself |
//! | a node was lost, or joined | [`super::adoption`] runs beside: nothing may hold up the next heartbeat |
//!
//! Between heartbeats the task listens for notices of other nodes. A notice that is lost is made up for by the next heartbeat, or
//! by the sweep.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use hookwright_storage::{
    Store, StoreError,
    nodes::{Beat, NodeReport, NodeRow, NodeState, Notice},
};

use super::{
    adoption::Adoption, clocks::Clocks, inbox::Inbox, lane::WakeHandle, lanes::Lanes, lease::Lease,
    membership::Membership, scheduler::Scheduler, stopping::Stopping, turns::Turns,
};
use crate::clock;

/// How many times a lease is renewed while it lasts.
const BEATS_PER_LEASE: u32 = 5;
/// How long this node may lag behind the configuration before it lets its lease end.
const BEHIND_MAX: Duration = Duration::from_secs(2);

/// The other nodes that serve, by number and epoch.
type Serving = HashSet<(u16, i64)>;

/// See the module.
pub(super) struct Heartbeats {
    pub(super) store: Store,
    pub(super) membership: Membership,
    pub(super) lease: Arc<Lease>,
    pub(super) adoption: Adoption,
    pub(super) inbox: Arc<Inbox>,
    pub(super) lanes: Lanes,
    pub(super) turns: Arc<Turns<WakeHandle>>,
    pub(super) scheduler: Scheduler,
    pub(super) clocks: Clocks,
    pub(super) stopping: Stopping,
    /// This node sends nothing and takes nothing over.
    pub(super) hold: bool,
}

impl Heartbeats {
    /// Keeps the lease until the engine stops.
    pub(super) async fn run(self, lease: Duration) {
        let interval = lease / BEATS_PER_LEASE;
        let mut known: Option<Serving> = None;
        let mut current_at = Instant::now();
        loop {
            let (asked, asked_boot) = (Instant::now(), clock::boot_us());
            if self.membership.is_current() {
                current_at = asked;
            }
            // A node that does not take in the configuration must not go on by an old one.
            let renew = current_at.elapsed() < BEHIND_MAX;
            let report = renew.then(|| self.report());
            match self.store.beat(report.as_ref()).await {
                Ok(beat) => {
                    if renew {
                        self.lease.renewed(asked_boot, lease);
                        self.scheduler.resume_sending();
                    }
                    if let Some(beat) = beat {
                        if beat.clock_set_by != 0 {
                            self.clocks.database_clock_set(beat.clock_set_by);
                        }
                        known = Some(self.react(beat, known.as_ref()));
                    }
                }
                Err(StoreError::LeaseLost) => {
                    tracing::error!("the lease was lost: the other nodes have taken over; joining again");
                    self.lease.lost();
                    self.inbox.rejoin();
                    known = None;
                }
                Err(error) => tracing::warn!(%error, "the lease could not be renewed"),
            }
            self.clocks.look().await;
            self.listen(asked + interval).await;
        }
    }

    /// Waits for notices until the next heartbeat is due, or something calls for an earlier one.
    async fn listen(&self, until: Instant) {
        while let Some(patience) = until.checked_duration_since(Instant::now()) {
            let notices = match self.store.notices(patience).await {
                Ok(notices) => notices,
                Err(error) => {
                    tracing::debug!(%error, "the connection for notices broke");
                    return;
                }
            };
            tracing::debug!(?notices, "heard");
            let mut beat = false;
            for notice in notices {
                match notice {
                    Notice::Configuration | Notice::Nodes => beat = true,
                    Notice::Due(webhook) => self.scheduler.look_at_stored(webhook, clock::schedule_us()),
                    Notice::Skipped { webhook, delivery } => self.lanes.forget(webhook, delivery),
                }
            }
            if beat {
                return;
            }
        }
    }

    fn report(&self) -> NodeReport {
        let lanes = self.lanes.all();
        let now = clock::schedule_us();
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        NodeReport {
            configuration: self.membership.confirmed(),
            oldest_due_at: lanes.iter().filter_map(|lane| lane.stalled_since(now)).min(),
            deliveries_in_memory: count(lanes.iter().map(|lane| lane.held()).sum()),
            attempts_under_way: count(self.turns.taken()),
            draining: self.hold || self.stopping.has_begun(),
        }
    }

    /// Does what the state of the others calls for. Returns which of them are serving.
    fn react(&self, beat: Beat, known: Option<&Serving>) -> Serving {
        tracing::debug!(?beat, "heartbeat");
        self.membership.hear(beat.configuration);
        let me = self.store.node();
        let others: Vec<NodeRow> = beat.nodes.into_iter().filter(|node| node.number != me).collect();
        let serving: Serving = others
            .iter()
            .filter(|node| node.state == NodeState::Serving && !node.expired)
            .map(|node| (node.number, node.epoch))
            .collect();
        let joined: Vec<u16> = serving
            .iter()
            .filter(|node| known.is_some_and(|known| !known.contains(node)))
            .map(|(number, _)| *number)
            .collect();
        let lost: Vec<NodeRow> = others
            .into_iter()
            .filter(|node| node.expired || node.state == NodeState::Lost)
            .collect();
        // A server that sends nothing takes nothing over.
        let work = !self.hold && (!lost.is_empty() || !joined.is_empty());
        if work && !self.stopping.has_begun() && self.adoption.start(lost, &joined, serving.len() + 1) {
            return serving;
        }
        // Those that joined while there was no time for them are new again with the next heartbeat.
        serving
            .into_iter()
            .filter(|(number, _)| !joined.contains(number))
            .collect()
    }
}
