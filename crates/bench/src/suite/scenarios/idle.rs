//! The cost of an idle server.

use std::time::Duration;

use super::super::{
    Figures, Store,
    world::{Site, World},
};
use super::throughput::install;
use crate::usage;

pub(super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let world = World::start(site, store).await?;
    install(&world, 1).await?;
    // The pings of the webhooks are done, and their connections are still open.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = world.cpu()?;
    let time = Duration::from_secs(site.profile.pick(10, 60));
    tokio::time::sleep(time).await;
    let used = world.cpu()?.server - before.server;
    Ok(Figures::from([
        ("rss_mib", usage::rss_mib(world.server.pid(), false)?),
        ("cpu_percent_of_a_core", 100.0 * used.as_secs_f64() / time.as_secs_f64()),
        ("lost", 0.0),
    ]))
}
