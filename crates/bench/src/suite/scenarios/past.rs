//! Writing the past into the store of a server that is stopped: in steps of some hundred thousand rows, by statements that
//! both stores understand.

use std::ops::Range;

use anyhow::Context as _;

use super::super::world::{World, connect};

/// How many numbers one step takes.
const STEP: u64 = 250_000;

/// Runs what `statements` makes of each stretch of the numbers below `count`; each stretch on a connection of its own.
pub(super) async fn write(world: &World, count: u64, statements: impl Fn(Range<u64>) -> String) -> anyhow::Result<()> {
    for from in (0..count).step_by(usize::try_from(STEP)?) {
        run(world, &statements(from..(from + STEP).min(count))).await?;
    }
    if world.database.is_some() {
        run(world, "VACUUM ANALYZE").await?;
    }
    Ok(())
}

/// Runs statements.
pub(super) async fn run(world: &World, text: &str) -> anyhow::Result<()> {
    match &world.database {
        Some(database) => Ok(connect(database.url()).await?.batch_execute(text).await?),
        None => sqlite(world, text).await,
    }
}

/// A query for the numbers of a stretch, as `n`.
pub(super) fn numbers(world: &World, Range { start, end }: Range<u64>) -> String {
    if world.database.is_some() {
        return format!("SELECT n FROM generate_series(CAST({start} AS BIGINT), {end} - 1) AS n");
    }
    format!(
        "WITH RECURSIVE counter(n) AS (SELECT {start} UNION ALL SELECT n + 1 FROM counter WHERE n + 1 < {end}) \
         SELECT n FROM counter"
    )
}

/// Bytes as a literal.
pub(super) fn bytes(world: &World, bytes: &[u8]) -> String {
    let hex = hex::encode(bytes);
    if world.database.is_some() {
        format!("CAST('\\x{hex}' AS BYTEA)")
    } else {
        format!("x'{hex}'")
    }
}

async fn sqlite(world: &World, text: &str) -> anyhow::Result<()> {
    use diesel::{Connection as _, connection::SimpleConnection as _};
    let path = world.server.data_directory().join("hookwright.db");
    let path = path.to_str().context("a path in UTF-8")?.to_owned();
    let text = format!("PRAGMA synchronous = OFF; PRAGMA busy_timeout = 5000; PRAGMA cache_size = -200000; {text}");
    tokio::task::spawn_blocking(move || {
        let mut conn = diesel::SqliteConnection::establish(&path)?;
        conn.batch_execute(&text)?;
        Ok(())
    })
    .await?
}
