//! Going on after a failure that passes, such as a restart of the server.

use std::{error::Error as _, time::Duration};

use tonic::{Code, Status};

use crate::output;

const DELAY_FIRST: Duration = Duration::from_millis(200);
const DELAY_MAX: Duration = Duration::from_secs(5);

/// Whether the same call may succeed if it is made again: the server could not be reached, was stopping or was too busy.
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
    // A status with a source was made here, of a connection that broke.
    code || status.source().is_some()
}

/// Waits longer from failure to failure, and says once that the server is lost, and once that it is back.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
}

impl Patience {
    /// Notes a failure and waits before the next try. A failure that does not pass is returned.
    pub(crate) async fn wait_after(&mut self, status: Status) -> Result<(), Status> {
        if !passes(&status) {
            return Err(status);
        }
        if self.failures == 0 {
            output::note(&format!(
                "the server does not answer ({}); trying again until it does",
                output::printable(status.message())
            ));
        }
        tokio::time::sleep(self.delay()).await;
        Ok(())
    }

    /// How long to wait after one more failure.
    fn delay(&mut self) -> Duration {
        let delay = DELAY_FIRST.saturating_mul(1 << self.failures.min(10)).min(DELAY_MAX);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Notes a success.
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
    fn the_wait_grows_to_its_end_and_begins_anew_after_a_success() {
        let mut patience = Patience::default();
        let delays: Vec<Duration> = (0..40).map(|_| patience.delay()).collect();
        assert!(delays.is_sorted(), "{delays:?}");
        assert_eq!((delays[0], delays[39]), (DELAY_FIRST, DELAY_MAX));
        patience.succeeded();
        assert_eq!(patience.delay(), DELAY_FIRST);
    }

    #[tokio::test]
    async fn what_does_not_pass_is_returned() {
        let lost = Status::from_error(Box::new(std::io::Error::other("the connection broke")));
        assert!(passes(&lost) && passes(&Status::unavailable("stopping")));
        let gone = Status::not_found("no such webhook");
        assert!(!passes(&gone));
        assert!(Patience::default().wait_after(gone).await.is_err());
    }
}
