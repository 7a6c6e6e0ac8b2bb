//! Ten callers that pull the deliveries of one webhook, a hundred per call, and acknowledge them.

use hookwright_proto::v1::{DeliveryMode, Webhook};

use super::{
    super::{
        super::{
            Figures, Store,
            world::{Site, World, subscription},
        },
        throughput::{STREAM, install, measure, measure_at},
    },
    FEATURED, compared,
};
use crate::parts::{
    child::Part,
    messages::{Publish, Template},
};

const PULLERS: usize = 10;

pub(in super::super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let events = site.profile.pick(2_000, 100_000);
    let mut world = World::start(site, store).await?;
    let plain = install(&world, 1).await?;
    let pulled = Template::new(FEATURED, &plain[0].event_type);
    let plain = Publish::new(STREAM, events, &plain);
    let mut publisher = world.publisher()?;
    let plain = measure(&mut world, &mut publisher, &plain).await?;
    world.organization(FEATURED).await?;
    let webhook = Webhook {
        delivery_mode: DeliveryMode::Pull.into(),
        ..subscription(String::new(), &pulled.event_type)
    };
    let webhook = world.create(FEATURED.to_owned(), webhook).await?;
    let mut pullers = Part::start(&[
        "pullers",
        "--server",
        world.server.grpc_address(),
        "--token",
        world.token(),
        "--webhook",
        &webhook.name,
        "--pullers",
        &PULLERS.to_string(),
    ])?;
    let load = Publish::new(STREAM, events, &[pulled]);
    let pulled = measure_at(world.meter(), &mut [&mut pullers], &mut publisher, &load).await?;
    Ok(compared(&plain, &pulled))
}
