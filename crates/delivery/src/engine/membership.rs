//! This node among others: keeps its lease, takes over from nodes that were lost, and shares with nodes that join.
//!
//! A heartbeat renews the lease, says what this node has in force and how it is doing, and brings back how the others are
//! doing. What follows from that runs beside it: nothing may hold up the next heartbeat.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hookwright_storage::{
    StoreError, fault,
    nodes::{Beat, NodeReport, NodeRow, NodeState, Notice},
};
use tokio::sync::{Notify, watch};

use super::{Inner, lane::Read, progress::Progress};
use crate::clock;

/// A lease is renewed so many times while it lasts.
const BEATS_PER_LEASE: u32 = 5;
/// How long this node may lag behind the configuration before it lets its lease end.
const BEHIND_MAX: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Membership {
    /// The newest version of the configuration that this node has heard of.
    seen: watch::Sender<i64>,
    /// The version that it has in force.
    confirmed: AtomicI64,
    /// The version that it must have in force to accept events.
    required: AtomicI64,
    /// Told when a version comes into force.
    in_force: Notify,
    /// How often the lease was lost.
    losses: AtomicU64,
    /// Whether it is looking after others.
    busy: AtomicBool,
}

impl Membership {
    pub(super) fn new(configuration: i64) -> Self {
        Self {
            seen: watch::Sender::new(configuration),
            confirmed: AtomicI64::new(configuration),
            required: AtomicI64::new(configuration),
            in_force: Notify::new(),
            losses: AtomicU64::new(0),
            busy: AtomicBool::new(false),
        }
    }

    /// Versions of the configuration that were made on other nodes.
    pub(super) fn subscribe(&self) -> watch::Receiver<i64> {
        self.seen.subscribe()
    }

    /// Whether events may be accepted: not between the loss of a lease and the next reading of the configuration.
    pub(super) fn may_accept(&self) -> bool {
        self.confirmed.load(Ordering::Acquire) >= self.required.load(Ordering::Acquire)
    }

    /// A version is in force.
    pub(super) fn confirm(&self, version: i64) {
        self.confirmed.fetch_max(version, Ordering::AcqRel);
        self.in_force.notify_waiters();
    }

    /// Waits until events may be accepted.
    pub(super) async fn wait_until_accepting(&self) {
        loop {
            let in_force = self.in_force.notified();
            tokio::pin!(in_force);
            in_force.as_mut().enable();
            if self.may_accept() {
                return;
            }
            in_force.await;
        }
    }

    /// The lease was lost: whatever is in force may be out of date.
    pub(super) fn doubt(&self) {
        self.losses.fetch_add(1, Ordering::AcqRel);
        self.required.store(i64::MAX, Ordering::Release);
    }

    /// How often the lease was lost: events that were matched with webhooks before the last time must not be stored after it.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// This node has joined again and must have the version in force.
    fn require(&self, version: i64) {
        self.required.store(version, Ordering::Release);
        self.hear(version);
    }

    fn hear(&self, version: i64) {
        self.seen.send_if_modified(|seen| {
            let newer = version > *seen;
            *seen = version.max(*seen);
            newer
        });
    }

    /// Whether this node has what is in force elsewhere.
    pub(super) fn is_current(&self) -> bool {
        self.confirmed.load(Ordering::Acquire) >= *self.seen.borrow()
    }
}

impl Inner {
    /// Keeps the lease until the engine stops.
    pub(super) async fn keep_lease(self: Arc<Self>, lease: Duration) {
        let interval = lease / BEATS_PER_LEASE;
        let mut known: Option<HashSet<(u16, i64)>> = None;
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
    async fn listen(self: &Arc<Self>, until: Instant) {
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
            configuration: self.membership.confirmed.load(Ordering::Acquire),
            oldest_due_at: lanes.iter().filter_map(|lane| lane.stalled_since(now)).min(),
            deliveries_in_memory: count(lanes.iter().map(|lane| lane.held()).sum()),
            attempts_under_way: count(self.turns.taken()),
            draining: self.options.hold || self.stopping.has_begun(),
        }
    }

    /// Does what the state of the others calls for. Returns which of them are serving.
    fn react(self: &Arc<Self>, beat: Beat, known: Option<&HashSet<(u16, i64)>>) -> HashSet<(u16, i64)> {
        tracing::debug!(?beat, "heartbeat");
        self.membership.hear(beat.configuration);
        let me = self.store.node();
        let others: Vec<NodeRow> = beat.nodes.into_iter().filter(|node| node.number != me).collect();
        let serving: HashSet<(u16, i64)> = others
            .iter()
            .filter(|node| node.state == NodeState::Serving && !node.expired)
            .map(|node| (node.number, node.epoch))
            .collect();
        let joined: Vec<u16> = serving
            .iter()
            .filter(|node| known.is_some_and(|known| !known.contains(node)))
            .map(|(number, _)| *number)
            .collect();
        let lost = others
            .into_iter()
            .filter(|node| node.expired || node.state == NodeState::Lost)
            .collect::<Vec<_>>();
        // What it took over nobody would send.
        let work = !self.options.hold && (!lost.is_empty() || !joined.is_empty());
        if work && !self.stopping.has_begun() && !self.membership.busy.swap(true, Ordering::AcqRel) {
            let parts = serving.len() + 1;
            let inner = Arc::clone(self);
            self.watchdog.spawn("adoption", async move {
                inner.look_after(lost).await;
                for node in joined {
                    inner.share_with(node, parts).await;
                }
                inner.membership.busy.store(false, Ordering::Release);
            });
            return serving;
        }
        // Those that joined while there was no time for them are new again with the next heartbeat.
        serving
            .into_iter()
            .filter(|(number, _)| !joined.contains(number))
            .collect()
    }

    /// Takes over from nodes that were lost.
    async fn look_after(self: &Arc<Self>, nodes: Vec<NodeRow>) {
        for node in nodes {
            let result = async {
                let lost = node.state == NodeState::Lost || self.store.fence(node.number, node.epoch).await?;
                if lost { self.adopt(&node).await } else { Ok(()) }
            };
            if let Err(error) = result.await {
                tracing::warn!(node = node.name, %error, "cannot take over from a lost node yet; will try again");
            }
        }
    }

    async fn adopt(self: &Arc<Self>, node: &NodeRow) -> Result<(), StoreError> {
        let _running = self.metrics.adoption_running();
        let mut progress = Progress::begin();
        let (mut total, mut logged) = (0, false);
        loop {
            let adopted = self.store.adopt(node.number).await?;
            fault::point("adoption");
            total += adopted.deliveries;
            self.metrics.adopted(adopted.deliveries);
            for (webhook, due_at) in adopted.webhooks {
                self.scheduler.look_at_stored(webhook, due_at);
            }
            if !adopted.more {
                break;
            }
            if !logged || progress.is_due() {
                logged = true;
                tracing::info!(
                    node = node.name,
                    deliveries = total,
                    "adopting the deliveries of a lost node"
                );
            }
        }
        if total > 0 {
            tracing::info!(
                node = node.name,
                deliveries = total,
                "adopted the deliveries of a lost node"
            );
        }
        Ok(())
    }

    /// Gives a node that joined its share of what waits here in the store. What one node alone may send stays.
    async fn share_with(self: &Arc<Self>, node: u16, parts: usize) {
        for lane in self.lanes.all() {
            let Some(held) = lane.begin_giving(clock::schedule_us()) else {
                continue;
            };
            let given = self.store.give(node, lane.webhook.raw(), &held, parts).await;
            // What is left is read back as after any refill.
            let now = clock::schedule_us();
            let left = Read {
                next_due: Some(now),
                ..Read::default()
            };
            let actions = lane.refilled(left, now);
            self.scheduler.act(&lane, actions);
            match given {
                Ok(0) => {}
                Ok(given) => tracing::info!(node, webhook = %lane.webhook, deliveries = given, "gave a node its share"),
                Err(error) => tracing::warn!(node, %error, "cannot share with a node that joined"),
            }
        }
    }

    /// The lease was lost, and this node has joined again under another number or epoch: what it held belongs to others now.
    /// Begins anew, as after a start.
    pub(super) async fn start_over(self: &Arc<Self>) -> Result<(), StoreError> {
        // Lanes that were made since the loss may hold what was read under the old number.
        self.lanes.abandon_all();
        let floor = self.store.largest_id().await?;
        self.ids.move_to(self.store.node(), floor);
        let version = self.store.accept_configuration().await?;
        let recovery = self.plan_recovery().await?;
        self.membership.require(version);
        self.lease.begin();
        let task = self.watchdog.spawn("recovery", Arc::clone(self).recover(recovery));
        *self.recovery.lock() = Some(task);
        Ok(())
    }

    /// Ends the work on what a former run left unfinished, and returns when it has ended: what it has in hand is not this
    /// node's any more.
    pub(super) async fn stop_recovery(&self) {
        let recovery = self.recovery.lock().take();
        if let Some(recovery) = recovery {
            recovery.abort();
            // It was told to end, or had ended before.
            let _ = recovery.await;
        }
    }
}
