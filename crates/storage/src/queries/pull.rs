//! Leases of pulled deliveries: see [`crate::pull`].

use std::collections::HashMap;

use super::{
    PAYLOAD_CHUNK,
    changes::note_changes,
    dialect::{due_rows, insert_attempts, lock_order, locked_rows, promote_all},
    prelude::*,
    queue::events_within,
};
use crate::{
    pull::{self, Acknowledged, Lease, LeasedDelivery, Portion},
    rows::{AttemptRow, PendingRow},
    schema::pending_deliveries,
};

pub(crate) async fn hand_out(
    conn: &mut Connection,
    webhook: i64,
    now: i64,
    portion: Portion,
) -> QueryResult<Vec<LeasedDelivery>> {
    let mut leased = Vec::new();
    let mut budget = portion.bytes;
    let mut full = false;
    let mut handed_out = Vec::new();
    for node in nodes_of(conn, webhook).await? {
        let rows = due_rows(conn, webhook, node, now, portion.rows - leased.len(), portion.discard).await?;
        for chunk in rows.chunks(PAYLOAD_CHUNK) {
            let ids: Vec<i64> = chunk.iter().map(|row| row.0.event_id).collect();
            let first_bytes = if leased.is_empty() { usize::MAX } else { 0 };
            let (fit, mut stored) = events_within(conn, &ids, &mut budget, first_bytes).await?;
            for (row, leased_at) in &chunk[..fit] {
                let Some(event) = stored.remove(&row.event_id) else {
                    continue;
                };
                handed_out.push((row.clone(), *leased_at));
                leased.push(LeasedDelivery {
                    delivery: row.delivery_id,
                    attempt: row.attempts + 1,
                    event,
                });
            }
            if fit < chunk.len() {
                full = true;
                break;
            }
        }
        if full || leased.len() == portion.rows {
            break;
        }
    }
    if handed_out.is_empty() {
        return Ok(leased);
    }
    // These were handed out before, and not acknowledged.
    let missed = handed_out.iter().filter(|(row, _)| row.attempts > 0);
    let missed: Vec<AttemptRow> = missed
        .filter_map(|(row, leased_at)| Some(pull::not_acknowledged(row, (*leased_at)?)))
        .collect();
    insert_attempts(conn, &missed).await?;
    let ids: Vec<i64> = handed_out.iter().map(|(row, _)| row.delivery_id).collect();
    diesel::update(pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(&ids)))
        .set((
            pending_deliveries::due_at.eq(portion.until),
            pending_deliveries::attempts.eq(pending_deliveries::attempts + 1),
            pending_deliveries::leased_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(leased)
}

/// The nodes with pending deliveries of a webhook: one index look-up for each.
async fn nodes_of(conn: &mut Connection, webhook: i64) -> QueryResult<Vec<i32>> {
    let mut nodes = Vec::new();
    let mut after = i32::MIN;
    loop {
        let next: Option<i32> = pending_deliveries::table
            .filter(pending_deliveries::webhook_id.eq(webhook))
            .filter(pending_deliveries::node.gt(after))
            .order(pending_deliveries::node)
            .select(pending_deliveries::node)
            .first(conn)
            .await
            .optional()?;
        let Some(node) = next else { return Ok(nodes) };
        nodes.push(node);
        after = node;
    }
}

pub(crate) async fn acknowledge(
    conn: &mut Connection,
    node: i32,
    webhook: i64,
    leases: &[Lease],
    now: i64,
) -> QueryResult<Vec<Acknowledged>> {
    lock_order(conn, &[webhook]).await?;
    // Locks the rows. A lease that another call ended before has no row here any more.
    let rows = leased(conn, webhook, leases).await?;
    let Some(organization) = rows.as_slice().first().map(|(row, _)| row.organization_id) else {
        return Ok(Vec::new());
    };
    let ids: Vec<i64> = rows.iter().map(|(row, _)| row.delivery_id).collect();
    diesel::delete(pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(&ids)))
        .execute(conn)
        .await?;
    let ended: Vec<AttemptRow> = rows
        .iter()
        .map(|(row, leased_at)| pull::acknowledged(row, *leased_at, now))
        .collect();
    insert_attempts(conn, &ended).await?;
    let keys = rows
        .iter()
        .filter_map(|(row, _)| Some((webhook, row.ordering_key.clone()?)));
    promote_all(conn, node, &keys.collect::<Vec<_>>(), now).await?;
    note_changes(conn, organization, &ids).await?;
    let acknowledged = rows.iter().map(|(row, leased_at)| Acknowledged {
        delivery: row.delivery_id,
        attempt: row.attempts,
        event: row.event_id,
        leased_at: *leased_at,
    });
    Ok(acknowledged.collect())
}

/// The rows of valid leases, locked, with the times at which they were leased.
async fn leased(conn: &mut Connection, webhook: i64, leases: &[Lease]) -> QueryResult<Vec<(PendingRow, i64)>> {
    let mut attempts: HashMap<i64, Vec<i32>> = HashMap::new();
    for (delivery, attempt) in leases {
        attempts.entry(*delivery).or_default().push(*attempt);
    }
    let ids: Vec<i64> = attempts.keys().copied().collect();
    let rows = locked_rows(conn, webhook, &ids).await?;
    let is_asked = |row: &PendingRow| {
        attempts
            .get(&row.delivery_id)
            .is_some_and(|asked| asked.contains(&row.attempts))
    };
    let good = rows.into_iter().filter(|(row, _)| is_asked(row));
    Ok(good.filter_map(|(row, leased_at)| Some((row, leased_at?))).collect())
}

pub(crate) async fn extend_leases(
    conn: &mut Connection,
    webhook: i64,
    leases: &[Lease],
    until: i64,
) -> QueryResult<Vec<Lease>> {
    let rows = leased(conn, webhook, leases).await?;
    let ids: Vec<i64> = rows.iter().map(|(row, _)| row.delivery_id).collect();
    diesel::update(pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(&ids)))
        .set(pending_deliveries::due_at.eq(until))
        .execute(conn)
        .await?;
    Ok(rows.iter().map(|(row, _)| (row.delivery_id, row.attempts)).collect())
}
