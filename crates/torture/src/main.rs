//! `hookwright-torture`: see [`hookwright_torture`].

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use hookwright_torture::{PowerLoss, aged, checker::Verdict, kills, power_loss, rolling, run};

/// Makes faults, and checks that nothing accepted is lost
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
        /// For how long faults are made
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Kill one of the nodes again and again, and measure how long it takes until the others have taken over
    Kills {
        /// How often
        #[arg(long, default_value_t = 10)]
        count: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Restart one node after the other under load
    Rolling {
        /// How many rounds
        #[arg(long, default_value_t = 2)]
        rounds: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Put SQLite's files together as they could be after a loss of power, and look for what was acknowledged
    PowerLoss {
        /// How many events to publish
        #[arg(long, default_value_t = 1_500)]
        events: usize,
        /// How many moments to look at
        #[arg(long, default_value_t = 20)]
        points: usize,
        /// On how many of them a server is started, which must deliver whatever is there
        #[arg(long, default_value_t = 5)]
        started: usize,
        /// Decides the moments, and what is lost
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The server; hookwright beside this program unless told
        #[arg(long)]
        server: Option<PathBuf>,
        /// Plant a bug in the server, to see it found: ack-before-commit, early-checkpoint
        #[arg(long)]
        plant: Option<String>,
    },
    /// Build what months would build, then restart, kill, upgrade, cut back, discard, delete and fill the disk under load
    Aged {
        /// Where it is stored
        #[arg(long, value_enum, default_value_t = Store::Sqlite)]
        store: Store,
        /// How much there is: small takes about a minute, full an hour
        #[arg(long, value_enum, default_value_t = Size::Full)]
        scale: Size,
        /// How many nodes, on PostgreSQL
        #[arg(long, default_value_t = 2)]
        nodes: usize,
        /// Decides payloads
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Only the steps whose name begins so, after the first start; repeatable
        #[arg(long = "step", value_name = "NAME")]
        steps: Vec<String>,
        /// The server: a build for development; hookwright beside this program unless told
        #[arg(long)]
        server: Option<PathBuf>,
        /// Where history and report go
        #[arg(long, default_value = "target/torture-aged")]
        out: PathBuf,
    },
    /// Check the history of a run again
    Check {
        /// Its directory
        directory: PathBuf,
    },
}

#[derive(Args)]
struct Common {
    /// How many nodes, on PostgreSQL
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Where they store
    #[arg(long, value_enum, default_value_t = Store::Postgres)]
    store: Store,
    /// Decides faults and payloads
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server: a build for development; hookwright beside this program unless told
    #[arg(long)]
    server: Option<PathBuf>,
    /// Where history and report go
    #[arg(long, default_value = "target/torture")]
    out: PathBuf,
    /// Plant a bug in the servers, to see it found: ack-before-commit, forget-adopted-batch, wall-clock-due,
    /// old-connection
    #[arg(long)]
    plant: Option<String>,
    /// How long each of the six publishers pauses between two calls, in milliseconds
    #[arg(long, default_value_t = 80)]
    pause_ms: u64,
    /// Leave out the callers that leave in the middle of their calls
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
            let verdict = runtime.block_on(run::torture(&common.options(seconds)?))?;
            Ok(tell(&verdict))
        }
        Command::Kills { count, common } => {
            let (times, verdict) = runtime.block_on(kills(&common.options(0)?, count))?;
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            println(&format!(
                "until everything of a killed node had arrived: median {median} ms, all {times:?}"
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
            println(&format!(
                "{} events acknowledged, {} writes; {points} moments, {} writes dropped or torn; \
                 {} deliveries resumed on {} images; {} breaches",
                outcome.acknowledged,
                outcome.writes,
                outcome.dropped,
                outcome.resumed,
                started.min(points),
                outcome.lost.len()
            ));
            outcome.lost.iter().take(20).for_each(|line| println(line));
            Ok(if outcome.lost.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
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
            Ok(if report.is_kept() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Check { directory } => Ok(tell(&run::verdict(&directory)?)),
    }
}

fn tell(verdict: &Verdict) -> ExitCode {
    println(&verdict.table());
    if verdict.is_kept() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[expect(clippy::print_stdout, reason = "what the command was asked for")]
fn println(text: &str) {
    println!("{text}");
}
