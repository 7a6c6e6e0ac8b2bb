//! When a failed call is made again.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::random;

/// The pauses between the tries of a call: each about twice as long as the one before, varied at random between half of that
/// and all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The first pause: 100 ms by default.
    pub first_pause: Duration,
    /// The longest pause: 5 s by default.
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
    /// Starts to count pauses, for a loop of the caller's own.
    #[must_use]
    pub fn backoff(self) -> Backoff {
        Backoff {
            policy: self,
            next: self.first_pause,
        }
    }
}

/// The pauses of one call, or of one stream that is opened again and again; made by [`RetryPolicy::backoff`].
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: RetryPolicy,
    next: Duration,
}

impl Backoff {
    /// The next pause, and no less than what the server asked for.
    pub fn pause(&mut self, at_least: Option<Duration>) -> Duration {
        let whole = self.next.min(self.policy.pause_max);
        self.next = whole.saturating_mul(2);
        let half = whole / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        let pause = half + Duration::from_nanos(random::bits() % nanos.saturating_add(1));
        pause.max(at_least.unwrap_or_default())
    }

    /// It went well: the next pause is short again.
    pub fn reset(&mut self) {
        self.next = self.policy.first_pause;
    }
}

/// Whether a failure passes by itself, so that the call may be made again.
pub(crate) fn is_transient(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        Code::ResourceExhausted => delay(status).is_some(),
        _ => false,
    }
}

/// How long the server asked its callers to wait.
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
