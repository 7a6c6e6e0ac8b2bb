//! The times of an attempt. Waiting for a descriptor is not part of it: neither its duration nor its deadline counts it.

use std::time::Duration;

use tokio::time::Instant;

/// The times of an attempt.
pub(super) struct Course {
    begun: Instant,
    deadline: Instant,
    waited: Duration,
}

impl Course {
    pub(super) fn begin(timeout: Duration) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            deadline: begun + timeout,
            waited: Duration::ZERO,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The duration so far.
    pub(super) fn duration(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How long it has waited, in microseconds.
    pub(super) fn waited_us(&self) -> i64 {
        i64::try_from(self.waited.as_micros()).unwrap_or(i64::MAX)
    }

    /// Waits. The time since `since` is not counted.
    pub(super) async fn wait<T>(&mut self, since: Instant, until: impl Future<Output = T>) -> T {
        let result = until.await;
        self.exclude(since.elapsed());
        result
    }

    /// Does not count a wait that has just ended.
    pub(super) fn exclude(&mut self, waited: Duration) {
        self.begun += waited;
        self.deadline += waited;
        self.waited += waited;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn x02_waiting_changes_neither_the_duration_nor_the_time_that_is_left() {
        let minute = Duration::from_secs(60);
        let now = Instant::now();
        let begun = now.checked_sub(minute).unwrap_or(now);
        let mut course = Course {
            begun,
            deadline: begun + minute,
            waited: Duration::ZERO,
        };
        course.wait(begun, std::future::ready(())).await;
        assert!(course.waited >= now - begun);
        assert_eq!(course.begun, begun + course.waited);
        assert_eq!(course.deadline(), begun + minute + course.waited);
        assert_eq!(u128::try_from(course.waited_us()), Ok(course.waited.as_micros()));
    }
}
