//! Lists of deliveries.
//!
//! A delivery has no row of its own. Its event's row shows that it is owed. Attempts, pending and ending rows show its
//! outcome. A list walks an organization's events, newest first. It selects the deliveries that may match according to
//! the event's row, and looks up their states. Deliveries that did not succeed at the first attempt are listed by
//! [`super::troubled`]. A call does a bounded amount of this work, however many events are stored and however many
//! webhooks an event is owed to: rare matches are found page by page.

use hookwright_domain::id::first_at;

use super::{ID_CHUNK, prelude::*, troubled::list_troubled};
use crate::{
    deliveries::{BROAD, LastReplays, Page, REPLAYS, REPLAYS_OF_ONE, REPLAYS_TOGETHER, SUMMARY, assemble},
    records::{AttemptSummary, DeliveryFilter, DeliveryRecord},
    row_event::{EventOutline, OUTLINE, Owed},
    rows::{EndingRow, PendingRow},
    schema::{attempts, delivery_endings, event_replays, events, pending_deliveries},
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

/// Looks up the states of deliveries, portion by portion in the given order, and adds matching ones to the page.
/// Returns the id below which the next page begins, once this page is full or has cost enough.
pub(super) async fn fill(conn: &mut Connection, page: &mut Page<'_>, owed: &[Owed<'_>]) -> QueryResult<Option<i64>> {
    let mut rest = owed;
    while !rest.is_empty() {
        let (portion, others) = rest.split_at(page.portion().min(rest.len()));
        rest = others;
        let mut records = records_of(conn, portion).await?;
        if page.filter.hide_replayed {
            page.work
                .looked_at(note_replays(conn, &mut records, page.filter).await?);
        }
        if let Some(below) = page.take(records) {
            return Ok(Some(below));
        }
    }
    Ok(None)
}

/// Deliveries with their states, in the given order. Their events may be far apart, so rows are looked up by id: the
/// range between two may contain many rows of other events. The range is given as well, because it shows PostgreSQL
/// which partitions to read.
async fn records_of(conn: &mut Connection, owed: &[Owed<'_>]) -> QueryResult<Vec<DeliveryRecord>> {
    let (mut tried, mut pending, mut endings) = (Vec::new(), Vec::new(), Vec::new());
    for owed in owed.chunks(ID_CHUNK) {
        let mut ids: Vec<i64> = owed.iter().map(|owed| owed.delivery_id).collect();
        ids.sort_unstable();
        let (first, last) = (ids[0], ids[ids.len() - 1]);
        let found: Vec<AttemptSummary> = attempts::table
            .filter(attempts::delivery_id.between(first, last))
            .filter(attempts::delivery_id.eq_any(&ids))
            .order((attempts::delivery_id, attempts::number))
            .select(SUMMARY)
            .load(conn)
            .await?;
        tried.extend(found);
        let found: Vec<PendingRow> = pending_deliveries::table
            .filter(pending_deliveries::delivery_id.eq_any(&ids))
            .select(PendingRow::as_select())
            .load(conn)
            .await?;
        pending.extend(found);
        let found: Vec<EndingRow> = delivery_endings::table
            .filter(delivery_endings::delivery_id.between(first, last))
            .filter(delivery_endings::delivery_id.eq_any(&ids))
            .load(conn)
            .await?;
        endings.extend(found);
    }
    Ok(assemble(owed, tried, pending, endings))
}

/// Adds the latest replay of the same event to the same webhook to those deliveries that match a filter and ended
/// undelivered. Returns how many rows of replays it read.
async fn note_replays(
    conn: &mut Connection,
    records: &mut [DeliveryRecord],
    filter: &DeliveryFilter,
) -> QueryResult<usize> {
    let mut last = LastReplays::of(records, filter);
    let mut looked_at = 0;
    let events = last.events();
    for events in events.chunks(REPLAYS_TOGETHER) {
        let mut rows = replays_of(conn, events, REPLAYS).await?;
        if rows.len() as i64 == REPLAYS {
            // Some of them were replayed very often.
            rows.clear();
            for event in events {
                rows.extend(replays_of(conn, &[*event], REPLAYS_OF_ONE).await?);
            }
        }
        looked_at += rows.len();
        last.add(&outlines_of(conn, &rows).await?);
    }
    let replays = records_of(conn, &last.owed()).await?;
    last.note(records, &replays);
    Ok(looked_at)
}

/// The newest rows of replays of events.
async fn replays_of(conn: &mut Connection, events: &[i64], most: i64) -> QueryResult<Vec<i64>> {
    event_replays::table
        .filter(event_replays::event_id.eq_any(events))
        .order(event_replays::replay_id.desc())
        .limit(most)
        .select(event_replays::replay_id)
        .load(conn)
        .await
}

/// All deliveries of events, in order of id.
pub(super) async fn delivery_records(
    conn: &mut Connection,
    mut outlines: Vec<EventOutline>,
) -> QueryResult<Vec<DeliveryRecord>> {
    outlines.sort_by_key(|event| event.id);
    let owed: Vec<Owed<'_>> = outlines.iter().flat_map(EventOutline::owed).collect();
    records_of(conn, &owed).await
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

pub(super) async fn outlines_of(conn: &mut Connection, ids: &[i64]) -> QueryResult<Vec<EventOutline>> {
    let mut outlines = Vec::new();
    for ids in ids.chunks(ID_CHUNK) {
        let found: Vec<EventOutline> = events::table
            .filter(events::id.eq_any(ids))
            .select(OUTLINE)
            .load(conn)
            .await?;
        outlines.extend(found);
    }
    Ok(outlines)
}
