//! The node lease: the right of this node to send, until a time of the boot clock.
//!
//! | state | may send | what ends it |
//! | --- | --- | --- |
//! | never ends: the only server of a store | yes | nothing |
//! | not begun: this node has joined | no | a renewal |
//! | held | yes | time, unless a heartbeat renews it |
//! | ended | no | a renewal, if the store still has the lease |
//! | lost | no | this node joins again; late answers to heartbeats do not count |
//!
//! The boot clock cannot be set, and it keeps running while the machine is suspended.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock;

/// It was lost, and cannot be renewed.
const LOST: u64 = 0;
/// It has not begun.
const NOT_YET: u64 = 1;

/// The node lease.
#[derive(Debug)]
pub(super) struct Lease {
    /// A time of the boot clock, or one of the values above.
    ends: AtomicU64,
}

impl Lease {
    /// With `needed` false, the lease never ends, for the only server of a store. Otherwise it has not begun.
    pub(super) fn new(needed: bool) -> Self {
        Self {
            ends: AtomicU64::new(if needed { NOT_YET } else { u64::MAX }),
        }
    }

    /// Whether an attempt may begin.
    pub(super) fn holds(&self) -> bool {
        match self.ends.load(Ordering::Acquire) {
            u64::MAX => true,
            LOST | NOT_YET => false,
            ends => clock::boot_us().unsigned_abs() < ends,
        }
    }

    /// Records a renewal by a request that was sent at the boot time `asked`, for `length`. It ends a tenth earlier
    /// than in the store, because clocks differ in speed, and an attempt takes a moment to begin.
    pub(super) fn renewed(&self, asked: i64, length: Duration) {
        let ends = asked.unsigned_abs() + micros(length - length / 10);
        // The answer may arrive after the lease was lost.
        let _ = self.ends.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            (now != LOST).then(|| now.max(ends))
        });
    }

    /// Records the loss of the lease.
    pub(super) fn lost(&self) {
        self.ends.store(LOST, Ordering::Release);
    }

    /// Records that this node has joined again: the next renewal counts.
    pub(super) fn begin(&self) {
        self.ends.store(NOT_YET, Ordering::Release);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_before_the_store_thinks_so() {
        let lease = Lease::new(true);
        assert!(!lease.holds(), "it has not begun");
        let asked = clock::boot_us();
        lease.renewed(asked, Duration::from_secs(3600));
        assert!(lease.holds());
        lease.lost();
        assert!(!lease.holds());
        lease.renewed(asked, Duration::from_secs(3600));
        assert!(!lease.holds(), "the answer to an earlier request");
        lease.begin();
        assert!(!lease.holds());
        lease.renewed(clock::boot_us(), Duration::from_secs(3600));
        assert!(lease.holds());
        assert!(Lease::new(false).holds());
    }
}
