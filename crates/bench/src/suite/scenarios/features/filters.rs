//! One hundred webhooks of one event type with CEL filters, of which exactly one matches each event.

use hookwright_proto::v1::Webhook;

use super::{
    super::{
        super::{
            Figures, Store,
            world::{HOSTS, Site, World, subscription},
        },
        throughput::{STREAM, install, measure},
    },
    FEATURED, compared,
};
use crate::parts::messages::{Publish, Template};

const WEBHOOKS: usize = 100;

pub(in super::super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let events = site.profile.pick(2_000, 100_000);
    let mut world = World::start(site, store).await?;
    let plain = install(&world, 1).await?;
    let event_type = plain[0].event_type.clone();
    let plain = Publish::new(STREAM, events, &plain);
    world.organization(FEATURED).await?;
    let webhooks = (0..WEBHOOKS).map(|shard| {
        let webhook = Webhook {
            filter: format!("attributes.shard == 's{shard}' && payload.action == 'created'"),
            ..subscription(world.sink.url(shard % HOSTS, "/payload"), &event_type)
        };
        (FEATURED.to_owned(), webhook)
    });
    world.create_all(webhooks.collect()).await?;
    let templates = (0..WEBHOOKS).map(|shard| Template {
        attributes: vec![("shard".to_owned(), format!("s{shard}"))],
        ..Template::new(FEATURED, &event_type)
    });
    let filtered = Publish::new(STREAM, events, &templates.collect::<Vec<_>>());
    let mut publisher = world.publisher()?;
    let plain = measure(&mut world, &mut publisher, &plain).await?;
    let filtered = measure(&mut world, &mut publisher, &filtered).await?;
    let arrived = filtered.arrivals().1.deliveries;
    anyhow::ensure!(
        arrived == events as u64,
        "{arrived} deliveries of {events} events that match one filter each"
    );
    Ok(compared(&plain, &filtered))
}
