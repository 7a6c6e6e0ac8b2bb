//! Frees the space of an expired day of which some events stay because their deliveries are pending.
//!
//! Removing single rows leaves free space inside the day's tables. No new row uses it, because new events go into the
//! tables of later days. So one abandoned webhook could keep the disk full. A day that lost rows is therefore marked as
//! sparse, and when retention has reached its end, PostgreSQL rewrites the day's tables (`VACUUM FULL`).
//!
//! Commits that write an attempt of that day's events wait meanwhile. Therefore only a day with few remaining rows is
//! rewritten, and PostgreSQL gives up after [`TIME_LIMIT`]: the day stays marked, and the next walk tries again. A day
//! with many remaining rows waits until more of them are removed. Only the owner of the tables can rewrite them: if the
//! server's role is another, the day stays marked.

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{
    connect,
    partitions::{self, LOCK_TIMEOUT, Partition, TABLES},
    session, wire,
};
use crate::error::StoreError;

/// How long rewriting one table may take.
const TIME_LIMIT: &str = "2s";
/// Limits on a day that is rewritten: its remaining rows in each table, and the remaining bytes in payloads and in the
/// details of attempts. Rewriting this much took 0.7 s, with an index, on a machine with 2 cores.
const ROWS_MAX: i64 = 100_000;
const BYTES_MAX: i64 = 96 << 20;
/// The remaining size of a row, including its index entries.
const ROW_BYTES: i64 = 512;
/// The tables are sparse when they are larger than this, and larger than twice the remaining data.
const SPARSE_MIN: i64 = 4 << 20;

/// The remaining data of a day.
#[derive(QueryableByName)]
struct Left {
    /// The size of the tables, including their indexes.
    #[diesel(sql_type = sql_types::BigInt)]
    size: i64,
    /// How many rows remain in the fullest table; [`ROWS_MAX`] + 1 if there are more.
    #[diesel(sql_type = sql_types::BigInt)]
    rows: i64,
    #[diesel(sql_type = sql_types::BigInt)]
    bytes: i64,
}

impl Left {
    async fn of(conn: &mut AsyncPgConnection, name: &str) -> QueryResult<Self> {
        // The stored size of a value is known without reading it.
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

    /// Whether the tables are far larger than the remaining data.
    fn is_sparse(&self) -> bool {
        let tables = i64::try_from(TABLES.len()).unwrap_or(i64::MAX);
        self.size > SPARSE_MIN && self.size > 2 * (self.bytes + self.rows * ROW_BYTES * tables)
    }

    fn is_little(&self) -> bool {
        self.rows <= ROWS_MAX && self.bytes <= BYTES_MAX
    }
}

/// Rewrites the tables of a day if they are sparse and little data remains in them. Fails while another session uses
/// one of them; the day then stays marked.
pub(super) async fn compact(conn: &mut AsyncPgConnection, day: &Partition) -> Result<(), StoreError> {
    // PostgreSQL would only warn about tables of another owner, and do nothing.
    if !partitions::may_change(conn).await? {
        return Ok(());
    }
    let before = Left::of(conn, &day.name).await?;
    if !before.is_sparse() || !before.is_little() {
        return Ok(partitions::note_sparse(conn, day, false).await?);
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
        "freed the space of a day"
    );
    // Rows stay that another session can still see.
    if after.is_sparse() {
        return Ok(());
    }
    Ok(partitions::note_sparse(conn, day, false).await?)
}

async fn rewrite(conn: &mut AsyncPgConnection, name: &str) -> Result<(), StoreError> {
    for table in TABLES {
        // Each of these is a separate transaction.
        let written = session::batch(conn, &format!("VACUUM (FULL) {table}_{name}")).await;
        written.map_err(|error| wire::refine(conn, error.into()))?;
    }
    Ok(())
}
