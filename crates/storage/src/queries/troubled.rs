//! Lists of deliveries that did not succeed at the first attempt: those that failed, are waiting for a retry, are
//! paused or were cancelled. They are few among many, and each kind has its own rows. Lists walk these rows, newest
//! first, instead of the events.

use super::{
    prelude::*,
    states::{fill, outlines_of},
};
use crate::{
    blocked::is_paused,
    deliveries::Page,
    records::{DeliveryFilter, DeliveryRecord},
    schema::{attempts, delivery_endings, pending_deliveries},
    troubled::{self, Kinds, Range, TroubledId, merge, owed},
    walk::{STRETCH, next_stretch},
};

/// Deliveries of some kinds with ids below `before`, newest first, and the id below which the next page begins, if
/// there may be more. A page may have fewer deliveries.
pub(super) async fn list_troubled(
    conn: &mut Connection,
    organization: i64,
    (filter, kinds): (&DeliveryFilter, Kinds),
    before: i64,
    size: usize,
) -> QueryResult<(Vec<DeliveryRecord>, Option<i64>)> {
    let range = Range::of(filter);
    let mut page = Page::new(filter, size);
    let mut below = before.min(range.deliveries_end());
    let mut stretch = STRETCH;
    loop {
        let sources = troubled_ids(conn, (organization, filter.webhook_id), kinds, below, stretch).await?;
        page.work.looked_at(sources.iter().map(Vec::len).sum());
        let (mut meant, rest) = merge(sources, stretch);
        meant.retain(|id| range.holds(id) && id.organization == organization && filter.is_to(id.webhook));
        let mut events: Vec<i64> = meant.iter().map(|id| id.event).collect();
        events.dedup();
        page.work.looked_at(events.len());
        let outlines = outlines_of(conn, &events).await?;
        if let Some(below) = fill(conn, &mut page, &owed(&outlines, &meant, filter)).await? {
            return Ok((page.found, Some(below)));
        }
        match rest {
            Some(rest) if range.may_hold_below(rest) => below = rest,
            _ => return Ok((page.found, None)),
        }
        if page.work.is_enough() {
            return Ok((page.found, Some(below)));
        }
        stretch = next_stretch(stretch);
    }
}

/// The newest rows of each kind below an id, `stretch` of each. The organization is checked afterwards where no index
/// contains it.
async fn troubled_ids(
    conn: &mut Connection,
    (organization, webhook): (i64, Option<i64>),
    kinds: Kinds,
    below: i64,
    stretch: i64,
) -> QueryResult<Vec<Vec<TroubledId>>> {
    let mut sources: Vec<Vec<TroubledId>> = Vec::new();
    if kinds.failed {
        let failed = attempts::table
            .filter(troubled::failed())
            .filter(attempts::organization_id.eq(organization))
            .filter(attempts::delivery_id.lt(below))
            .order(attempts::delivery_id.desc())
            .limit(stretch)
            .select((
                attempts::delivery_id,
                attempts::event_id,
                attempts::organization_id,
                attempts::webhook_id,
            ));
        sources.push(failed.load(conn).await?);
    }
    if kinds.waiting {
        let waiting = pending_deliveries::table
            .filter(pending_deliveries::delivery_id.lt(below))
            .order(pending_deliveries::delivery_id.desc())
            .limit(stretch)
            .select((
                pending_deliveries::delivery_id,
                pending_deliveries::event_id,
                pending_deliveries::organization_id,
                pending_deliveries::webhook_id,
            ));
        sources.push(waiting.load(conn).await?);
    }
    if kinds.paused {
        let mut paused = pending_deliveries::table
            .filter(is_paused())
            .filter(pending_deliveries::organization_id.eq(organization))
            .filter(pending_deliveries::delivery_id.lt(below))
            .order(pending_deliveries::delivery_id.desc())
            .limit(stretch)
            .select((
                pending_deliveries::delivery_id,
                pending_deliveries::event_id,
                pending_deliveries::organization_id,
                pending_deliveries::webhook_id,
            ))
            .into_boxed();
        if let Some(webhook) = webhook {
            paused = paused.filter(pending_deliveries::webhook_id.eq(webhook));
        }
        sources.push(paused.load(conn).await?);
    }
    if kinds.ended {
        let ended = delivery_endings::table
            .filter(delivery_endings::delivery_id.lt(below))
            .order(delivery_endings::delivery_id.desc())
            .limit(stretch)
            .select((
                delivery_endings::delivery_id,
                delivery_endings::event_id,
                delivery_endings::organization_id,
                delivery_endings::webhook_id,
            ));
        sources.push(ended.load(conn).await?);
    }
    Ok(sources)
}
