//! What happened: events, deliveries and attempts, read for people.
//!
//! A delivery has no row of its own. Its event's row says that it is owed; attempts, pending and ending rows say what came
//! of it. Lists walk the events of an organization, newest first, and look at the rows of each stretch in one go.

macro_rules! history_queries {
    ([$($asynchronous:tt)*], [$($wait:tt)*]) => {
        pub(crate) $($asynchronous)* fn get_event(
            conn: &mut Connection,
            organization: i64,
            id: i64,
        ) -> QueryResult<Option<EventRecord>> {
            let row: Option<EventRow> = events::table
                .find(id)
                .filter(events::organization_id.eq(organization))
                .filter(events::replay_of.is_null())
                .first(conn)$($wait)*
                .optional()?;
            Ok(row.map(|row| {
                let payload_bytes = i64::try_from(row.payload.len()).unwrap_or(i64::MAX);
                EventRecord {
                    created_at: hookwright_domain::id::time_us(row.id),
                    payload_bytes,
                    request_id: row.request_id.clone(),
                    event: row.into(),
                }
            }))
        }

        /// Events below `before`, newest first, without payloads; and the id to go on below, if there may be more. Looks at a
        /// bounded number of events: a page may come out short.
        pub(crate) $($asynchronous)* fn list_events(
            conn: &mut Connection,
            organization: i64,
            filter: &EventFilter,
            before: i64,
            size: usize,
        ) -> QueryResult<(Vec<EventRecord>, Option<i64>)> {
            use hookwright_domain::id::first_at;
            let requested = match &filter.request_id {
                None => None,
                Some(request) => {
                    let known: Option<i64> = idempotency_keys::table
                        .find((organization, request))
                        .select(idempotency_keys::event_id)
                        .first(conn)$($wait)*
                        .optional()?;
                    if known.is_none() {
                        return Ok((Vec::new(), None));
                    }
                    known
                }
            };
            let mut found: Vec<EventRecord> = Vec::new();
            let mut below = filter.end_us.map_or(before, |end| before.min(first_at(end)));
            let from = filter.start_us.map_or(0, first_at);
            let stretch = if filter.is_selective() {
                $crate::queries::history::STRETCH
            } else {
                i64::try_from(size + 1).unwrap_or(i64::MAX)
            };
            for _ in 0..$crate::queries::history::STRETCHES_MAX {
                let mut query = events::table
                    .filter(events::organization_id.eq(organization))
                    .filter(events::replay_of.is_null())
                    .filter(events::id.lt(below))
                    .filter(events::id.ge(from))
                    .order(events::id.desc())
                    .limit(stretch)
                    .select((
                        events::id,
                        events::event_type,
                        events::webhooks,
                        events::occurred_at,
                        events::attributes,
                        events::request_id,
                        events::ordering_key,
                        diesel::dsl::sql::<diesel::sql_types::BigInt>("CAST(length(payload) AS BIGINT)"),
                    ))
                    .into_boxed();
                if let Some(requested) = requested {
                    query = query.filter(events::id.eq(requested));
                }
                let heads: Vec<EventHead> = query.load(conn)$($wait)*?;
                let full = i64::try_from(heads.len()).unwrap_or(i64::MAX) == stretch;
                for head in heads {
                    // Only what comes after a full page tells that there is more.
                    if found.len() == size {
                        return Ok((found, Some(below)));
                    }
                    below = head.id;
                    if filter.matches(&head.event_type, head.ordering_key.as_deref()) {
                        found.push(head.record(organization));
                    }
                }
                if !full {
                    return Ok((found, None));
                }
            }
            Ok((found, Some(below)))
        }

        pub(crate) $($asynchronous)* fn get_delivery(
            conn: &mut Connection,
            organization: i64,
            id: i64,
        ) -> QueryResult<Option<DeliveryRecord>> {
            // The event is the last one below the delivery: an event's deliveries use the ids after its own.
            let event: Option<EventOutline> = events::table
                .filter(events::id.lt(id))
                .order(events::id.desc())
                .select($crate::queries::history::OUTLINE)
                .first(conn)$($wait)*
                .optional()?;
            let Some(event) = event.filter(|event| event.organization_id == organization) else { return Ok(None) };
            let mut records = delivery_records(conn, vec![event])$($wait)*?;
            records.retain(|record| record.delivery_id == id);
            Ok(records.pop())
        }

        /// Deliveries below `before`, newest first; and the id to go on below, if there may be more. Looks at a bounded
        /// number of events: a page may come out short.
        pub(crate) $($asynchronous)* fn list_deliveries(
            conn: &mut Connection,
            organization: i64,
            filter: &DeliveryFilter,
            before: i64,
            size: usize,
        ) -> QueryResult<(Vec<DeliveryRecord>, Option<i64>)> {
            use hookwright_domain::id::first_at;
            let mut found = Vec::new();
            let mut below = filter.end_us.map_or(before, |end| before.min(first_at(end)));
            let from = filter.start_us.map_or(0, first_at);
            let of_event = match filter.event_id {
                Some(event) => Some(rows_of_event(conn, event)$($wait)*?),
                None => None,
            };
            for _ in 0..$crate::queries::history::STRETCHES_MAX {
                let mut query = events::table
                    .filter(events::organization_id.eq(organization))
                    .filter(events::id.lt(below))
                    .filter(events::id.ge(from))
                    .order(events::id.desc())
                    .limit($crate::queries::history::STRETCH)
                    .select($crate::queries::history::OUTLINE)
                    .into_boxed();
                if let Some(rows) = &of_event {
                    query = query.filter(events::id.eq_any(rows));
                }
                if let Some(event_type) = &filter.event_type {
                    query = query.filter(events::event_type.eq(event_type));
                }
                let outlines: Vec<EventOutline> = query.load(conn)$($wait)*?;
                let Some(last) = outlines.as_slice().last().map(|event| event.id) else { return Ok((found, None)) };
                let mut records = delivery_records(conn, outlines)$($wait)*?;
                records.reverse();
                for record in records {
                    if record.delivery_id >= before || !filter.matches(&record) {
                        continue;
                    }
                    found.push(record);
                    if found.len() == size {
                        // The next page begins below this delivery, which may be in the middle of its event's.
                        let next = found.last().map(|record| record.delivery_id);
                        return Ok((found, next));
                    }
                }
                below = last;
            }
            Ok((found, Some(below)))
        }

        /// The deliveries of events, in order of id, with where each stands. Events may lie far apart: rows are looked up by
        /// id, for a stretch between two may hold any number of others'. The stretch itself tells which partitions matter.
        $($asynchronous)* fn delivery_records(
            conn: &mut Connection,
            mut outlines: Vec<EventOutline>,
        ) -> QueryResult<Vec<DeliveryRecord>> {
            outlines.sort_by_key(|event| event.id);
            let ids: Vec<i64> = outlines.iter().flat_map(EventOutline::delivery_ids).collect();
            let (mut tried, mut pending, mut endings) = (Vec::new(), Vec::new(), Vec::new());
            for ids in ids.chunks($crate::queries::queue::ID_CHUNK) {
                let (first, last) = (ids[0], ids[ids.len() - 1]);
                let found: Vec<AttemptSummary> = attempts::table
                    .filter(attempts::delivery_id.between(first, last))
                    .filter(attempts::delivery_id.eq_any(ids))
                    .order((attempts::delivery_id, attempts::number))
                    .select($crate::queries::history::SUMMARY)
                    .load(conn)$($wait)*?;
                tried.extend(found);
                let found: Vec<PendingRow> = pending_deliveries::table
                    .filter(pending_deliveries::delivery_id.eq_any(ids))
                    .select(PendingRow::as_select())
                    .load(conn)$($wait)*?;
                pending.extend(found);
                let found: Vec<EndingRow> = delivery_endings::table
                    .filter(delivery_endings::delivery_id.between(first, last))
                    .filter(delivery_endings::delivery_id.eq_any(ids))
                    .load(conn)$($wait)*?;
                endings.extend(found);
            }
            Ok($crate::queries::history::assemble(outlines, tried, pending, endings))
        }

        /// Every delivery of an event, those that replays made included, in order of id.
        pub(crate) $($asynchronous)* fn deliveries_of_event(
            conn: &mut Connection,
            organization: i64,
            event: i64,
        ) -> QueryResult<Vec<DeliveryRecord>> {
            let rows = rows_of_event(conn, event)$($wait)*?;
            let outlines = outlines_of(conn, &rows)$($wait)*?;
            let owned = outlines.into_iter().filter(|event| event.organization_id == organization);
            delivery_records(conn, owned.collect())$($wait)*
        }

        /// The ids of an event's rows: its own, and those of its replays.
        $($asynchronous)* fn rows_of_event(conn: &mut Connection, event: i64) -> QueryResult<Vec<i64>> {
            let mut rows: Vec<i64> = event_replays::table
                .filter(event_replays::event_id.eq(event))
                .select(event_replays::replay_id)
                .load(conn)$($wait)*?;
            rows.push(event);
            Ok(rows)
        }

        $($asynchronous)* fn outlines_of(conn: &mut Connection, ids: &[i64]) -> QueryResult<Vec<EventOutline>> {
            let mut outlines = Vec::new();
            for ids in ids.chunks($crate::queries::queue::ID_CHUNK) {
                let found: Vec<EventOutline> = events::table
                    .filter(events::id.eq_any(ids))
                    .select($crate::queries::history::OUTLINE)
                    .load(conn)$($wait)*?;
                outlines.extend(found);
            }
            Ok(outlines)
        }

        pub(crate) $($asynchronous)* fn list_attempts(
            conn: &mut Connection,
            organization: i64,
            delivery: i64,
        ) -> QueryResult<Vec<AttemptRow>> {
            attempts::table
                .filter(attempts::delivery_id.eq(delivery))
                .filter(attempts::organization_id.eq(organization))
                .order(attempts::number)
                .load(conn)$($wait)*
        }
    };
}
pub(crate) use history_queries;

use std::collections::HashMap;

use hookwright_domain::{
    id::{EventId, time_us},
    outcome::DeliveryState,
};

use crate::{
    batch::{AttemptSummary, DeliveryRecord},
    row_event::{EventOutline, unpack},
    rows::{DELIVERED, EndingRow, FAILED, PAUSED, PendingRow},
    schema::{attempts, events},
};

/// The columns of an [`EventOutline`].
pub(crate) const OUTLINE: (
    events::id,
    events::organization_id,
    events::event_type,
    events::webhooks,
    events::replay_of,
) = (
    events::id,
    events::organization_id,
    events::event_type,
    events::webhooks,
    events::replay_of,
);

/// The columns of an [`AttemptSummary`].
pub(crate) const SUMMARY: (
    attempts::delivery_id,
    attempts::number,
    attempts::started_at,
    attempts::status,
    attempts::error_class,
    attempts::delivery_state,
) = (
    attempts::delivery_id,
    attempts::number,
    attempts::started_at,
    attempts::status,
    attempts::error_class,
    attempts::delivery_state,
);

/// How many events one look at the store takes in.
pub(crate) const STRETCH: i64 = 200;
/// How many stretches one call looks at.
pub(crate) const STRETCHES_MAX: usize = 25;

/// Puts deliveries together from the rows of their kinds. Attempts come in order.
pub(crate) fn assemble(
    outlines: Vec<EventOutline>,
    tried: Vec<AttemptSummary>,
    pending: Vec<PendingRow>,
    endings: Vec<EndingRow>,
) -> Vec<DeliveryRecord> {
    let mut last_attempts: HashMap<i64, AttemptSummary> = tried
        .into_iter()
        .map(|attempt| (attempt.delivery_id, attempt))
        .collect();
    let mut pending: HashMap<i64, PendingRow> = pending.into_iter().map(|row| (row.delivery_id, row)).collect();
    let mut endings: HashMap<i64, EndingRow> = endings.into_iter().map(|row| (row.delivery_id, row)).collect();
    let mut records = Vec::new();
    for event in outlines {
        for (position, webhook_id) in unpack(&event.webhooks).iter().enumerate() {
            let delivery_id = EventId::from_raw(event.id).delivery(position).raw();
            let last_attempt = last_attempts.remove(&delivery_id);
            let ending = endings.remove(&delivery_id);
            let pending = pending.remove(&delivery_id);
            records.push(DeliveryRecord {
                delivery_id,
                event_id: event.replay_of.unwrap_or(event.id),
                event_type: event.event_type.clone(),
                webhook_id: *webhook_id,
                created_at: time_us(event.id),
                replay: event.replay_of.is_some(),
                state: state(last_attempt.as_ref(), ending.as_ref(), pending.as_ref()),
                attempts_made: last_attempt.as_ref().map_or(0, |attempt| attempt.number),
                last_attempt,
                pending,
                ending,
            });
        }
    }
    records
}

fn state(
    last_attempt: Option<&AttemptSummary>,
    ending: Option<&EndingRow>,
    pending: Option<&PendingRow>,
) -> DeliveryState {
    match (ending, last_attempt.map(|attempt| attempt.delivery_state)) {
        (_, Some(DELIVERED)) => DeliveryState::Delivered,
        (_, Some(FAILED)) => DeliveryState::Failed,
        (Some(_), _) => DeliveryState::Cancelled,
        (None, Some(_)) if pending.is_some_and(|row| row.due_at == PAUSED) => DeliveryState::Paused,
        (None, Some(_)) => DeliveryState::Retrying,
        (None, None) => DeliveryState::Pending,
    }
}
