//! The standing of a receiver: whether its record lets its attempts use all turns, or only the part for doubtful ones
//! ([`super::turns`]).
//!
//! | standing | receiver |
//! | --- | --- |
//! | good | most of its recent attempts succeeded, and soon |
//! | doubtful | no attempt yet, most failed, they take long, or the current ones make no progress |
//!
//! The last condition holds without an outcome: when a receiver begins to hang, its next attempts are doubtful after a
//! second, although the first ones have not reached their timeout.

/// The record of a receiver with all attempts succeeding.
const RECORD_MAX: u16 = 256;
/// The record from which on a receiver is good. The first success reaches it. The third failure in a row falls below, as
/// does one that took long.
const RECORD_GOOD: u16 = 128;
/// The average duration of attempts above which a receiver is slow, in microseconds.
const SLOW_US: i64 = 2_000_000;
/// How long attempts may be in flight without one that ends, in microseconds, and in average durations.
const OVERDUE_US: i64 = 1_000_000;
const OVERDUE_AVERAGES: i64 = 4;

/// Which turns attempts may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// All.
    Good,
    /// A part.
    #[default]
    Doubtful,
}

/// The record of a receiver at this node.
#[derive(Debug, Default)]
pub(super) struct ReceiverRecord {
    /// A moving average of successes, from 0 to [`RECORD_MAX`].
    successes: u16,
    /// A moving average of durations, in microseconds; 0 before the first attempt.
    average_us: i64,
    /// When an attempt ended last, or when the first of the current ones began.
    progress_at: i64,
}

impl ReceiverRecord {
    /// Records the outcome of an attempt.
    pub(super) fn attempted(&mut self, success: bool, took_us: i64, now: i64) {
        self.successes = if success {
            self.successes + (RECORD_MAX - self.successes).div_ceil(2)
        } else if took_us > OVERDUE_US {
            // Others in flight may hang in the same way.
            0
        } else {
            self.successes - self.successes.div_ceil(4)
        };
        self.average_us = match self.average_us {
            0 => took_us,
            average_us => (average_us * 7 + took_us) / 8,
        };
        self.progress_at = now;
    }

    /// Records that an attempt begins after another one, or while none is in flight.
    pub(super) fn progressed(&mut self, now: i64) {
        self.progress_at = now;
    }

    /// The expected duration of an attempt, in microseconds.
    pub(super) fn average_us(&self) -> i64 {
        self.average_us
    }

    /// The standing with this many attempts in flight.
    pub(super) fn standing(&self, in_flight: usize, now: i64) -> Standing {
        let patience = OVERDUE_US.max(self.average_us.saturating_mul(OVERDUE_AVERAGES));
        let is_overdue = in_flight > 0 && now.saturating_sub(self.progress_at) > patience;
        if self.successes >= RECORD_GOOD && self.average_us <= SLOW_US && !is_overdue {
            Standing::Good
        } else {
            Standing::Doubtful
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn after(outcomes: &[(bool, i64)]) -> ReceiverRecord {
        let mut record = ReceiverRecord::default();
        outcomes
            .iter()
            .for_each(|(success, took)| record.attempted(*success, *took, 0));
        record
    }

    #[test]
    fn a_record_is_good_after_a_success_and_bad_after_some_failures() {
        let standing = |outcomes: &[(bool, i64)]| after(outcomes).standing(0, 0);
        assert_eq!(standing(&[]), Standing::Doubtful);
        assert_eq!(standing(&[(true, 1_000)]), Standing::Good);
        let mut outcomes = vec![(true, 1_000); 20];
        for expected in [Standing::Good, Standing::Good, Standing::Doubtful, Standing::Doubtful] {
            outcomes.push((false, 1_000));
            assert_eq!(standing(&outcomes), expected, "{} failures", outcomes.len() - 20);
        }
        outcomes.push((true, 1_000));
        assert_eq!(standing(&outcomes), Standing::Good);
    }

    #[test]
    fn a_receiver_that_timed_out_is_doubtful_at_once() {
        let mut record = after(&[(true, 1_000); 20]);
        record.attempted(false, 10 * SECOND, 0);
        assert_eq!(record.standing(0, 0), Standing::Doubtful);
    }

    #[test]
    fn one_failure_of_ten_keeps_it_good() {
        let mut record = after(&[(true, 1_000); 5]);
        for number in 0..200 {
            record.attempted(number % 10 != 0, 1_000, 0);
            assert_eq!(record.standing(0, 0), Standing::Good, "after {number}");
        }
    }

    #[test]
    fn slow_receivers_are_doubtful_until_they_are_fast() {
        let slow = [(true, 5 * SECOND); 5];
        assert_eq!(after(&slow).standing(0, 0), Standing::Doubtful);
        let fast = [(true, 1_000); 20];
        assert_eq!(after(&[&slow[..], &fast].concat()).standing(0, 0), Standing::Good);
    }

    #[test]
    fn attempts_that_make_no_progress_are_doubtful_without_an_outcome() {
        let mut record = after(&[(true, 1_000); 5]);
        record.progressed(SECOND);
        assert_eq!(record.standing(1, 2 * SECOND), Standing::Good);
        assert_eq!(record.standing(1, 2 * SECOND + 1), Standing::Doubtful);
        assert_eq!(
            record.standing(0, 2 * SECOND + 1),
            Standing::Good,
            "nothing is in flight"
        );
        let mut slower = after(&[(true, SECOND); 100]);
        slower.progressed(0);
        assert_eq!(
            slower.standing(1, 3 * SECOND),
            Standing::Good,
            "it usually takes a second"
        );
    }
}
