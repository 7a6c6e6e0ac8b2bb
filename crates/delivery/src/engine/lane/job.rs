//! A delivery in memory, and the rows that the store gets for it.

use std::sync::Arc;

use hookwright_storage::{ENDING_CANCELLED, EndingRow, PendingRow, StoredEvent};

/// A delivery in memory.
#[derive(Debug)]
pub(in super::super) struct Job {
    pub(in super::super) delivery: i64,
    pub(in super::super) webhook: i64,
    pub(in super::super) event: Arc<StoredEvent>,
    /// Attempts made so far.
    pub(in super::super) attempts: u32,
    /// The key of an ordered delivery.
    pub(in super::super) ordering_key: Option<String>,
}

impl Job {
    /// The pending row of this delivery after this many attempts.
    pub(in super::super) fn pending_row(&self, attempts: u32, due_at: i64) -> PendingRow {
        PendingRow {
            delivery_id: self.delivery,
            event_id: self.event.id,
            organization_id: self.event.organization_id,
            webhook_id: self.webhook,
            due_at,
            attempts: i32::try_from(attempts).unwrap_or(i32::MAX),
            ordering_key: self.ordering_key.clone(),
        }
    }

    /// The row that ends this delivery without a further attempt.
    pub(in super::super) fn ending(&self, reason: &str, now: i64) -> EndingRow {
        EndingRow {
            delivery_id: self.delivery,
            event_id: self.event.id,
            organization_id: self.event.organization_id,
            webhook_id: self.webhook,
            state: ENDING_CANCELLED,
            reason: reason.to_owned(),
            ended_at: now,
        }
    }
}
