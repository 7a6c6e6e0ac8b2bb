//! Ordered deliveries: of each key of an ordered webhook the first one that is not final has a due time, and all others wait
//! behind it ([`crate::FOLLOWS`]). Whoever ends the first makes the next one due in the same transaction.

macro_rules! ordering_queries {
    ([$($asynchronous:tt)*], [$($wait:tt)*]) => {
        /// Webhooks with paused keys, in order: about `size` at most. Of each webhook about [`PAUSED_COUNTED`] rows are read.
        pub(crate) $($asynchronous)* fn paused_webhooks(
            conn: &mut Connection,
            range: PausedRange,
            size: usize,
        ) -> QueryResult<Vec<PausedKeys>> {
            use $crate::queries::ordering::{STEP, count_keys, is_paused};
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
                    Some(organization) => rows.filter(pending_deliveries::organization_id.eq(organization)).filter(later),
                    None => rows.filter(pending_deliveries::organization_id.ge(organization)).filter(
                        pending_deliveries::organization_id
                            .gt(organization)
                            .or(pending_deliveries::organization_id.eq(organization).and(later)),
                    ),
                };
                let rows: Vec<(i64, i64)> = rows.load(conn)$($wait)*?;
                match count_keys(&rows, &mut found) {
                    Some(next) if found.len() < size => after = next,
                    _ => return Ok(found),
                }
            }
        }

        /// How many deliveries wait in each state, of the first `most` that are met.
        pub(crate) $($asynchronous)* fn backlog(conn: &mut Connection, most: i64) -> QueryResult<Backlog> {
            let of = |condition: &str| format!("CAST(COALESCE(SUM(CASE WHEN {condition} THEN 1 ELSE 0 END), 0) AS BIGINT)");
            let counts = diesel::sql_query(format!(
                "SELECT {} AS pending, {} AS retrying, {} AS following, {} AS paused
                 FROM (SELECT due_at, attempts FROM pending_deliveries LIMIT {most}) AS met",
                of(&format!("due_at < {PAUSED} AND attempts = 0")),
                of(&format!("due_at < {PAUSED} AND attempts > 0")),
                of(&format!("due_at = {FOLLOWS}")),
                of(&format!("due_at = {PAUSED}")),
            ));
            counts.get_result(conn)$($wait)*
        }

        /// How many keys are paused, of all webhooks: `most` at most.
        pub(crate) $($asynchronous)* fn count_paused(conn: &mut Connection, most: i64) -> QueryResult<usize> {
            let paused: Vec<i64> = pending_deliveries::table
                .filter($crate::queries::ordering::is_paused())
                .limit(most)
                .select(pending_deliveries::delivery_id)
                .load(conn)$($wait)*?;
            Ok(paused.len())
        }

        /// How many deliveries of a key wait behind its first one; more than [`PAUSED_COUNTED`] stands for any number above it.
        pub(crate) $($asynchronous)* fn count_behind(conn: &mut Connection, webhook: i64, key: &str) -> QueryResult<usize> {
            let of_key: Vec<i64> = pending_deliveries::table
                .filter(pending_deliveries::webhook_id.eq(webhook))
                .filter(pending_deliveries::ordering_key.eq(key))
                .order(pending_deliveries::position)
                .limit($crate::queries::ordering::STEP + 1)
                .select(pending_deliveries::delivery_id)
                .load(conn)$($wait)*?;
            Ok(of_key.len().saturating_sub(1))
        }

        /// Makes the next delivery of a key due now, by the schedule clock, and the caller's node its owner. False when there is none, or the first one
        /// is due already.
        pub(crate) $($asynchronous)* fn promote(
            conn: &mut Connection,
            node: i32,
            webhook: i64,
            key: &str,
            now: i64,
        ) -> QueryResult<bool> {
            let first: Option<(i64, i64)> = pending_deliveries::table
                .filter(pending_deliveries::webhook_id.eq(webhook))
                .filter(pending_deliveries::ordering_key.eq(key))
                .order(pending_deliveries::position)
                .select((pending_deliveries::delivery_id, pending_deliveries::due_at))
                .first(conn)$($wait)*
                .optional()?;
            let Some((delivery, FOLLOWS)) = first else { return Ok(false) };
            diesel::update(pending_deliveries::table.find(delivery))
                .set((pending_deliveries::due_at.eq(now), pending_deliveries::node.eq(node)))
                .execute(conn)$($wait)*?;
            Ok(true)
        }

        /// A delivery's pending row, with its key's order locked if it has one.
        $($asynchronous)* fn waiting_delivery(
            conn: &mut Connection,
            organization: i64,
            delivery: i64,
        ) -> QueryResult<Option<PendingRow>> {
            let read = pending_deliveries::table
                .find(delivery)
                .filter(pending_deliveries::organization_id.eq(organization))
                .select(PendingRow::as_select());
            let row: Option<PendingRow> = read.first(conn)$($wait)*.optional()?;
            match row {
                Some(row) if row.ordering_key.is_some() => {
                    lock_order(conn, &[row.webhook_id])$($wait)*?;
                    read.first(conn)$($wait)*.optional()
                }
                row => Ok(row),
            }
        }

        /// Ends a delivery that waits, for a reason.
        pub(crate) $($asynchronous)* fn end_delivery(
            conn: &mut Connection,
            node: i32,
            organization: i64,
            delivery: i64,
            reason: &str,
            now: i64,
            audit: &AuditRow,
        ) -> QueryResult<Steered> {
            let Some(row) = waiting_delivery(conn, organization, delivery)$($wait)*? else {
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
            diesel::insert_into(delivery_endings::table).values(ending).execute(conn)$($wait)*?;
            diesel::delete(pending_deliveries::table.find(delivery)).execute(conn)$($wait)*?;
            if let Some(key) = &row.ordering_key {
                promote(conn, node, row.webhook_id, key, $crate::clock::schedule_us())$($wait)*?;
            }
            note_changes(conn, organization, &[delivery])$($wait)*?;
            append_audit(conn, audit)$($wait)*?;
            Ok(Steered::Done { webhook: row.webhook_id })
        }

        /// Makes a delivery that waits due now, by the schedule clock.
        pub(crate) $($asynchronous)* fn retry_delivery(
            conn: &mut Connection,
            node: i32,
            organization: i64,
            delivery: i64,
            now: i64,
            audit: &AuditRow,
        ) -> QueryResult<Steered> {
            let Some(row) = waiting_delivery(conn, organization, delivery)$($wait)*? else {
                return Ok(Steered::NotWaiting);
            };
            match row.due_at {
                FOLLOWS => return Ok(Steered::Follows),
                // It is in nobody's memory: whoever was asked may have it.
                PAUSED => {
                    diesel::update(pending_deliveries::table.find(delivery))
                        .set((pending_deliveries::due_at.eq(now), pending_deliveries::node.eq(node)))
                        .execute(conn)$($wait)*?;
                }
                _ => {
                    diesel::update(pending_deliveries::table.find(delivery))
                        .set(pending_deliveries::due_at.eq(now))
                        .execute(conn)$($wait)*?;
                }
            }
            append_audit(conn, audit)$($wait)*?;
            Ok(Steered::Done { webhook: row.webhook_id })
        }
    };
}
pub(crate) use ordering_queries;

use diesel::{dsl::sql, expression::SqlLiteral, sql_types::Bool};

use crate::batch::{PAUSED_COUNTED, PausedKeys};

/// How many rows of paused keys are read at once: one more than are counted of a webhook.
pub(crate) const STEP: i64 = PAUSED_COUNTED as i64 + 1;

/// The index's own words, with [`crate::PAUSED`]: a database uses it for no others.
pub(crate) fn is_paused() -> SqlLiteral<Bool> {
    sql("pending_deliveries.due_at = 9223372036854775806")
}

/// Adds the webhooks of a step of rows to what was found. Returns the place to go on after, if there may be more rows: a webhook of
/// which the step may not have all rows is left to the next one, unless as many were read as are counted.
pub(crate) fn count_keys(rows: &[(i64, i64)], found: &mut Vec<PausedKeys>) -> Option<(i64, i64)> {
    for of_webhook in rows.chunk_by(|one, other| one == other) {
        found.push(PausedKeys {
            organization_id: of_webhook[0].0,
            webhook_id: of_webhook[0].1,
            keys: of_webhook.len(),
        });
    }
    let last = *found.last().filter(|_| rows.len() == STEP as usize)?;
    if last.keys > PAUSED_COUNTED {
        return Some((last.organization_id, last.webhook_id));
    }
    found.pop();
    Some((last.organization_id, last.webhook_id - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Place = (i64, i64);

    fn found(steps: &[&[Place]]) -> (Vec<(i64, usize)>, Option<Place>) {
        let (mut found, mut next) = (Vec::new(), None);
        for step in steps {
            next = count_keys(step, &mut found);
        }
        (found.iter().map(|keys| (keys.webhook_id, keys.keys)).collect(), next)
    }

    #[test]
    fn the_index_is_asked_for_in_its_own_words() {
        let words = format!("{:?}", is_paused());
        assert!(words.contains(&crate::PAUSED.to_string()), "{words}");
    }

    #[test]
    fn a_webhook_that_a_step_ends_within_is_counted_by_the_next_one() {
        let step = vec![(1, 7); PAUSED_COUNTED - 1];
        let first = [&step[..], &[(1, 8), (1, 8)]].concat();
        assert_eq!(found(&[&first]), (vec![(7, PAUSED_COUNTED - 1)], Some((1, 7))));
        let second = [(1, 8), (1, 8), (1, 8), (2, 9)];
        assert_eq!(
            found(&[&first, &second]),
            (vec![(7, PAUSED_COUNTED - 1), (8, 3), (9, 1)], None)
        );
        let many = vec![(1, 7); PAUSED_COUNTED + 1];
        assert_eq!(found(&[&many]), (vec![(7, PAUSED_COUNTED + 1)], Some((1, 7))));
        assert_eq!(found(&[&[]]), (vec![], None));
    }
}
