//! The scenarios that `make bench-quick` omits, run at their small scale against the server of the build, so that a change
//! cannot break them unnoticed. Their figures are not compared with the targets: that needs the full profile, a release
//! build and an otherwise idle machine.

#![expect(clippy::unwrap_used, reason = "a test fails if its environment is missing")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// The server that was built beside the suite.
fn server() -> PathBuf {
    let server = Path::new(env!("CARGO_BIN_EXE_hookwright-bench")).with_file_name("hookwright");
    assert!(
        server.exists(),
        "{} is not built: run `cargo build --bin hookwright`",
        server.display()
    );
    server
}

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hookwright-bench"))
        .arg("run")
        .args(arguments)
        .output()
        .unwrap()
}

/// Runs a scenario. Nothing may be lost or arrive twice, and each of these metrics must have a target.
fn works(scenario: &str, with_target: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let ran = bench(&[
        "--scenario",
        scenario,
        "--store",
        "sqlite",
        "--out",
        out.path().to_str().unwrap(),
        "--server",
        server().to_str().unwrap(),
    ]);
    let log = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{log}");
    let report: Value = serde_json::from_slice(&std::fs::read(out.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["failures"], serde_json::json!([]), "{log}");
    let metrics = &report["scenarios"][0]["metrics"];
    let median = |metric: &str| metrics[metric]["median"].as_f64();
    assert_eq!((median("lost"), median("duplicates")), (Some(0.0), Some(0.0)), "{log}");
    let finite = |summary: &Value| summary["median"].as_f64().is_some_and(f64::is_finite);
    assert!(metrics.as_object().unwrap().values().all(finite), "{log}");
    let table = std::fs::read_to_string(out.path().join("report.txt")).unwrap();
    let verdict = |line: &str| line.ends_with("met") || line.ends_with("MISSED");
    for metric in with_target {
        let mut lines = table
            .lines()
            .filter(|line| line.split_whitespace().nth(2) == Some(metric));
        assert!(lines.any(verdict), "{metric} has no target:\n{table}");
    }
}

macro_rules! scenarios {
    ($($(#[$attribute:meta])* $name:ident: $metrics:expr;)*) => {
        $(#[test] $(#[$attribute])* fn $name() { works(stringify!($name), &$metrics); })*

        /// The names of the tests above.
        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

scenarios! {
    unary_many: ["rate_ratio_to_64"];
    create_webhooks: ["webhooks_per_s"];
    outage: ["healthy_p99_ratio", "onset_p99_ratio"];
    slow_half: ["healthy_p99_ratio"];
    flood: ["healthy_p99_ratio"];
    wide_tls_http1: ["rate_ratio_to_at_once", "attempts_in_flight_max", "attempt_in_flight_kib",
                     "idle_connection_kib_beyond_rustls"];
    wide_tls_http2: ["rate_ratio_to_at_once", "attempts_in_flight_max", "attempt_in_flight_kib",
                     "idle_connection_kib_beyond_rustls"];
    reconnect: ["cpu_ratio_to_raw"];
    few_descriptors: ["failed_attempts", "health_failures"];
    filters: ["cpu_ratio_to_plain"];
    ordered: ["cpu_ratio_to_plain"];
    pull: ["cpu_ratio_to_plain"];
    watch: ["cpu_ratio_to_plain"];
    relay: [];
}

/// `make bench-quick` runs the other scenarios.
const QUICK: &[&str] = &[
    "raw_sender",
    "fanout1_stream",
    "fanout1_unary64",
    "fanout10_stream",
    "latency_200",
    "noisy_neighbour",
    "noisy_backlog",
    "backlog_memory",
    "start_with_backlog",
    "idle",
    "aged_store",
    "lists",
    "two_nodes",
];

#[test]
fn every_scenario_is_tested_or_quick() {
    let listed = bench(&["--list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut listed: Vec<&str> = listed.lines().collect();
    let mut known: Vec<&str> = TESTED.iter().chain(QUICK).copied().collect();
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
}

#[test]
fn a_failed_scenario_is_in_the_report_and_the_others_run() {
    let out = tempfile::tempdir().unwrap();
    let ran = bench(&[
        "--scenario",
        "raw_sender,filters,pull",
        "--store",
        "sqlite",
        "--out",
        out.path().to_str().unwrap(),
        "--server",
        "/bin/false",
    ]);
    assert!(!ran.status.success());
    let table = std::fs::read_to_string(out.path().join("report.txt")).unwrap();
    let failed = table.lines().filter(|line| line.contains("FAILED: "));
    assert_eq!(failed.count(), 2, "{table}");
    assert!(table.lines().any(|line| line.starts_with("raw_sender")), "{table}");
}
