//! `hookwright-torture`: see [`hookwright_torture`].

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use hookwright_torture::{Outcome, PowerLoss, aged, checker::Verdict, kills, power_loss, rolling, run, torture};

/// Makes faults, and checks that no accepted event is lost
#[derive(Parser)]
#[command(name = "hookwright-torture", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make faults for a while, then check
    Run {
        /// How many seconds faults are made
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Kill one of the nodes several times, and measure how long the other nodes take to take over
    Kills {
        /// How many times
        #[arg(long, default_value_t = 10)]
        count: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Restart the nodes one at a time under load
    Rolling {
        /// The number of rounds
        #[arg(long, default_value_t = 2)]
        rounds: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Reconstruct SQLite's files as they could be after a loss of power, and check that acknowledged events are in
    /// them
    PowerLoss {
        /// The number of events to publish
        #[arg(long, default_value_t = 1_500)]
        events: usize,
        /// The number of moments to check
        #[arg(long, default_value_t = 20)]
        points: usize,
        /// The number of moments with a server that is started on the files, and must deliver everything in them
        #[arg(long, default_value_t = 5)]
        started: usize,
        /// The seed of the moments, and of the lost writes
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The server (default: hookwright beside this program)
        #[arg(long)]
        server: Option<PathBuf>,
        /// Plant a bug in the server, which must be detected: ack-before-commit, early-watermark
        #[arg(long)]
        plant: Option<String>,
    },
    /// Build an installation that months would build, then restart, kill, upgrade, shorten, discard, delete and fill
    /// the disk under load
    Aged {
        /// The store
        #[arg(long, value_enum, default_value_t = Store::Sqlite)]
        store: Store,
        /// The size: small takes about a minute, full an hour
        #[arg(long, value_enum, default_value_t = Size::Full)]
        scale: Size,
        /// The number of nodes, on PostgreSQL
        #[arg(long, default_value_t = 2)]
        nodes: usize,
        /// The seed of the payloads
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Only the steps whose names have this prefix, after the first start; repeatable
        #[arg(long = "step", value_name = "NAME")]
        steps: Vec<String>,
        /// The server, a development build (default: hookwright beside this program)
        #[arg(long)]
        server: Option<PathBuf>,
        /// The directory of the history and the report
        #[arg(long, default_value = "target/torture-aged")]
        out: PathBuf,
    },
    /// Check the history of a run again
    Check {
        /// The directory of the history
        directory: PathBuf,
    },
}

#[derive(Args)]
struct Common {
    /// The number of nodes, on PostgreSQL
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// The store
    #[arg(long, value_enum, default_value_t = Store::Postgres)]
    store: Store,
    /// The seed of the faults and payloads
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server, a development build (default: hookwright beside this program)
    #[arg(long)]
    server: Option<PathBuf>,
    /// The directory of the history and the report
    #[arg(long, default_value = "target/torture")]
    out: PathBuf,
    /// Plant a bug in the servers, which must be detected: ack-before-commit, forget-adopted-batch, wall-clock-due,
    /// old-connection
    #[arg(long)]
    plant: Option<String>,
    /// The pause of each of the six publishers between two calls, in milliseconds
    #[arg(long, default_value_t = 80)]
    pause_ms: u64,
    /// Omit the callers that leave in the middle of their calls
    #[arg(long)]
    without_leavers: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    Sqlite,
    Postgres,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Size {
    Small,
    Full,
}

impl Common {
    fn options(self, seconds: u64) -> anyhow::Result<run::Options> {
        let beside = std::env::current_exe()?.with_file_name("hookwright");
        Ok(run::Options {
            server: self.server.unwrap_or(beside),
            seconds,
            nodes: self.nodes.max(1),
            postgres: self.store == Store::Postgres,
            seed: self.seed,
            out: self.out,
            plant: self.plant,
            pause: Duration::from_millis(self.pause_ms),
            leavers: !self.without_leavers,
            verbose: true,
        })
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match Cli::parse().command {
        Command::Run { seconds, common } => {
            let verdict = runtime.block_on(torture(&common.options(seconds)?))?;
            Ok(tell(&verdict))
        }
        Command::Kills { count, common } => {
            let (times, verdict) = runtime.block_on(kills(&common.options(0)?, count))?;
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            println(&format!(
                "until all deliveries of a killed node had arrived: median {median} ms, all {times:?}"
            ));
            Ok(tell(&verdict))
        }
        Command::Rolling { rounds, common } => {
            let (acknowledged, failed, verdict) = runtime.block_on(rolling(&common.options(0)?, rounds))?;
            println(&format!(
                "{acknowledged} events published, 0 given up; {failed} tries were repeated on another node"
            ));
            Ok(tell(&verdict))
        }
        Command::PowerLoss {
            events,
            points,
            started,
            seed,
            server,
            plant,
        } => {
            let beside = std::env::current_exe()?.with_file_name("hookwright");
            let server = server.unwrap_or(beside);
            let options = PowerLoss {
                events,
                points,
                started,
                seed,
                plant,
            };
            let outcome = runtime.block_on(power_loss(&server, &options))?;
            Ok(tell_power_loss(&outcome, &options))
        }
        Command::Aged {
            store,
            scale,
            nodes,
            seed,
            steps,
            server,
            out,
        } => {
            let beside = std::env::current_exe()?.with_file_name("hookwright");
            let options = aged::Options {
                steps,
                server: server.unwrap_or(beside),
                postgres: store == Store::Postgres,
                nodes: nodes.max(1),
                seed,
                scale: match scale {
                    Size::Small => aged::Scale::small(),
                    Size::Full => aged::Scale::full(),
                },
                out,
                verbose: true,
            };
            let report = runtime.block_on(aged::aged(&options))?;
            println(&report.table());
            Ok(exit_code(report.is_kept()))
        }
        Command::Check { directory } => Ok(tell(&run::verdict(&directory)?)),
    }
}

fn tell_power_loss(outcome: &Outcome, options: &PowerLoss) -> ExitCode {
    println(&format!(
        "{} events acknowledged, {} writes; {} moments, {} writes dropped or torn; \
         {} deliveries resumed on {} images; {} breaches",
        outcome.acknowledged,
        outcome.writes,
        options.points,
        outcome.dropped,
        outcome.resumed,
        options.started.min(options.points),
        outcome.lost.len()
    ));
    outcome.lost.iter().take(20).for_each(|line| println(line));
    exit_code(outcome.lost.is_empty())
}

fn tell(verdict: &Verdict) -> ExitCode {
    println(&verdict.table());
    exit_code(verdict.is_kept())
}

fn exit_code(is_kept: bool) -> ExitCode {
    if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "the output that the command was asked for")]
fn println(text: &str) {
    println!("{text}");
}
