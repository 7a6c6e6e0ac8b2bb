//! Detects the end of other nodes' leases without a clock that can be set.
//!
//! A node's row changes with every renewal of its lease. A lease has ended when this node has seen the same row for the
//! duration of the lease, by its own boot clock. The holder measures the same duration from before it requested the
//! renewal, so it stops earlier. The row is compared again under a lock when the holder is fenced.
//!
//! A node that starts has seen nothing yet, so it waits for one more lease period than the others.

use std::collections::HashMap;

use parking_lot::Mutex;

/// The columns of a node's row that change when it renews its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) epoch: i64,
    pub(super) heartbeat_at: i64,
    pub(super) lease_until: i64,
}

impl Mark {
    /// The length of the lease in microseconds: one statement wrote both times.
    fn lease_us(self) -> i64 {
        self.lease_until.saturating_sub(self.heartbeat_at)
    }
}

/// Observations of other nodes' leases.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    /// Since when each node's row has been unchanged, by the boot clock.
    seen: Mutex<HashMap<i32, (Mark, i64)>>,
}

impl Sightings {
    /// Records a row that was read before the boot time `now`. Returns whether its lease has ended.
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
        assert!(!ended(mark(0), 90 * SECOND), "the first reading");
        assert!(!ended(mark(0), 95 * SECOND));
        assert!(ended(mark(0), 96 * SECOND));
        // A renewal counts, whether the database's clock was set back or forward.
        assert!(!ended(mark(-DAY), 97 * SECOND));
        assert!(!ended(mark(DAY), 102 * SECOND));
        assert!(ended(mark(DAY), 108 * SECOND));
        let taken = Mark { epoch: 2, ..mark(DAY) };
        assert!(!ended(taken, 109 * SECOND), "another holder");
        assert!(!sightings.has_ended(8, mark(DAY), 120 * SECOND), "another node");
    }
}
