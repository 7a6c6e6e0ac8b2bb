//! A notice that deliveries have changed in the store on this node: after commits of outcomes, and after calls.
//!
//! It does not say what has changed: readers query the store. If notices come faster than a reader reads, they are
//! merged.

use std::sync::Arc;

use tokio::sync::watch;

/// A handle to the notice. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Changes(Arc<watch::Sender<()>>);

impl Changes {
    /// Notifies the subscribers. Without any, it writes no memory that other cores share.
    pub(super) fn notify(&self) {
        if self.0.receiver_count() > 0 {
            self.0.send_replace(());
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
