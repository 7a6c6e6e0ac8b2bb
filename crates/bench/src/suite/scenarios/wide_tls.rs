//! Many webhooks on many addresses, over TLS 1.3, whose receivers answer after a delay, as distant ones do. Two figures
//! matter: the rate compared with receivers that answer at once, and the memory of what is open meanwhile.

mod memory;

use super::{
    super::{
        Figures, Store,
        world::{Setup, Site, World, subscription},
    },
    throughput::{Measured, STREAM, measure},
};
use crate::parts::{
    child::Part,
    messages::{Behaviour, Publish, Template},
};
use hookwright_proto::v1::Webhook;

/// The size of the scenario.
struct Scale {
    addresses: usize,
    per_address: usize,
    /// Webhooks of each organization.
    per_organization: usize,
    /// Events to receivers that answer at once; twice as many to those that answer late.
    events: usize,
    delay_ms: u32,
    /// Attempts that are in flight at the same time, for each webhook.
    in_flight_each: usize,
    in_flight_delay_ms: u32,
    /// Idle connections of the bare client.
    idle: usize,
}

const QUICK: Scale = Scale {
    addresses: 4,
    per_address: 5,
    per_organization: 10,
    events: 500,
    delay_ms: 100,
    in_flight_each: 3,
    in_flight_delay_ms: 1_500,
    idle: 50,
};
const FULL: Scale = Scale {
    addresses: 200,
    per_address: 10,
    per_organization: 100,
    events: 60_000,
    delay_ms: 100,
    in_flight_each: 6,
    in_flight_delay_ms: 15_000,
    idle: 2_000,
};

/// Longer than the delay of the attempts that are in flight at the same time.
const TIMEOUT: prost_types::Duration = prost_types::Duration { seconds: 30, nanos: 0 };

pub(super) async fn http1(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    run(site, store, "http1").await
}

pub(super) async fn http2(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    run(site, store, "http2").await
}

async fn run(site: &mut Site, store: Store, protocol: &str) -> anyhow::Result<Figures> {
    let scale = site.profile.pick(QUICK, FULL);
    let setup = Setup {
        hosts: scale.addresses,
        sink: &["--spread", "--tls", protocol],
        ..Setup::default()
    };
    let mut world = World::start_as(site, store, &setup).await?;
    let templates = install(&world, &scale).await?;
    let mut publisher = world.publisher()?;
    let mut load = Publish::new(STREAM, scale.events, &templates);
    let (at_once, fastest) = steady(&mut world, &mut publisher, &load).await?;
    world.sink.behave(None, Behaviour::Slow { ms: scale.delay_ms }).await?;
    load.count *= 2;
    let (delayed, rate) = steady(&mut world, &mut publisher, &load).await?;
    world.sink.behave(None, Behaviour::Accept).await?;
    let mut figures = delayed.own_figures();
    figures.extend([
        ("steady_deliveries_per_s", rate),
        ("at_once_deliveries_per_s", fastest),
        ("at_once_cpu_us_per_delivery", at_once.cost()),
        ("cpu_us_per_delivery", delayed.cost()),
        ("rate_ratio_to_at_once", rate / fastest),
    ]);
    drop(publisher);
    figures.extend(memory::measure(&mut world, &scale, &templates).await?);
    // The arrivals were cleared once, between the two rates.
    let duplicates = at_once.arrivals().1.duplicates + world.sink.stats().await?.duplicates;
    figures.extend([("duplicates", duplicates as f64)]);
    Ok(figures)
}

/// Creates the webhooks, and returns an event for each.
async fn install(world: &World, scale: &Scale) -> anyhow::Result<Vec<Template>> {
    let count = scale.addresses * scale.per_address;
    let organizations = count.div_ceil(scale.per_organization);
    let organizations = world.organizations("wide", organizations).await?;
    let event_types = world.event_types(scale.per_organization).await?;
    let (mut webhooks, mut templates) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for number in 0..count {
        let organization = &organizations[number / scale.per_organization];
        let event_type = &event_types[number % scale.per_organization];
        let path = format!("/{}", number / scale.addresses);
        let webhook = Webhook {
            timeout: Some(TIMEOUT),
            ..subscription(world.sink.url(number % scale.addresses, &path), event_type)
        };
        webhooks.push((organization.clone(), webhook));
        templates.push(Template::new(organization, event_type));
    }
    world.create_all(webhooks).await?;
    Ok(templates)
}

/// The part of the arrivals that counts for a steady rate: neither the beginning, while connections are opened and the
/// server learns the concurrency of each webhook, nor the end, while the last webhooks finish.
const STEADY: std::ops::Range<f64> = 0.3..0.9;

/// The results, and the steady rate.
async fn steady(world: &mut World, publisher: &mut Part, load: &Publish) -> anyhow::Result<(Measured, f64)> {
    let measured = measure(world, publisher, load).await?;
    let arrivals = world.sink.arrivals().await?;
    Ok((measured, rate(arrivals.iter().map(|[_, _, at]| *at))?))
}

fn rate(times: impl Iterator<Item = i64>) -> anyhow::Result<f64> {
    let mut times: Vec<i64> = times.collect();
    times.sort_unstable();
    let place = |part: f64| (part * times.len() as f64) as usize;
    let (from, to) = (place(STEADY.start), place(STEADY.end));
    anyhow::ensure!(to > from, "too few arrivals for a rate");
    Ok((to - from) as f64 * 1e6 / (times[to] - times[from]).max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_ignores_the_beginning_and_the_end() {
        // One arrival a millisecond, between a slow beginning and a slow end.
        let slow = (0..200).map(|n| n * 100_000);
        let steady = (0..750).map(|n| 20_000_000 + n * 1_000);
        let end = (0..50).map(|n| 30_000_000 + n * 100_000);
        let rate = rate(slow.chain(steady).chain(end)).unwrap();
        assert!((999.0..1_001.0).contains(&rate), "{rate}");
        assert!(super::rate(std::iter::empty()).is_err());
    }
}
