//! Heartbeats: renew the lease, report the configuration in force and the state of this node, and return the state of
//! the other nodes.
//!
//! | result of a heartbeat | what follows |
//! | --- | --- |
//! | the lease was renewed | lanes that waited for it send again |
//! | it was lost | nothing is sent; the committer clears this node's memory and joins again ([`super::rejoin`]) |
//! | no answer | nothing, until the lease ends by itself |
//! | a node was lost, or joined | [`super::adoption`] runs in a separate task, so that it does not delay the next heartbeat |
//!
//! Between heartbeats the task listens for notices of other nodes. The next heartbeat, or the sweep, compensates for a
//! lost notice.

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

/// How many times a node renews its lease within one lease period.
const BEATS_PER_LEASE: u32 = 5;
/// How long this node may use an outdated configuration before it lets its lease end.
const BEHIND_MAX: Duration = Duration::from_secs(2);

/// The other serving nodes, by number and epoch.
type Serving = HashSet<(u16, i64)>;

/// The task of heartbeats.
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
    /// Whether this node sends nothing and takes nothing over.
    pub(super) hold: bool,
}

impl Heartbeats {
    /// Renews the lease until the engine stops.
    pub(super) async fn run(self, lease: Duration) {
        let interval = lease / BEATS_PER_LEASE;
        let mut known: Option<Serving> = None;
        let mut current_at = Instant::now();
        loop {
            let (asked, asked_boot) = (Instant::now(), clock::boot_us());
            if self.membership.is_current() {
                current_at = asked;
            }
            // A node that does not load the configuration must not continue with an old one.
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

    /// Waits for notices until the next heartbeat is due, or until an earlier one is needed.
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
            attempts_in_flight: count(self.turns.taken()),
            draining: self.hold || self.stopping.has_begun(),
        }
    }

    /// Reacts to the state of the other nodes. Returns those that are serving.
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
        // If adoption was busy, nodes that joined count as new again with the next heartbeat.
        serving
            .into_iter()
            .filter(|(number, _)| !joined.contains(number))
            .collect()
    }
}
