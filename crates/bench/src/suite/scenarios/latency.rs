//! The latency of publish calls, and the time until the webhook arrives, at a moderate rate.

use std::collections::HashMap;

use super::super::{
    Figures, Store,
    figures::{fdatasync_us, percentile, read_triples, sorted},
    world::{ORGANIZATION, PAYLOAD_BYTES, Site, World, publish},
};
use super::throughput::install;
use crate::parts::{
    child::Part,
    messages::{How, Publish, SinkCommand, SinkStats},
};

pub(super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let mut world = World::start(site, store).await?;
    let event_types = install(&world, 1).await?;
    let mut publisher = world.publisher()?;
    let fdatasync = fdatasync_us(world.directory.path())?;
    let count = site.profile.pick(1_000, 4_000);
    steady(&mut world, &mut publisher, &event_types, 200.0, 200).await?;
    let times = steady(&mut world, &mut publisher, &event_types, 200.0, count).await?;
    let publish = sorted(times.iter().map(|time| time.acknowledged_us));
    let arrival = sorted(times.iter().map(|time| time.arrived_us));
    Ok(Figures::from([
        ("fdatasync_us", fdatasync),
        ("publish_p50_us", percentile(&publish, 0.5)),
        ("publish_p99_us", percentile(&publish, 0.99)),
        ("arrival_p50_us", percentile(&arrival, 0.5)),
        ("arrival_p99_us", percentile(&arrival, 0.99)),
        ("publish_p50_in_fdatasyncs", percentile(&publish, 0.5) / fdatasync),
        ("arrival_p50_in_fdatasyncs", percentile(&arrival, 0.5) / fdatasync),
        ("lost", 0.0),
    ]))
}

/// The times from the call to the acknowledgement and to the arrival of one event.
pub(super) struct Times {
    pub(super) acknowledged_us: i64,
    pub(super) arrived_us: i64,
}

/// Publishes at a steady rate, waits for every arrival, and returns the times of each event.
pub(super) async fn steady(
    world: &mut World,
    publisher: &mut Part,
    event_types: &[String],
    per_second: f64,
    count: usize,
) -> anyhow::Result<Vec<Times>> {
    world.reset_sink().await?;
    let calls = world.directory.path().join("calls");
    let command = Publish {
        how: How::Steady { per_second },
        count,
        organization: ORGANIZATION.to_owned(),
        event_types: event_types.to_vec(),
        payload_bytes: PAYLOAD_BYTES,
        calls: Some(calls.clone()),
    };
    let published = publish(publisher, &command).await?;
    world.wait_for(published.deliveries).await?;
    let arrivals = world.directory.path().join("arrivals");
    let _: SinkStats = world.sink.ask(&SinkCommand::Write { path: arrivals.clone() }).await?;
    let arrived: HashMap<i64, i64> = read_triples(&arrivals)?
        .into_iter()
        .map(|[_, event, at]| (event, at))
        .collect();
    let times = read_triples(&calls)?
        .into_iter()
        .filter_map(|[event, called, acknowledged]| {
            let arrived = arrived.get(&event)?;
            Some(Times {
                acknowledged_us: acknowledged - called,
                arrived_us: arrived - called,
            })
        });
    Ok(times.collect())
}
