//! Tells when the lease of another node has ended, without a clock that can be set.
//!
//! A node's row changes with every renewal of its lease. A lease has ended when this node has seen the same row for as long as the lease
//! lasts, by its own boot clock. The holder counts the same duration from before it asked for the renewal, so it stops first. The row is
//! compared again when the holder is fenced, under a lock.
//!
//! A node that starts has seen nothing: it waits for one more lease than the others do.

use std::collections::HashMap;

use parking_lot::Mutex;

/// What changes in a node's row when it renews its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) epoch: i64,
    pub(super) heartbeat_at: i64,
    pub(super) lease_until: i64,
}

impl Mark {
    /// How long the lease lasts, in microseconds: both times were written by one statement.
    fn lease_us(self) -> i64 {
        self.lease_until.saturating_sub(self.heartbeat_at)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    /// Since when each node's row is as it is, by the boot clock.
    seen: Mutex<HashMap<i32, (Mark, i64)>>,
}

impl Sightings {
    /// Notes a row that was read before the boot clock showed `now`. True if its lease has ended.
    pub(super) fn has_ended(&self, number: i32, mark: Mark, now: i64) -> bool {
        let mut seen = self.seen.lock();
        let (known, since) = seen.entry(number).or_insert((mark, now));
        if *known != mark {
            (*known, *since) = (mark, now);
        }
        now.saturating_sub(*since) > mark.lease_us()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;

    fn mark(heartbeat_at: i64) -> Mark {
        Mark {
            epoch: 1,
            heartbeat_at,
            lease_until: heartbeat_at + 5 * SECOND,
        }
    }

    #[test]
    fn x10_a_lease_ends_when_its_row_has_stayed_the_same_for_as_long_as_it_lasts() {
        let sightings = Sightings::default();
        let ended = |mark, now| sightings.has_ended(7, mark, now);
        assert!(!ended(mark(0), 90 * SECOND), "the first look");
        assert!(!ended(mark(0), 95 * SECOND));
        assert!(ended(mark(0), 96 * SECOND));
        // The database's clock is set back, and forward: a renewal is a renewal.
        assert!(!ended(mark(-DAY), 97 * SECOND));
        assert!(!ended(mark(DAY), 102 * SECOND));
        assert!(ended(mark(DAY), 108 * SECOND));
        let taken = Mark { epoch: 2, ..mark(DAY) };
        assert!(!ended(taken, 109 * SECOND), "another holder");
        assert!(!sightings.has_ended(8, mark(DAY), 120 * SECOND), "another node");
    }
}
