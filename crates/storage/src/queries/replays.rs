//! Replays: see [`crate::replays`].

use std::collections::HashMap;

use super::{
    FORGOTTEN_AT_ONCE,
    audit::append_audit,
    prelude::*,
    queue::events_by_id,
    states::{delivery_records, outlines_of},
};
use crate::{
    batch::StoredEvent,
    replays::{REPLAY_RUNNING, ReplayCandidate, ReplayProgress, ReplayRow, ReplayStretch},
    row_event::{EventOutline, OUTLINE},
    rows::AuditRow,
    schema::{event_replays, events, idempotency_keys, replays},
    walk::{STRETCH, Work},
};

pub(crate) async fn insert_replay(
    conn: &mut Connection,
    row: &ReplayRow,
    most: i64,
    audit: &AuditRow,
) -> QueryResult<bool> {
    let running: i64 = replays::table
        .filter(replays::organization_id.eq(row.organization_id))
        .filter(replays::state.eq(REPLAY_RUNNING))
        .count()
        .get_result(conn)
        .await?;
    if running >= most {
        return Ok(false);
    }
    diesel::insert_into(replays::table).values(row).execute(conn).await?;
    append_audit(conn, audit).await?;
    Ok(true)
}

pub(crate) async fn replay_of_request(
    conn: &mut Connection,
    organization: i64,
    request_id: &str,
) -> QueryResult<Option<ReplayRow>> {
    replays::table
        .filter(replays::organization_id.eq(organization))
        .filter(replays::request_id.eq(request_id))
        .first(conn)
        .await
        .optional()
}

pub(crate) async fn get_replay(conn: &mut Connection, organization: i64, id: i64) -> QueryResult<Option<ReplayRow>> {
    let found = replays::table
        .find(id)
        .filter(replays::organization_id.eq(organization));
    found.first(conn).await.optional()
}

pub(crate) async fn list_replays(
    conn: &mut Connection,
    organization: i64,
    before: i64,
    size: i64,
) -> QueryResult<Vec<ReplayRow>> {
    replays::table
        .filter(replays::organization_id.eq(organization))
        .filter(replays::id.lt(before))
        .order(replays::id.desc())
        .limit(size)
        .load(conn)
        .await
}

pub(crate) async fn take_replays(
    conn: &mut Connection,
    node: i32,
    now: i64,
    until: i64,
) -> QueryResult<Vec<ReplayRow>> {
    // A node whose clock was ahead, and was corrected since, has stored a lease that is too long.
    let too_long = until.saturating_add(until.saturating_sub(now).max(0));
    diesel::update(
        replays::table
            .filter(replays::state.eq(REPLAY_RUNNING))
            .filter(replays::leased_until.lt(now).or(replays::leased_until.gt(too_long))),
    )
    .set((replays::node.eq(node), replays::leased_until.eq(until)))
    .get_results(conn)
    .await
}

pub(crate) async fn save_replay(
    conn: &mut Connection,
    id: i64,
    node: i32,
    progress: ReplayProgress,
    until: i64,
) -> QueryResult<bool> {
    let mine = replays::table
        .find(id)
        .filter(replays::state.eq(REPLAY_RUNNING))
        .filter(replays::node.eq(node));
    let saved = diesel::update(mine)
        .set((
            replays::cursor.eq(progress.cursor),
            replays::examined.eq(progress.examined),
            replays::matched.eq(progress.matched),
            replays::replayed.eq(progress.replayed),
            replays::skipped.eq(progress.skipped),
            replays::leased_until.eq(until),
        ))
        .execute(conn)
        .await?;
    Ok(saved > 0)
}

pub(crate) async fn end_replay(
    conn: &mut Connection,
    id: i64,
    state: i32,
    error: Option<String>,
    now: i64,
    audit: Option<&AuditRow>,
) -> QueryResult<bool> {
    let running = replays::table.find(id).filter(replays::state.eq(REPLAY_RUNNING));
    let ended = diesel::update(running)
        .set((
            replays::state.eq(state),
            replays::error.eq(error),
            replays::ended_at.eq(now),
        ))
        .execute(conn)
        .await?;
    if let (1.., Some(audit)) = (ended, audit) {
        append_audit(conn, audit).await?;
    }
    Ok(ended > 0)
}

/// A page of an organization's events, with the latest delivery of each to each webhook.
pub(crate) async fn replay_stretch(
    conn: &mut Connection,
    organization: i64,
    event_types: &[String],
    after: i64,
    last: i64,
) -> QueryResult<ReplayStretch> {
    let is_candidate = |event: &EventOutline| {
        event.replay_of.is_none()
            && event.event_type != "ping"
            && (event_types.is_empty() || event_types.contains(&event.event_type))
    };
    let mut end = after;
    // Matching types may be rare: this reads a bounded number of events, and the next call continues from there.
    let mut work = Work::default();
    let outlines = loop {
        let mut looked_at: Vec<EventOutline> = events::table
            .filter(events::organization_id.eq(organization))
            .filter(events::id.gt(end))
            .filter(events::id.le(last))
            .order(events::id)
            .limit(STRETCH)
            .select(OUTLINE)
            .load(conn)
            .await?;
        let full = i64::try_from(looked_at.len()).unwrap_or(i64::MAX) == STRETCH;
        end = looked_at
            .as_slice()
            .last()
            .filter(|_| full)
            .map_or(last, |event| event.id);
        work.looked_at(looked_at.len());
        looked_at.retain(is_candidate);
        if !full || !looked_at.is_empty() || work.is_enough() {
            break looked_at;
        }
    };
    let ids: Vec<i64> = outlines.iter().map(|event| event.id).collect();
    let mut candidates: Vec<ReplayCandidate> = outlines
        .iter()
        .map(|event| ReplayCandidate {
            event_id: event.id,
            event_type: event.event_type.clone(),
            deliveries: Vec::new(),
        })
        .collect();
    let replayed: Vec<i64> = event_replays::table
        .filter(event_replays::event_id.eq_any(&ids))
        .select(event_replays::replay_id)
        .load(conn)
        .await?;
    let mut records = delivery_records(conn, outlines).await?;
    let again = outlines_of(conn, &replayed).await?;
    // In order of time, because replays are later than the deliveries that they repeat.
    records.extend(delivery_records(conn, again).await?);
    for record in records {
        let Ok(at) = ids.binary_search(&record.event_id) else {
            continue;
        };
        let of_event = &mut candidates[at].deliveries;
        of_event.retain(|earlier| earlier.webhook_id != record.webhook_id);
        of_event.push(record);
    }
    Ok(ReplayStretch {
        candidates,
        cursor: end,
    })
}

/// The events that were stored under request ids, with the number of webhooks that each is owed to.
pub(crate) async fn events_of_requests(
    conn: &mut Connection,
    organization: i64,
    request_ids: &[String],
) -> QueryResult<Vec<(String, usize)>> {
    let known: Vec<(String, i64)> = idempotency_keys::table
        .filter(idempotency_keys::organization_id.eq(organization))
        .filter(idempotency_keys::request_id.eq_any(request_ids))
        .select((idempotency_keys::request_id, idempotency_keys::event_id))
        .load(conn)
        .await?;
    let ids: Vec<i64> = known.iter().map(|(_, event)| *event).collect();
    let outlines = outlines_of(conn, &ids).await?;
    let counts: HashMap<i64, usize> = outlines
        .iter()
        .map(|event| (event.id, event.webhooks.len() / 8))
        .collect();
    let counted = known
        .into_iter()
        .map(|(request, event)| (request, counts.get(&event).copied().unwrap_or(0)));
    Ok(counted.collect())
}

/// Removes replays that ended before a time.
pub(crate) async fn forget_replays(conn: &mut Connection, before: i64) -> QueryResult<usize> {
    // Removes some of them: the caller repeats the call until none are left.
    let ended: Vec<i64> = replays::table
        .filter(replays::ended_at.lt(before))
        .order(replays::id)
        .limit(FORGOTTEN_AT_ONCE)
        .select(replays::id)
        .load(conn)
        .await?;
    diesel::delete(replays::table.filter(replays::id.eq_any(ended)))
        .execute(conn)
        .await
}

pub(crate) async fn events_of(conn: &mut Connection, ids: &[i64]) -> QueryResult<Vec<StoredEvent>> {
    Ok(events_by_id(conn, ids).await?.into_values().collect())
}
