//! The report: one JSON object, and a table with the target beside each figure.

pub(crate) mod charts;
mod targets;

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use self::targets::{FANOUT, TARGETS};
use crate::figures::{Figures, Summary};

/// The result of a run of the suite.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    commit: String,
    cores: usize,
    profile: String,
    pub(crate) scenarios: Vec<ScenarioReport>,
    /// Scenarios without figures, because an event was lost or the server failed.
    #[serde(default)]
    pub(crate) failures: Vec<Failure>,
}

/// A scenario that failed on one store.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    name: String,
    store: String,
    error: String,
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
        self.verdicts().map(|(line, _)| line).collect()
    }

    /// A line for each figure, and whether it misses its target.
    fn verdicts(&self) -> impl Iterator<Item = (String, bool)> {
        self.metrics.iter().map(|(metric, summary)| {
            let target = TARGETS
                .iter()
                .find(|target| target.is_for(&self.name, &self.store, metric));
            let verdict = target.map(|target| target.verdict(summary.median));
            let line = format!(
                "{:<20} {:<9} {metric:<36} {:>12} {:>12} {:>12}  {}\n",
                self.name,
                self.store,
                number(summary.min),
                number(summary.median),
                number(summary.max),
                verdict.as_ref().map_or("", |verdict| verdict.text.as_str())
            );
            (line, verdict.is_some_and(|verdict| verdict.missed))
        })
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
            failures: Vec::new(),
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

    pub(crate) fn fail(&mut self, name: &str, store: &str, error: &anyhow::Error) {
        self.failures.push(Failure {
            name: name.to_owned(),
            store: store.to_owned(),
            error: format!("{error:#}"),
        });
    }

    /// The failed scenarios and the missed targets, then all figures.
    pub(crate) fn table(&self) -> String {
        let lines: Vec<(String, bool)> = self
            .scenarios
            .iter()
            .flat_map(ScenarioReport::verdicts)
            .chain(self.across())
            .collect();
        let mut table = format!(
            "commit {}, {} cores, profile {}\n\n",
            self.commit, self.cores, self.profile
        );
        for Failure { name, store, error } in &self.failures {
            table.push_str(&format!("{name:<20} {store:<9} FAILED: {error}\n"));
        }
        let missed: String = lines
            .iter()
            .filter(|(_, missed)| *missed)
            .map(|(line, _)| line.as_str())
            .collect();
        if missed.is_empty() && self.failures.is_empty() {
            table.push_str("No target is missed.\n");
        }
        table.push_str(&missed);
        table.push_str(&format!(
            "\n{:<20} {:<9} {:<36} {:>12} {:>12} {:>12}  target\n",
            "scenario", "store", "metric", "min", "median", "max"
        ));
        table.extend(lines.iter().map(|(line, _)| line.as_str()));
        table
    }

    fn median(&self, scenario: &str, store: &str, metric: &str) -> Option<f64> {
        let scenario = self
            .scenarios
            .iter()
            .find(|report| report.name == scenario && report.store == store)?;
        scenario.metrics.get(metric).map(|summary| summary.median)
    }

    /// Targets that compare scenarios with each other: a line for each, and whether it is missed.
    fn across(&self) -> Vec<(String, bool)> {
        let mut lines = Vec::new();
        for store in ["sqlite", "postgres"] {
            let cost = |scenario| {
                let server = self.median(scenario, store, "server_cpu_us_per_delivery")?;
                Some(server + self.median(scenario, store, "database_cpu_us_per_delivery")?)
            };
            if let (Some(one), Some(ten)) = (cost("fanout1_stream"), cost("fanout10_stream")) {
                let what = format!("CPU per delivery, fan-out 10 to fan-out 1, {store}");
                let verdict = FANOUT.verdict(ten / one);
                let line = format!(
                    "{what:<67} {:>12} {:>12} {:>12}  {}\n",
                    "",
                    number(ten / one),
                    "",
                    verdict.text
                );
                lines.push((line, verdict.missed));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_targets_and_failures_come_first() {
        let mut report = Report::new("full");
        let figures = Figures::from([("healthy_p99_ratio", 3.5), ("lost", 0.0)]);
        report
            .scenarios
            .push(ScenarioReport::new("outage", "sqlite", &[figures]));
        report.fail("pull", "postgres", &anyhow::anyhow!("3 deliveries of 4 arrived"));
        let table = report.table();
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert!(
            lines[0].starts_with("pull") && lines[0].ends_with("FAILED: 3 deliveries of 4 arrived"),
            "{table}"
        );
        assert!(
            lines[1].starts_with("outage") && lines[1].ends_with("MISSED"),
            "{table}"
        );
        assert!(lines[3].starts_with("scenario") && lines.len() == 6, "{table}");
        let text = serde_json::to_string(&report).unwrap();
        let read: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(read.table(), table);
        report.scenarios.clear();
        report.failures.clear();
        assert!(report.table().contains("No target is missed."));
    }
}
