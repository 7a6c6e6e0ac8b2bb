//! The benchmark suite. `hookwright-bench run` runs scenarios against the release binary and writes a report. The other
//! commands are the processes that it starts: the sink that receives, the publisher, callers that pull and watch, and the raw
//! sender, which is the reference.
//!
//! | module | content |
//! | --- | --- |
//! | [`parts`] | the child processes, and the JSON lines by which the suite commands them |
//! | [`suite`] | the scenarios: what they start, publish, wait for and measure |
//! | [`report`] | the report, its table with the targets, and the charts |
//! | [`figures`], [`console`] | the figures of a run, and output for the user |
//! | [`usage`] | CPU time and memory of processes, read from `/proc` |
//!
//! No scenario reports a figure before every accepted event has arrived.

mod console;
mod figures;
mod parts;
mod report;
mod suite;
mod usage;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "hookwright-bench", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run scenarios and write the report.
    Run(suite::Arguments),
    /// Draw the charts of a report.
    Charts(report::charts::Arguments),
    /// Compare the CPU time per delivery with a recorded baseline, as ratios to the raw sender; fails if it got worse.
    Guard(suite::guard::Arguments),
    /// The receiver of all webhooks (started by `run`).
    #[command(hide = true)]
    Sink(parts::sink::Arguments),
    /// The publisher (started by `run`).
    #[command(hide = true)]
    Publisher(parts::publisher::Arguments),
    /// The raw sender (started by `run`).
    #[command(hide = true)]
    Raw(parts::raw::Arguments),
    /// A bare client with idle TLS connections (started by `run`).
    #[command(hide = true)]
    RawIdle(parts::raw::idle::Arguments),
    /// The callers that pull deliveries (started by `run`).
    #[command(hide = true)]
    Pullers(parts::pullers::Arguments),
    /// The streams that watch deliveries (started by `run`).
    #[command(hide = true)]
    Watchers(parts::watchers::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(arguments) => suite::run(arguments),
        Command::Charts(arguments) => report::charts::run(&arguments),
        Command::Guard(arguments) => suite::guard::run(arguments),
        Command::Sink(arguments) => parts::sink::run(&arguments),
        Command::Publisher(arguments) => parts::publisher::run(&arguments),
        Command::Raw(arguments) => parts::raw::run(&arguments),
        Command::RawIdle(arguments) => parts::raw::idle::run(&arguments),
        Command::Pullers(arguments) => parts::pullers::run(&arguments),
        Command::Watchers(arguments) => parts::watchers::run(&arguments),
    }
}
