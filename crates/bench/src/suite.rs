//! The scenarios: each runs a few times on a new installation, and returns figures only if every accepted event
//! arrived.

pub(crate) mod guard;
mod scenarios;
mod world;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use self::{
    scenarios::{SCENARIOS, Scenario},
    world::Site,
};
use crate::report::{Report, ScenarioReport};
pub(crate) use crate::{
    console::{eprint, println},
    figures::{self, Figures, Summary},
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The profile: quick takes a few minutes and omits the long scenarios, full takes an hour and a half.
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,
    /// Run only these scenarios, also those that the quick profile omits. `fanout1` means all whose names begin with
    /// `fanout1_`.
    #[arg(long = "scenario", value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Print the names of the scenarios, and exit.
    #[arg(long)]
    list: bool,
    /// Run only on this store.
    #[arg(long, value_enum)]
    store: Option<Store>,
    /// How often each scenario runs; figures are medians (default: 1 if quick; if full 3, and 1 for long ones).
    #[arg(long)]
    runs: Option<usize>,
    /// The server to measure (default: hookwright beside this program).
    #[arg(long)]
    server: Option<PathBuf>,
    /// The directory of the report.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

impl Arguments {
    /// Without a selection, the quick profile runs the quick scenarios only.
    fn wants(&self, scenario: &Scenario) -> bool {
        if self.scenarios.is_empty() {
            return scenario.quick || self.profile == Profile::Full;
        }
        self.scenarios.iter().any(|name| scenario.is_named(name))
    }
}

/// How much is published, stored and waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Small numbers, which show the shape of the result.
    Quick,
    /// The numbers that the targets apply to.
    Full,
}

impl Profile {
    /// A number that depends on the profile.
    pub(crate) fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.pick("quick", "full")
    }
}

/// The store of the measured server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// The embedded store.
    Sqlite,
    /// A PostgreSQL cluster that the suite starts.
    Postgres,
}

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// The default path of the server binary.
fn default_server() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let beside = program.with_file_name("hookwright");
    anyhow::ensure!(beside.exists(), "{} is not built: use make bench", beside.display());
    Ok(beside)
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.list {
        for scenario in SCENARIOS {
            println(scenario.name);
        }
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let report = runtime.block_on(run_all(&arguments))?;
    report.write(&arguments.out)?;
    println(&report.table());
    println(&format!("Report: {}", arguments.out.join("report.json").display()));
    anyhow::ensure!(report.failures.is_empty(), "{} scenarios failed", report.failures.len());
    Ok(())
}

/// A failed scenario does not keep the others from running.
async fn run_all(arguments: &Arguments) -> anyhow::Result<Report> {
    for name in &arguments.scenarios {
        let known = SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>();
        anyhow::ensure!(
            SCENARIOS.iter().any(|scenario| scenario.is_named(name)),
            "no scenario `{name}`; there are {}",
            known.join(", ")
        );
    }
    let server = arguments.server.clone().map_or_else(default_server, Ok)?;
    let mut site = Site::new(server, arguments.profile);
    let mut report = Report::new(arguments.profile.name());
    for scenario in SCENARIOS.iter().filter(|scenario| arguments.wants(scenario)) {
        for store in [Store::Sqlite, Store::Postgres] {
            let wanted = arguments.store.is_none_or(|only| only == store) && scenario.runs_on(store);
            if !wanted {
                continue;
            }
            match run_one(arguments, &mut site, scenario, store).await {
                Ok(figures) => {
                    let scenario = ScenarioReport::new(scenario.name, store.name(), &figures);
                    eprint(&scenario.lines());
                    report.scenarios.push(scenario);
                }
                Err(error) => {
                    eprint(&format!("{} on {} failed: {error:#}", scenario.name, store.name()));
                    report.fail(scenario.name, store.name(), &error);
                }
            }
            // The report is written after each scenario, so that an interruption loses only one.
            report.write(&arguments.out)?;
        }
    }
    Ok(report)
}

/// The figures of each run of a scenario on a store.
async fn run_one(
    arguments: &Arguments,
    site: &mut Site,
    scenario: &Scenario,
    store: Store,
) -> anyhow::Result<Vec<Figures>> {
    let usual = arguments.profile.pick(1, scenario.runs);
    let runs = arguments.runs.unwrap_or(usual).max(1);
    let mut figures = Vec::with_capacity(runs);
    for run in 1..=runs {
        eprint(&format!(
            "{} on {}, run {run} of {runs} ...",
            scenario.name,
            store.name()
        ));
        figures.push(scenario.run(site, store).await?);
    }
    Ok(figures)
}
