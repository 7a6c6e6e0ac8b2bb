//! Records: changes of deliveries in memory that are waiting for a commit.
//!
//! A delivery stays in memory until its record is durable. Meanwhile the record counts against the memory limit.

use std::sync::Arc;

use hookwright_domain::id::DeliveryId;
use hookwright_storage::{AttemptRow, EndingRow, PendingRow};

use super::{
    health::Outcome,
    lane::{Job, Lane},
    memory::Load,
};
use crate::clock;

/// A change of a delivery in memory, to be made durable.
pub(super) struct Record {
    pub(super) lane: Arc<Lane>,
    pub(super) delivery: DeliveryId,
    pub(super) change: Change,
    /// The result of the attempt, for the webhook's health.
    pub(super) health: Option<Outcome>,
    /// Its bytes against the memory limit.
    pub(super) load: Option<Load>,
    /// The key of an ordered delivery. The next delivery of the key waits for this record, so the record is committed
    /// at once.
    pub(super) ordering_key: Option<String>,
}

pub(super) enum Change {
    /// An attempt was made; `retry` is the row of the next one, if there is one.
    Attempted {
        attempt: Arc<AttemptRow>,
        retry: Option<PendingRow>,
    },
    /// An attempt was made whose row the store refuses; `retry` as above.
    Unrecorded { retry: Option<PendingRow> },
    /// The delivery ends without a further attempt.
    Ended(EndingRow),
    /// The store records a delivery that stays in memory.
    Noted(PendingRow),
    /// The delivery leaves memory, and is only in the store.
    Parked(PendingRow),
}

impl Record {
    pub(super) fn of(lane: &Arc<Lane>, job: &Job, change: Change, health: Option<Outcome>) -> Self {
        Self {
            lane: Arc::clone(lane),
            delivery: DeliveryId::from_raw(job.delivery),
            change,
            health,
            load: None,
            ordering_key: job.ordering_key.clone(),
        }
    }

    /// The delivery returns to the store as pending, until `due_at`.
    pub(super) fn parked(lane: &Arc<Lane>, job: &Job, due_at: i64) -> Self {
        Self::of(lane, job, Change::Parked(job.pending_row(job.attempts, due_at)), None)
    }

    /// The webhook was deleted: the delivery ends.
    pub(super) fn cancelled(lane: &Arc<Lane>, job: &Job, now: i64) -> Self {
        let ending = job.ending("webhook_deleted", clock::shown_us(now));
        Self::of(lane, job, Change::Ended(ending), None)
    }

    /// The store records a delivery that stays in memory.
    pub(super) fn noted(lane: &Arc<Lane>, row: PendingRow) -> Self {
        Self {
            lane: Arc::clone(lane),
            delivery: DeliveryId::from_raw(row.delivery_id),
            change: Change::Noted(row),
            health: None,
            load: None,
            ordering_key: None,
        }
    }

    /// Its approximate size in bytes.
    pub(super) fn bytes(&self) -> usize {
        const ROW: usize = 400;
        let attempt = match &self.change {
            Change::Attempted { attempt, .. } => {
                attempt.details.len()
                    + attempt.error_message.as_ref().map_or(0, String::len)
                    + attempt.response_body.as_ref().map_or(0, Vec::len)
            }
            _ => 0,
        };
        ROW + attempt + self.ordering_key.as_ref().map_or(0, String::len)
    }
}
