//! How much payload all lanes together hold in memory.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

/// A shared count with a soft limit: lanes ask for room before they take more.
///
/// A lane holds no more than it will soon have sent, so where much is used, the machine and not a webhook is what is slow.
/// Publishers are then held back for a moment: what would not fit costs a row in the store and a way back from there.
#[derive(Debug)]
pub(super) struct Memory {
    used: AtomicUsize,
    max: usize,
    eased: Notify,
}

/// For how long a publisher is held back at most.
const HELD_BACK_MAX: Duration = Duration::from_secs(1);

impl Memory {
    pub(super) fn new(max: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            max,
            eased: Notify::new(),
        }
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.used() + bytes <= self.max
    }

    pub(super) fn room(&self) -> usize {
        self.max.saturating_sub(self.used())
    }

    pub(super) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        if before > self.tight() && before - bytes <= self.tight() {
            self.eased.notify_waiters();
        }
    }

    /// From where on publishers are held back.
    fn tight(&self) -> usize {
        self.max / 2
    }

    /// Waits while memory is tight, though not for long.
    pub(super) async fn ease(&self) {
        if self.used() <= self.tight() {
            return;
        }
        let eased = self.eased.notified();
        tokio::pin!(eased);
        eased.as_mut().enable();
        if self.used() > self.tight() {
            let _ = tokio::time::timeout(HELD_BACK_MAX, eased).await;
        }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}
