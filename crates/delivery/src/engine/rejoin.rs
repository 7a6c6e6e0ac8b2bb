//! The loss of the lease and its recovery: this node clears its memory, joins the others again, and begins again.
//!
//! | state | what this node has in memory |
//! | --- | --- |
//! | lost | nothing: other nodes own it, and adopt it from the store |
//! | joined again, under another number or epoch | what recovery finds in the store for that number |
//!
//! While the store does not answer, this node stays lost, and the committer retries. Events are accepted only when the
//! newly loaded configuration is in force.

use std::sync::Arc;

use hookwright_domain::id::IdGenerator;
use hookwright_storage::{Store, StoreError};

use super::{lanes::Lanes, lease::Lease, membership::Membership, recovery::Recovery};

/// The dependencies of joining again.
#[derive(Clone)]
pub(super) struct Rejoin {
    pub(super) store: Store,
    pub(super) ids: Arc<IdGenerator>,
    pub(super) lanes: Lanes,
    pub(super) lease: Arc<Lease>,
    pub(super) membership: Membership,
    pub(super) recovery: Recovery,
}

impl Rejoin {
    /// Clears this node's memory after the loss of its lease: nothing in it belongs to this node any more, and nothing
    /// may be accepted with its configuration.
    pub(super) async fn give_up(&self) {
        self.membership.doubt();
        self.lease.lost();
        // Recovery stops first: otherwise it would add deliveries to new lanes that other nodes own now.
        self.recovery.stop().await;
        self.lanes.abandon_all();
    }

    /// Joins the other nodes again, and begins again.
    pub(super) async fn join(&self) -> Result<(), StoreError> {
        self.store.rejoin().await?;
        self.start_over().await
    }

    /// Begins again as after a start, when this node has joined under another number or epoch.
    pub(super) async fn start_over(&self) -> Result<(), StoreError> {
        // Lanes that were created since the loss may hold deliveries that were read under the old number.
        self.lanes.abandon_all();
        let floor = self.store.largest_id().await?;
        self.ids.move_to(self.store.node(), floor);
        let version = self.store.accept_configuration().await?;
        let stretch = self.recovery.plan().await?;
        self.membership.require(version);
        self.lease.begin();
        self.recovery.start(stretch);
        Ok(())
    }
}
