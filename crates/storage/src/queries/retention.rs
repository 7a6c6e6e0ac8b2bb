//! Removal of expired events, a limited number at a time. Events with a delivery that is not final stay.

use super::prelude::*;
use crate::{
    retention::Expired,
    retention::{self, Removable},
    schema::{attempts, delivery_endings, event_replays, events, idempotency_keys, pending_deliveries},
};

/// Reads up to `look` events after `after` and before `before`. Removes the first `limit` of those without a pending
/// delivery, with their attempts, endings, request ids and links to the events that they replayed.
pub(crate) async fn expire_stretch(
    conn: &mut Connection,
    after: i64,
    before: i64,
    look: i64,
    limit: usize,
) -> QueryResult<Expired> {
    let ids: Vec<i64> = events::table
        .filter(events::id.gt(after))
        .filter(events::id.lt(before))
        .order(events::id)
        .limit(look)
        .select(events::id)
        .load(conn)
        .await?;
    let (Some(first), Some(last)) = (ids.as_slice().first(), ids.as_slice().last()) else {
        return Ok(Expired::default());
    };
    let pending: Vec<i64> = pending_deliveries::table
        .filter(pending_deliveries::delivery_id.between(*first, retention::last_delivery_of(*last)))
        .order(pending_deliveries::event_id)
        .select(pending_deliveries::event_id)
        .distinct()
        .load(conn)
        .await?;
    let stretch = retention::Stretch::of(&ids, &pending, limit);
    let all_seen = ids.len() < usize::try_from(look).unwrap_or(usize::MAX) && stretch.last == *last;
    let mut expired = Expired {
        next: (!all_seen).then_some(stretch.last),
        overdue: stretch.removable.as_slice().first().copied(),
        ..Expired::default()
    };
    if stretch.removable.is_empty() {
        return Ok(expired);
    }
    let rows: Vec<Removable> = events::table
        .filter(events::id.eq_any(&stretch.removable))
        .order(events::id)
        .select((
            events::id,
            events::organization_id,
            events::webhooks,
            events::request_id,
        ))
        .load(conn)
        .await?;
    expired.events = remove(conn, &rows, &stretch.kept).await?;
    Ok(expired)
}

/// The oldest event that is stored.
pub(crate) async fn oldest_event(conn: &mut Connection) -> QueryResult<Option<i64>> {
    events::table
        .filter(events::id.gt(0))
        .order(events::id)
        .select(events::id)
        .first(conn)
        .await
        .optional()
}

/// Removes events with all their rows, except the events of `kept` between them. Returns how many.
async fn remove(conn: &mut Connection, rows: &[Removable], kept: &[i64]) -> QueryResult<usize> {
    let Some((from, to, last_delivery)) = retention::range(rows) else {
        return Ok(0);
    };
    for ((organization, event_ids), request_ids) in retention::requests(rows) {
        let of_events = idempotency_keys::table
            .filter(idempotency_keys::organization_id.eq(organization))
            .filter(idempotency_keys::request_id.eq_any(request_ids))
            // A request id that expired and was used again belongs to a later event.
            .filter(idempotency_keys::event_id.eq_any(event_ids));
        diesel::delete(of_events).execute(conn).await?;
    }
    // One statement a table, however the events that stay are spread.
    let kept: Vec<i64> = kept.iter().copied().filter(|id| (from..=to).contains(id)).collect();
    let expired = attempts::table
        .filter(attempts::delivery_id.between(from, last_delivery))
        .filter(attempts::event_id.ne_all(&kept));
    diesel::delete(expired).execute(conn).await?;
    let expired = delivery_endings::table
        .filter(delivery_endings::delivery_id.between(from, last_delivery))
        .filter(delivery_endings::event_id.ne_all(&kept));
    diesel::delete(expired).execute(conn).await?;
    let expired = event_replays::table
        .filter(event_replays::replay_id.between(from, to))
        .filter(event_replays::replay_id.ne_all(&kept));
    diesel::delete(expired).execute(conn).await?;
    let expired = events::table
        .filter(events::id.between(from, to))
        .filter(events::id.ne_all(&kept));
    diesel::delete(expired).execute(conn).await
}
