//! The cost of a hanging webhook for the others, which should be zero.

use super::super::{
    Figures, Store,
    figures::{percentile, sorted},
    world::{ORGANIZATION, PAYLOAD_BYTES, Site, World, publish},
};
use super::{latency::steady, throughput::STREAM};
use crate::parts::{
    child::Part,
    messages::{Behaviour, Publish},
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
    let mut world = World::start_with(site, store, WEBHOOKS, &[]).await?;
    let event_types = world.event_types(WEBHOOKS).await?;
    for (host, event_type) in event_types.iter().enumerate() {
        world.webhook(host, event_type).await?;
    }
    let (healthy, hanging) = event_types.split_at(WEBHOOKS - 1);
    let (mut publisher, mut noise) = (world.publisher()?, world.publisher()?);
    let count = site.profile.pick(2_500, 5_000);
    steady(&mut world, &mut publisher, healthy, PER_SECOND, 500).await?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    alone.extend(steady(&mut world, &mut publisher, healthy, PER_SECOND, count).await?);
    world.behave(WEBHOOKS - 1, Behaviour::Hang).await?;
    noisy(&mut noise, hanging, waiting).await?;
    // The hanging webhook keeps getting its share of the events.
    let share = noisy_share(&mut noise, hanging, count);
    let (times, shared) = tokio::join!(steady(&mut world, &mut publisher, healthy, PER_SECOND, count), share);
    beside.extend(times?);
    shared?;
    let alone = sorted(alone.iter().map(|time| time.arrived_us));
    let beside = sorted(beside.iter().map(|time| time.arrived_us));
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
    ]))
}

/// Events that are pending for the hanging webhook from the start.
async fn noisy(publisher: &mut Part, hanging: &[String], count: usize) -> anyhow::Result<()> {
    let command = Publish {
        how: STREAM,
        count,
        organization: ORGANIZATION.to_owned(),
        event_types: hanging.to_vec(),
        payload_bytes: PAYLOAD_BYTES,
        calls: None,
    };
    if count > 0 {
        publish(publisher, &command).await?;
    }
    Ok(())
}

async fn noisy_share(publisher: &mut Part, hanging: &[String], healthy_count: usize) -> anyhow::Result<()> {
    let share = (healthy_count / (WEBHOOKS - 1)).max(1);
    let command = Publish {
        how: crate::parts::messages::How::Steady {
            per_second: PER_SECOND / WEBHOOKS as f64,
        },
        count: share,
        organization: ORGANIZATION.to_owned(),
        event_types: hanging.to_vec(),
        payload_bytes: PAYLOAD_BYTES,
        calls: None,
    };
    publish(publisher, &command).await?;
    Ok(())
}
