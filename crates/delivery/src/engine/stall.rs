//! Stalls: whether the engine makes progress. A stalled engine always reports it.
//!
//! | state | meaning |
//! | --- | --- |
//! | none | commits succeed, and every due delivery is attempted within its webhook's limits |
//! | commits fail | since the first failure after the last success |
//! | a commit does not return | since it began: a volume that hangs lets no SQLite commit return |
//! | deliveries are due, and no attempt is made | since the oldest of them is due; not while sending is paused on purpose |

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use super::{lane::WakeHandle, lanes::Lanes, turns::Turns};
use crate::clock;

/// The cause of a stall, and since when (by the schedule clock).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Since when.
    pub since: i64,
    /// The cause, as text.
    pub reason: String,
}

/// The state of commits. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Commits(Arc<CommitState>);

#[derive(Default)]
struct CommitState {
    /// Since when commits fail; 0 if they do not.
    failing_since: AtomicI64,
    /// Since when the current commit runs; 0 between commits.
    running_since: AtomicI64,
}

impl Commits {
    /// Records the beginning of a commit. The committer makes one commit at a time.
    pub(super) fn begins(&self) {
        self.0.running_since.store(clock::schedule_us(), Ordering::Release);
    }

    /// Records the end of a commit.
    pub(super) fn ends(&self) {
        self.0.running_since.store(0, Ordering::Release);
    }

    /// Since when no commit has succeeded although one was tried; 0 if commits succeed.
    fn stalled_since(&self) -> i64 {
        let since = [&self.0.failing_since, &self.0.running_since];
        let since = since.map(|since| since.load(Ordering::Acquire));
        since.into_iter().filter(|since| *since != 0).min().unwrap_or(0)
    }

    pub(super) fn failed(&self) {
        let now = clock::schedule_us();
        let _ = self
            .0
            .failing_since
            .compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(super) fn succeeded(&self) {
        // Usually it is 0 already, and no memory is written that other cores share.
        if self.0.failing_since.load(Ordering::Acquire) != 0 {
            self.0.failing_since.store(0, Ordering::Release);
        }
    }
}

/// The cause of a stall, the oldest first.
pub(super) fn find(commits: &Commits, turns: &Turns<WakeHandle>, lanes: &Lanes) -> Option<Stall> {
    let now = clock::schedule_us();
    let stalled_since = commits.stalled_since();
    let commits = (stalled_since != 0).then(|| Stall {
        since: stalled_since,
        reason: "the store takes no commits".to_owned(),
    });
    // While sending is paused, attempts stop intentionally. That is reported separately.
    let paused = turns.faults().paused_since().is_some();
    let lanes = if paused { Vec::new() } else { lanes.all() };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_does_not_return_stalls_the_engine_since_it_began() {
        let commits = Commits::default();
        assert_eq!(commits.stalled_since(), 0);
        commits.begins();
        let since = commits.stalled_since();
        assert!(since != 0);
        commits.failed();
        assert_eq!(commits.stalled_since(), since);
        commits.ends();
        assert!(commits.stalled_since() >= since, "it failed");
        commits.begins();
        commits.succeeded();
        commits.ends();
        assert_eq!(commits.stalled_since(), 0);
    }
}
