//! Most receivers hang at the same moment, as when a cloud region fails, and the others must not notice. Twenty
//! organizations each have one healthy webhook and 75 that hang. Each organization publishes one event a second for its
//! healthy webhook, and one that is owed to all of its hanging ones.

use std::time::Duration;

use super::{
    super::{
        super::{
            Figures, Store,
            figures::percentile,
            world::{Setup, Sink, Site, World, publish, sink, subscription, wait_for},
        },
        latency::{arrivals, steady},
    },
    WARM_S, compared, verified,
};
use crate::parts::{
    arrivals::now_us,
    messages::{Behaviour, How, Publish, Template},
};

/// The size of the scenario, and its periods in seconds.
struct Scale {
    organizations: usize,
    /// Hanging webhooks of each organization.
    hanging: usize,
    /// Only the healthy webhooks get events.
    alone_s: usize,
    /// All webhooks get events, and none hangs.
    calm_s: usize,
    /// The first period of the outage.
    onset_s: usize,
    /// The next one.
    outage_s: usize,
}

const QUICK: Scale = Scale {
    organizations: 4,
    hanging: 10,
    alone_s: 1,
    calm_s: 1,
    onset_s: 2,
    outage_s: 1,
};
const FULL: Scale = Scale {
    organizations: 20,
    hanging: 75,
    alone_s: 12,
    calm_s: 3,
    onset_s: 15,
    outage_s: 10,
};

pub(in super::super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let scale = site.profile.pick(QUICK, FULL);
    let setup = Setup {
        hosts: scale.organizations,
        ..Setup::default()
    };
    let mut world = World::start_as(site, store, &setup).await?;
    let mut others = sink(scale.organizations * scale.hanging, &[]).await?;
    let (healthy, hanging) = install(&world, &others, &scale).await?;
    let (mut publisher, mut second) = (world.publisher()?, world.publisher()?);
    // One event a second for each organization and kind.
    let per_second = scale.organizations as f64;
    let events = |seconds: usize| seconds * scale.organizations;
    steady(&mut world, &mut publisher, &healthy, per_second, events(WARM_S)).await?;
    let alone = steady(&mut world, &mut publisher, &healthy, per_second, events(scale.alone_s)).await?;
    let all = events(scale.calm_s + scale.onset_s + scale.outage_s);
    let noise = Publish::new(How::Steady { per_second }, all, &hanging);
    let fail = async {
        tokio::time::sleep(Duration::from_secs(scale.calm_s as u64)).await;
        others.behave(None, Behaviour::Hang).await?;
        anyhow::Ok(now_us())
    };
    let (times, owed, failed_us) = tokio::join!(
        steady(&mut world, &mut publisher, &healthy, per_second, all),
        publish(&mut second, &noise),
        fail
    );
    let (times, owed, failed_us) = (times?, owed?.deliveries, failed_us?);
    // The receivers recover, and every delivery arrives at one of its retries.
    others.behave(None, Behaviour::Accept).await?;
    wait_for(&mut others.part, owed).await?;
    let onset_end_us = failed_us + scale.onset_s as i64 * 1_000_000;
    let within = |from: i64, to: i64| times.iter().filter(move |time| (from..to).contains(&time.called_us));
    let (calm, onset) = (
        arrivals(within(0, failed_us)),
        arrivals(within(failed_us, onset_end_us)),
    );
    let outage = within(onset_end_us, i64::MAX);
    anyhow::ensure!(
        !calm.is_empty() && !onset.is_empty() && outage.clone().next().is_some(),
        "the publisher was too slow: a period has no event"
    );
    let mut figures = compared(&alone, outage);
    let ratio = percentile(&onset, 0.99) / figures["arrival_alone_p99_us"];
    figures.extend([
        ("calm_p99_us", percentile(&calm, 0.99)),
        ("onset_p50_us", percentile(&onset, 0.5)),
        ("onset_p99_us", percentile(&onset, 0.99)),
        ("onset_p99_ratio", ratio),
    ]);
    figures.extend(verified(&mut world, &mut others).await?);
    Ok(figures)
}

/// Creates everything, and returns the events for the healthy webhooks and for those that will hang.
async fn install(world: &World, others: &Sink, scale: &Scale) -> anyhow::Result<(Vec<Template>, Vec<Template>)> {
    let organizations = world.organizations("region", scale.organizations).await?;
    let event_types = world.event_types(2).await?;
    let mut webhooks = Vec::new();
    for (number, organization) in organizations.iter().enumerate() {
        let url = world.sink.url(number, "/payload");
        webhooks.push((organization.clone(), subscription(url, &event_types[0])));
        for host in number * scale.hanging..(number + 1) * scale.hanging {
            let url = others.url(host, "/payload");
            webhooks.push((organization.clone(), subscription(url, &event_types[1])));
        }
    }
    world.create_all(webhooks).await?;
    let events = |event_type: &String| organizations.iter().map(|one| Template::new(one, event_type)).collect();
    Ok((events(&event_types[0]), events(&event_types[1])))
}
