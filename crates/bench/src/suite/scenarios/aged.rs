//! Many past deliveries in the store: what they cost the present ones. The past is written into the store directly, as the
//! server would have: one event and one attempt for each delivery, over the last 20 days.

use anyhow::Context as _;

use super::super::{
    Figures, Store,
    world::{Site, World, connect},
};
use super::throughput::{STREAM, install, measure};

pub(super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let past: u64 = site.profile.pick(200_000, 10_000_000);
    let events = site.profile.pick(60_000, 300_000);
    let mut world = World::start(site, store).await?;
    let event_types = install(&world, 1).await?;
    let mut publisher = world.publisher()?;
    let raw = world.raw(1.5).await?;
    let empty = measure(&mut world, &mut publisher, STREAM, &event_types, events).await?;
    world.server.terminate().await?;
    write_past(&world, past).await?;
    world.server.restart().await?;
    world.reconnect().await?;
    world.reset_sink().await?;
    let mut publisher = world.publisher()?;
    let aged = measure(&mut world, &mut publisher, STREAM, &event_types, events).await?;
    let mut figures = aged.figures(&raw);
    figures.extend([
        ("past_deliveries", past as f64),
        ("empty_deliveries_per_s", empty.per_second()),
        ("rate_ratio_to_empty", aged.per_second() / empty.per_second()),
    ]);
    Ok(figures)
}

/// How many rows one statement writes.
const STEP: u64 = 500_000;

async fn write_past(world: &World, past: u64) -> anyhow::Result<()> {
    for from in (0..past).step_by(usize::try_from(STEP)?) {
        let to = (from + STEP).min(past);
        match &world.database {
            Some(database) => {
                connect(database.url())
                    .await?
                    .batch_execute(&postgres(from, to, past))
                    .await?;
            }
            None => sqlite(world, &sqlite_text(from, to, past)).await?,
        }
    }
    if let Some(database) = &world.database {
        connect(database.url()).await?.batch_execute("VACUUM ANALYZE").await?;
    }
    Ok(())
}

/// The newest id is 20 days older than the first real one; ids are evenly spread over the 20 days before.
fn id(number: &str, past: u64) -> String {
    let span: u64 = 20 * 86_400_000;
    format!(
        "(SELECT min_id FROM bounds) - ({span}::bigint << 22) - ((({past}::bigint - {number}) * {span} / {past}) << 22)"
    )
}

fn body(numbers: &str, id: &str) -> String {
    format!(
        "CREATE TEMPORARY TABLE IF NOT EXISTS bounds AS SELECT min(id) AS min_id FROM events;
         CREATE TEMPORARY TABLE IF NOT EXISTS model AS
             SELECT e.organization_id, e.event_type, e.payload, e.webhooks, a.webhook_id, a.details
             FROM events e JOIN attempts a ON a.event_id = e.id WHERE e.event_type <> 'ping' LIMIT 1;
         CREATE TEMPORARY TABLE IF NOT EXISTS past AS {numbers};
         INSERT INTO events (id, organization_id, event_type, payload, webhooks, occurred_at)
             SELECT {id}, organization_id, event_type, payload, webhooks, 0 FROM past, model;
         INSERT INTO attempts (delivery_id, number, event_id, organization_id, webhook_id, started_at, duration_us,
                               status, delivery_state, details)
             SELECT {id} + 1, 1, {id}, organization_id, webhook_id, 0, 1000, 200, 1, details FROM past, model;
         DROP TABLE past;"
    )
}

fn postgres(from: u64, to: u64, past: u64) -> String {
    body(
        &format!("SELECT n FROM generate_series({from}, {to} - 1) AS n"),
        &id("n", past),
    )
}

fn sqlite_text(from: u64, to: u64, past: u64) -> String {
    let numbers = format!(
        "WITH RECURSIVE counter(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM counter WHERE n + 1 < {to}) \
         SELECT n FROM counter"
    );
    let id = id("n", past).replace("::bigint", "");
    format!(
        "PRAGMA synchronous = OFF; PRAGMA busy_timeout = 5000; {}",
        body(&numbers, &id)
    )
}

/// Runs statements on the file of the server, which is stopped.
async fn sqlite(world: &World, text: &str) -> anyhow::Result<()> {
    use diesel::{Connection as _, connection::SimpleConnection as _};
    let path = world.server.data_directory().join("hookwright.db");
    let (path, text) = (path.to_str().context("a path in UTF-8")?.to_owned(), text.to_owned());
    tokio::task::spawn_blocking(move || {
        let mut conn = diesel::SqliteConnection::establish(&path)?;
        conn.batch_execute(&text)?;
        Ok(())
    })
    .await?
}
