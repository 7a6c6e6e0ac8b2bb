//! Queries of pending deliveries, as hand-written SQL.

use diesel::{ExpressionMethods as _, QueryDsl as _, SelectableHelper as _, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

pub(crate) use super::inserts::insert_endings;
use crate::{
    due::Waiting,
    operations::{Place, Seen, Visited},
    rows::{FOLLOWS, PendingRow},
    schema::pending_deliveries,
    waiting::WaitingPage,
};

/// A page of the webhooks with pending deliveries: one index look-up per webhook and node.
pub(crate) const WAITING_PAGE: &str = "\
WITH RECURSIVE w AS (
    (SELECT p.webhook_id, p.node, p.due_at FROM pending_deliveries p
     WHERE (p.webhook_id, p.node) > ($1, $2) ORDER BY p.webhook_id, p.node, p.due_at LIMIT 1)
    UNION ALL
    SELECT n.webhook_id, n.node, n.due_at FROM w CROSS JOIN LATERAL (
        SELECT p.webhook_id, p.node, p.due_at FROM pending_deliveries p
        WHERE (p.webhook_id, p.node) > (w.webhook_id, w.node) ORDER BY p.webhook_id, p.node, p.due_at LIMIT 1) AS n)
SELECT webhook_id, node, due_at FROM w LIMIT $3";

/// The number of pending deliveries, up to a limit.
pub(crate) const COUNT_WAITING: &str =
    "SELECT count(*) AS count FROM (SELECT 1 FROM pending_deliveries LIMIT $1) AS waiting";

pub(crate) async fn waiting_page(
    conn: &mut AsyncPgConnection,
    (webhook, node): (i64, i32),
    limit: i64,
) -> QueryResult<WaitingPage> {
    let rows: Vec<Waiting> = diesel::sql_query(WAITING_PAGE)
        .bind::<sql_types::BigInt, _>(webhook)
        .bind::<sql_types::Integer, _>(node)
        .bind::<sql_types::BigInt, _>(limit)
        .load(conn)
        .await?;
    Ok(WaitingPage::of(rows, limit))
}

pub(crate) async fn count_waiting(conn: &mut AsyncPgConnection, most: i64) -> QueryResult<i64> {
    let counted: crate::waiting::Count = diesel::sql_query(COUNT_WAITING)
        .bind::<sql_types::BigInt, _>(most)
        .get_result(conn)
        .await?;
    Ok(counted.count)
}

/// The next rows of a webhook after a position, in the order of nodes, due times and deliveries.
pub(crate) const WAITING_ROWS: &str = "\
SELECT delivery_id, node, due_at FROM pending_deliveries
WHERE webhook_id = $1 AND (node, due_at, delivery_id) > ($2, $3, $4) ORDER BY node, due_at, delivery_id LIMIT $5";

/// An organization's webhooks from an id on, including deleted ones, and whether each has pending deliveries.
pub(crate) const NEXT_WEBHOOKS: &str = "\
SELECT w.id, p.waits IS NOT NULL AS waits
FROM (SELECT id FROM webhooks WHERE organization_id = $1 AND id >= $2 ORDER BY id LIMIT $3) AS w
LEFT JOIN LATERAL (SELECT true AS waits FROM pending_deliveries WHERE webhook_id = w.id ORDER BY node LIMIT 1) AS p ON true
ORDER BY w.id";

/// Makes the first deliveries of some keys due if their ids are above a limit and they still wait behind another one.
pub(crate) const PROMOTE_BEYOND: &str = "\
UPDATE pending_deliveries d SET due_at = $4
FROM unnest($3) AS k (key) CROSS JOIN LATERAL (
    SELECT delivery_id FROM pending_deliveries WHERE webhook_id = $1 AND ordering_key = k.key
    ORDER BY position LIMIT 1) AS f
WHERE d.delivery_id = f.delivery_id AND d.delivery_id > $2 AND d.due_at = $5";

pub(crate) async fn waiting_rows(
    conn: &mut AsyncPgConnection,
    webhook: i64,
    after: Place,
    most: i64,
) -> QueryResult<Vec<Seen>> {
    diesel::sql_query(WAITING_ROWS)
        .bind::<sql_types::BigInt, _>(webhook)
        .bind::<sql_types::Integer, _>(after.node)
        .bind::<sql_types::BigInt, _>(after.due)
        .bind::<sql_types::BigInt, _>(after.delivery)
        .bind::<sql_types::BigInt, _>(most)
        .load(conn)
        .await
}

pub(crate) async fn next_webhooks(
    conn: &mut AsyncPgConnection,
    organization: i64,
    from: i64,
    most: i64,
) -> QueryResult<Vec<Visited>> {
    diesel::sql_query(NEXT_WEBHOOKS)
        .bind::<sql_types::BigInt, _>(organization)
        .bind::<sql_types::BigInt, _>(from)
        .bind::<sql_types::BigInt, _>(most)
        .load(conn)
        .await
}

/// Locks pending rows. Without `wait`, it skips rows that another transaction has locked, so that no transaction waits
/// for a step.
pub(crate) async fn lock_pending(
    conn: &mut AsyncPgConnection,
    deliveries: &[i64],
    wait: bool,
) -> QueryResult<Vec<PendingRow>> {
    let rows = pending_deliveries::table
        .filter(pending_deliveries::delivery_id.eq_any(deliveries))
        .order(pending_deliveries::delivery_id)
        .select(PendingRow::as_select())
        .for_update();
    if wait {
        rows.load(conn).await
    } else {
        rows.skip_locked().load(conn).await
    }
}

pub(crate) async fn promote_beyond(
    conn: &mut AsyncPgConnection,
    webhook: i64,
    through: i64,
    keys: &[String],
    now: i64,
) -> QueryResult<usize> {
    diesel::sql_query(PROMOTE_BEYOND)
        .bind::<sql_types::BigInt, _>(webhook)
        .bind::<sql_types::BigInt, _>(through)
        .bind::<sql_types::Array<sql_types::Text>, _>(keys)
        .bind::<sql_types::BigInt, _>(now)
        .bind::<sql_types::BigInt, _>(FOLLOWS)
        .execute(conn)
        .await
}
