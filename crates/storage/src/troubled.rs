//! Deliveries that did not succeed at the first attempt: those that failed, are waiting for a retry, are paused or were
//! cancelled. This module classifies and merges their rows; `queries::troubled` reads them.

use diesel::{Queryable, dsl::sql, expression::SqlLiteral, sql_types::Bool};
use hookwright_domain::{id::first_at, outcome::DeliveryState};

use crate::{
    records::DeliveryFilter,
    row_event::{EventOutline, Owed},
};

/// One second of ids: an event's deliveries are within it.
const SPREAD: i64 = 1 << 32;

/// A delivery with a row of one of the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable)]
pub(crate) struct TroubledId {
    pub(crate) delivery: i64,
    pub(crate) event: i64,
    pub(crate) organization: i64,
    pub(crate) webhook: i64,
}

/// The kinds of rows to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) failed: bool,
    pub(crate) waiting: bool,
    /// Of pending rows, only paused ones, which have a separate index.
    pub(crate) paused: bool,
    pub(crate) ended: bool,
}

impl DeliveryFilter {
    /// The kinds of rows that contain every match; `None` if a match may have no row.
    pub(crate) fn kinds(&self) -> Option<Kinds> {
        let any = |wanted: &[DeliveryState]| self.states.iter().any(|state| wanted.contains(state));
        let is_plain = any(&[DeliveryState::Pending, DeliveryState::Delivered]);
        // A delivery that failed for a reason has failed, is waiting for a retry, or was cancelled afterwards.
        let all = self.states.is_empty() && !self.error_classes.is_empty();
        let none = self.states.is_empty() && !all;
        (self.event_id.is_none() && !is_plain && !none).then(|| Kinds {
            failed: all || any(&[DeliveryState::Failed]),
            waiting: all || any(&[DeliveryState::Retrying]),
            paused: !all && !any(&[DeliveryState::Retrying]) && any(&[DeliveryState::Paused]),
            ended: all || any(&[DeliveryState::Cancelled]),
        })
    }
}

/// The condition of the partial index: a database uses the index only for exactly this condition.
pub(crate) fn failed() -> SqlLiteral<Bool> {
    sql("attempts.delivery_state = 2")
}

/// The range of events, by their times of publication.
pub(crate) struct Range {
    from: i64,
    end: i64,
}

impl Range {
    pub(crate) fn of(filter: &DeliveryFilter) -> Self {
        Self {
            from: filter.start_us.map_or(0, first_at),
            end: filter.end_us.map_or(i64::MAX, first_at),
        }
    }

    /// Their deliveries have ids below this one.
    pub(crate) fn deliveries_end(&self) -> i64 {
        self.end.saturating_add(SPREAD)
    }

    /// Whether one of their deliveries may have an id below this one. A delivery's id is above its event's.
    pub(crate) fn may_hold_below(&self, delivery: i64) -> bool {
        delivery > self.from
    }

    pub(crate) fn holds(&self, id: &TroubledId) -> bool {
        (self.from..self.end).contains(&id.event)
    }
}

/// Merges all kinds, newest first, each delivery once, and returns the id below which to continue. If a kind may have
/// more rows, its rows below its last one are unknown, so the merge ends there.
pub(crate) fn merge(sources: Vec<Vec<TroubledId>>, stretch: i64) -> (Vec<TroubledId>, Option<i64>) {
    let is_full = |source: &&Vec<TroubledId>| i64::try_from(source.len()).unwrap_or(i64::MAX) == stretch;
    let lasts = sources.iter().filter(is_full).filter_map(|source| source.last());
    let rest = lasts.map(|id| id.delivery).max();
    let known = |id: &TroubledId| rest.is_none_or(|rest| id.delivery >= rest);
    let mut all: Vec<TroubledId> = sources.into_iter().flatten().filter(known).collect();
    all.sort_unstable_by_key(|id| std::cmp::Reverse(id.delivery));
    all.dedup_by_key(|id| id.delivery);
    (all, rest)
}

/// The deliveries with their events, in the given order, except those whose event is gone or has another type.
pub(crate) fn owed<'a>(outlines: &'a [EventOutline], ids: &[TroubledId], filter: &DeliveryFilter) -> Vec<Owed<'a>> {
    let events: std::collections::HashMap<i64, &EventOutline> = outlines
        .iter()
        .filter(|event| filter.is_of(&event.event_type))
        .map(|event| (event.id, event))
        .collect();
    let owed = ids.iter().filter_map(|id| {
        Some(Owed {
            event: events.get(&id.event)?,
            delivery_id: id.delivery,
            webhook_id: id.webhook,
        })
    });
    owed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(deliveries: &[i64]) -> Vec<TroubledId> {
        let id = |delivery: &i64| TroubledId {
            delivery: *delivery,
            event: delivery - 1,
            organization: 1,
            webhook: 2,
        };
        deliveries.iter().map(id).collect()
    }

    #[test]
    fn nothing_is_said_below_where_a_kind_ends_early() {
        assert_eq!(
            merge(vec![ids(&[9, 7, 5]), ids(&[8, 2])], 3),
            (ids(&[9, 8, 7, 5]), Some(5))
        );
        assert_eq!(merge(vec![ids(&[9, 7]), ids(&[9, 2])], 3), (ids(&[9, 7, 2]), None));
        assert_eq!(
            merge(vec![ids(&[9, 8, 7]), ids(&[6, 5, 4])], 3),
            (ids(&[9, 8, 7]), Some(7))
        );
        assert_eq!(merge(vec![], 3), (ids(&[]), None));
    }

    #[test]
    fn rows_show_failed_deliveries() {
        let of = |states: &[DeliveryState]| {
            let filter = DeliveryFilter {
                states: states.to_vec(),
                ..DeliveryFilter::default()
            };
            filter
                .kinds()
                .map(|kinds| (kinds.failed, kinds.waiting, kinds.paused, kinds.ended))
        };
        assert_eq!(of(&[DeliveryState::Failed]), Some((true, false, false, false)));
        assert_eq!(
            of(&[DeliveryState::Paused, DeliveryState::Cancelled]),
            Some((false, false, true, true))
        );
        assert_eq!(
            of(&[DeliveryState::Paused, DeliveryState::Retrying]),
            Some((false, true, false, false)),
            "paused deliveries have pending rows"
        );
        assert_eq!(
            of(&[DeliveryState::Failed, DeliveryState::Pending]),
            None,
            "a delivery that is only in memory has no row"
        );
        assert_eq!(of(&[]), None);
    }
}
