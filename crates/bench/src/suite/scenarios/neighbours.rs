//! The cost of a hanging webhook for the others, which should be zero.

use super::super::{
    Figures, Store,
    figures::percentile,
    world::{Setup, Site, World, publish, templates},
};
use super::{
    latency::{arrivals, steady},
    throughput::STREAM,
};
use crate::parts::{
    child::Part,
    messages::{Behaviour, How, Publish, Template},
};

/// How many webhooks there are. The last one hangs.
const WEBHOOKS: usize = 100;
/// Events a second, over all webhooks.
const PER_SECOND: f64 = 500.0;

pub(super) async fn noisy_neighbour(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    run(site, store, 0).await
}

pub(super) async fn noisy_backlog(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    run(site, store, 10_000).await
}

/// The healthy webhooks' arrivals without and with the hanging one, alternating within one installation, so that noise
/// of the machine affects both equally.
async fn run(site: &mut Site, store: Store, waiting: usize) -> anyhow::Result<Figures> {
    let setup = Setup {
        hosts: WEBHOOKS,
        ..Setup::default()
    };
    let mut world = World::start_as(site, store, &setup).await?;
    let event_types = world.event_types(WEBHOOKS).await?;
    for (host, event_type) in event_types.iter().enumerate() {
        world.webhook(host, event_type).await?;
    }
    let templates = templates(&event_types);
    let (healthy, hanging) = templates.split_at(WEBHOOKS - 1);
    let (mut publisher, mut noise) = (world.publisher()?, world.publisher()?);
    let count = site.profile.pick(2_500, 5_000);
    steady(&mut world, &mut publisher, healthy, PER_SECOND, 500).await?;
    let alone = steady(&mut world, &mut publisher, healthy, PER_SECOND, count).await?;
    world.behave(WEBHOOKS - 1, Behaviour::Hang).await?;
    noisy(&mut noise, hanging, waiting).await?;
    // The hanging webhook keeps getting its share of the events.
    let share = noisy_share(&mut noise, hanging, count);
    let (times, shared) = tokio::join!(steady(&mut world, &mut publisher, healthy, PER_SECOND, count), share);
    shared?;
    let (alone, beside) = (arrivals(&alone), arrivals(&times?));
    let duplicates = world.sink.stats().await?.duplicates;
    Ok(Figures::from([
        ("arrival_alone_p50_us", percentile(&alone, 0.5)),
        ("arrival_alone_p99_us", percentile(&alone, 0.99)),
        ("arrival_p50_us", percentile(&beside, 0.5)),
        ("arrival_p99_us", percentile(&beside, 0.99)),
        (
            "healthy_p99_ratio",
            percentile(&beside, 0.99) / percentile(&alone, 0.99),
        ),
        ("lost", 0.0),
        ("duplicates", duplicates as f64),
    ]))
}

/// Events that are pending for the hanging webhook from the start.
async fn noisy(publisher: &mut Part, hanging: &[Template], count: usize) -> anyhow::Result<()> {
    if count > 0 {
        publish(publisher, &Publish::new(STREAM, count, hanging)).await?;
    }
    Ok(())
}

async fn noisy_share(publisher: &mut Part, hanging: &[Template], healthy_count: usize) -> anyhow::Result<()> {
    let per_second = PER_SECOND / WEBHOOKS as f64;
    let share = (healthy_count / (WEBHOOKS - 1)).max(1);
    publish(publisher, &Publish::new(How::Steady { per_second }, share, hanging)).await?;
    Ok(())
}
