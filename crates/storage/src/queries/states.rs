//! The states of deliveries. A delivery has no separate row: its event's row shows that it is owed, and attempts, pending
//! and ending rows show its outcome.

use super::{ID_CHUNK, prelude::*};
use crate::{
    deliveries::{LastReplays, Page, REPLAYS, REPLAYS_OF_ONE, REPLAYS_TOGETHER, SUMMARY, assemble},
    records::{AttemptSummary, DeliveryFilter, DeliveryRecord},
    row_event::{EventOutline, OUTLINE, Owed},
    rows::{EndingRow, PendingRow},
    schema::{attempts, delivery_endings, event_replays, events, pending_deliveries},
};

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
pub(super) async fn records_of(conn: &mut Connection, owed: &[Owed<'_>]) -> QueryResult<Vec<DeliveryRecord>> {
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
pub(super) async fn note_replays(
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
