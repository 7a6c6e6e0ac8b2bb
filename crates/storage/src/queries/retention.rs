//! Removing what has outlived its retention, a stretch of events at a time. What is not final stays.

macro_rules! retention_queries {
    ([$($asynchronous:tt)*], [$($wait:tt)*]) => {
        /// Looks at up to `look` events after `after` and before `before`, and removes the first `limit` of those of which nothing
        /// is pending, with their attempts, endings, request ids and links to what they replayed.
        pub(crate) $($asynchronous)* fn expire_stretch(
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
                .load(conn)$($wait)*?;
            let (Some(first), Some(last)) = (ids.as_slice().first(), ids.as_slice().last()) else {
                return Ok(Expired::default());
            };
            let pending: Vec<i64> = pending_deliveries::table
                .filter(pending_deliveries::delivery_id.between(*first, $crate::queries::retention::last_delivery_of(*last)))
                .order(pending_deliveries::event_id)
                .select(pending_deliveries::event_id)
                .distinct()
                .load(conn)$($wait)*?;
            let stretch = $crate::queries::retention::Stretch::of(&ids, &pending, limit);
            let all_seen = ids.len() < usize::try_from(look).unwrap_or(usize::MAX) && stretch.last == *last;
            let mut expired = Expired {
                next: (!all_seen).then_some(stretch.last),
                overdue: stretch.removable.as_slice().first().copied(),
                ..Expired::default()
            };
            if stretch.removable.is_empty() {
                return Ok(expired);
            }
            let rows: Vec<(i64, i64, Vec<u8>, Option<String>)> = events::table
                .filter(events::id.eq_any(&stretch.removable))
                .order(events::id)
                .select((events::id, events::organization_id, events::webhooks, events::request_id))
                .load(conn)$($wait)*?;
            for ((organization, event_ids), request_ids) in $crate::queries::retention::requests(&rows) {
                let of_events = idempotency_keys::table
                    .filter(idempotency_keys::organization_id.eq(organization))
                    .filter(idempotency_keys::request_id.eq_any(request_ids))
                    // A request id that was free again belongs to a later event now.
                    .filter(idempotency_keys::event_id.eq_any(event_ids));
                diesel::delete(of_events).execute(conn)$($wait)*?;
            }
            // Between two events that stay, all goes by one statement a table.
            for (from, to, last_delivery) in $crate::queries::retention::runs(&rows, &stretch.kept) {
                diesel::delete(attempts::table.filter(attempts::delivery_id.between(from, last_delivery)))
                    .execute(conn)$($wait)*?;
                diesel::delete(delivery_endings::table.filter(delivery_endings::delivery_id.between(from, last_delivery)))
                    .execute(conn)$($wait)*?;
                diesel::delete(event_replays::table.filter(event_replays::replay_id.between(from, to)))
                    .execute(conn)$($wait)*?;
                expired.events += diesel::delete(events::table.filter(events::id.between(from, to)))
                    .execute(conn)$($wait)*?;
            }
            Ok(expired)
        }
    };
}
pub(crate) use retention_queries;

use std::collections::BTreeMap;

use hookwright_domain::id::FANOUT_MAX;

/// The largest id that a delivery of an event can have.
pub(crate) fn last_delivery_of(event: i64) -> i64 {
    event.saturating_add(i64::try_from(FANOUT_MAX).unwrap_or(i64::MAX))
}

/// What is to be done with a stretch of events.
pub(crate) struct Stretch {
    /// Those that nothing is pending of.
    pub(crate) removable: Vec<i64>,
    /// Those that stay.
    pub(crate) kept: Vec<i64>,
    /// The last event that was looked at.
    pub(crate) last: i64,
}

impl Stretch {
    /// Tells events apart by the sorted list of those that something is pending of; `limit` are removed at most.
    pub(crate) fn of(ids: &[i64], pending: &[i64], limit: usize) -> Self {
        let mut stretch = Self {
            removable: Vec::new(),
            kept: Vec::new(),
            last: i64::MIN,
        };
        for id in ids {
            if pending.binary_search(id).is_ok() {
                stretch.kept.push(*id);
            } else if stretch.removable.len() < limit {
                stretch.removable.push(*id);
            } else {
                break;
            }
            stretch.last = *id;
        }
        stretch
    }
}

type Removable = (i64, i64, Vec<u8>, Option<String>);

/// The events of each organization that have a request id, with these ids.
pub(crate) fn requests(rows: &[Removable]) -> impl Iterator<Item = ((i64, Vec<i64>), Vec<&str>)> {
    let mut by_organization: BTreeMap<i64, (Vec<i64>, Vec<&str>)> = BTreeMap::new();
    for (id, organization, _, request) in rows {
        if let Some(request) = request {
            let of = by_organization.entry(*organization).or_default();
            of.0.push(*id);
            of.1.push(request);
        }
    }
    by_organization
        .into_iter()
        .map(|(organization, (events, requests))| ((organization, events), requests))
}

/// Runs of events with none between them that stays: the first event, the last one, and the last delivery of that.
pub(crate) fn runs(rows: &[Removable], kept: &[i64]) -> Vec<(i64, i64, i64)> {
    let place = |id: i64| kept.partition_point(|kept| *kept < id);
    let runs = rows.chunk_by(|a, b| place(a.0) == place(b.0));
    let ends = runs.filter_map(|run| {
        let (from, to) = (run.first()?, run.last()?);
        Some((from.0, to.0, to.0 + i64::try_from(to.2.len() / 8).unwrap_or(0)))
    });
    ends.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_ends_where_enough_is_removed() {
        let stretch = Stretch::of(&[10, 20, 30, 40, 50, 60], &[20, 30, 60], 2);
        assert_eq!(
            (stretch.removable, stretch.kept, stretch.last),
            (vec![10, 40], vec![20, 30], 40)
        );
        let stretch = Stretch::of(&[10, 20], &[10, 20], 2);
        assert_eq!(
            (stretch.removable, stretch.kept, stretch.last),
            (vec![], vec![10, 20], 20)
        );
    }

    #[test]
    fn no_run_spans_an_event_that_stays() {
        let row = |id: i64, webhooks: usize| (id, 7, vec![0; webhooks * 8], None);
        let rows = [row(10, 1), row(15, 0), row(40, 3), row(60, 1)];
        assert_eq!(runs(&rows, &[20, 30, 50]), [(10, 15, 15), (40, 40, 43), (60, 60, 61)]);
        assert_eq!(runs(&rows, &[]), [(10, 60, 61)]);
    }
}
