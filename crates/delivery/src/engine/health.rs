//! When a webhook has failed for so long that it is disabled.

use std::time::Duration;

/// A webhook is never disabled for fewer failures than this, however long they took.
pub const FAILURES_MIN: i32 = 20;

/// The failures of one webhook since its last success. Kept in the store while there are any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// When the first failure after the last success was.
    pub(crate) failing_since: Option<i64>,
    /// How many there have been.
    pub(crate) failures: i32,
}

impl Health {
    /// Notes a success. True when that ends a series of failures.
    pub(crate) fn succeeded(&mut self) -> bool {
        std::mem::take(self).failing_since.is_some()
    }

    /// Notes a failure.
    pub(crate) fn failed(&mut self, now: i64) {
        self.failing_since.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
    }

    /// Whether the webhook has failed for `disable_after`, over enough attempts.
    pub(crate) fn is_hopeless(&self, disable_after: Duration, now: i64) -> bool {
        let limit = i64::try_from(disable_after.as_micros()).unwrap_or(i64::MAX);
        self.failures >= FAILURES_MIN
            && self
                .failing_since
                .is_some_and(|since| now.saturating_sub(since) >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    #[test]
    fn takes_both_the_time_and_the_attempts() {
        let five_days = Duration::from_secs(5 * 86_400);
        let mut health = Health::default();
        (0..19).for_each(|_| health.failed(DAY));
        assert!(!health.is_hopeless(five_days, 100 * DAY), "19 failures are too few");
        health.failed(2 * DAY);
        assert!(!health.is_hopeless(five_days, 6 * DAY - 1), "not five days yet");
        assert!(health.is_hopeless(five_days, 6 * DAY));
    }

    #[test]
    fn one_success_clears_the_series() {
        let mut health = Health::default();
        assert!(!health.succeeded());
        health.failed(7);
        assert!(health.succeeded());
        assert_eq!(health, Health::default());
    }
}
