//! Deliveries, read for people.
//!
//! A delivery has no row of its own. Its event's row says that it is owed; attempts, pending and ending rows say what came
//! of it. A list walks the events of an organization, newest first, takes of each the deliveries that may be meant by what
//! the event's row tells, and looks up where those stand; for those that did not simply go through see
//! [`super::troubled`]. However many events are stored, and however many webhooks one is
//! owed to, a call does a bounded amount of this: what is rare is found page by page.

macro_rules! deliveries_queries {
    ([$($asynchronous:tt)*], [$($wait:tt)*]) => {
        pub(crate) $($asynchronous)* fn get_delivery(
            conn: &mut Connection,
            organization: i64,
            id: i64,
        ) -> QueryResult<Option<DeliveryRecord>> {
            // The event is the last one below the delivery: an event's deliveries use the ids after its own.
            let event: Option<EventOutline> = events::table
                .filter(events::id.lt(id))
                .order(events::id.desc())
                .select($crate::queries::deliveries::OUTLINE)
                .first(conn)$($wait)*
                .optional()?;
            let Some(event) = event.filter(|event| event.organization_id == organization) else { return Ok(None) };
            let owed: Vec<_> = event.owed().filter(|owed| owed.delivery_id == id).collect();
            let mut records = records_of(conn, &owed)$($wait)*?;
            note_replays(conn, &mut records, &DeliveryFilter::default())$($wait)*?;
            Ok(records.pop())
        }

        /// Deliveries below `before`, newest first; and the id to go on below, if there may be more. A page may come out
        /// short.
        pub(crate) $($asynchronous)* fn list_deliveries(
            conn: &mut Connection,
            organization: i64,
            filter: &DeliveryFilter,
            before: i64,
            size: usize,
        ) -> QueryResult<(Vec<DeliveryRecord>, Option<i64>)> {
            let (mut found, next) = find_deliveries(conn, organization, filter, before, size)$($wait)*?;
            // Where those that were replayed are left out, none of them was.
            if !filter.hide_replayed {
                note_replays(conn, &mut found, filter)$($wait)*?;
            }
            Ok((found, next))
        }

        /// The same, without what is known of their replays.
        $($asynchronous)* fn find_deliveries(
            conn: &mut Connection,
            organization: i64,
            filter: &DeliveryFilter,
            before: i64,
            size: usize,
        ) -> QueryResult<(Vec<DeliveryRecord>, Option<i64>)> {
            use hookwright_domain::id::first_at;
            use $crate::queries::{deliveries::{BROAD, OUTLINE, Page}, history::{cut, next_stretch}};
            if let Some(kinds) = filter.kinds() {
                return list_troubled(conn, organization, (filter, kinds), before, size)$($wait)*;
            }
            let mut page = Page::new(filter, size);
            let mut below = filter.end_us.map_or(before, |end| before.min(first_at(end)));
            let from = filter.start_us.map_or(0, first_at);
            let of_event = match filter.event_id {
                Some(event) => Some(rows_of_event(conn, event)$($wait)*?),
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
                let mut outlines: Vec<EventOutline> = query.load(conn)$($wait)*?;
                let full = cut(&mut outlines, stretch, |event| event.id >= from);
                let deliveries: usize = outlines.iter().map(EventOutline::fanout).sum();
                page.work.looked_at(outlines.len() + deliveries / BROAD);
                let owed = filter.may_be_meant(&outlines, before);
                if let Some(below) = fill(conn, &mut page, &owed)$($wait)*? {
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

        /// Looks up where deliveries stand, portion by portion in the order given, and puts those that match on the page. Returns
        /// the id that the next page goes on below, once this one is full or has cost enough.
        $($asynchronous)* fn fill(
            conn: &mut Connection,
            page: &mut $crate::queries::deliveries::Page<'_>,
            owed: &[Owed<'_>],
        ) -> QueryResult<Option<i64>> {
            let mut rest = owed;
            while !rest.is_empty() {
                let (portion, others) = rest.split_at(page.portion().min(rest.len()));
                rest = others;
                let mut records = records_of(conn, portion)$($wait)*?;
                if page.filter.hide_replayed {
                    page.work.looked_at(note_replays(conn, &mut records, page.filter)$($wait)*?);
                }
                if let Some(below) = page.take(records) {
                    return Ok(Some(below));
                }
            }
            Ok(None)
        }

        /// Deliveries with where each stands, in the order given. Their events may lie far apart: rows are looked up by id, for
        /// a stretch between two may hold any number of others'. The stretch itself tells which partitions matter.
        $($asynchronous)* fn records_of(conn: &mut Connection, owed: &[Owed<'_>]) -> QueryResult<Vec<DeliveryRecord>> {
            let (mut tried, mut pending, mut endings) = (Vec::new(), Vec::new(), Vec::new());
            for owed in owed.chunks($crate::queries::queue::ID_CHUNK) {
                let mut ids: Vec<i64> = owed.iter().map(|owed| owed.delivery_id).collect();
                ids.sort_unstable();
                let (first, last) = (ids[0], ids[ids.len() - 1]);
                let found: Vec<AttemptSummary> = attempts::table
                    .filter(attempts::delivery_id.between(first, last))
                    .filter(attempts::delivery_id.eq_any(&ids))
                    .order((attempts::delivery_id, attempts::number))
                    .select($crate::queries::deliveries::SUMMARY)
                    .load(conn)$($wait)*?;
                tried.extend(found);
                let found: Vec<PendingRow> = pending_deliveries::table
                    .filter(pending_deliveries::delivery_id.eq_any(&ids))
                    .select(PendingRow::as_select())
                    .load(conn)$($wait)*?;
                pending.extend(found);
                let found: Vec<EndingRow> = delivery_endings::table
                    .filter(delivery_endings::delivery_id.between(first, last))
                    .filter(delivery_endings::delivery_id.eq_any(&ids))
                    .load(conn)$($wait)*?;
                endings.extend(found);
            }
            Ok($crate::queries::deliveries::assemble(owed, tried, pending, endings))
        }

        /// Notes for those of some deliveries that match a filter, and ended undelivered, the last one by which a replay sent the same
        /// event to the same webhook again. Returns how many rows of replays it looked at.
        $($asynchronous)* fn note_replays(
            conn: &mut Connection,
            records: &mut [DeliveryRecord],
            filter: &DeliveryFilter,
        ) -> QueryResult<usize> {
            use $crate::queries::deliveries::{LastReplays, REPLAYS, REPLAYS_OF_ONE, REPLAYS_TOGETHER};
            let mut last = LastReplays::of(records, filter);
            let mut looked_at = 0;
            let events = last.events();
            for events in events.chunks(REPLAYS_TOGETHER) {
                let mut rows = replays_of(conn, events, REPLAYS)$($wait)*?;
                if rows.len() as i64 == REPLAYS {
                    // Some of them were replayed very often.
                    rows.clear();
                    for event in events {
                        rows.extend(replays_of(conn, &[*event], REPLAYS_OF_ONE)$($wait)*?);
                    }
                }
                looked_at += rows.len();
                last.add(&outlines_of(conn, &rows)$($wait)*?);
            }
            let replays = records_of(conn, &last.owed())$($wait)*?;
            last.note(records, &replays);
            Ok(looked_at)
        }

        /// The newest rows of replays of events.
        $($asynchronous)* fn replays_of(conn: &mut Connection, events: &[i64], most: i64) -> QueryResult<Vec<i64>> {
            event_replays::table
                .filter(event_replays::event_id.eq_any(events))
                .order(event_replays::replay_id.desc())
                .limit(most)
                .select(event_replays::replay_id)
                .load(conn)$($wait)*
        }

        /// All deliveries of events, in order of id.
        $($asynchronous)* fn delivery_records(
            conn: &mut Connection,
            mut outlines: Vec<EventOutline>,
        ) -> QueryResult<Vec<DeliveryRecord>> {
            outlines.sort_by_key(|event| event.id);
            let owed: Vec<Owed<'_>> = outlines.iter().flat_map(EventOutline::owed).collect();
            records_of(conn, &owed)$($wait)*
        }

        /// Every delivery of an event, those that replays made included, in order of id.
        pub(crate) $($asynchronous)* fn deliveries_of_event(
            conn: &mut Connection,
            organization: i64,
            event: i64,
        ) -> QueryResult<Vec<DeliveryRecord>> {
            let rows = rows_of_event(conn, event)$($wait)*?;
            let outlines = outlines_of(conn, &rows)$($wait)*?;
            let owned = outlines.into_iter().filter(|event| event.organization_id == organization);
            let mut records = delivery_records(conn, owned.collect())$($wait)*?;
            note_replays(conn, &mut records, &DeliveryFilter::default())$($wait)*?;
            Ok(records)
        }

        /// The ids of an event's rows: its own, and those of its replays.
        $($asynchronous)* fn rows_of_event(conn: &mut Connection, event: i64) -> QueryResult<Vec<i64>> {
            let mut rows: Vec<i64> = event_replays::table
                .filter(event_replays::event_id.eq(event))
                .select(event_replays::replay_id)
                .load(conn)$($wait)*?;
            rows.push(event);
            Ok(rows)
        }

        $($asynchronous)* fn outlines_of(conn: &mut Connection, ids: &[i64]) -> QueryResult<Vec<EventOutline>> {
            let mut outlines = Vec::new();
            for ids in ids.chunks($crate::queries::queue::ID_CHUNK) {
                let found: Vec<EventOutline> = events::table
                    .filter(events::id.eq_any(ids))
                    .select($crate::queries::deliveries::OUTLINE)
                    .load(conn)$($wait)*?;
                outlines.extend(found);
            }
            Ok(outlines)
        }
    };
}
pub(crate) use deliveries_queries;

use std::collections::{HashMap, HashSet};

use hookwright_domain::{id::time_us, outcome::DeliveryState};

use super::history::{STRETCH, Work};
use crate::{
    batch::{AttemptSummary, DeliveryFilter, DeliveryRecord, Replayed},
    row_event::{EventOutline, Owed},
    rows::{DELIVERED, EndingRow, FAILED, PAUSED, PendingRow},
    schema::{attempts, events},
};

/// The columns of an [`EventOutline`].
pub(crate) const OUTLINE: (
    events::id,
    events::organization_id,
    events::event_type,
    events::webhooks,
    events::replay_of,
    events::ordering_key,
) = (
    events::id,
    events::organization_id,
    events::event_type,
    events::webhooks,
    events::replay_of,
    events::ordering_key,
);

/// The columns of an [`AttemptSummary`].
pub(crate) const SUMMARY: (
    attempts::delivery_id,
    attempts::number,
    attempts::started_at,
    attempts::duration_us,
    attempts::status,
    attempts::error_class,
    attempts::delivery_state,
) = (
    attempts::delivery_id,
    attempts::number,
    attempts::started_at,
    attempts::duration_us,
    attempts::status,
    attempts::error_class,
    attempts::delivery_state,
);

/// Events that are owed to so many webhooks on average are not read in large stretches: their rows are large.
pub(crate) const BROAD: usize = 32;
/// How many deliveries are looked up together.
const PORTION: usize = 400;

/// Of how many events the replays are looked up together, how many rows of them are read then, and how many of one event alone.
pub(crate) const REPLAYS_TOGETHER: usize = 400;
pub(crate) const REPLAYS: i64 = 4_000;
pub(crate) const REPLAYS_OF_ONE: i64 = 1_000;

/// A page of deliveries that is being filled.
pub(crate) struct Page<'a> {
    pub(crate) filter: &'a DeliveryFilter,
    size: usize,
    pub(crate) found: Vec<DeliveryRecord>,
    pub(crate) work: Work,
}

impl<'a> Page<'a> {
    pub(crate) fn new(filter: &'a DeliveryFilter, size: usize) -> Self {
        Self {
            filter,
            size,
            found: Vec::new(),
            work: Work::default(),
        }
    }

    /// How many deliveries to look up together next.
    pub(crate) fn portion(&self) -> usize {
        self.filter.portion(self.size.saturating_sub(self.found.len()))
    }

    /// Takes those of a portion that match. Returns the id that the next page goes on below, which may be in the middle of an
    /// event's deliveries, if this one is full or has cost enough.
    pub(crate) fn take(&mut self, portion: Vec<DeliveryRecord>) -> Option<i64> {
        self.work.looked_up(portion.len());
        let mut last = None;
        for record in portion {
            last = Some(record.delivery_id);
            if self.filter.matches(&record) {
                self.found.push(record);
            }
            if self.found.len() >= self.size {
                return last;
            }
        }
        last.filter(|_| self.work.is_enough())
    }
}

impl DeliveryFilter {
    /// How many events to look at together, for a page of so many deliveries.
    pub(crate) fn stretch(&self, size: usize) -> i64 {
        let is_selective = self.webhook_id.is_some() || self.event_type.is_some() || self.asks_where_they_stand();
        // All are meant, and most events are owed to a webhook.
        let few = i64::try_from(size).unwrap_or(STRETCH).clamp(1, STRETCH);
        if is_selective { STRETCH } else { few }
    }

    /// How many deliveries to look up together, where so many are missing to a page.
    fn portion(&self, missing: usize) -> usize {
        if self.asks_where_they_stand() {
            PORTION
        } else {
            missing.clamp(1, PORTION)
        }
    }

    fn asks_where_they_stand(&self) -> bool {
        !self.states.is_empty() || !self.error_classes.is_empty() || self.hide_replayed
    }

    /// The deliveries of events, newest first, that match as far as the events' rows tell.
    pub(crate) fn may_be_meant<'a>(&self, newest_first: &'a [EventOutline], before: i64) -> Vec<Owed<'a>> {
        let of_type = newest_first.iter().filter(|event| self.is_of(&event.event_type));
        let deliveries = of_type.flat_map(|event| event.owed().rev());
        let meant = deliveries.filter(|owed| owed.delivery_id < before && self.is_to(owed.webhook_id));
        meant.collect()
    }
}

/// Puts deliveries together from the rows of their kinds. Attempts come in order.
pub(crate) fn assemble(
    owed: &[Owed<'_>],
    tried: Vec<AttemptSummary>,
    pending: Vec<PendingRow>,
    endings: Vec<EndingRow>,
) -> Vec<DeliveryRecord> {
    let mut last_attempts: HashMap<i64, AttemptSummary> = tried
        .into_iter()
        .map(|attempt| (attempt.delivery_id, attempt))
        .collect();
    let mut pending: HashMap<i64, PendingRow> = pending.into_iter().map(|row| (row.delivery_id, row)).collect();
    let mut endings: HashMap<i64, EndingRow> = endings.into_iter().map(|row| (row.delivery_id, row)).collect();
    let records = owed.iter().map(|owed| {
        let Owed {
            event,
            delivery_id,
            webhook_id,
        } = *owed;
        let last_attempt = last_attempts.remove(&delivery_id);
        let ending = endings.remove(&delivery_id);
        let pending = pending.remove(&delivery_id);
        DeliveryRecord {
            delivery_id,
            event_id: event.replay_of.unwrap_or(event.id),
            event_type: event.event_type.clone(),
            webhook_id,
            created_at: time_us(event.id),
            replay: event.replay_of.is_some(),
            ordering_key: event.ordering_key.clone(),
            state: state(last_attempt.as_ref(), ending.as_ref(), pending.as_ref()),
            attempts_made: last_attempt.as_ref().map_or(0, |attempt| attempt.number),
            last_attempt,
            pending,
            ending,
            replayed: None,
        }
    });
    records.collect()
}

/// The last replays of deliveries, as far as they are found. They are told apart by event and webhook.
pub(crate) struct LastReplays {
    wanted: HashSet<(i64, i64)>,
    found: HashMap<(i64, i64), FoundReplay>,
}

/// The row of a replay, with the delivery that it makes to a webhook.
struct FoundReplay {
    delivery_id: i64,
    outline: EventOutline,
}

impl LastReplays {
    /// What is looked for.
    pub(crate) fn of(records: &[DeliveryRecord], filter: &DeliveryFilter) -> Self {
        let wanted = records
            .iter()
            .filter(|record| record.ended_undelivered() && filter.matches(record));
        Self {
            wanted: wanted.map(|record| (record.event_id, record.webhook_id)).collect(),
            found: HashMap::new(),
        }
    }

    /// The events of it, in order.
    pub(crate) fn events(&self) -> Vec<i64> {
        let mut events: Vec<i64> = self.wanted.iter().map(|(event, _)| *event).collect();
        events.sort_unstable();
        events.dedup();
        events
    }

    /// Takes the rows of replays in.
    pub(crate) fn add(&mut self, outlines: &[EventOutline]) {
        for outline in outlines {
            let Some(event) = outline.replay_of else { continue };
            for owed in outline.owed() {
                let place = (event, owed.webhook_id);
                let known = self.found.get(&place).map_or(i64::MIN, |found| found.delivery_id);
                if self.wanted.contains(&place) && owed.delivery_id > known {
                    let found = FoundReplay {
                        delivery_id: owed.delivery_id,
                        outline: EventOutline {
                            webhooks: Vec::new(),
                            ..outline.clone()
                        },
                    };
                    self.found.insert(place, found);
                }
            }
        }
    }

    /// The deliveries that were found.
    pub(crate) fn owed(&self) -> Vec<Owed<'_>> {
        let found = self.found.iter().map(|((_, webhook_id), found)| Owed {
            event: &found.outline,
            delivery_id: found.delivery_id,
            webhook_id: *webhook_id,
        });
        found.collect()
    }

    /// Notes them, with where they stand, for the deliveries that they came after.
    pub(crate) fn note(&self, records: &mut [DeliveryRecord], replays: &[DeliveryRecord]) {
        let states: HashMap<i64, DeliveryState> = replays
            .iter()
            .map(|replay| (replay.delivery_id, replay.state))
            .collect();
        for record in records.iter_mut().filter(|record| record.ended_undelivered()) {
            let found = self.found.get(&(record.event_id, record.webhook_id));
            let later = found
                .map(|found| found.delivery_id)
                .filter(|id| *id > record.delivery_id);
            record.replayed = later.and_then(|delivery_id| {
                let state = *states.get(&delivery_id)?;
                Some(Replayed { delivery_id, state })
            });
        }
    }
}

fn state(
    last_attempt: Option<&AttemptSummary>,
    ending: Option<&EndingRow>,
    pending: Option<&PendingRow>,
) -> DeliveryState {
    match (ending, last_attempt.map(|attempt| attempt.delivery_state)) {
        (_, Some(DELIVERED)) => DeliveryState::Delivered,
        (_, Some(FAILED)) => DeliveryState::Failed,
        (Some(_), _) => DeliveryState::Cancelled,
        (None, Some(_)) if pending.is_some_and(|row| row.due_at == PAUSED) => DeliveryState::Paused,
        (None, Some(_)) => DeliveryState::Retrying,
        (None, None) => DeliveryState::Pending,
    }
}
