//! Whether the engine does what it should: a stalled engine is never silent.

use std::sync::atomic::{AtomicI64, Ordering};

use super::Inner;
use crate::clock;

/// What holds the engine up, and since when (by the schedule clock).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Since when.
    pub since: i64,
    /// What, for people to read.
    pub reason: String,
}

/// Since when commits fail; 0 while they do not.
#[derive(Default)]
pub(super) struct Commits {
    failing_since: AtomicI64,
}

impl Commits {
    pub(super) fn failed(&self) {
        let now = clock::schedule_us();
        let _ = self
            .failing_since
            .compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(super) fn succeeded(&self) {
        // Almost always it is 0 already, and then nothing is written that other cores share.
        if self.failing_since.load(Ordering::Acquire) != 0 {
            self.failing_since.store(0, Ordering::Release);
        }
    }
}

impl Inner {
    /// What holds the engine up, the oldest first.
    pub(super) fn stall(&self) -> Option<Stall> {
        let now = clock::schedule_us();
        let commits = self.commits.failing_since.load(Ordering::Acquire);
        let commits = (commits != 0).then(|| Stall {
            since: commits,
            reason: "the store takes no commits".to_owned(),
        });
        // While sending is paused nothing is attempted on purpose: that is told apart.
        let paused = self.turns.faults().paused_since().is_some();
        let lanes = if paused { Vec::new() } else { self.lanes.all() };
        let due = lanes
            .iter()
            .filter_map(|lane| lane.stalled_since(now).map(|since| (since, lane.webhook)))
            .min();
        let due = due.map(|(since, webhook)| Stall {
            since,
            reason: format!("deliveries to {webhook} are due, and no attempt is made"),
        });
        commits.into_iter().chain(due).min_by_key(|stall| stall.since)
    }
}
