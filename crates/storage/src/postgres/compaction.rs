//! Gives the space of an expired day back to the file system, where some of its events stay because deliveries of them are
//! pending.
//!
//! Removing rows one by one leaves room inside the day's tables, and no new row ever comes to use it: new events go into the
//! tables of later days. One abandoned webhook could so keep the disk full. A day that lost rows is therefore marked as sparse,
//! and when retention has walked to its end, PostgreSQL writes its tables anew (`VACUUM FULL`).
//!
//! Commits that write an attempt of that day's events wait meanwhile. Therefore only a day of which little is left is rewritten,
//! and PostgreSQL gives up after [`TIME_LIMIT`]: the day stays marked, and the next walk tries again. A day of which much is left
//! waits until more of it is removed. Only the owner of the tables can do this: where the server's role is another, the day stays marked.

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{
    connect,
    partitions::{self, LOCK_TIMEOUT, Partition, TABLES},
    session, wire,
};
use crate::error::StoreError;

/// How long writing one table anew may take.
const TIME_LIMIT: &str = "2s";
/// A day is written anew only if no more rows than these are left of it in each table, and no more bytes in payloads and in the
/// details of attempts: writing as much took 0.7 s, with an index, on a machine of 2 cores.
const ROWS_MAX: i64 = 100_000;
const BYTES_MAX: i64 = 96 << 20;
/// What a row takes beside these, with its places in indexes.
const ROW_BYTES: i64 = 512;
/// The tables are sparse when they take more than this, and more than twice what is left.
const SPARSE_MIN: i64 = 4 << 20;

/// What is left of a day.
#[derive(QueryableByName)]
struct Left {
    /// What the tables take, with their indexes.
    #[diesel(sql_type = sql_types::BigInt)]
    size: i64,
    /// How many rows are left in the fullest of the tables, and [`ROWS_MAX`] + 1 where there are more.
    #[diesel(sql_type = sql_types::BigInt)]
    rows: i64,
    #[diesel(sql_type = sql_types::BigInt)]
    bytes: i64,
}

impl Left {
    async fn of(conn: &mut AsyncPgConnection, name: &str) -> QueryResult<Self> {
        // The size of a value as it is stored is known without reading it.
        let text = format!(
            "WITH e AS MATERIALIZED (SELECT payload FROM events_{name} LIMIT {ROWS_MAX} + 1),
                  a AS MATERIALIZED (SELECT details, response_body FROM attempts_{name} LIMIT {ROWS_MAX} + 1),
                  d AS MATERIALIZED (SELECT 1 FROM delivery_endings_{name} LIMIT {ROWS_MAX} + 1)
             SELECT pg_total_relation_size('events_{name}') + pg_total_relation_size('attempts_{name}')
                    + pg_total_relation_size('delivery_endings_{name}') AS size,
                    greatest((SELECT count(*) FROM e), (SELECT count(*) FROM a), (SELECT count(*) FROM d)) AS rows,
                    (SELECT coalesce(sum(pg_column_size(payload)), 0) FROM e)::bigint
                    + (SELECT coalesce(sum(pg_column_size(details) + coalesce(pg_column_size(response_body), 0)), 0)
                       FROM a)::bigint AS bytes"
        );
        diesel::sql_query(text).get_result(conn).await
    }

    /// Whether the tables take far more than what is left in them.
    fn is_sparse(&self) -> bool {
        let tables = i64::try_from(TABLES.len()).unwrap_or(i64::MAX);
        self.size > SPARSE_MIN && self.size > 2 * (self.bytes + self.rows * ROW_BYTES * tables)
    }

    fn is_little(&self) -> bool {
        self.rows <= ROWS_MAX && self.bytes <= BYTES_MAX
    }
}

/// Writes the tables of a day anew if they are sparse and little is left in them. Fails for a moment while another session uses
/// one of them: then the day stays marked.
pub(super) async fn compact(conn: &mut AsyncPgConnection, day: &Partition) -> Result<(), StoreError> {
    // For the tables of others PostgreSQL would warn, and do nothing.
    if !partitions::may_change(conn).await? {
        return Ok(());
    }
    let before = Left::of(conn, &day.name).await?;
    if !before.is_sparse() || !before.is_little() {
        return Ok(note_sparse(conn, day, false).await?);
    }
    let limits = format!("SET lock_timeout = '{LOCK_TIMEOUT}'; SET statement_timeout = '{TIME_LIMIT}'");
    session::batch(conn, &limits).await?;
    let written = rewrite(conn, &day.name).await;
    let limits = format!("RESET lock_timeout; {}", connect::statement_timeout());
    session::batch(conn, &limits).await?;
    written?;
    let after = Left::of(conn, &day.name).await?;
    tracing::info!(
        day = day.name,
        before = before.size,
        after = after.size,
        "gave the space of a day back"
    );
    // Rows that another session can still see were kept.
    if after.is_sparse() {
        return Ok(());
    }
    Ok(note_sparse(conn, day, false).await?)
}

async fn rewrite(conn: &mut AsyncPgConnection, name: &str) -> Result<(), StoreError> {
    for table in TABLES {
        // Each is a transaction of its own.
        let written = session::batch(conn, &format!("VACUUM (FULL) {table}_{name}")).await;
        written.map_err(|error| wire::refine(conn, error.into()))?;
    }
    Ok(())
}

/// Notes whether rows of a day were removed one by one since its tables were written.
pub(super) async fn note_sparse(conn: &mut AsyncPgConnection, day: &Partition, sparse: bool) -> QueryResult<()> {
    diesel::sql_query("UPDATE partitions SET sparse = $2 WHERE end_id = $1 AND sparse <> $2")
        .bind::<sql_types::BigInt, _>(day.end_id)
        .bind::<sql_types::Bool, _>(sparse)
        .execute(conn)
        .await
        .map(drop)
}
