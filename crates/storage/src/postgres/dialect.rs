//! PostgreSQL's part of the shared queries: the connection, the trait that runs a query, and the statements that differ
//! from SQLite. `sqlite::dialect` has the same names.

use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
    result::QueryResult,
    sql_types::{Array, BigInt},
};
use diesel_async::AsyncPgConnection;
pub(super) use diesel_async::RunQueryDsl;

use super::{
    inserts::insert_attempts_again,
    scope::KEY_64,
    statements::{PromoteKeys, PutStats},
};
use crate::{
    changes::STEERED,
    operations::Discard,
    rows::{AttemptRow, PendingRow},
    schema::{pending_deliveries, webhook_health},
    stats::StatsRow,
};

/// A connection.
pub(super) type Connection = AsyncPgConnection;

/// Inserts rows of statistics or replaces existing ones.
pub(super) async fn put_stats(conn: &mut Connection, node: i32, rows: Vec<StatsRow>) -> QueryResult<()> {
    let mut statement = PutStats::default();
    for row in rows {
        statement.subject_id.push(row.subject);
        statement.period.push(row.period);
        statement.started_at.push(row.started_at);
        statement.node.push(node);
        statement.attempts.push(row.tally.attempts);
        statement.failed_attempts.push(row.tally.failed_attempts);
        statement.delivered.push(row.tally.delivered);
        statement.failed.push(row.tally.failed);
        statement.durations.push(row.tally.durations.pack());
        statement.latencies.push(row.tally.latencies.pack());
    }
    diesel_async::RunQueryDsl::execute(statement, conn).await.map(drop)
}

/// A transaction that appends to the stream of callers' changes holds this lock until it ends.
const STEERED_LOCK: i64 = 0x686f_6f6b_7772_0006;

/// The key of a webhook's order lock is this number XOR the webhook's id.
const ORDER_LOCK: i64 = 0x686f_6f6b_0000_0000;

/// Locks the order of webhooks, so that two nodes do not decide at the same time which delivery of a key is the first.
/// The locks are taken in a fixed order to prevent deadlocks.
pub(super) async fn lock_order(conn: &mut Connection, webhooks: &[i64]) -> QueryResult<()> {
    let mut locks: Vec<i64> = webhooks.iter().map(|webhook| webhook ^ ORDER_LOCK).collect();
    locks.sort_unstable();
    locks.dedup();
    diesel::sql_query(format!(
        "SELECT pg_advisory_xact_lock(l # {KEY_64}) FROM unnest($1) AS l"
    ))
    .bind::<Array<BigInt>, _>(&locks)
    .execute(conn)
    .await
    .map(drop)
}

/// Serializes callers' changes, so that they become visible in the order of their positions.
pub(super) async fn lock_steered(conn: &mut Connection) -> QueryResult<i32> {
    diesel::sql_query(format!("SELECT pg_advisory_xact_lock($1 # {KEY_64})"))
        .bind::<BigInt, _>(STEERED_LOCK)
        .execute(conn)
        .await?;
    Ok(STEERED)
}

/// Appends attempts. An attempt that is stored already stays unchanged.
pub(super) async fn insert_attempts(conn: &mut Connection, rows: &[AttemptRow]) -> QueryResult<()> {
    insert_attempts_again(conn, rows).await
}

/// Makes the next delivery of each of these webhooks' keys due now, and the caller's node its owner. Returns the
/// webhooks of deliveries that were not due already. The caller must hold the webhooks' order locks.
pub(super) async fn promote_all(
    conn: &mut Connection,
    node: i32,
    keys: &[(i64, String)],
    now: i64,
) -> QueryResult<Vec<i64>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = PromoteKeys::default();
    for (webhook, key) in keys {
        statement.push(*webhook, key, now, node);
    }
    diesel_async::RunQueryDsl::load(statement, conn).await
}

/// These pending rows of a webhook, and when they were leased. The rows are locked in the order of their ids to prevent
/// deadlocks.
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
        .for_update()
        .load(conn)
        .await
}

/// Since when a webhook fails, and how often it has failed.
pub(super) async fn locked_health(conn: &mut Connection, webhook: i64) -> QueryResult<Option<(i64, i32)>> {
    webhook_health::table
        .find(webhook)
        .select((webhook_health::failing_since, webhook_health::failures))
        .for_update()
        .first(conn)
        .await
        .optional()
}

/// The due rows of a webhook at a node, and when they were leased, except rows that another caller has locked.
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
        .for_update()
        .skip_locked()
        .load(conn)
        .await
}
