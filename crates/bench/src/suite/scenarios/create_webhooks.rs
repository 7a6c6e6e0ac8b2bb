//! The rate at which callers create webhooks.

use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _};
use hookwright_proto::v1::{ListWebhooksRequest, webhook_service_client::WebhookServiceClient};

use super::super::{
    Figures, Store,
    world::{Site, World, subscription},
};

/// The callers. Each has an organization.
const CALLERS: usize = 16;

pub(super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let each = site.profile.pick(5, 100);
    let world = World::start(site, store).await?;
    let event_type = world.event_types(1).await?.swap_remove(0);
    let organizations = world.organizations("caller", CALLERS).await?;
    let url = world.sink.url(0, "/payload");
    let (before, begun) = (world.cpu()?, Instant::now());
    let calls = organizations.iter().map(|organization| {
        let (world, url, event_type) = (&world, &url, &event_type);
        async move {
            for _ in 0..each {
                world
                    .create(organization.clone(), subscription(url.clone(), event_type))
                    .await?;
            }
            anyhow::Ok(())
        }
    });
    futures::stream::iter(calls)
        .buffer_unordered(CALLERS)
        .try_collect::<()>()
        .await?;
    let (seconds, used) = (begun.elapsed().as_secs_f64(), world.cpu()?);
    let created = (CALLERS * each) as f64;
    let mut listed = 0.0;
    for organization in organizations {
        listed += count(&world, organization).await? as f64;
    }
    Ok(Figures::from([
        ("webhooks_per_s", created / seconds),
        (
            "server_cpu_us_per_webhook",
            (used.server - before.server).as_secs_f64() * 1e6 / created,
        ),
        (
            "database_cpu_us_per_webhook",
            (used.database - before.database).as_secs_f64() * 1e6 / created,
        ),
        ("lost", (created - listed).max(0.0)),
        ("duplicates", (listed - created).max(0.0)),
    ]))
}

/// How many webhooks an organization has. They fit in one page.
async fn count(world: &World, parent: String) -> anyhow::Result<usize> {
    let request = ListWebhooksRequest {
        parent,
        page_size: 1_000,
        ..ListWebhooksRequest::default()
    };
    let mut client = WebhookServiceClient::new(world.channel());
    let page = client.list_webhooks(world.request(request)?).await?.into_inner();
    Ok(page.webhooks.len())
}
