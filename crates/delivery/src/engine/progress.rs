//! Pace of progress messages: work that may take long logs how far it is every ten seconds.

use std::time::{Duration, Instant};

/// How often it logs.
const INTERVAL: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Progress {
    logged: Instant,
}

impl Progress {
    /// Of work that begins now.
    pub(super) fn begin() -> Self {
        Self { logged: Instant::now() }
    }

    /// Whether to log, which is then taken as done.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.logged.elapsed() >= INTERVAL;
        if due {
            self.logged = Instant::now();
        }
        due
    }
}
