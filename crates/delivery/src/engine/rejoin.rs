//! Loss of the lease, and the way back: this node gives up what it held, joins the others again, and begins anew.
//!
//! | state | what this node has in memory |
//! | --- | --- |
//! | lost | nothing: other nodes own it, and adopt it from the store |
//! | joined again, under another number or epoch | what recovery finds in the store for that number |
//!
//! While the store does not answer this node stays lost, and the committer tries again. Events are accepted only when the
//! configuration that it read is in force.

use std::sync::Arc;

use hookwright_domain::id::IdGenerator;
use hookwright_storage::{Store, StoreError};

use super::{lanes::Lanes, lease::Lease, membership::Membership, recovery::Recovery};

/// See the module.
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
    /// The lease was lost: nothing in memory is this node's any more, and nothing may be accepted by what it knows.
    pub(super) async fn give_up(&self) {
        self.membership.doubt();
        self.lease.lost();
        // First: it would go on to put into new lanes what others own now.
        self.recovery.stop().await;
        self.lanes.abandon_all();
    }

    /// Joins the other nodes again, and begins anew.
    pub(super) async fn join(&self) -> Result<(), StoreError> {
        self.store.rejoin().await?;
        self.start_over().await
    }

    /// This node has joined again under another number or epoch. Begins anew, as after a start.
    pub(super) async fn start_over(&self) -> Result<(), StoreError> {
        // Lanes that were made since the loss may hold what was read under the old number.
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
