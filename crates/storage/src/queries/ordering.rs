//! Ordered deliveries: for each key of an ordered webhook, the first delivery that is not final has a due time, and all
//! others wait behind it ([`crate::FOLLOWS`]). The transaction that ends the first one makes the next one due.

use super::{audit::append_audit, changes::note_changes, dialect::lock_order, prelude::*};
use crate::{
    blocked::{BlockedKeys, BlockedRange, STEP, count_keys, is_paused},
    clock,
    due::Steered,
    records::Backlog,
    rows::{AuditRow, ENDING_CANCELLED, EndingRow, FOLLOWS, PAUSED, PendingRow},
    schema::{delivery_endings, pending_deliveries},
};

/// Webhooks with blocked keys, in order: about `size` at most. Reads about [`crate::BLOCKED_COUNTED`] rows of each
/// webhook.
pub(crate) async fn webhooks_with_blocked_keys(
    conn: &mut Connection,
    range: BlockedRange,
    size: usize,
) -> QueryResult<Vec<BlockedKeys>> {
    let (mut found, mut after) = (Vec::new(), range.after);
    loop {
        let (organization, webhook) = after;
        let later = pending_deliveries::webhook_id.gt(webhook);
        let mut rows = pending_deliveries::table
            .filter(is_paused())
            .filter(pending_deliveries::webhook_id.le(range.last))
            .order((
                pending_deliveries::organization_id,
                pending_deliveries::webhook_id,
                pending_deliveries::delivery_id,
            ))
            .limit(STEP)
            .select((pending_deliveries::organization_id, pending_deliveries::webhook_id))
            .into_boxed();
        rows = match range.organization {
            Some(organization) => rows
                .filter(pending_deliveries::organization_id.eq(organization))
                .filter(later),
            None => rows
                .filter(pending_deliveries::organization_id.ge(organization))
                .filter(
                    pending_deliveries::organization_id
                        .gt(organization)
                        .or(pending_deliveries::organization_id.eq(organization).and(later)),
                ),
        };
        let rows: Vec<(i64, i64)> = rows.load(conn).await?;
        match count_keys(&rows, &mut found) {
            Some(next) if found.len() < size => after = next,
            _ => return Ok(found),
        }
    }
}

/// How many deliveries are pending in each state, among the first `most`.
pub(crate) async fn backlog(conn: &mut Connection, most: i64) -> QueryResult<Backlog> {
    let of = |condition: &str| format!("CAST(COALESCE(SUM(CASE WHEN {condition} THEN 1 ELSE 0 END), 0) AS BIGINT)");
    let counts = diesel::sql_query(format!(
        "SELECT {} AS pending, {} AS retrying, {} AS following, {} AS paused
         FROM (SELECT due_at, attempts FROM pending_deliveries LIMIT {most}) AS met",
        of(&format!("due_at < {PAUSED} AND attempts = 0")),
        of(&format!("due_at < {PAUSED} AND attempts > 0")),
        of(&format!("due_at = {FOLLOWS}")),
        of(&format!("due_at = {PAUSED}")),
    ));
    counts.get_result(conn).await
}

/// How many keys are blocked over all webhooks, `most` at most.
pub(crate) async fn count_blocked_keys(conn: &mut Connection, most: i64) -> QueryResult<usize> {
    let paused: Vec<i64> = pending_deliveries::table
        .filter(is_paused())
        .limit(most)
        .select(pending_deliveries::delivery_id)
        .load(conn)
        .await?;
    Ok(paused.len())
}

/// How many deliveries of a key are behind its first one. A number above [`crate::BLOCKED_COUNTED`] means at least that
/// many.
pub(crate) async fn count_behind(conn: &mut Connection, webhook: i64, key: &str) -> QueryResult<usize> {
    let of_key: Vec<i64> = pending_deliveries::table
        .filter(pending_deliveries::webhook_id.eq(webhook))
        .filter(pending_deliveries::ordering_key.eq(key))
        .order(pending_deliveries::position)
        .limit(STEP + 1)
        .select(pending_deliveries::delivery_id)
        .load(conn)
        .await?;
    Ok(of_key.len().saturating_sub(1))
}

/// Makes the next delivery of a key due now, by the schedule clock, and the caller's node its owner. Returns false if
/// there is none, or if the first one is due already.
pub(crate) async fn promote(conn: &mut Connection, node: i32, webhook: i64, key: &str, now: i64) -> QueryResult<bool> {
    let first: Option<(i64, i64)> = pending_deliveries::table
        .filter(pending_deliveries::webhook_id.eq(webhook))
        .filter(pending_deliveries::ordering_key.eq(key))
        .order(pending_deliveries::position)
        .select((pending_deliveries::delivery_id, pending_deliveries::due_at))
        .first(conn)
        .await
        .optional()?;
    let Some((delivery, FOLLOWS)) = first else {
        return Ok(false);
    };
    diesel::update(pending_deliveries::table.find(delivery))
        .set((pending_deliveries::due_at.eq(now), pending_deliveries::node.eq(node)))
        .execute(conn)
        .await?;
    Ok(true)
}

/// A delivery's pending row, with its key's order locked if it has one.
async fn waiting_delivery(conn: &mut Connection, organization: i64, delivery: i64) -> QueryResult<Option<PendingRow>> {
    let read = pending_deliveries::table
        .find(delivery)
        .filter(pending_deliveries::organization_id.eq(organization))
        .select(PendingRow::as_select());
    let row: Option<PendingRow> = read.first(conn).await.optional()?;
    match row {
        Some(row) if row.ordering_key.is_some() => {
            lock_order(conn, &[row.webhook_id]).await?;
            read.first(conn).await.optional()
        }
        row => Ok(row),
    }
}

/// Ends a pending delivery, for a reason.
pub(crate) async fn end_delivery(
    conn: &mut Connection,
    node: i32,
    organization: i64,
    delivery: i64,
    reason: &str,
    now: i64,
    audit: &AuditRow,
) -> QueryResult<Steered> {
    let Some(row) = waiting_delivery(conn, organization, delivery).await? else {
        return Ok(Steered::NotWaiting);
    };
    let ending = EndingRow {
        delivery_id: delivery,
        event_id: row.event_id,
        organization_id: organization,
        webhook_id: row.webhook_id,
        state: ENDING_CANCELLED,
        reason: reason.to_owned(),
        ended_at: now,
    };
    diesel::insert_into(delivery_endings::table)
        .values(ending)
        .execute(conn)
        .await?;
    diesel::delete(pending_deliveries::table.find(delivery))
        .execute(conn)
        .await?;
    if let Some(key) = &row.ordering_key {
        promote(conn, node, row.webhook_id, key, clock::schedule_us()).await?;
    }
    note_changes(conn, organization, &[delivery]).await?;
    append_audit(conn, audit).await?;
    Ok(Steered::Done {
        webhook: row.webhook_id,
    })
}

/// Makes a pending delivery due now, by the schedule clock.
pub(crate) async fn retry_delivery(
    conn: &mut Connection,
    node: i32,
    organization: i64,
    delivery: i64,
    now: i64,
    audit: &AuditRow,
) -> QueryResult<Steered> {
    let Some(row) = waiting_delivery(conn, organization, delivery).await? else {
        return Ok(Steered::NotWaiting);
    };
    match row.due_at {
        FOLLOWS => return Ok(Steered::Follows),
        // No node has a paused delivery in memory, so the node that got the call becomes its owner.
        PAUSED => {
            diesel::update(pending_deliveries::table.find(delivery))
                .set((pending_deliveries::due_at.eq(now), pending_deliveries::node.eq(node)))
                .execute(conn)
                .await?;
        }
        _ => {
            diesel::update(pending_deliveries::table.find(delivery))
                .set(pending_deliveries::due_at.eq(now))
                .execute(conn)
                .await?;
        }
    }
    append_audit(conn, audit).await?;
    Ok(Steered::Done {
        webhook: row.webhook_id,
    })
}
