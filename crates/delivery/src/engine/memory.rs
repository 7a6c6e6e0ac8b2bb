//! How much payload all lanes together hold in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A shared count with a soft limit: lanes ask for room before they take more.
#[derive(Debug)]
pub(super) struct Memory {
    used: AtomicUsize,
    max: usize,
}

impl Memory {
    pub(super) fn new(max: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            max,
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
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}
