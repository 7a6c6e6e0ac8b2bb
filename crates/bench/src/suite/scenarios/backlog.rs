//! A large backlog of failing webhooks: its memory, and the time until a server that starts with it is ready.

use std::time::{Duration, Instant};

use super::super::{
    Figures, Store,
    world::{HOSTS, Site, World, publish},
};
use super::throughput::{STREAM, install};
use crate::{
    parts::messages::{Behaviour, Publish},
    usage,
};

/// Publishes to webhooks that all fail.
async fn failing(site: &mut Site, store: Store) -> anyhow::Result<(World, usize)> {
    let count = site.profile.pick(50_000, 1_000_000);
    let mut world = World::start(site, store).await?;
    let templates = install(&world, 1).await?;
    for host in 0..HOSTS {
        world.behave(host, Behaviour::Fail).await?;
    }
    let mut publisher = world.publisher()?;
    publish(&mut publisher, &Publish::new(STREAM, count, &templates)).await?;
    Ok((world, count))
}

pub(super) async fn memory(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let (world, count) = failing(site, store).await?;
    let after_publish = usage::rss_mib(world.server.pid(), false)?;
    tokio::time::sleep(Duration::from_secs(site.profile.pick(3, 20))).await;
    Ok(Figures::from([
        ("pending", count as f64),
        ("rss_after_publish_mib", after_publish),
        ("rss_mib", usage::rss_mib(world.server.pid(), false)?),
        ("rss_peak_mib", usage::rss_mib(world.server.pid(), true)?),
        ("lost", 0.0),
    ]))
}

pub(super) async fn start(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let (mut world, count) = failing(site, store).await?;
    world.server.kill9().await?;
    let begun = Instant::now();
    world.server.restart().await?;
    let ready = begun.elapsed();
    // All events that were acknowledged before the kill arrive when the receivers work again.
    for host in 0..HOSTS {
        world.behave(host, Behaviour::Accept).await?;
    }
    let stats = world.wait_for(count as u64).await?;
    Ok(Figures::from([
        ("pending", count as f64),
        ("ready_ms", ready.as_secs_f64() * 1e3),
        ("rss_peak_mib", usage::rss_mib(world.server.pid(), true)?),
        ("lost", 0.0),
        ("duplicates", stats.duplicates as f64),
    ]))
}
