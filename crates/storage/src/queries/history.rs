//! Lists of events and attempts. Deliveries are in [`super::deliveries`].
//!
//! Lists walk an organization's events, newest first. A call does a bounded amount of this work, however many events
//! are stored: rare matches are found page by page.

use hookwright_domain::id::first_at;

use super::prelude::*;
use crate::{
    deliveries::SUMMARY,
    records::{AttemptSummary, EventFilter, EventRecord},
    row_event::{EventHead, EventRow, beginning, head},
    rows::AttemptRow,
    schema::{attempts, events, idempotency_keys},
    walk::{Work, cut, next_stretch},
};

pub(crate) async fn get_event(conn: &mut Connection, organization: i64, id: i64) -> QueryResult<Option<EventRecord>> {
    let row: Option<EventRow> = events::table
        .find(id)
        .filter(events::organization_id.eq(organization))
        .filter(events::replay_of.is_null())
        .first(conn)
        .await
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

/// One event, with only the first bytes of its payload.
pub(crate) async fn event_beginning(
    conn: &mut Connection,
    organization: i64,
    id: i64,
    bytes: usize,
) -> QueryResult<Option<EventRecord>> {
    let found: Option<(EventHead, Vec<u8>)> = events::table
        .find(id)
        .filter(events::organization_id.eq(organization))
        .filter(events::replay_of.is_null())
        .select((head(), beginning(bytes)))
        .first(conn)
        .await
        .optional()?;
    Ok(found.map(|(head, payload)| {
        let mut record = head.record(organization);
        record.event.payload = payload.into();
        record
    }))
}

/// Events with ids below `before`, newest first, without payloads, and the id below which the next page begins, if
/// there may be more. Reads a bounded number of events, so a page may have fewer.
pub(crate) async fn list_events(
    conn: &mut Connection,
    organization: i64,
    filter: &EventFilter,
    before: i64,
    size: usize,
) -> QueryResult<(Vec<EventRecord>, Option<i64>)> {
    let requested = match &filter.request_id {
        None => None,
        Some(request) => match event_of_request(conn, organization, request).await? {
            None => return Ok((Vec::new(), None)),
            known => known,
        },
    };
    let mut found: Vec<EventRecord> = Vec::new();
    let mut below = filter.end_us.map_or(before, |end| before.min(first_at(end)));
    let from = filter.start_us.map_or(0, first_at);
    let mut stretch = filter.stretch(size);
    let mut work = Work::default();
    loop {
        let mut query = events::table
            .filter(events::organization_id.eq(organization))
            .filter(events::id.lt(below))
            .order(events::id.desc())
            .limit(stretch)
            .select(head())
            .into_boxed();
        if let Some(requested) = requested {
            query = query.filter(events::id.eq(requested));
        }
        let mut heads: Vec<EventHead> = query.load(conn).await?;
        work.looked_at(heads.len());
        let full = cut(&mut heads, stretch, |head| head.id >= from);
        for head in heads {
            // Only an event after a full page shows that there are more.
            if found.len() == size {
                return Ok((found, Some(below)));
            }
            below = head.id;
            // A replay's rows are not listed as events. There may be many, so the query does not filter them.
            if head.replay_of.is_none() && filter.matches(&head.event_type, head.ordering_key.as_deref()) {
                found.push(head.record(organization));
            }
        }
        if !full {
            return Ok((found, None));
        }
        if work.is_enough() {
            return Ok((found, Some(below)));
        }
        stretch = next_stretch(stretch);
    }
}

/// The event that was published under a request id.
async fn event_of_request(conn: &mut Connection, organization: i64, request: &str) -> QueryResult<Option<i64>> {
    idempotency_keys::table
        .find((organization, request))
        .select(idempotency_keys::event_id)
        .first(conn)
        .await
        .optional()
}

/// Attempts with numbers above `after`, in order.
pub(crate) async fn attempts_after(
    conn: &mut Connection,
    organization: i64,
    delivery: i64,
    after: i32,
    size: i64,
) -> QueryResult<Vec<AttemptRow>> {
    attempts::table
        .filter(attempts::delivery_id.eq(delivery))
        .filter(attempts::organization_id.eq(organization))
        .filter(attempts::number.gt(after))
        .order(attempts::number)
        .limit(size)
        .load(conn)
        .await
}

/// Summaries of attempts with numbers below `before`, the last first.
pub(super) async fn last_attempts(
    conn: &mut Connection,
    organization: i64,
    delivery: i64,
    before: i32,
    size: i64,
) -> QueryResult<Vec<AttemptSummary>> {
    attempts::table
        .filter(attempts::delivery_id.eq(delivery))
        .filter(attempts::organization_id.eq(organization))
        .filter(attempts::number.lt(before))
        .order(attempts::number.desc())
        .limit(size)
        .select(SUMMARY)
        .load(conn)
        .await
}

pub(crate) async fn get_attempt(
    conn: &mut Connection,
    organization: i64,
    delivery: i64,
    number: i32,
) -> QueryResult<Option<AttemptRow>> {
    attempts::table
        .find((delivery, number))
        .filter(attempts::organization_id.eq(organization))
        .first(conn)
        .await
        .optional()
}
