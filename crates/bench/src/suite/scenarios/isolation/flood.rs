//! One organization publishes all it can, and twenty others trickle.

use std::cell::Cell;

use super::{
    super::{
        super::{
            Figures, Store,
            world::{HOSTS, Setup, Site, World, publish, sink, subscription, wait_for},
        },
        latency::steady,
        throughput::STREAM,
    },
    WARM_S, compared, verified,
};
use crate::parts::messages::{Publish, Template};

/// Organizations that trickle, and events a second of each.
const TRICKLING: usize = 20;
const PER_SECOND: usize = 5;

pub(in super::super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let (alone_s, beside_s, batch) = site.profile.pick((1, 1, 500), (15, 15, 20_000));
    let setup = Setup {
        hosts: TRICKLING,
        ..Setup::default()
    };
    let mut world = World::start_as(site, store, &setup).await?;
    let mut others = sink(HOSTS, &[]).await?;
    let organizations = world.organizations("trickle", TRICKLING).await?;
    let loud = world.organizations("loud", 1).await?.remove(0);
    let event_types = world.event_types(HOSTS).await?;
    let mut webhooks = Vec::new();
    for (host, organization) in organizations.iter().enumerate() {
        let url = world.sink.url(host, "/payload");
        webhooks.push((organization.clone(), subscription(url, &event_types[0])));
    }
    for (host, event_type) in event_types.iter().enumerate() {
        webhooks.push((loud.clone(), subscription(others.url(host, "/payload"), event_type)));
    }
    world.create_all(webhooks).await?;
    let trickle: Vec<Template> = organizations
        .iter()
        .map(|one| Template::new(one, &event_types[0]))
        .collect();
    let flood: Vec<Template> = event_types.iter().map(|one| Template::new(&loud, one)).collect();
    let flood = Publish::new(STREAM, batch, &flood);
    let (mut publisher, mut second) = (world.publisher()?, world.publisher()?);
    let rate = TRICKLING * PER_SECOND;
    let per_second = rate as f64;
    steady(&mut world, &mut publisher, &trickle, per_second, rate * WARM_S).await?;
    let alone = steady(&mut world, &mut publisher, &trickle, per_second, rate * alone_s).await?;
    let over = Cell::new(false);
    let flooding = async {
        let mut owed = 0;
        while !over.get() {
            owed += publish(&mut second, &flood).await?.deliveries;
        }
        anyhow::Ok(owed)
    };
    let trickling = async {
        let times = steady(&mut world, &mut publisher, &trickle, per_second, rate * beside_s).await;
        over.set(true);
        times
    };
    let (owed, times) = tokio::join!(flooding, trickling);
    let (owed, times) = (owed?, times?);
    wait_for(&mut others.part, owed).await?;
    let mut figures = compared(&alone, &times);
    figures.extend([("flood_events", owed as f64)]);
    figures.extend(verified(&mut world, &mut others).await?);
    Ok(figures)
}
