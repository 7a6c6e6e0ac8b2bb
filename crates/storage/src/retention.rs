//! The events that a step of retention reads and removes.

use std::collections::BTreeMap;

use hookwright_domain::id::FANOUT_MAX;

/// How many events one step removes on SQLite, and how many it reads to find them. This blocks commits for a few
/// milliseconds.
pub(crate) const EXPIRE_LIMIT: usize = 200;
pub(crate) const EXPIRE_LOOK: i64 = 2_000;

/// The result of a step of retention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// How many events were removed, with all their rows. The number is approximate when a whole partition was dropped.
    pub events: usize,
    /// Where to continue, if there may be more.
    pub next: Option<i64>,
    /// The oldest event that had outlived its retention when the step began, as an event id. On PostgreSQL events
    /// expire by whole days, and a day's age counts from its end.
    pub overdue: Option<i64>,
    /// The database's error if a day's partitions could not be dropped, most likely because a session is reading them.
    /// The same step may succeed later, and `next` skips that day.
    pub busy: Option<String>,
}

/// The largest id that a delivery of an event can have.
pub(crate) fn last_delivery_of(event: i64) -> i64 {
    event.saturating_add(i64::try_from(FANOUT_MAX).unwrap_or(i64::MAX))
}

/// The events of a step, split into those to remove and those to keep.
pub(crate) struct Stretch {
    /// Those without a pending delivery.
    pub(crate) removable: Vec<i64>,
    /// Those that stay.
    pub(crate) kept: Vec<i64>,
    /// The last event that was read.
    pub(crate) last: i64,
}

impl Stretch {
    /// Splits events by the sorted list of those with pending deliveries. At most `limit` are removable.
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

/// An event that may be removed: its id, organization, list of webhooks, and request id.
pub(crate) type Removable = (i64, i64, Vec<u8>, Option<String>);

/// The events of each organization with a request id, and these ids.
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

/// The first event, the last one, and the last one's last delivery.
pub(crate) fn range(rows: &[Removable]) -> Option<(i64, i64, i64)> {
    let (first, last) = (rows.first()?, rows.last()?);
    let deliveries = i64::try_from(last.2.len() / 8).unwrap_or(0);
    Some((first.0, last.0, last.0 + deliveries))
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
    fn a_range_ends_with_the_last_delivery() {
        let row = |id: i64, webhooks: usize| (id, 7, vec![0; webhooks * 8], None);
        assert_eq!(range(&[row(10, 1), row(15, 0), row(40, 3)]), Some((10, 40, 43)));
        assert_eq!(range(&[]), None);
    }
}
