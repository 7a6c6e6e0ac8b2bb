//! Charts of a report as SVG: bars labelled with their figures.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{Report, number};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The report.
    #[arg(long, default_value = "target/bench/report.json")]
    report: PathBuf,
    /// The directory of the charts.
    #[arg(long, default_value = "docs/charts")]
    out: PathBuf,
}

/// One bar: its label and its figure.
struct Bar {
    label: String,
    value: f64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let report = Report::read(&arguments.report)?;
    std::fs::create_dir_all(&arguments.out)?;
    let chart = |file: &str, title: &str, metric: &str, scenarios: &[&str]| {
        write(&arguments.out, file, title, &bars(&report, metric, scenarios))
    };
    let throughput = ["raw_sender", "fanout1_stream", "fanout1_unary64", "fanout10_stream"];
    write(
        &arguments.out,
        "rate.svg",
        "Deliveries a second on 2 shared cores",
        &rates(&report, &throughput),
    )?;
    write(
        &arguments.out,
        "cpu.svg",
        "CPU microseconds a delivery: server and database",
        &costs(&report, &throughput),
    )?;
    chart(
        "latency.svg",
        "Microseconds from the publish call to the arrival, median, at 200 events a second",
        "arrival_p50_us",
        &["latency_200"],
    )?;
    chart(
        "neighbours.svg",
        "Healthy webhooks' p99 beside one that hangs, as a ratio to the p99 without it",
        "healthy_p99_ratio",
        &["noisy_neighbour", "noisy_backlog"],
    )?;
    chart("memory.svg", "Memory in MiB", "rss_mib", &["idle", "backlog_memory"])
}

fn bars(report: &Report, metric: &str, scenarios: &[&str]) -> Vec<Bar> {
    let of = report
        .scenarios
        .iter()
        .filter(|scenario| scenarios.contains(&scenario.name.as_str()));
    of.filter_map(|scenario| {
        Some(Bar {
            label: label(&scenario.name, &scenario.store),
            value: scenario.metrics.get(metric)?.median,
        })
    })
    .collect()
}

fn label(scenario: &str, store: &str) -> String {
    if scenario == "raw_sender" {
        "raw sender".to_owned()
    } else {
        format!("{}, {store}", scenario.replace('_', " "))
    }
}

fn rates(report: &Report, scenarios: &[&str]) -> Vec<Bar> {
    let mut all = bars(report, "raw_requests_per_s", &["raw_sender"]);
    all.extend(bars(report, "deliveries_per_s", scenarios));
    all
}

fn costs(report: &Report, scenarios: &[&str]) -> Vec<Bar> {
    let mut all = bars(report, "raw_cpu_us_per_request", &["raw_sender"]);
    let servers = bars(report, "server_cpu_us_per_delivery", scenarios);
    let databases = bars(report, "database_cpu_us_per_delivery", scenarios);
    all.extend(servers.into_iter().zip(databases).map(|(server, database)| Bar {
        value: server.value + database.value,
        label: server.label,
    }));
    all
}

/// Writes a chart that is readable on light and dark pages.
fn write(directory: &Path, file: &str, title: &str, bars: &[Bar]) -> anyhow::Result<()> {
    const ROW: usize = 30;
    const LABELS: usize = 250;
    const WIDTH: f64 = 380.0;
    let height = 50 + ROW * bars.len();
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = String::new();
    write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height}\" role=\"img\" aria-label=\"{title}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"14\">\n\
         <style>text {{ fill: #1f2328 }} rect {{ fill: #2f6f8f }} \
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} rect {{ fill: #6fb3d2 }} }}</style>\n\
         <text x=\"10\" y=\"24\" font-weight=\"600\">{title}</text>\n"
    )?;
    for (row, bar) in bars.iter().enumerate() {
        let y = 40 + row * ROW;
        let width = (WIDTH * bar.value / most).max(1.0);
        writeln!(
            svg,
            "<text x=\"{x}\" y=\"{text}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{left}\" y=\"{y}\" width=\"{width:.1}\" height=\"20\" rx=\"2\"/>\
             <text x=\"{end:.1}\" y=\"{text}\">{value}</text>",
            x = LABELS - 10,
            text = y + 15,
            label = bar.label,
            left = LABELS,
            end = LABELS as f64 + width + 8.0,
            value = number(bar.value),
        )?;
    }
    svg.push_str("</svg>\n");
    std::fs::write(directory.join(file), svg)?;
    Ok(())
}
