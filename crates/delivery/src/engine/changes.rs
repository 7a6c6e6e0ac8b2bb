//! Notice that deliveries have changed in the store by this node's doing: after commits of outcomes, and after calls.
//!
//! It says that something has changed and not what: readers ask the store. Notices that come faster than a reader looks become
//! one.

use std::sync::Arc;

use tokio::sync::watch;

/// See the module. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Changes(Arc<watch::Sender<()>>);

impl Changes {
    /// Tells those who watch. Without any, nothing is written that other cores share.
    pub(super) fn notify(&self) {
        if self.0.receiver_count() > 0 {
            self.0.send_replace(());
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
