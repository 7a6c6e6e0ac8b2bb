//! Many callers with one call per event each, compared with 64 callers.

use super::{
    super::{
        Figures, Store,
        world::{Site, World},
    },
    throughput::{UNARY, install, measure},
};
use crate::parts::messages::{How, Publish};

/// The callers, and the connections that they share: as many as twenty services with 50 calls in flight each.
const CALLERS: usize = 1_000;
const CONNECTIONS: usize = 20;

pub(super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let events = site.profile.pick(2_000, 100_000);
    let mut world = World::start(site, store).await?;
    let few = Publish::new(UNARY, events, &install(&world, 1).await?);
    let many = Publish {
        how: How::Unary { callers: CALLERS },
        connections: CONNECTIONS,
        ..few.clone()
    };
    let mut publisher = world.publisher()?;
    let few = measure(&mut world, &mut publisher, &few).await?;
    let many = measure(&mut world, &mut publisher, &many).await?;
    let mut figures = many.own_figures();
    figures.extend([
        ("deliveries_per_s_with_64", few.per_second()),
        ("rate_ratio_to_64", many.per_second() / few.per_second()),
        ("cpu_ratio_to_64", many.cost() / few.cost()),
    ]);
    Ok(figures)
}
