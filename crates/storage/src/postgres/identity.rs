//! The identity of this server as a node.

use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};

/// The identity of this server among those that share the database.
#[derive(Debug, Default)]
pub(super) struct Identity {
    number: AtomicI32,
    epoch: AtomicI64,
}

impl Identity {
    pub(super) fn number(&self) -> i32 {
        self.number.load(Ordering::Acquire)
    }

    pub(super) fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, number: i32, epoch: i64) {
        self.epoch.store(epoch, Ordering::Release);
        self.number.store(number, Ordering::Release);
    }
}
