//! The membership of this node: the version of the configuration in force on it, and how often it has lost its lease.
//!
//! | state | events are | what ends it |
//! | --- | --- | --- |
//! | serving | accepted | the lease is lost |
//! | doubting: the lease was lost | refused | this node has joined again |
//! | behind: joined again, with an older configuration | refused | the configuration that it read is in force |
//!
//! [`super::heartbeat`] renews the lease and receives the state of the other nodes, [`super::adoption`] takes over from
//! lost nodes, and [`super::rejoin`] joins again after a loss. A node without others on its store is always serving.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use tokio::sync::{Notify, watch};

/// Why nothing is accepted and sent at the moment.
pub(super) const LEASE_LOST: &str = "this node has lost its lease and is joining the others again";

/// A handle to the membership. Cheap to clone.
#[derive(Clone)]
pub(super) struct Membership(Arc<State>);

struct State {
    /// The newest version of the configuration that this node has learned of.
    seen: watch::Sender<i64>,
    /// The version in force.
    confirmed: AtomicI64,
    /// The version that must be in force to accept events.
    required: AtomicI64,
    /// Notified when a version comes into force.
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

    /// Versions of the configuration from other nodes.
    pub(super) fn subscribe(&self) -> watch::Receiver<i64> {
        self.0.seen.subscribe()
    }

    /// Whether events may be accepted: not between the loss of a lease and the next load of the configuration.
    pub(super) fn may_accept(&self) -> bool {
        self.confirmed() >= self.0.required.load(Ordering::Acquire)
    }

    /// The version of the configuration that is in force here.
    pub(super) fn confirmed(&self) -> i64 {
        self.0.confirmed.load(Ordering::Acquire)
    }

    /// Records that a version is in force.
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

    /// Records the loss of the lease: the configuration in force may be outdated.
    pub(super) fn doubt(&self) {
        self.0.losses.fetch_add(1, Ordering::AcqRel);
        self.0.required.store(i64::MAX, Ordering::Release);
    }

    /// How often the lease was lost. Events that were matched with webhooks before the last loss must not be stored
    /// after it.
    pub(super) fn losses(&self) -> u64 {
        self.0.losses.load(Ordering::Acquire)
    }

    /// Records that this node has joined again, and that the version must be in force on it.
    pub(super) fn require(&self, version: i64) {
        self.0.required.store(version, Ordering::Release);
        self.hear(version);
    }

    /// Records a version that was made here or on another node.
    pub(super) fn hear(&self, version: i64) {
        self.0.seen.send_if_modified(|seen| {
            let newer = version > *seen;
            *seen = version.max(*seen);
            newer
        });
    }

    /// Whether the newest known version is in force here.
    pub(super) fn is_current(&self) -> bool {
        self.confirmed() >= *self.0.seen.borrow()
    }
}
