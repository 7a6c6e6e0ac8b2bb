//! Ordered webhooks with many ordering keys.

use hookwright_proto::v1::{Ordering, Webhook};

use super::{
    super::{
        super::{
            Figures, Store,
            world::{Site, World, subscription},
        },
        throughput::{STREAM, install, measure},
    },
    FEATURED, compared,
};
use crate::parts::messages::{Publish, Template};

const KEYS: usize = 1_000;

pub(in super::super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let events = site.profile.pick(2_000, 100_000);
    let mut world = World::start(site, store).await?;
    let plain = install(&world, 1).await?;
    world.organization(FEATURED).await?;
    let webhooks = plain.iter().enumerate().map(|(host, template)| {
        let webhook = Webhook {
            ordering: Ordering::Ordered.into(),
            ..subscription(world.sink.url(host, "/payload"), &template.event_type)
        };
        (FEATURED.to_owned(), webhook)
    });
    world.create_all(webhooks.collect()).await?;
    let keys = plain
        .iter()
        .cycle()
        .take(KEYS)
        .enumerate()
        .map(|(key, template)| Template {
            ordering_key: format!("key-{key}"),
            ..Template::new(FEATURED, &template.event_type)
        });
    let ordered = Publish::new(STREAM, events, &keys.collect::<Vec<_>>());
    let plain = Publish::new(STREAM, events, &plain);
    let mut publisher = world.publisher()?;
    let plain = measure(&mut world, &mut publisher, &plain).await?;
    let ordered = measure(&mut world, &mut publisher, &ordered).await?;
    Ok(compared(&plain, &ordered))
}
