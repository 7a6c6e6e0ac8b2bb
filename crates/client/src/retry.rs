//! Backoff between retries.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::random;

/// The delays between the tries of a call: each about twice the previous one, with random jitter between half of it and all
/// of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The first delay: 100 ms by default.
    pub first_pause: Duration,
    /// The maximum delay: 5 s by default.
    pub pause_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(100),
            pause_max: Duration::from_secs(5),
        }
    }
}

impl RetryPolicy {
    /// Starts a backoff, for the caller's own loop.
    #[must_use]
    pub fn backoff(self) -> Backoff {
        Backoff {
            policy: self,
            next: self.first_pause,
        }
    }
}

/// The backoff of one call, or of a stream that is reopened; created by [`RetryPolicy::backoff`].
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: RetryPolicy,
    next: Duration,
}

impl Backoff {
    /// The next delay, and at least the delay that the server asked for.
    pub fn pause(&mut self, at_least: Option<Duration>) -> Duration {
        let whole = self.next.min(self.policy.pause_max);
        self.next = whole.saturating_mul(2);
        let half = whole / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        // Without randomness the delay is the longest one.
        let jitter = random::bits().map_or(nanos, |bits| bits % nanos.saturating_add(1));
        let pause = half + Duration::from_nanos(jitter);
        pause.max(at_least.unwrap_or_default())
    }

    /// After a success: the next delay is short again.
    pub fn reset(&mut self) {
        self.next = self.policy.first_pause;
    }
}

/// Whether a failure is temporary, so that a retry can help.
pub(crate) fn is_transient(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        Code::ResourceExhausted => delay(status).is_some(),
        _ => false,
    }
}

/// The delay that the server asked for.
pub(crate) fn delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn pauses_grow_vary_and_end_somewhere() {
        let policy = RetryPolicy {
            first_pause: Duration::from_millis(100),
            pause_max: Duration::from_secs(1),
        };
        let mut backoff = policy.backoff();
        for whole in [100, 200, 400, 800, 1_000, 1_000] {
            let pause = backoff.pause(None);
            let whole = Duration::from_millis(whole);
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
        }
        assert_eq!(backoff.pause(Some(Duration::from_secs(7))), Duration::from_secs(7));
        backoff.reset();
        assert!(backoff.pause(None) <= Duration::from_millis(100));
        let pauses: std::collections::HashSet<_> = (0..20).map(|_| policy.backoff().pause(None)).collect();
        assert!(pauses.len() > 1, "clients that failed together do not return together");
    }

    #[test]
    fn only_what_passes_by_itself_is_repeated() {
        let with_delay = |code| {
            let mut details = ErrorDetails::new();
            details.set_retry_info(Some(Duration::from_secs(3)));
            Status::with_error_details(code, "later", details)
        };
        assert!(is_transient(&Status::unavailable("restarting")));
        assert!(is_transient(&with_delay(Code::ResourceExhausted)));
        assert_eq!(delay(&with_delay(Code::Unavailable)), Some(Duration::from_secs(3)));
        for status in [
            Status::resource_exhausted("a quota"),
            Status::invalid_argument("no"),
            Status::internal("no"),
            Status::deadline_exceeded("no"),
        ] {
            assert!(!is_transient(&status), "{status}");
        }
    }
}
