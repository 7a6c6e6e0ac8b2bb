//! The commit on SQLite: single-row statements in a loop. Each is prepared once per connection and needs no round trip.

use diesel::{prelude::*, result::QueryResult};

use super::{WATERMARK, at_once, health, queries};
use crate::{
    batch::{Batch, Committed, NewEvent, Repeat, RequestKey},
    changes,
    clock::schedule_us,
    row_event::pack,
    rows::{FOLLOWS, PendingRow},
    schedule::{Record, SCHEDULE},
    schema::{attempts, delivery_endings, event_replays, events, idempotency_keys, pending_deliveries, settings},
};

/// Stores a batch within the open transaction.
pub(super) fn commit(conn: &mut SqliteConnection, batch: &Batch) -> QueryResult<Committed> {
    let mut committed = Committed::default();
    for (index, event) in batch.events.iter().enumerate() {
        if let Some(request) = &event.request
            && let Some(repeat) = claim_request(conn, index, event, request)?
        {
            committed.repeats.push(repeat);
            continue;
        }
        insert_event(conn, event)?;
    }
    for attempt in &batch.attempts {
        diesel::insert_or_ignore_into(attempts::table)
            .values(&**attempt)
            .execute(conn)?;
    }
    for row in &batch.pend {
        put_pending(conn, row)?;
    }
    for delivery in &batch.unpend {
        diesel::delete(pending_deliveries::table.find(delivery)).execute(conn)?;
    }
    for (webhook, key) in &batch.advance {
        if at_once(queries::promote(conn, 0, *webhook, key, schedule_us()))? {
            committed.due.push(*webhook);
        }
    }
    batch.add_due_again(&mut committed.due);
    for ending in &batch.endings {
        diesel::insert_or_ignore_into(delivery_endings::table)
            .values(ending)
            .execute(conn)?;
    }
    committed.failing = health::store(conn, &batch.health)?;
    if let Some(changes) = changes::of_batch(batch) {
        at_once(queries::append_changes(conn, 0, &changes))?;
    }
    if let Some(watermark) = batch.watermark {
        let row = (
            settings::key.eq(WATERMARK),
            settings::value.eq(watermark.to_le_bytes().to_vec()),
        );
        diesel::replace_into(settings::table).values(row).execute(conn)?;
        // The schedule clock at this commit. The clock never starts before that time.
        let row = (
            settings::key.eq(SCHEDULE),
            settings::value.eq(Record::of_wall().to_bytes()),
        );
        diesel::replace_into(settings::table).values(row).execute(conn)?;
    }
    Ok(committed)
}

/// Stores an event and its pending deliveries.
pub(super) fn insert_event(conn: &mut SqliteConnection, new: &NewEvent) -> QueryResult<()> {
    let event = &*new.event;
    diesel::insert_into(events::table)
        .values((
            events::id.eq(event.id),
            events::organization_id.eq(event.organization_id),
            events::event_type.eq(&event.event_type),
            events::payload.eq(&*event.payload),
            events::webhooks.eq(pack(&event.webhooks)),
            events::occurred_at.eq(event.occurred_at),
            events::attributes.eq(event.attributes.as_deref()),
            events::trace.eq(event.trace.as_ref().map(|trace| &trace[..])),
            events::tracestate.eq(event.tracestate.as_deref()),
            events::request_id.eq(new.request.as_ref().map(|request| request.request_id.as_str())),
            events::ordering_key.eq(event.ordering_key.as_deref()),
            events::replay_of.eq(event.replay_of),
        ))
        .execute(conn)?;
    if let Some(replayed) = event.replay_of {
        diesel::insert_into(event_replays::table)
            .values((
                event_replays::event_id.eq(replayed),
                event_replays::replay_id.eq(event.id),
            ))
            .execute(conn)?;
    }
    for row in new.spilled_rows() {
        match &row.ordering_key {
            None => diesel::replace_into(pending_deliveries::table)
                .values(&row)
                .execute(conn)?,
            Some(key) => insert_ordered(conn, &row, key)?,
        };
    }
    Ok(())
}

/// Stores an ordered delivery behind earlier ones of its key.
fn insert_ordered(conn: &mut SqliteConnection, row: &PendingRow, key: &str) -> QueryResult<usize> {
    let of_key = pending_deliveries::table
        .filter(pending_deliveries::webhook_id.eq(row.webhook_id))
        .filter(pending_deliveries::ordering_key.eq(key));
    let follows: bool = diesel::select(diesel::dsl::exists(of_key)).get_result(conn)?;
    let row = PendingRow {
        due_at: if follows { FOLLOWS } else { row.due_at },
        ..row.clone()
    };
    diesel::insert_into(pending_deliveries::table)
        // There is one writer, which creates ids in the order of its commits.
        .values((&row, pending_deliveries::position.eq(row.delivery_id)))
        .execute(conn)
}

/// Inserts or replaces a pending row, unless the delivery was ended meanwhile.
fn put_pending(conn: &mut SqliteConnection, row: &PendingRow) -> QueryResult<usize> {
    if row.ordering_key.is_some() {
        // An ordered delivery has a row, with its position, until it is final.
        return diesel::update(pending_deliveries::table.find(row.delivery_id))
            .set((
                pending_deliveries::due_at.eq(row.due_at),
                pending_deliveries::attempts.eq(row.attempts),
            ))
            .execute(conn);
    }
    let ending = delivery_endings::table.find(row.delivery_id);
    if diesel::select(diesel::dsl::exists(ending)).get_result(conn)? {
        return Ok(0);
    }
    diesel::replace_into(pending_deliveries::table)
        .values(row)
        .execute(conn)
}

/// Claims a request id for an event. Returns `Some` if it was taken before.
fn claim_request(
    conn: &mut SqliteConnection,
    index: usize,
    new: &NewEvent,
    request: &RequestKey,
) -> QueryResult<Option<Repeat>> {
    let claimed = diesel::insert_or_ignore_into(idempotency_keys::table)
        .values((
            idempotency_keys::organization_id.eq(new.event.organization_id),
            idempotency_keys::request_id.eq(&request.request_id),
            idempotency_keys::event_id.eq(new.event.id),
            idempotency_keys::fingerprint.eq(&request.fingerprint[..]),
            idempotency_keys::created_at.eq(hookwright_domain::id::time_us(new.event.id)),
        ))
        .execute(conn)?;
    if claimed == 1 {
        return Ok(None);
    }
    let key = (new.event.organization_id, &request.request_id);
    let (event_id, fingerprint): (i64, Vec<u8>) = idempotency_keys::table
        .find(key)
        .select((idempotency_keys::event_id, idempotency_keys::fingerprint))
        .first(conn)?;
    let webhooks: Option<Vec<u8>> = events::table
        .find(event_id)
        .select(events::webhooks)
        .first(conn)
        .optional()?;
    Ok(Some(Repeat {
        index,
        event_id,
        same: fingerprint == request.fingerprint,
        delivery_count: webhooks.unwrap_or_default().len() / 8,
    }))
}
