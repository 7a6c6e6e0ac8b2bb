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
        let delay = DELAY_FIRST.saturating_mul(1 << self.failures.min(10)).min(DELAY_MAX);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(delay).await;
        Ok(())
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

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_waited_for_ever_longer() {
        let mut patience = Patience::default();
        let begun = tokio::time::Instant::now();
        let mut last = Duration::ZERO;
        for _ in 0..40 {
            let before = begun.elapsed();
            patience.wait_after(Status::unavailable("stopping")).await.unwrap();
            let delay = begun.elapsed() - before;
            assert!(
                delay >= last.min(DELAY_MAX) && delay <= DELAY_MAX + Duration::from_millis(1),
                "{delay:?}"
            );
            last = delay;
        }
        assert!(last >= DELAY_MAX);
        assert!(patience.wait_after(Status::not_found("no such webhook")).await.is_err());
    }
}
