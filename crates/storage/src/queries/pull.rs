//! Leases of deliveries that are fetched: see [`crate::pull`].

macro_rules! pull_queries {
    ([$($asynchronous:tt)*], [$($wait:tt)*]) => {
        pub(crate) $($asynchronous)* fn hand_out(
            conn: &mut Connection,
            webhook: i64,
            now: i64,
            portion: Portion,
        ) -> QueryResult<Vec<LeasedDelivery>> {
            let mut leased = Vec::new();
            let mut budget = portion.bytes;
            let mut full = false;
            let mut handed_out = Vec::new();
            for node in nodes_of(conn, webhook)$($wait)*? {
                let rows = due_rows(conn, webhook, node, now, portion.rows - leased.len(), portion.discard)$($wait)*?;
                for chunk in rows.chunks($crate::queries::queue::PAYLOAD_CHUNK) {
                    let ids: Vec<i64> = chunk.iter().map(|row| row.0.event_id).collect();
                    let first_bytes = if leased.is_empty() { usize::MAX } else { 0 };
                    let (fit, mut stored) = events_within(conn, &ids, &mut budget, first_bytes)$($wait)*?;
                    for (row, leased_at) in &chunk[..fit] {
                        let Some(event) = stored.remove(&row.event_id) else { continue };
                        handed_out.push((row.clone(), *leased_at));
                        leased.push(LeasedDelivery { delivery: row.delivery_id, attempt: row.attempts + 1, event });
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
            // Handed out before, and not acknowledged.
            let missed = handed_out.iter().filter(|(row, _)| row.attempts > 0);
            let missed: Vec<AttemptRow> = missed
                .filter_map(|(row, leased_at)| Some($crate::queries::pull::not_acknowledged(row, (*leased_at)?)))
                .collect();
            insert_attempts(conn, &missed)$($wait)*?;
            let ids: Vec<i64> = handed_out.iter().map(|(row, _)| row.delivery_id).collect();
            diesel::update(pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(&ids)))
                .set((
                    pending_deliveries::due_at.eq(portion.until),
                    pending_deliveries::attempts.eq(pending_deliveries::attempts + 1),
                    pending_deliveries::leased_at.eq(now),
                ))
                .execute(conn)$($wait)*?;
            Ok(leased)
        }

        /// The nodes at which something waits for a webhook: a look-up in the index for each.
        $($asynchronous)* fn nodes_of(conn: &mut Connection, webhook: i64) -> QueryResult<Vec<i32>> {
            let mut nodes = Vec::new();
            let mut after = i32::MIN;
            loop {
                let next: Option<i32> = pending_deliveries::table
                    .filter(pending_deliveries::webhook_id.eq(webhook))
                    .filter(pending_deliveries::node.gt(after))
                    .order(pending_deliveries::node)
                    .select(pending_deliveries::node)
                    .first(conn)$($wait)*
                    .optional()?;
                let Some(node) = next else { return Ok(nodes) };
                nodes.push(node);
                after = node;
            }
        }

        pub(crate) $($asynchronous)* fn acknowledge(
            conn: &mut Connection,
            node: i32,
            webhook: i64,
            leases: &[Lease],
            now: i64,
        ) -> QueryResult<Vec<Acknowledged>> {
            lock_order(conn, &[webhook])$($wait)*?;
            // Locked: whoever removes these rows has acknowledged them, or handed them out again.
            let rows = leased(conn, webhook, leases)$($wait)*?;
            let Some(organization) = rows.as_slice().first().map(|(row, _)| row.organization_id) else {
                return Ok(Vec::new());
            };
            let ids: Vec<i64> = rows.iter().map(|(row, _)| row.delivery_id).collect();
            diesel::delete(pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(&ids)))
                .execute(conn)$($wait)*?;
            let ended: Vec<AttemptRow> = rows
                .iter()
                .map(|(row, leased_at)| $crate::queries::pull::acknowledged(row, *leased_at, now))
                .collect();
            insert_attempts(conn, &ended)$($wait)*?;
            let keys = rows.iter().filter_map(|(row, _)| Some((webhook, row.ordering_key.clone()?)));
            promote_all(conn, node, &keys.collect::<Vec<_>>(), now)$($wait)*?;
            note_changes(conn, organization, &ids)$($wait)*?;
            let acknowledged = rows.iter().map(|(row, leased_at)| Acknowledged {
                delivery: row.delivery_id,
                attempt: row.attempts,
                event: row.event_id,
                leased_at: *leased_at,
            });
            Ok(acknowledged.collect())
        }

        /// The rows of leases that are good, locked, with the times at which they were leased.
        $($asynchronous)* fn leased(
            conn: &mut Connection,
            webhook: i64,
            leases: &[Lease],
        ) -> QueryResult<Vec<(PendingRow, i64)>> {
            let mut attempts: std::collections::HashMap<i64, Vec<i32>> = std::collections::HashMap::new();
            for (delivery, attempt) in leases {
                attempts.entry(*delivery).or_default().push(*attempt);
            }
            let ids: Vec<i64> = attempts.keys().copied().collect();
            let rows = locked_rows(conn, webhook, &ids)$($wait)*?;
            let is_asked = |row: &PendingRow| {
                attempts.get(&row.delivery_id).is_some_and(|asked| asked.contains(&row.attempts))
            };
            let good = rows.into_iter().filter(|(row, _)| is_asked(row));
            Ok(good.filter_map(|(row, leased_at)| Some((row, leased_at?))).collect())
        }

        pub(crate) $($asynchronous)* fn extend_leases(
            conn: &mut Connection,
            webhook: i64,
            leases: &[Lease],
            until: i64,
        ) -> QueryResult<Vec<Lease>> {
            let rows = leased(conn, webhook, leases)$($wait)*?;
            let ids: Vec<i64> = rows.iter().map(|(row, _)| row.delivery_id).collect();
            diesel::update(pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(&ids)))
                .set(pending_deliveries::due_at.eq(until))
                .execute(conn)$($wait)*?;
            Ok(rows.iter().map(|(row, _)| (row.delivery_id, row.attempts)).collect())
        }
    };
}
pub(crate) use pull_queries;

use hookwright_domain::outcome::ErrorClass;

use crate::{
    clock::shown_us,
    rows::{AttemptRow, DELIVERED, GOES_ON, PendingRow},
};

/// The attempt of a delivery that was handed out and never acknowledged.
pub(crate) fn not_acknowledged(row: &PendingRow, leased_at: i64) -> AttemptRow {
    AttemptRow {
        error_class: Some(ErrorClass::Timeout.as_str().to_owned()),
        error_message: Some("it was handed out, and not acknowledged before its deadline".to_owned()),
        delivery_state: GOES_ON,
        ..attempt(row, leased_at, row.due_at)
    }
}

/// The attempt of a delivery that was acknowledged.
pub(crate) fn acknowledged(row: &PendingRow, leased_at: i64, now: i64) -> AttemptRow {
    AttemptRow {
        delivery_state: DELIVERED,
        ..attempt(row, leased_at, now)
    }
}

fn attempt(row: &PendingRow, leased_at: i64, ended_at: i64) -> AttemptRow {
    AttemptRow {
        delivery_id: row.delivery_id,
        number: row.attempts,
        event_id: row.event_id,
        organization_id: row.organization_id,
        webhook_id: row.webhook_id,
        started_at: shown_us(leased_at),
        duration_us: (ended_at - leased_at).max(0),
        status: None,
        error_class: None,
        error_message: None,
        delivery_state: GOES_ON,
        // Nothing was posted.
        details: "{\"url\":\"\"}".to_owned(),
        response_body: None,
    }
}
