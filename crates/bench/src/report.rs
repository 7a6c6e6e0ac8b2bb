//! The report: one JSON object, and a table with the target beside each figure.

pub(crate) mod charts;
mod targets;

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use self::targets::{Bound, TARGETS};
use crate::suite::{Figures, Summary};

/// The result of a run of the suite.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    commit: String,
    cores: usize,
    profile: String,
    pub(crate) scenarios: Vec<ScenarioReport>,
}

/// One scenario on one store.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ScenarioReport {
    pub(crate) name: String,
    pub(crate) store: String,
    runs: usize,
    pub(crate) metrics: BTreeMap<String, Summary>,
}

impl ScenarioReport {
    pub(crate) fn new(name: &str, store: &str, runs: &[Figures]) -> Self {
        let names = runs
            .first()
            .map(|figures| figures.keys().copied().collect::<Vec<_>>())
            .unwrap_or_default();
        let metrics = names.into_iter().map(|name| {
            let values = runs.iter().filter_map(|figures| figures.get(name).copied()).collect();
            (name.to_owned(), Summary::of(values))
        });
        Self {
            name: name.to_owned(),
            store: store.to_owned(),
            runs: runs.len(),
            metrics: metrics.collect(),
        }
    }

    /// The figures of this scenario, one per line.
    pub(crate) fn lines(&self) -> String {
        let lines = self.metrics.iter().map(|(metric, summary)| {
            let target = TARGETS
                .iter()
                .find(|target| target.is_for(&self.name, &self.store, metric));
            let verdict = target.map_or_else(String::new, |target| target.verdict(summary.median));
            format!(
                "{:<20} {:<9} {metric:<32} {:>12} {:>12} {:>12}  {verdict}\n",
                self.name,
                self.store,
                number(summary.min),
                number(summary.median),
                number(summary.max)
            )
        });
        lines.collect()
    }
}

/// Formats a number with its significant digits.
fn number(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl Report {
    pub(crate) fn new(profile: &str) -> Self {
        let commit = Command::new("git")
            .args(["describe", "--always", "--dirty", "--abbrev=12"])
            .output();
        let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Self {
            commit: commit.unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            profile: profile.to_owned(),
            scenarios: Vec::new(),
        }
    }

    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("no report at {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Writes `report.json` and `report.txt`.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(
            directory.join("report.json"),
            serde_json::to_string_pretty(self)? + "\n",
        )?;
        std::fs::write(directory.join("report.txt"), self.table())?;
        Ok(())
    }

    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "commit {}, {} cores, profile {}\n\n{:<20} {:<9} {:<32} {:>12} {:>12} {:>12}  target\n",
            self.commit, self.cores, self.profile, "scenario", "store", "metric", "min", "median", "max"
        );
        for scenario in &self.scenarios {
            table.push_str(&scenario.lines());
        }
        for (what, value, bound, stretch) in self.across() {
            let verdict = bound.verdict(value, stretch);
            table.push_str(&format!("{what:<63} {:>12} {:>12} {verdict}\n", "", number(value)));
        }
        table
    }

    fn median(&self, scenario: &str, store: &str, metric: &str) -> Option<f64> {
        let scenario = self
            .scenarios
            .iter()
            .find(|report| report.name == scenario && report.store == store)?;
        scenario.metrics.get(metric).map(|summary| summary.median)
    }

    /// Targets that compare scenarios with each other.
    fn across(&self) -> Vec<(String, f64, Bound, Bound)> {
        let mut lines = Vec::new();
        for store in ["sqlite", "postgres"] {
            let cost = |scenario| {
                let server = self.median(scenario, store, "server_cpu_us_per_delivery")?;
                Some(server + self.median(scenario, store, "database_cpu_us_per_delivery")?)
            };
            if let (Some(one), Some(ten)) = (cost("fanout1_stream"), cost("fanout10_stream")) {
                let what = format!("CPU per delivery, fan-out 10 to fan-out 1, {store}");
                lines.push((what, ten / one, Bound::AtMost(0.7), Bound::AtMost(0.5)));
            }
        }
        lines
    }
}
