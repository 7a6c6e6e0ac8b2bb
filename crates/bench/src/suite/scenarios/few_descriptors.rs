//! A server with fewer descriptors than receivers. Every delivery must arrive at its first attempt, and the health checks
//! must answer meanwhile.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{
    super::{
        Figures, Store,
        world::{
            Setup, Site, World,
            http::{get, sum},
            publish, subscription,
        },
    },
    throughput::STREAM,
};
use crate::parts::messages::{Publish, SinkStats, Template};

/// Webhooks of each organization: the default limit.
const PER_ORGANIZATION: usize = 100;
/// The time that a health check may take, and the time between two.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
const HEALTH_INTERVAL: Duration = Duration::from_millis(100);

/// The size of the scenario.
struct Scale {
    descriptors: u32,
    webhooks: usize,
    events_each: usize,
}

const QUICK: Scale = Scale {
    descriptors: 512,
    webhooks: 40,
    events_each: 10,
};
const FULL: Scale = Scale {
    descriptors: 512,
    webhooks: 700,
    events_each: 40,
};

pub(super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let scale = site.profile.pick(QUICK, FULL);
    let setup = Setup {
        hosts: scale.webhooks,
        sink: &["--spread"],
        descriptors: Some(scale.descriptors),
        ..Setup::default()
    };
    let mut world = World::start_as(site, store, &setup).await?;
    let address = world.server.http_address().to_owned();
    let over = Cell::new(false);
    let working = async {
        let done = deliver(&mut world, &scale).await;
        over.set(true);
        done
    };
    let (done, health) = tokio::join!(working, check(&address, &over));
    let (per_second, stats) = done?;
    let failed = sum(&world.metrics().await?, "hookwright_attempts_total", |line| {
        !line.contains("\"none\"")
    });
    Ok(Figures::from([
        ("deliveries_per_s", per_second),
        ("failed_attempts", failed),
        ("health_failures", health.failures),
        ("health_ms_max", health.slowest.as_secs_f64() * 1e3),
        ("descriptors_max", health.descriptors_max),
        ("lost", 0.0),
        ("duplicates", stats.duplicates as f64),
    ]))
}

/// Creates the webhooks, publishes, and waits for every arrival. Returns the rate, and the arrivals.
async fn deliver(world: &mut World, scale: &Scale) -> anyhow::Result<(f64, SinkStats)> {
    let count = scale.webhooks.div_ceil(PER_ORGANIZATION);
    let organizations = world.organizations("many", count).await?;
    let event_types = world.event_types(PER_ORGANIZATION.min(scale.webhooks)).await?;
    let (mut webhooks, mut templates) = (Vec::new(), Vec::new());
    for number in 0..scale.webhooks {
        let organization = &organizations[number / PER_ORGANIZATION];
        let event_type = &event_types[number % PER_ORGANIZATION];
        let url = world.sink.url(number, "/payload");
        webhooks.push((organization.clone(), subscription(url, event_type)));
        templates.push(Template::new(organization, event_type));
    }
    world.create_all(webhooks).await?;
    let events = scale.webhooks * scale.events_each;
    let mut publisher = world.publisher()?;
    let published = publish(&mut publisher, &Publish::new(STREAM, events, &templates)).await?;
    let stats = world.wait_for(published.deliveries).await?;
    let seconds = (stats.last_us - published.begun_us) as f64 / 1e6;
    Ok((published.deliveries as f64 / seconds, stats))
}

/// The health checks during the scenario.
#[derive(Default)]
struct Health {
    failures: f64,
    slowest: Duration,
    descriptors_max: f64,
}

/// Gets the pages of a load balancer and of a monitor in turn, each over a new connection, until the work is over.
async fn check(address: &str, over: &Cell<bool>) -> Health {
    let mut health = Health::default();
    while !over.get() {
        for path in ["/healthz", "/readyz", "/metrics"] {
            let begun = Instant::now();
            match timeout(HEALTH_TIMEOUT, get(address, path)).await {
                Ok(Ok(text)) => {
                    let open = sum(&text, "process_open_fds", |_| true);
                    health.descriptors_max = health.descriptors_max.max(open);
                }
                Ok(Err(_)) | Err(_) => health.failures += 1.0,
            }
            health.slowest = health.slowest.max(begun.elapsed());
        }
        tokio::time::sleep(HEALTH_INTERVAL).await;
    }
    health
}
