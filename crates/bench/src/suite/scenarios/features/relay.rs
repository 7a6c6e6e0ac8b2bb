//! Events from an outbox table in PostgreSQL, published by `hookwright relay`. All rows are there when the relay starts.

use std::{process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::process::Command;

use super::super::{
    super::{
        Figures, Store,
        world::{ORGANIZATION, Site, World, connect},
    },
    throughput::{install, settle},
};
use crate::{
    parts::{
        arrivals::now_us,
        publisher::{PAYLOAD_BYTES, payload},
    },
    usage,
};

pub(in super::super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let events: u64 = site.profile.pick(2_000, 50_000);
    let mut world = World::start(site, store).await?;
    let templates = install(&world, 1).await?;
    let outbox = site.cluster().await?.0.create_database().await?;
    let relay = |arguments: &[&str]| {
        let mut relay = Command::new(site.server());
        relay
            .arg("relay")
            .args(arguments)
            .env("HOOKWRIGHT_RELAY_DATABASE_URL", outbox.url())
            .env("HOOKWRIGHT_ADDRESS", format!("http://{}", world.server.grpc_address()))
            .env("HOOKWRIGHT_TOKEN", world.token())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        relay
    };
    let made = relay(&["init", "--apply"]).status().await?;
    anyhow::ensure!(made.success(), "`hookwright relay init` failed: {made}");
    let types: Vec<&str> = templates.iter().map(|template| template.event_type.as_str()).collect();
    let payload = payload(PAYLOAD_BYTES);
    let payload = std::str::from_utf8(&payload)?;
    let insert = "INSERT INTO hookwright_outbox (organization, event_type, payload) \
                  SELECT $1::text, ($2::text[])[1 + n % cardinality($2::text[])], $3::text \
                  FROM generate_series(1, $4::bigint) AS n";
    let sql = connect(outbox.url()).await?;
    let rows = i64::try_from(events)?;
    sql.execute(insert, &[&ORGANIZATION, &types, &payload, &rows]).await?;
    let (begun, before) = (now_us(), world.cpu()?);
    let running = relay(&[]).spawn()?;
    let relay_pid = running.id().context("the relay runs")?;
    world.wait_for(events).await?;
    settle().await;
    let (after, relay_cpu) = (world.cpu()?, usage::cpu(relay_pid)?);
    let stats = world.sink.stats().await?;
    anyhow::ensure!(
        stats.deliveries == events,
        "{} deliveries of {events} rows",
        stats.deliveries
    );
    let each = |time: Duration| time.as_secs_f64() * 1e6 / events as f64;
    Ok(Figures::from([
        ("deliveries_per_s", events as f64 * 1e6 / (stats.last_us - begun) as f64),
        ("server_cpu_us_per_delivery", each(after.server - before.server)),
        (
            "database_cpu_us_per_delivery",
            each(after.database.saturating_sub(before.database)),
        ),
        ("relay_cpu_us_per_delivery", each(relay_cpu)),
        ("lost", 0.0),
        ("duplicates", stats.duplicates as f64),
    ]))
}
