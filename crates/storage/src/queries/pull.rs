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
            let mut handed_out = Vec::new();
            for node in nodes_of(conn, webhook)$($wait)*? {
                let rows = due_rows(conn, webhook, node, now, portion.rows - leased.len())$($wait)*?;
                for chunk in rows.chunks($crate::queries::queue::PAYLOAD_CHUNK) {
                    let ids: Vec<i64> = chunk.iter().map(|row| row.0.event_id).collect();
                    let mut stored = events_by_id(conn, &ids)$($wait)*?;
                    for (row, leased_at) in chunk {
                        let Some(event) = stored.remove(&row.event_id) else { continue };
                        if budget < event.payload.len() && !leased.is_empty() {
                            budget = 0;
                            break;
                        }
                        budget = budget.saturating_sub(event.payload.len());
                        handed_out.push((row.clone(), *leased_at));
                        leased.push(LeasedDelivery { delivery: row.delivery_id, attempt: row.attempts + 1, event });
                    }
                }
                if budget == 0 || leased.len() == portion.rows {
                    break;
                }
            }
            for (row, leased_at) in handed_out {
                // Handed out before, and not acknowledged.
                if let Some(leased_at) = leased_at.filter(|_| row.attempts > 0) {
                    let missed = $crate::queries::pull::not_acknowledged(&row, leased_at);
                    insert_attempt(conn, &missed)$($wait)*?;
                }
                diesel::update(pending_deliveries::table.find(row.delivery_id))
                    .set((
                        pending_deliveries::due_at.eq(portion.until),
                        pending_deliveries::attempts.eq(row.attempts + 1),
                        pending_deliveries::leased_at.eq(now),
                    ))
                    .execute(conn)$($wait)*?;
            }
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
            let mut acknowledged = Vec::new();
            let mut changed = Vec::new();
            let mut organization = None;
            lock_order(conn, &[webhook])$($wait)*?;
            for (delivery, attempt) in leases {
                let found: Option<(PendingRow, Option<i64>)> = pending_deliveries::table
                    .find(delivery)
                    .filter(pending_deliveries::webhook_id.eq(webhook))
                    .filter(pending_deliveries::attempts.eq(attempt))
                    .select((PendingRow::as_select(), pending_deliveries::leased_at))
                    .first(conn)$($wait)*
                    .optional()?;
                let Some((row, Some(leased_at))) = found else { continue };
                // Whoever removes the row has acknowledged it, or handed it out again.
                let mine = pending_deliveries::table
                    .find(delivery)
                    .filter(pending_deliveries::attempts.eq(attempt));
                if diesel::delete(mine).execute(conn)$($wait)*? == 0 {
                    continue;
                }
                insert_attempt(conn, &$crate::queries::pull::acknowledged(&row, leased_at, now))$($wait)*?;
                if let Some(key) = &row.ordering_key {
                    promote(conn, node, webhook, key, now)$($wait)*?;
                }
                organization = Some(row.organization_id);
                changed.push(row.delivery_id);
                acknowledged.push(Acknowledged {
                    delivery: row.delivery_id,
                    attempt: row.attempts,
                    event: row.event_id,
                    leased_at,
                });
            }
            if let Some(organization) = organization {
                note_changes(conn, organization, &changed)$($wait)*?;
            }
            Ok(acknowledged)
        }

        pub(crate) $($asynchronous)* fn extend_leases(
            conn: &mut Connection,
            webhook: i64,
            leases: &[Lease],
            until: i64,
        ) -> QueryResult<Vec<Lease>> {
            let mut extended = Vec::new();
            for (delivery, attempt) in leases {
                let leased = pending_deliveries::table
                    .find(delivery)
                    .filter(pending_deliveries::webhook_id.eq(webhook))
                    .filter(pending_deliveries::attempts.eq(attempt))
                    .filter(pending_deliveries::leased_at.is_not_null());
                let moved = diesel::update(leased)
                    .set(pending_deliveries::due_at.eq(until))
                    .execute(conn)$($wait)*?;
                if moved > 0 {
                    extended.push((*delivery, *attempt));
                }
            }
            Ok(extended)
        }

        $($asynchronous)* fn insert_attempt(conn: &mut Connection, row: &AttemptRow) -> QueryResult<()> {
            diesel::insert_into(attempts::table)
                .values(row)
                .on_conflict_do_nothing()
                .execute(conn)$($wait)*
                .map(drop)
        }
    };
}
pub(crate) use pull_queries;

use hookwright_domain::outcome::ErrorClass;

use crate::rows::{AttemptRow, DELIVERED, GOES_ON, PendingRow};

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
        started_at: crate::clock::shown_us(leased_at),
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
