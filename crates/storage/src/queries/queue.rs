//! The queue: pending deliveries in the store, and events that a previous run left unfinished.

use std::collections::{HashMap, HashSet};

use diesel::dsl::max;

use super::{ID_CHUNK, PAYLOAD_CHUNK, prelude::*};
use crate::{
    batch::StoredEvent,
    due::{DueDelivery, LatestDue, ReadLimits, Refill, UnfinishedEvent, UnfinishedPage},
    operations::Discard,
    row_event::{EventRow, payload_length},
    rows::{HealthRow, PAUSED, PendingRow},
    schema::{
        attempts, audit_log, delivery_endings, event_types, events, operations, organizations, pending_deliveries,
        signing_secrets, tokens, webhook_health, webhook_successes, webhooks,
    },
    unfinished, waiting,
};

/// How many due times are corrected at once.
const MENDED_AT_ONCE: i64 = 1_000;

/// The due deliveries of a webhook, in order, as many as the limits allow.
pub(crate) async fn due(
    conn: &mut Connection,
    webhook: i64,
    node: i32,
    now: i64,
    limits: ReadLimits,
    discard: Option<Discard>,
) -> QueryResult<Refill> {
    // Deliveries that are being discarded are skipped. They were due earlier, so the index is read from behind them.
    let (through, due_from) = discard.map_or((0, i64::MIN), |discard| (discard.through, discard.due_from(now)));
    let limit = i64::try_from(limits.rows).unwrap_or(i64::MAX);
    let waiting: Vec<PendingRow> = pending_deliveries::table
        .filter(pending_deliveries::webhook_id.eq(webhook))
        .filter(pending_deliveries::node.eq(node))
        .filter(pending_deliveries::due_at.ge(due_from))
        .filter(pending_deliveries::due_at.le(now))
        .filter(pending_deliveries::delivery_id.gt(through))
        .order((pending_deliveries::due_at, pending_deliveries::delivery_id))
        .limit(limit)
        .select(PendingRow::as_select())
        .load(conn)
        .await?;
    let mut refill = Refill {
        more_due: waiting.len() == limits.rows,
        ..Refill::default()
    };
    let mut budget = limits.bytes;
    for chunk in waiting.chunks(PAYLOAD_CHUNK) {
        let ids: Vec<i64> = chunk.iter().map(|row| row.event_id).collect();
        let first_bytes = if refill.rows.is_empty() { limits.first_bytes } else { 0 };
        let (fit, mut stored) = events_within(conn, &ids, &mut budget, first_bytes).await?;
        for pending in &chunk[..fit] {
            let Some(event) = stored.remove(&pending.event_id) else {
                continue;
            };
            refill.rows.push(DueDelivery {
                pending: pending.clone(),
                event,
            });
        }
        if fit < chunk.len() {
            refill.more_due = true;
            refill.too_large = fit == 0 && refill.rows.is_empty();
            return Ok(refill);
        }
    }
    let next: Option<(i64, i32)> = pending_deliveries::table
        .filter(pending_deliveries::webhook_id.eq(webhook))
        .filter(pending_deliveries::node.eq(node))
        .filter(pending_deliveries::due_at.gt(now))
        .filter(pending_deliveries::due_at.lt(PAUSED))
        .filter(pending_deliveries::delivery_id.gt(through))
        .order((pending_deliveries::due_at, pending_deliveries::delivery_id))
        .select((pending_deliveries::due_at, pending_deliveries::attempts))
        .first(conn)
        .await
        .optional()?;
    refill.next_due = next.map(|(due_at, _)| due_at);
    refill.next_is_first = next.is_some_and(|(_, attempts)| attempts == 0);
    Ok(refill)
}

/// The events of the first ids whose payloads fit into `budget` together, and the number of these ids. The first event
/// may have up to `first_bytes`. No other payload is read.
pub(super) async fn events_within(
    conn: &mut Connection,
    ids: &[i64],
    budget: &mut usize,
    first_bytes: usize,
) -> QueryResult<(usize, HashMap<i64, StoredEvent>)> {
    let sizes: Vec<(i64, i64)> = events::table
        .filter(events::id.eq_any(ids))
        .select((events::id, payload_length()))
        .load(conn)
        .await?;
    let fit = waiting::fitting(ids, &sizes.into_iter().collect(), budget, first_bytes);
    Ok((fit, events_by_id(conn, &ids[..fit]).await?))
}

pub(super) async fn events_by_id(conn: &mut Connection, ids: &[i64]) -> QueryResult<HashMap<i64, StoredEvent>> {
    let rows: Vec<EventRow> = events::table.filter(events::id.eq_any(ids)).load(conn).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
}

/// The first pending deliveries of a webhook at a node that are due by `due_at`.
pub(crate) async fn waiting_until(
    conn: &mut Connection,
    webhook: i64,
    node: i32,
    due_at: i64,
    most: i64,
) -> QueryResult<Vec<i64>> {
    pending_deliveries::table
        .filter(pending_deliveries::webhook_id.eq(webhook))
        .filter(pending_deliveries::node.eq(node))
        .filter(pending_deliveries::due_at.le(due_at))
        .order((pending_deliveries::due_at, pending_deliveries::delivery_id))
        .select(pending_deliveries::delivery_id)
        .limit(most)
        .load(conn)
        .await
}

/// How many deliveries of a webhook are pending, up to a limit.
pub(crate) async fn count_waiting_for(conn: &mut Connection, webhook: i64, most: i64) -> QueryResult<usize> {
    let waiting: Vec<i64> = pending_deliveries::table
        .filter(pending_deliveries::webhook_id.eq(webhook))
        .select(pending_deliveries::delivery_id)
        .limit(most)
        .load(conn)
        .await?;
    Ok(waiting.len())
}

/// Corrects some due times of a webhook at a node that are later than possible.
pub(crate) async fn correct_due(
    conn: &mut Connection,
    webhook: i64,
    node: i32,
    now: i64,
    latest: LatestDue,
) -> QueryResult<usize> {
    let wrong: Vec<(i64, i32)> = pending_deliveries::table
        .filter(pending_deliveries::webhook_id.eq(webhook))
        .filter(pending_deliveries::node.eq(node))
        .filter(pending_deliveries::due_at.gt(latest.first.min(latest.any)))
        .filter(pending_deliveries::due_at.lt(PAUSED))
        .filter(
            pending_deliveries::due_at
                .gt(latest.any)
                .or(pending_deliveries::attempts
                    .eq(0)
                    .and(pending_deliveries::due_at.gt(latest.first))),
        )
        .order(pending_deliveries::due_at)
        .limit(MENDED_AT_ONCE)
        .select((pending_deliveries::delivery_id, pending_deliveries::attempts))
        .load(conn)
        .await?;
    let (first, later): (Vec<_>, Vec<_>) = wrong.iter().partition(|(_, attempts)| *attempts == 0);
    for (rows, due_at) in [(first, now), (later, latest.any)] {
        let ids: Vec<i64> = rows.iter().map(|(delivery, _)| *delivery).collect();
        // A row that another caller has moved meanwhile stays unchanged.
        diesel::update(pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(&ids)))
            .filter(
                pending_deliveries::due_at
                    .gt(due_at)
                    .and(pending_deliveries::due_at.lt(PAUSED)),
            )
            .set(pending_deliveries::due_at.eq(due_at))
            .execute(conn)
            .await?;
    }
    Ok(wrong.len())
}

/// A node's events after `after`, up to `last`, that have deliveries without any row, with about `bytes` of payload,
/// and at least one event.
pub(crate) async fn unfinished(
    conn: &mut Connection,
    node: i32,
    after: i64,
    last: i64,
    limit: i64,
    bytes: i64,
) -> QueryResult<UnfinishedPage> {
    let mut page = unfinished_outlines(conn, node, after, last, limit).await?;
    page.cut(bytes);
    let ids: Vec<i64> = page.events.iter().map(|event| event.id).collect();
    let mut stored = events_by_id(conn, &ids).await?;
    // An event that retention removed just now is owed to no webhook.
    let events = page.events.into_iter().filter_map(|outline| {
        let event = stored.remove(&outline.id)?;
        Some(UnfinishedEvent {
            event,
            positions: outline.positions,
        })
    });
    Ok(UnfinishedPage {
        events: events.collect(),
        last_id: page.last_id,
    })
}

/// The same without payloads. Reads a bounded number of events, even if few of them are the node's.
pub(crate) async fn unfinished_outlines(
    conn: &mut Connection,
    node: i32,
    after: i64,
    last: i64,
    limit: i64,
) -> QueryResult<unfinished::OutlinePage> {
    let looked_at: Vec<i64> = events::table
        .filter(events::id.gt(after))
        .filter(events::id.le(last))
        .order(events::id)
        .limit(unfinished::LOOKED_AT)
        .select(events::id)
        .load(conn)
        .await?;
    let (own, last_id) = unfinished::own_of(looked_at, node, limit, last);
    let rows: Vec<(i64, i64, Vec<u8>, i64)> = events::table
        .filter(events::id.eq_any(&own))
        .order(events::id)
        .select((events::id, events::organization_id, events::webhooks, payload_length()))
        .load(conn)
        .await?;
    let (owed, last_id) = unfinished::Owed::take(rows, last_id);
    let known = known_deliveries(conn, &owed).await?;
    Ok(unfinished::OutlinePage::of(owed, &known, last_id))
}

/// The deliveries of these events that have a row of any kind.
async fn known_deliveries(conn: &mut Connection, owed: &[unfinished::Owed]) -> QueryResult<HashSet<i64>> {
    let ids: Vec<i64> = owed.iter().flat_map(unfinished::Owed::deliveries).collect();
    let mut known = HashSet::new();
    for ids in ids.chunks(ID_CHUNK) {
        // The range shows PostgreSQL which partitions to read.
        let (first, last) = (ids.first().copied().unwrap_or(0), ids.last().copied().unwrap_or(0));
        // The transaction that adds the last attempt or the ending deletes the pending row. On PostgreSQL each
        // statement sees a later state than the previous one, so pending rows are read first: such a delivery is then
        // found by one query or another.
        let pending: Vec<i64> = pending_deliveries::table
            .filter(pending_deliveries::delivery_id.eq_any(ids))
            .select(pending_deliveries::delivery_id)
            .load(conn)
            .await?;
        let attempted: Vec<i64> = attempts::table
            .filter(attempts::delivery_id.between(first, last))
            .filter(attempts::delivery_id.eq_any(ids))
            .select(attempts::delivery_id)
            .load(conn)
            .await?;
        let ended: Vec<i64> = delivery_endings::table
            .filter(delivery_endings::delivery_id.between(first, last))
            .filter(delivery_endings::delivery_id.eq_any(ids))
            .select(delivery_endings::delivery_id)
            .load(conn)
            .await?;
        known.extend(pending.into_iter().chain(attempted).chain(ended));
    }
    Ok(known)
}

/// The events among these that are stored.
pub(crate) async fn events_exist(conn: &mut Connection, ids: &[i64]) -> QueryResult<Vec<i64>> {
    let mut found = Vec::new();
    for chunk in ids.chunks(ID_CHUNK) {
        let chunk: Vec<i64> = events::table
            .filter(events::id.eq_any(chunk))
            .select(events::id)
            .load(conn)
            .await?;
        found.extend(chunk);
    }
    Ok(found)
}

/// The largest id in use, over all tables whose ids the generator creates.
pub(crate) async fn largest_id(conn: &mut Connection) -> QueryResult<i64> {
    let last: Option<(i64, Vec<u8>)> = events::table
        .order(events::id.desc())
        .select((events::id, events::webhooks))
        .first(conn)
        .await
        .optional()?;
    // An event's deliveries use the ids after its own.
    let events = last.map(|(id, webhooks)| id + i64::try_from(webhooks.len() / 8).unwrap_or(0));
    let others: [Option<i64>; 7] = [
        organizations::table.select(max(organizations::id)).first(conn).await?,
        event_types::table.select(max(event_types::id)).first(conn).await?,
        webhooks::table.select(max(webhooks::id)).first(conn).await?,
        signing_secrets::table
            .select(max(signing_secrets::id))
            .first(conn)
            .await?,
        tokens::table.select(max(tokens::id)).first(conn).await?,
        audit_log::table.select(max(audit_log::id)).first(conn).await?,
        operations::table.select(max(operations::id)).first(conn).await?,
    ];
    Ok(others.into_iter().flatten().chain(events).max().unwrap_or(0))
}

/// Corrects failures and successes of webhooks that are recorded in the future: their time becomes `now`.
pub(crate) async fn correct_health(conn: &mut Connection, now: i64) -> QueryResult<usize> {
    let failures = diesel::update(webhook_health::table.filter(webhook_health::failing_since.gt(now)))
        .set(webhook_health::failing_since.eq(now))
        .execute(conn)
        .await?;
    let successes = diesel::update(webhook_successes::table.filter(webhook_successes::at.gt(now)))
        .set(webhook_successes::at.eq(now))
        .execute(conn)
        .await?;
    Ok(failures + successes)
}

pub(crate) async fn all_failing_webhooks(conn: &mut Connection) -> QueryResult<Vec<HealthRow>> {
    let rows: Vec<(i64, i64, i32)> = webhook_health::table.load(conn).await?;
    Ok(rows.into_iter().map(HealthRow::failing).collect())
}

pub(crate) async fn failing_webhooks(conn: &mut Connection, webhooks: &[i64]) -> QueryResult<Vec<HealthRow>> {
    let asked = webhook_health::table.filter(webhook_health::webhook_id.eq_any(webhooks));
    let rows: Vec<(i64, i64, i32)> = asked.load(conn).await?;
    Ok(rows.into_iter().map(HealthRow::failing).collect())
}
