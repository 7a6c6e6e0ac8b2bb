//! Queries of pending deliveries, as hand-written SQL.

use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _, SqliteConnection,
    result::QueryResult, sql_types,
};

use super::dialect::RunQueryDsl as _;
use crate::{
    due::Waiting,
    operations::{Place, Seen, Visited},
    rows::{EndingRow, FOLLOWS, PendingRow},
    schema::{delivery_endings, pending_deliveries},
    waiting::WaitingPage,
};

/// A page of the webhooks with pending deliveries: one index look-up per webhook and node.
pub(crate) const WAITING_PAGE: &str = "\
WITH RECURSIVE w (webhook_id, node, due_at) AS (
    SELECT p.webhook_id, p.node, p.due_at FROM pending_deliveries p WHERE p.delivery_id = coalesce(
        (SELECT n.delivery_id FROM pending_deliveries AS n INDEXED BY pending_deliveries_due
         WHERE n.webhook_id = ?1 AND n.node > ?2 ORDER BY n.node, n.due_at LIMIT 1),
        (SELECT n.delivery_id FROM pending_deliveries AS n INDEXED BY pending_deliveries_due
         WHERE n.webhook_id > ?1 ORDER BY n.webhook_id, n.node, n.due_at LIMIT 1))
    UNION ALL
    SELECT p.webhook_id, p.node, p.due_at FROM w JOIN pending_deliveries p ON p.delivery_id = coalesce(
        (SELECT n.delivery_id FROM pending_deliveries AS n INDEXED BY pending_deliveries_due
         WHERE n.webhook_id = w.webhook_id AND n.node > w.node ORDER BY n.node, n.due_at LIMIT 1),
        (SELECT n.delivery_id FROM pending_deliveries AS n INDEXED BY pending_deliveries_due
         WHERE n.webhook_id > w.webhook_id ORDER BY n.webhook_id, n.node, n.due_at LIMIT 1))
    LIMIT ?3)
SELECT webhook_id, node, due_at FROM w";

/// The number of pending deliveries, up to a limit.
pub(crate) const COUNT_WAITING: &str = "SELECT count(*) AS count FROM (SELECT 1 FROM pending_deliveries LIMIT ?1)";

pub(crate) async fn waiting_page(
    conn: &mut SqliteConnection,
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

pub(crate) async fn count_waiting(conn: &mut SqliteConnection, most: i64) -> QueryResult<i64> {
    let counted: crate::waiting::Count = diesel::sql_query(COUNT_WAITING)
        .bind::<sql_types::BigInt, _>(most)
        .get_result(conn)
        .await?;
    Ok(counted.count)
}

/// The next rows of a webhook after a position, in the order of nodes, due times and deliveries. SQLite searches the
/// index by one range at a time, so the query has three parts.
pub(crate) const WAITING_ROWS: &str = "\
SELECT * FROM (SELECT delivery_id, node, due_at FROM pending_deliveries INDEXED BY pending_deliveries_due
               WHERE webhook_id = ?1 AND node = ?2 AND due_at = ?3 AND delivery_id > ?4 ORDER BY delivery_id LIMIT ?5)
UNION ALL
SELECT * FROM (SELECT delivery_id, node, due_at FROM pending_deliveries INDEXED BY pending_deliveries_due
               WHERE webhook_id = ?1 AND node = ?2 AND due_at > ?3 ORDER BY due_at, delivery_id LIMIT ?5)
UNION ALL
SELECT * FROM (SELECT delivery_id, node, due_at FROM pending_deliveries INDEXED BY pending_deliveries_due
               WHERE webhook_id = ?1 AND node > ?2 ORDER BY node, due_at, delivery_id LIMIT ?5)
LIMIT ?5";

/// An organization's webhooks from an id on, including deleted ones, and whether each has pending deliveries.
pub(crate) const NEXT_WEBHOOKS: &str = "\
SELECT w.id, EXISTS (SELECT 1 FROM pending_deliveries AS p INDEXED BY pending_deliveries_due WHERE p.webhook_id = w.id) AS waits
FROM (SELECT id FROM webhooks WHERE organization_id = ?1 AND id >= ?2 ORDER BY id LIMIT ?3) AS w ORDER BY w.id";

pub(crate) async fn waiting_rows(
    conn: &mut SqliteConnection,
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
    conn: &mut SqliteConnection,
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

/// There is one writer at a time, so nothing needs a lock.
pub(crate) async fn lock_pending(
    conn: &mut SqliteConnection,
    deliveries: &[i64],
    _wait: bool,
) -> QueryResult<Vec<PendingRow>> {
    pending_deliveries::table
        .filter(pending_deliveries::delivery_id.eq_any(deliveries))
        .select(PendingRow::as_select())
        .load(conn)
        .await
}

pub(crate) async fn insert_endings(conn: &mut SqliteConnection, rows: &[EndingRow]) -> QueryResult<()> {
    for row in rows {
        diesel::insert_or_ignore_into(delivery_endings::table)
            .values(row)
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Makes the first deliveries of some keys due if their ids are above `through` and they still wait behind another one.
/// Returns how many.
pub(crate) async fn promote_beyond(
    conn: &mut SqliteConnection,
    webhook: i64,
    through: i64,
    keys: &[String],
    now: i64,
) -> QueryResult<usize> {
    let mut promoted = 0;
    for key in keys {
        let first: Option<(i64, i64)> = pending_deliveries::table
            .filter(pending_deliveries::webhook_id.eq(webhook))
            .filter(pending_deliveries::ordering_key.eq(key))
            .order(pending_deliveries::position)
            .select((pending_deliveries::delivery_id, pending_deliveries::due_at))
            .first(conn)
            .await
            .optional()?;
        if let Some((delivery, FOLLOWS)) = first.filter(|(delivery, _)| *delivery > through) {
            promoted += diesel::update(pending_deliveries::table.find(delivery))
                .set(pending_deliveries::due_at.eq(now))
                .execute(conn)
                .await?;
        }
    }
    Ok(promoted)
}
