//! Lists of deliveries.
//!
//! A list walks an organization's events, newest first. It selects the deliveries that may match according to
//! the event's row, and looks up their states. Deliveries that did not succeed at the first attempt are listed by
//! [`super::troubled`]. A call does a bounded amount of this work, however many events are stored and however many
//! webhooks an event is owed to: rare matches are found page by page.

use hookwright_domain::id::first_at;

use super::{
    history::last_attempts,
    prelude::*,
    states::{delivery_records, fill, note_replays, outlines_of, records_of},
    troubled::list_troubled,
};
use crate::{
    deliveries::{BROAD, Page, READ_AGAIN_MAX},
    records::{AttemptSummary, DeliveryFilter, DeliveryRecord},
    row_event::{EventOutline, OUTLINE},
    schema::{event_replays, events},
    walk::{cut, next_stretch},
};

pub(crate) async fn get_delivery(
    conn: &mut Connection,
    organization: i64,
    id: i64,
) -> QueryResult<Option<DeliveryRecord>> {
    // The event is the last one below the delivery, because an event's deliveries use the ids after its own.
    let event: Option<EventOutline> = events::table
        .filter(events::id.lt(id))
        .order(events::id.desc())
        .select(OUTLINE)
        .first(conn)
        .await
        .optional()?;
    let Some(event) = event.filter(|event| event.organization_id == organization) else {
        return Ok(None);
    };
    let owed: Vec<_> = event.owed().filter(|owed| owed.delivery_id == id).collect();
    let mut records = records_of(conn, &owed).await?;
    note_replays(conn, &mut records, &DeliveryFilter::default()).await?;
    Ok(records.pop())
}

/// A delivery, and the summaries of its attempts with numbers below `before`, the last first. The delivery's state is not
/// older than these attempts: on PostgreSQL, each query sees what is committed when it begins.
pub(crate) async fn delivery_and_attempts(
    conn: &mut Connection,
    organization: i64,
    id: i64,
    before: i32,
    size: i64,
) -> QueryResult<Option<(DeliveryRecord, Vec<AttemptSummary>)>> {
    let mut attempts = last_attempts(conn, organization, id, before, size).await?;
    let mut record = get_delivery(conn, organization, id).await?;
    for _ in 0..READ_AGAIN_MAX {
        let made = record.as_ref().map_or(0, |record| record.attempts_made);
        if before <= made || attempts.as_slice().first().map_or(0, |last| last.number) >= made {
            break;
        }
        // An attempt ended in between.
        attempts = last_attempts(conn, organization, id, before, size).await?;
        record = get_delivery(conn, organization, id).await?;
    }
    Ok(record.map(|record| (record, attempts)))
}

/// Deliveries with ids below `before`, newest first, and the id below which the next page begins, if there may be more.
/// A page may have fewer deliveries.
pub(crate) async fn list_deliveries(
    conn: &mut Connection,
    organization: i64,
    filter: &DeliveryFilter,
    before: i64,
    size: usize,
) -> QueryResult<(Vec<DeliveryRecord>, Option<i64>)> {
    let (mut found, next) = find_deliveries(conn, organization, filter, before, size).await?;
    // With `hide_replayed`, none of the found deliveries was replayed.
    if !filter.hide_replayed {
        note_replays(conn, &mut found, filter).await?;
    }
    Ok((found, next))
}

/// The same, without information on replays.
async fn find_deliveries(
    conn: &mut Connection,
    organization: i64,
    filter: &DeliveryFilter,
    before: i64,
    size: usize,
) -> QueryResult<(Vec<DeliveryRecord>, Option<i64>)> {
    if let Some(kinds) = filter.kinds() {
        return list_troubled(conn, organization, (filter, kinds), before, size).await;
    }
    let mut page = Page::new(filter, size);
    let mut below = filter.end_us.map_or(before, |end| before.min(first_at(end)));
    let from = filter.start_us.map_or(0, first_at);
    let of_event = match filter.event_id {
        Some(event) => Some(rows_of_event(conn, event).await?),
        None => None,
    };
    let mut stretch = filter.stretch(size);
    loop {
        let mut query = events::table
            .filter(events::organization_id.eq(organization))
            .filter(events::id.lt(below))
            .order(events::id.desc())
            .limit(stretch)
            .select(OUTLINE)
            .into_boxed();
        if let Some(rows) = &of_event {
            query = query.filter(events::id.eq_any(rows));
        }
        let mut outlines: Vec<EventOutline> = query.load(conn).await?;
        let full = cut(&mut outlines, stretch, |event| event.id >= from);
        let deliveries: usize = outlines.iter().map(EventOutline::fanout).sum();
        page.work.looked_at(outlines.len() + deliveries / BROAD);
        let owed = filter.may_be_meant(&outlines, before);
        if let Some(below) = fill(conn, &mut page, &owed).await? {
            return Ok((page.found, Some(below)));
        }
        match outlines.as_slice().last() {
            Some(last) if full => below = last.id,
            _ => return Ok((page.found, None)),
        }
        if page.work.is_enough() {
            return Ok((page.found, Some(below)));
        }
        if deliveries < outlines.len() * BROAD {
            stretch = next_stretch(stretch);
        }
    }
}

/// Every delivery of an event, including replays, in order of id.
pub(crate) async fn deliveries_of_event(
    conn: &mut Connection,
    organization: i64,
    event: i64,
) -> QueryResult<Vec<DeliveryRecord>> {
    let rows = rows_of_event(conn, event).await?;
    let outlines = outlines_of(conn, &rows).await?;
    let owned = outlines
        .into_iter()
        .filter(|event| event.organization_id == organization);
    let mut records = delivery_records(conn, owned.collect()).await?;
    note_replays(conn, &mut records, &DeliveryFilter::default()).await?;
    Ok(records)
}

/// The ids of an event's rows: its own, and those of its replays.
async fn rows_of_event(conn: &mut Connection, event: i64) -> QueryResult<Vec<i64>> {
    let mut rows: Vec<i64> = event_replays::table
        .filter(event_replays::event_id.eq(event))
        .select(event_replays::replay_id)
        .load(conn)
        .await?;
    rows.push(event);
    Ok(rows)
}
