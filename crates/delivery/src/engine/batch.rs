//! The batch of one commit, built from the gathered events and records.
//!
//! It contains one change for each delivery. If several were gathered, the last one counts. A note counts only alone,
//! because every other change contains more.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use hookwright_storage::{Batch, HealthChange, NewEvent, PendingRow};

use super::{
    health::Outcome,
    record::{Change, Record},
};

/// Builds a batch.
pub(super) fn build(events: Vec<NewEvent>, records: &[Record], watermark: Option<i64>) -> Batch {
    let mut batch = Batch {
        events,
        watermark,
        ..Batch::default()
    };
    let mut pend: HashMap<i64, PendingRow> = HashMap::new();
    // Sorted by webhook, so that nodes that store the health of the same webhooks do not deadlock.
    let mut health: BTreeMap<i64, HealthChange> = BTreeMap::new();
    // An outcome that could not be stored for a while may be gathered together with a note of the same delivery.
    let is_note = |record: &Record| matches!(record.change, Change::Noted(_));
    let decided: HashSet<i64> = if records.iter().any(is_note) {
        let others = records.iter().filter(|record| !is_note(record));
        others.map(|record| record.delivery.raw()).collect()
    } else {
        HashSet::new()
    };
    for record in records {
        let delivery = record.delivery.raw();
        match &record.change {
            Change::Attempted { attempt, retry } => {
                batch.attempts.push(Arc::clone(attempt));
                match retry {
                    Some(row) => drop(pend.insert(delivery, row.clone())),
                    None => {
                        pend.remove(&delivery);
                        batch.unpend.extend(has_row(record));
                        batch.advance.extend(advance(record));
                    }
                }
            }
            Change::Unrecorded { retry: Some(row) } => drop(pend.insert(delivery, row.clone())),
            Change::Unrecorded { retry: None } => {
                pend.remove(&delivery);
                batch.unpend.extend(has_row(record));
                batch.advance.extend(advance(record));
            }
            Change::Ended(ending) => {
                batch.endings.push(ending.clone());
                pend.remove(&delivery);
                batch.unpend.extend(has_row(record));
                batch.advance.extend(advance(record));
            }
            Change::Parked(row) => drop(pend.insert(delivery, row.clone())),
            Change::Noted(row) => {
                if !decided.contains(&delivery) && record.lane.is_noted(delivery) {
                    pend.insert(delivery, row.clone());
                }
            }
        }
        if let Some(outcome) = record.health {
            let webhook = record.lane.webhook.raw();
            let change = health.entry(webhook).or_insert_with(|| HealthChange::none(webhook));
            match outcome {
                Outcome::Succeeded(at) => change.succeeded(at),
                Outcome::Failed(at) => change.failed(at),
            }
        }
    }
    batch.pend.extend(pend.into_values());
    batch.health.extend(health.into_values());
    batch
}

/// The delivery, if the store has a pending row for it, or was asked to write one. This is decided at the commit of its
/// end, because the watermark keeper may have asked after the attempt had ended.
fn has_row(record: &Record) -> Option<i64> {
    let delivery = record.delivery.raw();
    record.lane.is_stored(delivery).then_some(delivery)
}

/// The key of which another delivery becomes due now that this one has ended.
fn advance(record: &Record) -> Option<(i64, String)> {
    let key = record.ordering_key.clone()?;
    Some((record.lane.webhook.raw(), key))
}

#[cfg(test)]
mod tests {
    use hookwright_domain::id::{DeliveryId, WebhookId};
    use hookwright_storage::EndingRow;

    use super::{
        super::{
            health::Health,
            lane::{Lane, LaneLimits, Place, Shared, fixtures::catalogue},
            lease::Lease,
            memory::Memory,
            turns::Turns,
        },
        *,
    };

    const DELIVERY: i64 = 5;

    fn lane() -> Arc<Lane> {
        let limits = LaneLimits {
            jobs: 10,
            bytes: 1 << 20,
            attempts: 2,
        };
        let turns = Arc::new(Turns::new(3, Arc::new(Lease::new(false))));
        let memory = Arc::new(Memory::new(1 << 20));
        let shared = Shared::new(catalogue(), memory, turns);
        let lane = Lane::new(WebhookId::from_raw(7), limits, shared, Health::default());
        let place = Place {
            delivery: DELIVERY,
            event: 4,
            organization: 1,
        };
        assert!(lane.reserve(place, 10_usize, 0));
        Arc::new(lane)
    }

    fn record(lane: &Arc<Lane>, change: Change) -> Record {
        Record {
            lane: Arc::clone(lane),
            delivery: DeliveryId::from_raw(DELIVERY),
            change,
            health: None,
            load: None,
            ordering_key: None,
        }
    }

    fn row() -> PendingRow {
        PendingRow {
            delivery_id: DELIVERY,
            event_id: 4,
            organization_id: 1,
            webhook_id: 7,
            due_at: 0,
            attempts: 0,
            ordering_key: None,
        }
    }

    #[test]
    fn outcomes_of_a_webhook_add_up_and_a_success_resets_them() {
        let lane = lane();
        let came = |health: Outcome| Record {
            health: Some(health),
            ..record(&lane, Change::Noted(row()))
        };
        let health = |outcomes: &[Outcome]| {
            let records: Vec<Record> = outcomes.iter().map(|outcome| came(*outcome)).collect();
            build(Vec::new(), &records, None).health
        };
        let of = |succeeded_at, failing_since, failures| HealthChange {
            webhook_id: 7,
            succeeded_at,
            failing_since,
            failures,
        };
        use Outcome::{Failed, Succeeded};
        assert_eq!(health(&[Failed(1), Failed(2)]), [of(None, Some(1), 2)]);
        assert_eq!(health(&[Failed(1), Succeeded(2)]), [of(Some(2), None, 0)]);
        assert_eq!(
            health(&[Failed(1), Succeeded(2), Failed(3), Failed(4)]),
            [of(Some(2), Some(3), 2)]
        );
    }

    #[test]
    fn a_note_counts_alone_and_not_beside_an_outcome() {
        let lane = lane();
        // The watermark keeper has asked for a row.
        assert_eq!(lane.take_unstored(1).len(), 1);
        let note = || record(&lane, Change::Noted(row()));
        assert_eq!(build(Vec::new(), &[note()], None).pend.len(), 1);
        let ending = EndingRow {
            delivery_id: DELIVERY,
            event_id: 4,
            organization_id: 1,
            webhook_id: 7,
            state: 3,
            reason: String::new(),
            ended_at: 0,
        };
        let ended = || record(&lane, Change::Ended(ending.clone()));
        for records in [[ended(), note()], [note(), ended()]] {
            let batch = build(Vec::new(), &records, None);
            assert_eq!(batch.pend, [], "a delayed outcome, and a note of the same delivery");
            assert_eq!(batch.unpend, [DELIVERY], "the row of an earlier note is deleted");
            assert_eq!(batch.endings.len(), 1);
        }
    }
}
