//! Many past deliveries in the store, and their cost for new ones. The past is written into the store directly, in the
//! form that the server would have written: one event and one attempt per delivery, over the last 20 days.

use super::super::{
    Figures, Store,
    world::{Site, World},
};
use super::throughput::{STREAM, install, measure};
use crate::parts::messages::Publish;
use hookwright_testkit::Past;

pub(super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let past: u64 = site.profile.pick(200_000, 10_000_000);
    let events = site.profile.pick(60_000, 300_000);
    let mut world = World::start(site, store).await?;
    let load = Publish::new(STREAM, events, &install(&world, 1).await?);
    let mut publisher = world.publisher()?;
    let raw = world.raw(1.5).await?;
    let empty = measure(&mut world, &mut publisher, &load).await?;
    world.server.terminate().await?;
    write_past(&world, past).await?;
    world.server.restart().await?;
    world.reconnect().await?;
    world.reset_sink().await?;
    let mut publisher = world.publisher()?;
    let aged = measure(&mut world, &mut publisher, &load).await?;
    let mut figures = aged.figures(&raw);
    figures.extend([
        ("past_deliveries", past as f64),
        ("empty_deliveries_per_s", empty.per_second()),
        ("rate_ratio_to_empty", aged.per_second() / empty.per_second()),
    ]);
    Ok(figures)
}

async fn write_past(world: &World, past: u64) -> anyhow::Result<()> {
    let store = world.past();
    store.write(past, |numbers| statements(&store, numbers, past)).await?;
    store.settle().await
}

/// The newest id is 20 days older than the first real one. Ids are evenly spread over the 20 days before that.
fn id(past: u64) -> String {
    let span: u64 = 20 * 86_400_000;
    format!(
        "(SELECT min_id FROM bounds) - (CAST({span} AS BIGINT) << 22) \
         - (((CAST({past} AS BIGINT) - n) * {span} / {past}) << 22)"
    )
}

fn statements(store: &Past, numbers: std::ops::Range<u64>, past: u64) -> String {
    let (numbers, id) = (store.numbers(numbers), id(past));
    format!(
        "CREATE TEMPORARY TABLE IF NOT EXISTS bounds AS SELECT min(id) AS min_id FROM events;
         CREATE TEMPORARY TABLE IF NOT EXISTS model AS
             SELECT e.organization_id, e.event_type, e.payload, e.webhooks, a.webhook_id, a.details
             FROM events e JOIN attempts a ON a.event_id = e.id WHERE e.event_type <> 'ping' LIMIT 1;
         CREATE TEMPORARY TABLE past AS {numbers};
         INSERT INTO events (id, organization_id, event_type, payload, webhooks, occurred_at)
             SELECT {id}, organization_id, event_type, payload, webhooks, 0 FROM past, model;
         INSERT INTO attempts (delivery_id, number, event_id, organization_id, webhook_id, started_at, duration_us,
                               status, delivery_state, details)
             SELECT {id} + 1, 1, {id}, organization_id, webhook_id, 0, 1000, 200, 1, details FROM past, model;
         DROP TABLE past;"
    )
}
