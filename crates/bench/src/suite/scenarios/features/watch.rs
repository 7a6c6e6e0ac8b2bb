//! One hundred webhooks, each watched by one stream, as open pages of the console do. Each watcher must see every delivery
//! of its webhook.

use super::{
    super::{
        super::{
            Figures, Store,
            world::{HOSTS, Site, World, subscription},
        },
        throughput::{STREAM, measure, measure_at},
    },
    compared,
};
use crate::parts::{
    child::Part,
    messages::{Publish, SinkStats, Template},
};

/// Organizations, and webhooks of each: an organization may have 64 streams.
const ORGANIZATIONS: usize = 2;
const WEBHOOKS: usize = 50;

pub(in super::super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let events = site.profile.pick(2_000, 100_000);
    let mut world = World::start(site, store).await?;
    let event_types = world.event_types(WEBHOOKS).await?;
    let (mut webhooks, mut templates) = (Vec::new(), Vec::new());
    for organization in world.organizations("watched", ORGANIZATIONS).await? {
        for (number, event_type) in event_types.iter().enumerate() {
            let url = world.sink.url(number % HOSTS, "/payload");
            webhooks.push((organization.clone(), subscription(url, event_type)));
            templates.push(Template::new(&organization, event_type));
        }
    }
    let webhooks = world.create_all(webhooks).await?;
    let load = Publish::new(STREAM, events, &templates);
    let mut publisher = world.publisher()?;
    let plain = measure(&mut world, &mut publisher, &load).await?;
    let names: Vec<String> = webhooks.into_iter().map(|webhook| webhook.name).collect();
    let mut watchers = Part::start(&[
        "watchers",
        "--server",
        world.server.grpc_address(),
        "--token",
        world.token(),
        "--webhooks",
        &names.join(","),
    ])?;
    let _: SinkStats = watchers.hear().await?;
    let meter = world.meter();
    let receivers = &mut [&mut world.sink.part, &mut watchers];
    let watched = measure_at(meter, receivers, &mut publisher, &load).await?;
    Ok(compared(&plain, &watched))
}
