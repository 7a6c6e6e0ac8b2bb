//! What is owed: deliveries that wait in the store, and what a former run left unfinished.

macro_rules! queue_queries {
    ([$($asynchronous:tt)*], [$($wait:tt)*]) => {
        /// What is due for a webhook, in order, as much as the limits allow.
        pub(crate) $($asynchronous)* fn due(
            conn: &mut Connection,
            webhook: i64,
            node: i32,
            now: i64,
            limits: ReadLimits,
            discard: Option<Discard>,
        ) -> QueryResult<Refill> {
            // What is being discarded is passed over; it was due before, so that the index is entered behind it.
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
                .load(conn)$($wait)*?;
            let mut refill = Refill { more_due: waiting.len() == limits.rows, ..Refill::default() };
            let mut budget = limits.bytes;
            for chunk in waiting.chunks($crate::queries::queue::PAYLOAD_CHUNK) {
                let ids: Vec<i64> = chunk.iter().map(|row| row.event_id).collect();
                let first_bytes = if refill.rows.is_empty() { limits.first_bytes } else { 0 };
                let (fit, mut stored) = events_within(conn, &ids, &mut budget, first_bytes)$($wait)*?;
                for pending in &chunk[..fit] {
                    let Some(event) = stored.remove(&pending.event_id) else { continue };
                    refill.rows.push(DueDelivery { pending: pending.clone(), event });
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
                .first(conn)$($wait)*
                .optional()?;
            refill.next_due = next.map(|(due_at, _)| due_at);
            refill.next_is_first = next.is_some_and(|(_, attempts)| attempts == 0);
            Ok(refill)
        }

        /// The events of the first ids whose payloads together fit `budget`, and how many ids that are: the first one also if it has
        /// up to `first_bytes`. No other payload is read.
        $($asynchronous)* fn events_within(
            conn: &mut Connection,
            ids: &[i64],
            budget: &mut usize,
            first_bytes: usize,
        ) -> QueryResult<(usize, std::collections::HashMap<i64, StoredEvent>)> {
            let sizes: Vec<(i64, i64)> = events::table
                .filter(events::id.eq_any(ids))
                .select((events::id, $crate::queries::history::payload_length()))
                .load(conn)$($wait)*?;
            let fit = $crate::queries::queue::fitting(ids, &sizes.into_iter().collect(), budget, first_bytes);
            Ok((fit, events_by_id(conn, &ids[..fit])$($wait)*?))
        }

        $($asynchronous)* fn events_by_id(
            conn: &mut Connection,
            ids: &[i64],
        ) -> QueryResult<std::collections::HashMap<i64, StoredEvent>> {
            let rows: Vec<EventRow> = events::table.filter(events::id.eq_any(ids)).load(conn)$($wait)*?;
            Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
        }

        /// The first deliveries to a webhook that wait at a node until `due_at`.
        pub(crate) $($asynchronous)* fn waiting_until(
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
                .load(conn)$($wait)*
        }

        /// How many deliveries wait for a webhook, of at most so many.
        pub(crate) $($asynchronous)* fn count_waiting_for(
            conn: &mut Connection,
            webhook: i64,
            most: i64,
        ) -> QueryResult<usize> {
            let waiting: Vec<i64> = pending_deliveries::table
                .filter(pending_deliveries::webhook_id.eq(webhook))
                .select(pending_deliveries::delivery_id)
                .limit(most)
                .load(conn)$($wait)*?;
            Ok(waiting.len())
        }

        /// Mends due times of a webhook at a node that are later than any can be: some of them.
        pub(crate) $($asynchronous)* fn mend_due(
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
                        .or(pending_deliveries::attempts.eq(0).and(pending_deliveries::due_at.gt(latest.first))),
                )
                .order(pending_deliveries::due_at)
                .limit($crate::queries::queue::MENDED_AT_ONCE)
                .select((pending_deliveries::delivery_id, pending_deliveries::attempts))
                .load(conn)$($wait)*?;
            let (first, later): (Vec<_>, Vec<_>) = wrong.iter().partition(|(_, attempts)| *attempts == 0);
            for (rows, due_at) in [(first, now), (later, latest.any)] {
                let ids: Vec<i64> = rows.iter().map(|(delivery, _)| *delivery).collect();
                // A row that somebody has moved meanwhile stays as it is.
                diesel::update(pending_deliveries::table.filter(pending_deliveries::delivery_id.eq_any(&ids)))
                    .filter(pending_deliveries::due_at.gt(due_at).and(pending_deliveries::due_at.lt(PAUSED)))
                    .set(pending_deliveries::due_at.eq(due_at))
                    .execute(conn)$($wait)*?;
            }
            Ok(wrong.len())
        }

        /// A node's events after `after`, up to `last`, of which some deliveries have no row at all, with their payloads: about
        /// so many bytes of them, at least one event.
        pub(crate) $($asynchronous)* fn unfinished(
            conn: &mut Connection,
            node: i32,
            after: i64,
            last: i64,
            limit: i64,
            bytes: i64,
        ) -> QueryResult<UnfinishedPage> {
            let mut page = unfinished_outlines(conn, node, after, last, limit)$($wait)*?;
            page.cut(bytes);
            let ids: Vec<i64> = page.events.iter().map(|event| event.id).collect();
            let mut stored = events_by_id(conn, &ids)$($wait)*?;
            // One whose retention ended just now is owed to nobody.
            let events = page.events.into_iter().filter_map(|outline| {
                let event = stored.remove(&outline.id)?;
                Some(UnfinishedEvent { event, positions: outline.positions })
            });
            Ok(UnfinishedPage { events: events.collect(), last_id: page.last_id })
        }

        /// The same without payloads. Looks at a bounded number of events, also where few of them are the node's.
        pub(crate) $($asynchronous)* fn unfinished_outlines(
            conn: &mut Connection,
            node: i32,
            after: i64,
            last: i64,
            limit: i64,
        ) -> QueryResult<$crate::unfinished::OutlinePage> {
            use $crate::unfinished::{LOOKED_AT, OutlinePage, Owed};
            let looked_at: Vec<i64> = events::table
                .filter(events::id.gt(after))
                .filter(events::id.le(last))
                .order(events::id)
                .limit(LOOKED_AT)
                .select(events::id)
                .load(conn)$($wait)*?;
            let (own, last_id) = $crate::unfinished::own_of(looked_at, node, limit, last);
            let rows: Vec<(i64, i64, Vec<u8>, i64)> = events::table
                .filter(events::id.eq_any(&own))
                .order(events::id)
                .select((events::id, events::organization_id, events::webhooks, $crate::queries::queue::payload_bytes()))
                .load(conn)$($wait)*?;
            let (owed, last_id) = Owed::take(rows, last_id);
            let known = known_deliveries(conn, &owed)$($wait)*?;
            Ok(OutlinePage::of(owed, &known, last_id))
        }

        /// Those of these events' deliveries that have a row of any kind.
        $($asynchronous)* fn known_deliveries(
            conn: &mut Connection,
            owed: &[$crate::unfinished::Owed],
        ) -> QueryResult<std::collections::HashSet<i64>> {
            let ids: Vec<i64> = owed.iter().flat_map($crate::unfinished::Owed::deliveries).collect();
            let mut known = std::collections::HashSet::new();
            for ids in ids.chunks($crate::queries::queue::ID_CHUNK) {
                // The range tells PostgreSQL which partitions to look into.
                let (first, last) = (ids.first().copied().unwrap_or(0), ids.last().copied().unwrap_or(0));
                // A pending row goes in the transaction that adds the last attempt or the ending. PostgreSQL shows each statement
                // a later state than the one before: read first, such a row cannot vanish unseen.
                let pending: Vec<i64> = pending_deliveries::table
                    .filter(pending_deliveries::delivery_id.eq_any(ids))
                    .select(pending_deliveries::delivery_id)
                    .load(conn)$($wait)*?;
                let attempted: Vec<i64> = attempts::table
                    .filter(attempts::delivery_id.between(first, last))
                    .filter(attempts::delivery_id.eq_any(ids))
                    .select(attempts::delivery_id)
                    .load(conn)$($wait)*?;
                let ended: Vec<i64> = delivery_endings::table
                    .filter(delivery_endings::delivery_id.between(first, last))
                    .filter(delivery_endings::delivery_id.eq_any(ids))
                    .select(delivery_endings::delivery_id)
                    .load(conn)$($wait)*?;
                known.extend(pending.into_iter().chain(attempted).chain(ended));
            }
            Ok(known)
        }

        /// Which of these events are stored.
        pub(crate) $($asynchronous)* fn events_exist(conn: &mut Connection, ids: &[i64]) -> QueryResult<Vec<i64>> {
            let mut found = Vec::new();
            for chunk in ids.chunks($crate::queries::queue::ID_CHUNK) {
                let chunk: Vec<i64> =
                    events::table.filter(events::id.eq_any(chunk)).select(events::id).load(conn)$($wait)*?;
                found.extend(chunk);
            }
            Ok(found)
        }

        /// The largest id in use, over all tables whose ids the generator makes.
        pub(crate) $($asynchronous)* fn largest_id(conn: &mut Connection) -> QueryResult<i64> {
            use diesel::dsl::max;
            let last: Option<(i64, Vec<u8>)> = events::table
                .order(events::id.desc())
                .select((events::id, events::webhooks))
                .first(conn)$($wait)*
                .optional()?;
            // An event's deliveries use the ids after its own.
            let events = last.map(|(id, webhooks)| id + i64::try_from(webhooks.len() / 8).unwrap_or(0));
            let others: [Option<i64>; 7] = [
                organizations::table.select(max(organizations::id)).first(conn)$($wait)*?,
                event_types::table.select(max(event_types::id)).first(conn)$($wait)*?,
                webhooks::table.select(max(webhooks::id)).first(conn)$($wait)*?,
                signing_secrets::table.select(max(signing_secrets::id)).first(conn)$($wait)*?,
                tokens::table.select(max(tokens::id)).first(conn)$($wait)*?,
                audit_log::table.select(max(audit_log::id)).first(conn)$($wait)*?,
                operations::table.select(max(operations::id)).first(conn)$($wait)*?,
            ];
            Ok(others.into_iter().flatten().chain(events).max().unwrap_or(0))
        }

        /// Failures and successes of webhooks that are noted for later than now are of now.
        pub(crate) $($asynchronous)* fn mend_health(conn: &mut Connection, now: i64) -> QueryResult<usize> {
            let failures = diesel::update(webhook_health::table.filter(webhook_health::failing_since.gt(now)))
                .set(webhook_health::failing_since.eq(now))
                .execute(conn)$($wait)*?;
            let successes = diesel::update(webhook_successes::table.filter(webhook_successes::at.gt(now)))
                .set(webhook_successes::at.eq(now))
                .execute(conn)$($wait)*?;
            Ok(failures + successes)
        }

        pub(crate) $($asynchronous)* fn all_failing_webhooks(conn: &mut Connection) -> QueryResult<Vec<HealthRow>> {
            let rows: Vec<(i64, i64, i32)> = webhook_health::table.load(conn)$($wait)*?;
            Ok(rows.into_iter().map($crate::queries::queue::health).collect())
        }

        pub(crate) $($asynchronous)* fn failing_webhooks(
            conn: &mut Connection,
            webhooks: &[i64],
        ) -> QueryResult<Vec<HealthRow>> {
            let asked = webhook_health::table.filter(webhook_health::webhook_id.eq_any(webhooks));
            let rows: Vec<(i64, i64, i32)> = asked.load(conn)$($wait)*?;
            Ok(rows.into_iter().map($crate::queries::queue::health).collect())
        }
    };
}
pub(crate) use queue_queries;

pub(crate) fn health((webhook_id, since, failures): (i64, i64, i32)) -> crate::HealthRow {
    crate::HealthRow {
        webhook_id,
        failing_since: Some(since),
        failures,
    }
}

/// How many of the first events fit a budget of bytes, which is lowered by what they take. The first one also fits if it has up to
/// `first_bytes`.
pub(crate) fn fitting(
    ids: &[i64],
    sizes: &std::collections::HashMap<i64, i64>,
    budget: &mut usize,
    first_bytes: usize,
) -> usize {
    for (index, id) in ids.iter().enumerate() {
        let size = sizes.get(id).map_or(0, |size| usize::try_from(*size).unwrap_or(0));
        if size > *budget && (index > 0 || size > first_bytes) {
            return index;
        }
        *budget = budget.saturating_sub(size);
    }
    ids.len()
}

/// How many events' payloads are read at once at most.
pub(crate) const PAYLOAD_CHUNK: usize = 64;
/// How many due times are mended at once.
pub(crate) const MENDED_AT_ONCE: i64 = 1_000;
/// How many ids go into one statement: SQLite takes 32,766.
pub(crate) const ID_CHUNK: usize = 10_000;

/// The size of an event's payload, which is not read for it.
pub(crate) fn payload_bytes() -> diesel::expression::SqlLiteral<diesel::sql_types::BigInt> {
    diesel::dsl::sql("CAST(length(payload) AS BIGINT)")
}
