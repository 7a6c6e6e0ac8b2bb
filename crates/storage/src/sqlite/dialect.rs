//! SQLite's part of the shared queries: the connection, the trait that runs a query, and the statements that differ
//! from PostgreSQL. `postgres::dialect` has the same names.
//!
//! Diesel runs a query on SQLite synchronously, on a thread that may block. The futures here are ready when they are
//! created, so that [`at_once`] needs no runtime to drive a shared query, and parks no thread.

use std::future::{Ready, ready};

use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _, SqliteConnection,
    dsl::Limit,
    query_dsl::methods::{self, ExecuteDsl, LoadQuery},
    result::{Error, QueryResult},
};
use futures::FutureExt as _;

use super::queries::promote;
use crate::{
    operations::Discard,
    rows::{AttemptRow, PendingRow},
    schema::{attempts, delivery_stats, pending_deliveries, webhook_health},
    stats::StatsRow,
};

/// A connection.
pub(super) type Connection = SqliteConnection;

/// Runs a shared query to its end, by polling it once.
///
/// # Errors
/// Returns the query's errors, and an error if the query waited for something other than [`RunQueryDsl`].
pub(crate) fn at_once<T>(query: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
    let waited = || Error::QueryBuilderError("a query on SQLite waited for something other than SQLite".into());
    query.now_or_never().unwrap_or_else(|| Err(waited()))
}

/// Runs queries like diesel-async's trait of the same name. Each future is ready: the query has run when the call
/// returns.
pub(super) trait RunQueryDsl: diesel::RunQueryDsl<Connection> {
    fn execute(self, conn: &mut Connection) -> Ready<QueryResult<usize>>
    where
        Self: ExecuteDsl<Connection>,
    {
        ready(diesel::RunQueryDsl::execute(self, conn))
    }

    fn load<'query, U>(self, conn: &mut Connection) -> Ready<QueryResult<Vec<U>>>
    where
        Self: LoadQuery<'query, Connection, U>,
    {
        ready(diesel::RunQueryDsl::load(self, conn))
    }

    fn get_result<'query, U>(self, conn: &mut Connection) -> Ready<QueryResult<U>>
    where
        Self: LoadQuery<'query, Connection, U>,
    {
        ready(diesel::RunQueryDsl::get_result(self, conn))
    }

    fn get_results<'query, U>(self, conn: &mut Connection) -> Ready<QueryResult<Vec<U>>>
    where
        Self: LoadQuery<'query, Connection, U>,
    {
        ready(diesel::RunQueryDsl::get_results(self, conn))
    }

    fn first<'query, U>(self, conn: &mut Connection) -> Ready<QueryResult<U>>
    where
        Self: methods::LimitDsl,
        Limit<Self>: LoadQuery<'query, Connection, U>,
    {
        ready(diesel::RunQueryDsl::first(self, conn))
    }
}

impl<Q: diesel::RunQueryDsl<Connection>> RunQueryDsl for Q {}

/// How many attempts one statement appends.
const ATTEMPTS_AT_ONCE: usize = 1_000;

/// Inserts rows of statistics or replaces existing ones.
pub(super) async fn put_stats(conn: &mut Connection, node: i32, rows: Vec<StatsRow>) -> QueryResult<()> {
    let values: Vec<_> = rows
        .into_iter()
        .map(|row| {
            (
                delivery_stats::subject_id.eq(row.subject),
                delivery_stats::period.eq(row.period),
                delivery_stats::started_at.eq(row.started_at),
                delivery_stats::node.eq(node),
                delivery_stats::attempts.eq(row.tally.attempts),
                delivery_stats::failed_attempts.eq(row.tally.failed_attempts),
                delivery_stats::delivered.eq(row.tally.delivered),
                delivery_stats::failed.eq(row.tally.failed),
                delivery_stats::durations.eq(row.tally.durations.pack()),
                delivery_stats::latencies.eq(row.tally.latencies.pack()),
            )
        })
        .collect();
    diesel::replace_into(delivery_stats::table)
        .values(values)
        .execute(conn)
        .await
        .map(drop)
}

/// Does nothing: there is one writer at a time.
pub(super) async fn lock_order(_: &mut Connection, _: &[i64]) -> QueryResult<()> {
    Ok(())
}

/// Returns the only stream: there is one writer.
pub(super) async fn lock_steered(_: &mut Connection) -> QueryResult<i32> {
    Ok(0)
}

/// Appends attempts. An attempt that is stored already stays unchanged.
pub(super) async fn insert_attempts(conn: &mut Connection, rows: &[AttemptRow]) -> QueryResult<()> {
    // Each row has 13 parameters, and a statement at most 32,766.
    for rows in rows.chunks(ATTEMPTS_AT_ONCE) {
        diesel::insert_or_ignore_into(attempts::table)
            .values(rows)
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Makes the next delivery of each of these webhooks' keys due: see `promote`.
pub(super) async fn promote_all(conn: &mut Connection, node: i32, keys: &[(i64, String)], now: i64) -> QueryResult<()> {
    for (webhook, key) in keys {
        promote(conn, node, *webhook, key, now).await?;
    }
    Ok(())
}

/// These pending rows of a webhook, and when they were leased.
pub(super) async fn locked_rows(
    conn: &mut Connection,
    webhook: i64,
    ids: &[i64],
) -> QueryResult<Vec<(PendingRow, Option<i64>)>> {
    pending_deliveries::table
        .filter(pending_deliveries::delivery_id.eq_any(ids))
        .filter(pending_deliveries::webhook_id.eq(webhook))
        .order(pending_deliveries::delivery_id)
        .select((PendingRow::as_select(), pending_deliveries::leased_at))
        .load(conn)
        .await
}

/// Since when a webhook fails, and how often it has failed.
pub(super) async fn locked_health(conn: &mut Connection, webhook: i64) -> QueryResult<Option<(i64, i32)>> {
    webhook_health::table
        .find(webhook)
        .select((webhook_health::failing_since, webhook_health::failures))
        .first(conn)
        .await
        .optional()
}

/// The due rows of a webhook at a node, and when they were leased.
pub(super) async fn due_rows(
    conn: &mut Connection,
    webhook: i64,
    node: i32,
    now: i64,
    rows: usize,
    discard: Option<Discard>,
) -> QueryResult<Vec<(PendingRow, Option<i64>)>> {
    let (through, due_from) = discard.map_or((0, i64::MIN), |discard| (discard.through, discard.due_from(now)));
    pending_deliveries::table
        .filter(pending_deliveries::webhook_id.eq(webhook))
        .filter(pending_deliveries::node.eq(node))
        .filter(pending_deliveries::due_at.ge(due_from))
        .filter(pending_deliveries::due_at.le(now))
        .filter(pending_deliveries::delivery_id.gt(through))
        .order((pending_deliveries::due_at, pending_deliveries::delivery_id))
        .limit(i64::try_from(rows).unwrap_or(i64::MAX))
        .select((PendingRow::as_select(), pending_deliveries::leased_at))
        .load(conn)
        .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[test]
    fn a_query_that_waits_is_an_error_and_blocks_nobody() {
        assert!(matches!(at_once(ready(Ok(7))), Ok(7)));
        let error = at_once(pending::<QueryResult<()>>()).unwrap_err();
        assert!(error.to_string().contains("waited for something other"), "{error}");
    }
}
