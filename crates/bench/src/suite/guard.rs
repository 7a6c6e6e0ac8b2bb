//! The guard against regressions: CPU time per delivery as a ratio to the raw sender, measured within the same minute,
//! compared with a recorded baseline. Unlike rates, ratios are stable on a shared machine.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;

use super::{
    Profile, Store, Summary, default_server, eprint, println,
    scenarios::guarded,
    world::{Site, World},
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The recorded ratios.
    #[arg(long, default_value = "crates/bench/baseline.json")]
    baseline: PathBuf,
    /// Write the ratios measured now instead of comparing.
    #[arg(long)]
    record: bool,
    /// How many pairs of measurements the median is computed from.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// How far a ratio may exceed the baseline, as a part of the baseline.
    #[arg(long, default_value_t = 0.15)]
    margin: f64,
    /// The server to measure (default: hookwright beside this program).
    #[arg(long)]
    server: Option<PathBuf>,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let measured = runtime.block_on(measure(&arguments))?;
    if arguments.record {
        let text = serde_json::to_string_pretty(&measured)?;
        std::fs::write(&arguments.baseline, text + "\n")?;
        return Ok(());
    }
    let baseline: BTreeMap<String, f64> = serde_json::from_slice(&std::fs::read(&arguments.baseline)?)?;
    let mut worse = Vec::new();
    for (name, ratio) in &measured {
        let Some(recorded) = baseline.get(name) else { continue };
        let limit = recorded * (1.0 + arguments.margin);
        println(&format!(
            "{name:<24} {ratio:>6.2} times raw; recorded {recorded:.2}, limit {limit:.2}"
        ));
        if *ratio > limit {
            worse.push(name.as_str());
        }
    }
    anyhow::ensure!(
        worse.is_empty(),
        "a delivery costs more CPU than recorded: {}",
        worse.join(", ")
    );
    Ok(())
}

async fn measure(arguments: &Arguments) -> anyhow::Result<BTreeMap<String, f64>> {
    let server = arguments.server.clone().map_or_else(default_server, Ok)?;
    let mut site = Site::new(server, Profile::Quick);
    let mut measured = BTreeMap::new();
    for store in [Store::Sqlite, Store::Postgres] {
        let mut world = World::start(&mut site, store).await?;
        let ratios = guarded(&mut world, arguments.pairs.max(1)).await?;
        eprint(&format!("{}: {ratios:.2?}", store.name()));
        measured.insert(format!("fanout1_stream_{}", store.name()), Summary::of(ratios).median);
    }
    Ok(measured)
}
