//! Whether the engine does what it should: a stalled engine is never silent.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::Inner;
use crate::clock;

/// A wall clock that is set by less than this is no event.
const JUMP_MIN: Duration = Duration::from_secs(2);

/// What holds the engine up, and since when (microseconds since the Unix epoch).
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
        let now = clock::now_us();
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

/// Compares the clock that can be set with the one that cannot.
pub(super) struct ClockWatch {
    last: Mutex<(Instant, i64)>,
    jumps: AtomicU64,
}

impl ClockWatch {
    pub(super) fn new() -> Self {
        Self {
            last: Mutex::new((Instant::now(), clock::now_us())),
            jumps: AtomicU64::new(0),
        }
    }

    /// By how many microseconds the wall clock was set since the last look, and what it would show else.
    fn look(&self, instant: Instant, wall: i64) -> Option<(i64, i64)> {
        let mut last = self.last.lock();
        let passed = i64::try_from(instant.duration_since(last.0).as_micros()).unwrap_or(i64::MAX);
        let expected = last.1.saturating_add(passed);
        *last = (instant, wall);
        let jump = wall.saturating_sub(expected);
        (jump.unsigned_abs() >= JUMP_MIN.as_micros() as u64).then_some((jump, expected))
    }
}

impl Inner {
    /// What holds the engine up, the oldest first.
    pub(super) fn stall(&self) -> Option<Stall> {
        let now = clock::now_us();
        let commits = self.commits.failing_since.load(Ordering::Acquire);
        let commits = (commits != 0).then(|| Stall {
            since: commits,
            reason: "the store takes no commits".to_owned(),
        });
        let lanes = self.all_lanes();
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

    /// Looks whether the wall clock was set. What waits keeps its distance in time: a retry that was due in a minute still is.
    pub(super) async fn watch_clock(&self) {
        let Some((jump, expected)) = self.clock_watch.look(Instant::now(), clock::now_us()) else {
            return;
        };
        self.clock_watch.jumps.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(seconds = jump / 1_000_000, "the clock of this machine was set");
        match self.store.shift_due(expected, jump).await {
            Ok(shifted) => tracing::info!(deliveries = shifted, "moved what was due later by as much"),
            Err(error) => tracing::warn!(%error, "cannot move what was due later"),
        }
        for lane in self.all_lanes() {
            if let Some(at) = lane.clock_set(jump) {
                self.timer.at(at, lane.webhook.raw());
            }
        }
    }

    /// How often the wall clock was set since the start.
    pub(super) fn clock_jumps(&self) -> u64 {
        self.clock_watch.jumps.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f06_a_clock_that_is_set_is_noticed_and_a_clock_that_runs_is_not() {
        let watch = ClockWatch::new();
        let (begun, wall) = *watch.last.lock();
        let minute = Duration::from_secs(60);
        assert_eq!(watch.look(begun + minute, wall + 60_000_000), None);
        let day = 86_400_000_000;
        let forward = watch.look(begun + minute * 2, wall + 120_000_000 + day);
        assert_eq!(forward, Some((day, wall + 120_000_000)));
        assert_eq!(watch.look(begun + minute * 3, wall + 180_000_000 + day), None);
        let back = watch.look(begun + minute * 3, wall + 180_000_000 + day - 3_600_000_000);
        assert_eq!(back.map(|(jump, _)| jump), Some(-3_600_000_000));
    }
}
