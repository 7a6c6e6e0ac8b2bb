//! The pace of progress messages: work that may take long logs its progress every ten seconds.

use std::time::{Duration, Instant};

/// The interval of messages.
const INTERVAL: Duration = Duration::from_secs(10);

/// The pace of progress messages.
pub(super) struct Progress {
    logged: Instant,
}

impl Progress {
    /// For work that begins now.
    pub(super) fn begin() -> Self {
        Self { logged: Instant::now() }
    }

    /// Whether to log now. The caller is expected to do so.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.logged.elapsed() >= INTERVAL;
        if due {
            self.logged = Instant::now();
        }
        due
    }
}
