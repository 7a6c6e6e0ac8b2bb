//! The effect of each step on publishing, on deliveries and on the disk, as a table.

use std::fmt::Write as _;

use serde::Serialize;

use crate::{now_us, publisher::Call};

/// A step, or a period of undisturbed load.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// When it began and ended, in microseconds since the epoch.
    pub at: i64,
    /// See `at`.
    pub until: i64,
    /// The duration of the step itself. If it is short, the load is measured for longer.
    pub seconds: f64,
    /// Calls that published an event and began during the step.
    pub calls: usize,
    /// The median duration of those calls.
    pub p50_ms: f64,
    /// The 99th percentile of those calls.
    pub p99_ms: f64,
    /// `p99_ms` as a multiple of its value on the empty store.
    pub ratio: f64,
    /// Whether it stops no node and leaves space on the disk.
    pub all_up: bool,
    /// Failed tries that were repeated.
    pub failed_tries: u64,
    /// The longest time without a call that published an event.
    pub silence_s: f64,
    /// Requests that receivers got.
    pub arrivals: u64,
    /// Deliveries of events acknowledged in this step that never became final.
    pub lost: usize,
    /// The store's size on disk at the end of the step.
    pub disk_mib: u64,
    /// A description of the result, or the error.
    pub said: String,
    /// Whether it ended as it should.
    pub done: bool,
}

impl Step {
    /// A step that has just ended.
    pub(super) fn new(name: &'static str, at: i64, seconds: f64, came: &anyhow::Result<String>) -> Self {
        let said = match came {
            Ok(said) => said.clone(),
            Err(error) => format!("{error:#}"),
        };
        Self {
            name,
            at,
            until: now_us(),
            seconds,
            calls: 0,
            p50_ms: 0.0,
            p99_ms: 0.0,
            ratio: 0.0,
            all_up: true,
            failed_tries: 0,
            silence_s: 0.0,
            arrivals: 0,
            lost: 0,
            disk_mib: 0,
            said,
            done: came.is_ok(),
        }
    }

    /// Computes the figures of publishing from the calls of its time.
    pub(super) fn measure(&mut self, calls: &[Call]) {
        // While a node is down, callers wait for it. The longest silence shows that time.
        let took = |call: &Call| if self.all_up { call.took_us } else { call.try_us };
        let mut took: Vec<u32> = calls.iter().map(took).collect();
        took.sort_unstable();
        let at = |share: usize| {
            let place = (took.len() * share / 100).min(took.len().saturating_sub(1));
            took.get(place).map_or(0.0, |us| f64::from(*us) / 1e3)
        };
        (self.calls, self.p50_ms, self.p99_ms) = (took.len(), at(50), at(99));
        let mut ends: Vec<i64> = calls.iter().map(|call| call.at + i64::from(call.took_us)).collect();
        ends.extend([self.at, self.until]);
        ends.sort_unstable();
        let longest = ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        self.silence_s = longest as f64 / 1e6;
    }
}

/// The table as text.
pub(super) fn table(steps: &[Step]) -> String {
    let mut text = format!(
        "{:<22} {:>9} {:>6} {:>8} {:>8} {:>6} {:>7} {:>9} {:>9} {:>5} {:>9}  {}\n",
        "step",
        "seconds",
        "calls",
        "p50 ms",
        "p99 ms",
        "ratio",
        "failed",
        "silence s",
        "delivered",
        "lost",
        "disk MiB",
        "outcome"
    );
    for step in steps {
        let mark = if step.done { "done" } else { "FAILED" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<22} {:>9.1} {:>6} {:>8.1} {:>8.1} {:>6.1} {:>7} {:>9.1} {:>9} {:>5} {:>9}  {mark}: {}",
            step.name,
            step.seconds,
            step.calls,
            step.p50_ms,
            step.p99_ms,
            step.ratio,
            step.failed_tries,
            step.silence_s,
            step.arrivals,
            step.lost,
            step.disk_mib,
            step.said.replace('\n', " "),
        );
    }
    text
}
