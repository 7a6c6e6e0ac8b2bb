//! Half of the receivers answer late, and the others must not notice. Every webhook gets one event a second.

use super::{
    super::{
        super::{
            Figures, Store,
            figures::percentile,
            world::{Setup, Site, World, sink, subscription},
        },
        latency::{arrivals, steady, timed},
    },
    WARM_S, compared, verified,
};
use crate::parts::messages::{Behaviour, How, Publish, Template};

/// The size of the scenario, and its periods in seconds.
struct Scale {
    organizations: usize,
    /// Fast webhooks of each organization, and as many slow ones.
    half: usize,
    delay_ms: u32,
    /// Only the fast webhooks get events.
    alone_s: usize,
    /// All webhooks get events.
    beside_s: usize,
}

const QUICK: Scale = Scale {
    organizations: 2,
    half: 10,
    delay_ms: 500,
    alone_s: 1,
    beside_s: 1,
};
const FULL: Scale = Scale {
    organizations: 10,
    half: 50,
    delay_ms: 5_000,
    alone_s: 10,
    beside_s: 20,
};

pub(in super::super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let scale = site.profile.pick(QUICK, FULL);
    let half = scale.organizations * scale.half;
    let setup = Setup {
        hosts: half,
        ..Setup::default()
    };
    let mut world = World::start_as(site, store, &setup).await?;
    let mut others = sink(half, &[]).await?;
    let organizations = world.organizations("half", scale.organizations).await?;
    let event_types = world.event_types(2 * scale.half).await?;
    let (mut fast, mut slow, mut webhooks) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..half {
        let (organization, kind) = (&organizations[number / scale.half], number % scale.half);
        let (one, other) = (&event_types[kind], &event_types[scale.half + kind]);
        fast.push(Template::new(organization, one));
        slow.push(Template::new(organization, other));
        let (url, late) = (world.sink.url(number, "/payload"), others.url(number, "/payload"));
        webhooks.push((organization.clone(), subscription(url, one)));
        webhooks.push((organization.clone(), subscription(late, other)));
    }
    world.create_all(webhooks).await?;
    let (mut publisher, mut second) = (world.publisher()?, world.publisher()?);
    let per_second = half as f64;
    steady(&mut world, &mut publisher, &fast, per_second, half * WARM_S).await?;
    let alone = steady(&mut world, &mut publisher, &fast, per_second, half * scale.alone_s).await?;
    others.behave(None, Behaviour::Slow { ms: scale.delay_ms }).await?;
    let late = Publish::new(How::Steady { per_second }, half * scale.beside_s, &slow);
    let (times, late) = tokio::join!(
        steady(&mut world, &mut publisher, &fast, per_second, half * scale.beside_s),
        timed(&mut others, &mut second, late)
    );
    let (times, late) = (times?, arrivals(&late?));
    let mut figures = compared(&alone, &times);
    figures.extend([
        ("slow_arrival_p50_us", percentile(&late, 0.5)),
        ("slow_arrival_p99_us", percentile(&late, 0.99)),
    ]);
    figures.extend(verified(&mut world, &mut others).await?);
    Ok(figures)
}
