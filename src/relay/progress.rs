//! Log lines of the relay, on standard error.

use std::time::Duration;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::Instant;

use super::verdict::Verdict;
use crate::output::{self, counted, printable};

/// Interval of the report of published rows.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Maximum number of rejected rows to log one by one between two reports. The table has them all.
const REFUSALS_MAX: u64 = 20;

/// Counts, and writes a line periodically.
pub(super) struct Progress {
    published: u64,
    refused: u64,
    /// The counts of the last report.
    told: (u64, u64),
    told_at: Instant,
    refusals_told: u64,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            published: 0,
            refused: 0,
            told: (0, 0),
            told_at: Instant::now(),
            refusals_told: 0,
        }
    }

    /// Records settled rows.
    pub(super) fn settled(&mut self, verdict: &Verdict) {
        self.published += verdict.published.len() as u64;
        for (id, error) in &verdict.refused {
            self.refused += 1;
            if self.refusals_told < REFUSALS_MAX {
                self.refusals_told += 1;
                say(&format!("row {id} was rejected: {error}"));
            }
        }
        self.tell_if_due();
    }

    /// Reports progress if the last report is old enough.
    pub(super) fn tell_if_due(&mut self) {
        if self.told_at.elapsed() >= REPORT_EVERY {
            self.tell();
        }
    }

    /// Reports progress, if there is any.
    pub(super) fn tell(&mut self) {
        let now = (self.published, self.refused);
        if now != self.told {
            say(&format!(
                "published {}, {} rejected; since the start {} and {}",
                counted(now.0 - self.told.0, "event"),
                now.1 - self.told.1,
                now.0,
                now.1
            ));
        }
        self.told = now;
        self.told_at = Instant::now();
        self.refusals_told = 0;
    }

    /// Whether any row was rejected.
    pub(super) fn refused_any(&self) -> bool {
        self.refused > 0
    }
}

/// Writes a line with the time.
pub(super) fn say(text: &str) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line has the wall clock of its machine"
    )]
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let now = now.format(&Rfc3339).unwrap_or_default();
    output::note(&format!("{now} {}", printable(text)));
}
