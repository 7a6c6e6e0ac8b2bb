//! Events with deliveries that have no row at all: those that were in memory when a node ended.
//!
//! The search first reads a bounded number of ids and lists. It reads payloads only of unfinished events, and only if
//! its caller needs them.

use std::collections::HashSet;

use hookwright_domain::id::{EventId, NODE_MAX, SEQUENCE_BITS};

/// How many events one step reads, whichever node created them.
pub(crate) const LOOKED_AT: i64 = 20_000;
/// How many deliveries one step checks.
const DELIVERIES: usize = 20_000;
/// How many bytes of payload a page contains. A single event may be larger.
pub(crate) const BYTES: i64 = 16 << 20;

/// An event and its deliveries.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    id: i64,
    organization_id: i64,
    webhooks: Vec<i64>,
    payload_bytes: i64,
}

impl Owed {
    /// Takes rows with a bounded number of deliveries in total, but at least one row. Returns the last event that was
    /// read, too.
    pub(crate) fn take(rows: Vec<(i64, i64, Vec<u8>, i64)>, last_id: i64) -> (Vec<Self>, i64) {
        let mut taken = Vec::new();
        let mut deliveries = 0;
        for (id, organization_id, webhooks, payload_bytes) in rows {
            let webhooks = crate::row_event::unpack(&webhooks).to_vec();
            if deliveries + webhooks.len() > DELIVERIES
                && let Some(before) = taken.last().map(|owed: &Self| owed.id)
            {
                return (taken, before);
            }
            deliveries += webhooks.len();
            taken.push(Self {
                id,
                organization_id,
                webhooks,
                payload_bytes,
            });
        }
        (taken, last_id)
    }

    /// Its deliveries, in the order of its webhooks.
    pub(crate) fn deliveries(&self) -> impl Iterator<Item = i64> + '_ {
        let event = EventId::from_raw(self.id);
        (0..self.webhooks.len()).map(move |position| event.delivery(position).raw())
    }
}

/// An unfinished event without its payload.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    pub(crate) id: i64,
    pub(crate) organization_id: i64,
    pub(crate) webhooks: Vec<i64>,
    /// The positions of the deliveries without a row in the list of webhooks.
    pub(crate) positions: Vec<usize>,
    payload_bytes: i64,
}

/// A page of events that was searched, without payloads.
#[derive(Clone, Debug)]
pub(crate) struct OutlinePage {
    pub(crate) events: Vec<Outline>,
    /// The last event that was read; the end of the range when there are no more.
    pub(crate) last_id: i64,
}

impl OutlinePage {
    /// The deliveries that are owed and not known.
    pub(crate) fn of(owed: Vec<Owed>, known: &HashSet<i64>, last_id: i64) -> Self {
        let unfinished = owed.into_iter().filter_map(|owed| {
            let missing = owed.deliveries().enumerate();
            let missing = missing.filter(|(_, delivery)| !known.contains(delivery));
            let positions: Vec<usize> = missing.map(|(position, _)| position).collect();
            (!positions.is_empty()).then_some(Outline {
                id: owed.id,
                organization_id: owed.organization_id,
                webhooks: owed.webhooks,
                positions,
                payload_bytes: owed.payload_bytes,
            })
        });
        Self {
            events: unfinished.collect(),
            last_id,
        }
    }

    /// Cuts the page where its payloads exceed a number of bytes, but after at least one event.
    pub(crate) fn cut(&mut self, bytes: i64) {
        let mut total = 0;
        let mut fits = |event: &Outline| {
            total += event.payload_bytes;
            total <= bytes
        };
        let kept = self.events.iter().take_while(|event| fits(event)).count().max(1);
        if kept < self.events.len() {
            self.events.truncate(kept);
            self.last_id = self.events.last().map_or(self.last_id, |event| event.id);
        }
    }
}

/// Those events of a page that a node created, `limit` at most, and the last event that was read. That is the end of the
/// range only if nothing is left to read.
pub(crate) fn own_of(looked_at: Vec<i64>, node: i32, limit: i64, last: i64) -> (Vec<i64>, i64) {
    let full = i64::try_from(looked_at.len()).is_ok_and(|length| length == LOOKED_AT);
    let reached = looked_at.last().copied();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let made = |id: &i64| (*id >> SEQUENCE_BITS) & i64::from(NODE_MAX) == i64::from(node);
    let mut own: Vec<i64> = looked_at.into_iter().filter(made).collect();
    if own.is_empty() && !full {
        return (own, last);
    }
    own.truncate(limit);
    let end = if own.len() == limit {
        own.last().copied()
    } else {
        reached
    };
    (own, end.unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_where_its_payloads_grow_too_large() {
        let list = crate::row_event::pack(&[11]);
        let rows = (1..=4).map(|id| (id * 10, 7, list.clone(), 6 << 20)).collect();
        let (owed, last) = Owed::take(rows, 99);
        let mut page = OutlinePage::of(owed, &HashSet::from([21]), last);
        page.cut(BYTES);
        let ids: Vec<i64> = page.events.iter().map(|event| event.id).collect();
        assert_eq!((ids, page.last_id), (vec![10, 30], 30), "known deliveries do not count");
        page.cut(0);
        assert_eq!(
            (page.events.len(), page.last_id),
            (1, 10),
            "at least one event, however large"
        );
    }

    #[test]
    fn a_page_looks_for_a_bounded_number_of_deliveries() {
        let list = crate::row_event::pack(&vec![11; 4_000]);
        let rows = (1..=9).map(|id| (id * 5_000, 7, list.clone(), 1)).collect();
        let (owed, last) = Owed::take(rows, 99_999);
        assert_eq!((owed.len(), last), (5, 25_000));
    }

    #[test]
    fn events_of_other_nodes_are_passed_over_in_bounded_stretches() {
        let of = |node: i64, at: i64| (at << 22) | (node << SEQUENCE_BITS);
        let others: Vec<i64> = (1..=LOOKED_AT).map(|at| of(5, at)).collect();
        assert_eq!(own_of(others.clone(), 0, 500, i64::MAX), (vec![], of(5, LOOKED_AT)));
        assert_eq!(own_of(others[..9].to_vec(), 0, 500, i64::MAX), (vec![], i64::MAX));
        let few = own_of(others[..9].to_vec(), 5, 500, i64::MAX);
        assert_eq!(
            few,
            (others[..9].to_vec(), of(5, 9)),
            "there is something to adopt before the end"
        );
        let (own, end) = own_of(others, 5, 500, i64::MAX);
        assert_eq!((own.len(), end), (500, of(5, 500)));
    }
}
