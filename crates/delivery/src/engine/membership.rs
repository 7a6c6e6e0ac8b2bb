//! This node among others: which configuration it has in force, and how often it has lost its lease.
//!
//! | state | events are | what ends it |
//! | --- | --- | --- |
//! | serving | accepted | the lease is lost |
//! | doubting: the lease was lost | refused | this node has joined again |
//! | behind: joined again, with an older configuration | refused | the configuration that it read is in force |
//!
//! [`super::heartbeat`] keeps the lease and hears of the other nodes, [`super::adoption`] takes over from nodes that were lost, and
//! [`super::rejoin`] is the way back after a loss. A node alone on its store is always serving.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use tokio::sync::{Notify, watch};

/// Why nothing is accepted and nothing sent for a moment.
pub(super) const LEASE_LOST: &str = "this node has lost its lease and is joining the others again";

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Membership(Arc<State>);

struct State {
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
}

impl Membership {
    pub(super) fn new(configuration: i64) -> Self {
        Self(Arc::new(State {
            seen: watch::Sender::new(configuration),
            confirmed: AtomicI64::new(configuration),
            required: AtomicI64::new(configuration),
            in_force: Notify::new(),
            losses: AtomicU64::new(0),
        }))
    }

    /// Versions of the configuration that were made on other nodes.
    pub(super) fn subscribe(&self) -> watch::Receiver<i64> {
        self.0.seen.subscribe()
    }

    /// Whether events may be accepted: not between the loss of a lease and the next reading of the configuration.
    pub(super) fn may_accept(&self) -> bool {
        self.confirmed() >= self.0.required.load(Ordering::Acquire)
    }

    /// The version of the configuration that is in force here.
    pub(super) fn confirmed(&self) -> i64 {
        self.0.confirmed.load(Ordering::Acquire)
    }

    /// A version is in force.
    pub(super) fn confirm(&self, version: i64) {
        self.0.confirmed.fetch_max(version, Ordering::AcqRel);
        self.0.in_force.notify_waiters();
    }

    /// Waits until events may be accepted.
    pub(super) async fn wait_until_accepting(&self) {
        loop {
            let in_force = self.0.in_force.notified();
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
        self.0.losses.fetch_add(1, Ordering::AcqRel);
        self.0.required.store(i64::MAX, Ordering::Release);
    }

    /// How often the lease was lost: events that were matched with webhooks before the last time must not be stored after it.
    pub(super) fn losses(&self) -> u64 {
        self.0.losses.load(Ordering::Acquire)
    }

    /// This node has joined again and must have the version in force.
    pub(super) fn require(&self, version: i64) {
        self.0.required.store(version, Ordering::Release);
        self.hear(version);
    }

    /// A version was made, here or on another node.
    pub(super) fn hear(&self, version: i64) {
        self.0.seen.send_if_modified(|seen| {
            let newer = version > *seen;
            *seen = version.max(*seen);
            newer
        });
    }

    /// Whether this node has what is in force elsewhere.
    pub(super) fn is_current(&self) -> bool {
        self.confirmed() >= *self.0.seen.borrow()
    }
}
