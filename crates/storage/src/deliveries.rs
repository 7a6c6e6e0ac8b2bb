//! Deliveries as lists show them: everything behind [`crate::Store::list_deliveries`] except its queries.
//!
//! A delivery has no row of its own. Its event's row shows that it is owed. Attempts, pending and ending rows show its
//! outcome.

use std::collections::{HashMap, HashSet};

use hookwright_domain::{id::time_us, outcome::DeliveryState};

use crate::{
    records::{AttemptSummary, DeliveryFilter, DeliveryRecord, Replayed},
    row_event::{EventOutline, Owed},
    rows::{DELIVERED, EndingRow, FAILED, PAUSED, PendingRow},
    schema::attempts,
    walk::{STRETCH, Work},
};

/// The columns of an [`AttemptSummary`].
pub(crate) const SUMMARY: (
    attempts::delivery_id,
    attempts::number,
    attempts::started_at,
    attempts::duration_us,
    attempts::status,
    attempts::error_class,
    attempts::error_message,
    attempts::delivery_state,
) = (
    attempts::delivery_id,
    attempts::number,
    attempts::started_at,
    attempts::duration_us,
    attempts::status,
    attempts::error_class,
    attempts::error_message,
    attempts::delivery_state,
);

/// Events with at least this many webhooks on average are not read in large stretches, because their rows are large.
pub(crate) const BROAD: usize = 32;
/// How many deliveries are looked up together.
const PORTION: usize = 400;

/// Limits on looking up replays: events per query, rows per query, and rows of a single event.
pub(crate) const REPLAYS_TOGETHER: usize = 400;
pub(crate) const REPLAYS: i64 = 4_000;
pub(crate) const REPLAYS_OF_ONE: i64 = 1_000;

/// How often a delivery and its attempts are read again while attempts end.
pub(crate) const READ_AGAIN_MAX: usize = 3;

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

    /// Adds the matching deliveries of a portion. If the page is full or has cost enough, returns the id below which
    /// the next page begins, which may be between deliveries of one event.
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
    /// How many events to look at together, for a page of `size` deliveries.
    pub(crate) fn stretch(&self, size: usize) -> i64 {
        let is_selective = self.webhook_id.is_some() || self.event_type.is_some() || self.asks_where_they_stand();
        // Without such a filter every delivery matches, and most events are owed to a webhook.
        let few = i64::try_from(size).unwrap_or(STRETCH).clamp(1, STRETCH);
        if is_selective { STRETCH } else { few }
    }

    /// How many deliveries to look up together when `missing` are missing on the page.
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

    /// The deliveries of events, newest first, that match according to the events' rows.
    pub(crate) fn may_be_meant<'a>(&self, newest_first: &'a [EventOutline], before: i64) -> Vec<Owed<'a>> {
        let of_type = newest_first.iter().filter(|event| self.is_of(&event.event_type));
        let deliveries = of_type.flat_map(|event| event.owed().rev());
        let meant = deliveries.filter(|owed| owed.delivery_id < before && self.is_to(owed.webhook_id));
        meant.collect()
    }
}

/// Assembles deliveries from their rows. Attempts are in order.
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

/// The latest replays of deliveries, keyed by event and webhook.
pub(crate) struct LastReplays {
    wanted: HashSet<(i64, i64)>,
    found: HashMap<(i64, i64), FoundReplay>,
}

/// The row of a replay, with its delivery to a webhook.
struct FoundReplay {
    delivery_id: i64,
    outline: EventOutline,
}

impl LastReplays {
    /// Selects the deliveries whose replays are wanted.
    pub(crate) fn of(records: &[DeliveryRecord], filter: &DeliveryFilter) -> Self {
        let wanted = records
            .iter()
            .filter(|record| record.ended_undelivered() && filter.matches(record));
        Self {
            wanted: wanted.map(|record| (record.event_id, record.webhook_id)).collect(),
            found: HashMap::new(),
        }
    }

    /// The events of those deliveries, in order.
    pub(crate) fn events(&self) -> Vec<i64> {
        let mut events: Vec<i64> = self.wanted.iter().map(|(event, _)| *event).collect();
        events.sort_unstable();
        events.dedup();
        events
    }

    /// Adds rows of replays.
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

    /// Records the replays and their states in the deliveries that they repeat.
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
