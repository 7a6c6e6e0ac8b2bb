//! The latency of publish calls, and the time until the webhook arrives, at a moderate rate.

use std::collections::HashMap;

use anyhow::Context as _;

use super::super::{
    Figures, Store,
    figures::{fdatasync_us, percentile, read_triples, sorted},
    world::{Sink, Site, World, publish, wait_for},
};
use super::throughput::install;
use crate::parts::{
    child::Part,
    messages::{How, Publish, Template},
};

pub(super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let mut world = World::start(site, store).await?;
    let templates = install(&world, 1).await?;
    let mut publisher = world.publisher()?;
    let fdatasync = fdatasync_us(world.directory.path())?;
    let count = site.profile.pick(1_000, 4_000);
    steady(&mut world, &mut publisher, &templates, 200.0, 200).await?;
    let times = steady(&mut world, &mut publisher, &templates, 200.0, count).await?;
    let publish = sorted(times.iter().map(|time| time.acknowledged_us));
    let arrival = arrivals(&times);
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

/// The times of one event.
pub(super) struct Times {
    /// When the call began, in microseconds since the epoch.
    pub(super) called_us: i64,
    /// From the call to the acknowledgement.
    pub(super) acknowledged_us: i64,
    /// From the call to the arrival.
    pub(super) arrived_us: i64,
}

/// The times from the calls to the arrivals, sorted.
pub(super) fn arrivals<'a>(times: impl IntoIterator<Item = &'a Times>) -> Vec<f64> {
    sorted(times.into_iter().map(|time| time.arrived_us))
}

/// Publishes at a steady rate, waits for every arrival at the world's sink, and returns the times of each event. Each
/// event must be owed to one webhook.
pub(super) async fn steady(
    world: &mut World,
    publisher: &mut Part,
    templates: &[Template],
    per_second: f64,
    count: usize,
) -> anyhow::Result<Vec<Times>> {
    let command = Publish::new(How::Steady { per_second }, count, templates);
    timed(&mut world.sink, publisher, command).await
}

/// The same for any sink and any way to publish.
pub(super) async fn timed(sink: &mut Sink, publisher: &mut Part, command: Publish) -> anyhow::Result<Vec<Times>> {
    // Arrivals are not cleared, so that repeats of earlier deliveries count as duplicates.
    let before = sink.stats().await?.deliveries;
    let directory = tempfile::tempdir()?;
    let calls = directory.path().join("calls");
    let command = Publish {
        calls: Some(calls.clone()),
        ..command
    };
    let published = publish(publisher, &command).await?;
    wait_for(&mut sink.part, before + published.deliveries).await?;
    let arrived: HashMap<i64, i64> = sink
        .arrivals()
        .await?
        .into_iter()
        .map(|[_, event, at]| (event, at))
        .collect();
    let times = read_triples(&calls)?
        .into_iter()
        .map(|[event, called_us, acknowledged]| {
            let arrived = arrived.get(&event).context("an event did not arrive")?;
            Ok(Times {
                called_us,
                acknowledged_us: acknowledged - called_us,
                arrived_us: arrived - called_us,
            })
        });
    times.collect()
}
