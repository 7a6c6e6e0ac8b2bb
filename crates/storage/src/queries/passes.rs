//! The passes of operations over pending deliveries: the rows that they read, and what they do to them.

use super::{
    ID_CHUNK,
    changes::note_changes,
    prelude::*,
    waiting::{insert_endings, lock_pending, next_webhooks, promote_beyond, waiting_rows},
};
use crate::{
    clock,
    operations::{
        Cancelled, INLINE_ROWS, Looked, OPERATION_RUNNING, OperationKind, OperationRow, OperationStep, Place, VISITED,
        Visited,
    },
    rows::{ENDING_CANCELLED, EndingRow, PAUSED, PendingRow},
    schema::{operations, pending_deliveries, webhooks},
};

/// Reads at most `most` of the next rows of a pass.
pub(super) async fn look(conn: &mut Connection, row: &OperationRow, from: Place, most: i64) -> QueryResult<Looked> {
    if row.kind() == OperationKind::ReleaseOrder {
        return look_at_ordered(conn, row, most).await;
    }
    let mut looked = Looked {
        deliveries: Vec::new(),
        place: from,
        complete: false,
    };
    let visited = match row.webhook_id {
        Some(webhook) => vec![Visited {
            id: webhook,
            waits: true,
        }],
        None => next_webhooks(conn, row.organization_id, from.webhook, VISITED).await?,
    };
    let last_visit = row.webhook_id.is_some() || i64::try_from(visited.len()).is_ok_and(|length| length < VISITED);
    for webhook in visited {
        if webhook.waits {
            let place = if from.webhook == webhook.id {
                from
            } else {
                Place::before(webhook.id)
            };
            let left = most - i64::try_from(looked.deliveries.len()).unwrap_or(most);
            let seen = waiting_rows(conn, webhook.id, place, left).await?;
            let full = i64::try_from(seen.len()).is_ok_and(|length| length == left);
            looked.deliveries.extend(seen.iter().map(|seen| seen.delivery_id));
            if let Some(last) = seen.last().filter(|_| full) {
                looked.place = Place {
                    webhook: webhook.id,
                    node: last.node,
                    due: last.due_at,
                    delivery: last.delivery_id,
                };
                return Ok(looked);
            }
        }
        looked.place = Place::after(webhook.id);
    }
    looked.complete = last_visit;
    Ok(looked)
}

/// Reads the first ordered rows. Released rows leave the index of ordered deliveries, so the next rows are always the
/// first.
pub(super) async fn look_at_ordered(conn: &mut Connection, row: &OperationRow, most: i64) -> QueryResult<Looked> {
    let deliveries: Vec<i64> = pending_deliveries::table
        .filter(pending_deliveries::webhook_id.eq(row.webhook_id.unwrap_or_default()))
        .filter(pending_deliveries::ordering_key.is_not_null())
        .limit(most)
        .select(pending_deliveries::delivery_id)
        .load(conn)
        .await?;
    Ok(Looked {
        place: Place::START,
        complete: i64::try_from(deliveries.len()).is_ok_and(|length| length < most),
        deliveries,
    })
}

/// Applies the operation to the deliveries that were read.
pub(super) async fn deal_with(
    conn: &mut Connection,
    row: &OperationRow,
    looked: &Looked,
    wait: bool,
) -> QueryResult<OperationStep> {
    let chosen = looked.concerned(row.through);
    let (now, due_at) = (clock::now_us(), clock::schedule_us());
    let mut step = OperationStep::default();
    if chosen.is_empty() {
        return Ok(step);
    }
    if row.kind() == OperationKind::ReleaseOrder {
        step.rows = release_rows(conn, &chosen, due_at).await?;
        step.due = true;
        return Ok(step);
    }
    let ended = end_rows(conn, &chosen, wait, row.kind().reason(), now).await?;
    step.rows = ended.len();
    if row.kind() == OperationKind::DiscardBacklog {
        let mut keys: Vec<String> = ended.into_iter().filter_map(|row| row.ordering_key).collect();
        keys.sort_unstable();
        keys.dedup();
        if let (Some(webhook), [_, ..]) = (row.webhook_id, keys.as_slice()) {
            // New deliveries of these keys wait behind the ended ones.
            step.due = promote_beyond(conn, webhook, row.through, &keys, due_at).await? > 0;
        }
    }
    Ok(step)
}

/// Cancels pending deliveries, and returns them. Without `wait`, it skips deliveries that another caller has locked.
async fn end_rows(
    conn: &mut Connection,
    deliveries: &[i64],
    wait: bool,
    reason: &str,
    now: i64,
) -> QueryResult<Vec<PendingRow>> {
    let rows = lock_pending(conn, deliveries, wait).await?;
    let endings: Vec<EndingRow> = rows
        .iter()
        .map(|row| EndingRow {
            delivery_id: row.delivery_id,
            event_id: row.event_id,
            organization_id: row.organization_id,
            webhook_id: row.webhook_id,
            state: ENDING_CANCELLED,
            reason: reason.to_owned(),
            ended_at: now,
        })
        .collect();
    insert_endings(conn, &endings).await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.delivery_id).collect();
    for ids in ids.chunks(ID_CHUNK) {
        diesel::delete(pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(ids)))
            .execute(conn)
            .await?;
    }
    if let Some(first) = rows.as_slice().first() {
        note_changes(conn, first.organization_id, &ids).await?;
    }
    Ok(rows)
}

/// Makes deliveries due that no longer wait behind others.
async fn release_rows(conn: &mut Connection, deliveries: &[i64], now: i64) -> QueryResult<usize> {
    let held = pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(deliveries));
    diesel::update(held.filter(pending_deliveries::due_at.ge(PAUSED)))
        .set(pending_deliveries::due_at.eq(now))
        .execute(conn)
        .await?;
    let held = pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(deliveries));
    diesel::update(held)
        .set((
            pending_deliveries::ordering_key.eq(None::<String>),
            pending_deliveries::position.eq(None::<i64>),
        ))
        .execute(conn)
        .await
}

/// Why a webhook's pending deliveries are not cancelled without an operation; `None` if it was deleted and has no
/// operation.
pub(crate) async fn stragglers_kept(conn: &mut Connection, webhook: i64) -> QueryResult<Option<Cancelled>> {
    let known: Option<(i64, Option<i64>)> = webhooks::table
        .find(webhook)
        .select((webhooks::organization_id, webhooks::deleted_at))
        .first(conn)
        .await
        .optional()?;
    let Some((organization, Some(_))) = known else {
        return Ok(Some(Cancelled::NotDeleted));
    };
    let running: Vec<Option<i64>> = operations::table
        .filter(operations::organization_id.eq(organization))
        .filter(operations::state.eq(OPERATION_RUNNING))
        .select(operations::webhook_id)
        .load(conn)
        .await?;
    let is_of_operation = running.iter().any(|of| of.is_none_or(|of| of == webhook));
    Ok(is_of_operation.then_some(Cancelled::ByOperation))
}

/// A step for a deleted webhook without an operation. The caller's configuration may be outdated, so the query checks
/// that the webhook was deleted.
pub(crate) async fn cancel_stragglers(conn: &mut Connection, webhook: i64, now: i64) -> QueryResult<Cancelled> {
    if let Some(kept) = stragglers_kept(conn, webhook).await? {
        return Ok(kept);
    }
    let most = i64::try_from(INLINE_ROWS).unwrap_or(i64::MAX);
    let seen = waiting_rows(conn, webhook, Place::START, most).await?;
    let full = seen.len() == INLINE_ROWS;
    let deliveries: Vec<i64> = seen.into_iter().map(|seen| seen.delivery_id).collect();
    end_rows(conn, &deliveries, true, OperationKind::DeleteWebhook.reason(), now).await?;
    Ok(if full { Cancelled::More } else { Cancelled::All })
}
