//! Retries after temporary failures, such as a restart of the server.

use std::{error::Error as _, time::Duration};

use tonic::{Code, Status};

use crate::output;

const DELAY_FIRST: Duration = Duration::from_millis(200);
const DELAY_MAX: Duration = Duration::from_secs(5);

/// Whether a retry of the same call may succeed: the server was unreachable, stopping or overloaded.
pub(crate) fn passes(status: &Status) -> bool {
    let code = matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
    );
    // The client created a status that has a source, for a broken connection.
    code || status.source().is_some()
}

/// Waits with a growing delay between retries. Reports once that the server is unreachable, and once that it is back.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
}

impl Patience {
    /// Records a failure and waits before the next retry. Returns a permanent failure.
    pub(crate) async fn wait_after(&mut self, status: Status) -> Result<(), Status> {
        if !passes(&status) {
            return Err(status);
        }
        if self.failures == 0 {
            output::note(&format!(
                "the server does not answer ({}); retrying",
                output::printable(status.message())
            ));
        }
        tokio::time::sleep(self.delay()).await;
        Ok(())
    }

    /// The delay after one more failure.
    fn delay(&mut self) -> Duration {
        let delay = DELAY_FIRST.saturating_mul(1 << self.failures.min(10)).min(DELAY_MAX);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Records a success.
    pub(crate) fn succeeded(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            output::note("the server answers again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_to_its_limit_and_a_success_resets_it() {
        let mut patience = Patience::default();
        let delays: Vec<Duration> = (0..40).map(|_| patience.delay()).collect();
        assert!(delays.is_sorted(), "{delays:?}");
        assert_eq!((delays[0], delays[39]), (DELAY_FIRST, DELAY_MAX));
        patience.succeeded();
        assert_eq!(patience.delay(), DELAY_FIRST);
    }

    #[tokio::test]
    async fn permanent_errors_are_returned() {
        let lost = Status::from_error(Box::new(std::io::Error::other("the connection was lost")));
        assert!(passes(&lost) && passes(&Status::unavailable("stopping")));
        let gone = Status::not_found("no such webhook");
        assert!(!passes(&gone));
        assert!(Patience::default().wait_after(gone).await.is_err());
    }
}
