//! Deliveries that are fetched, not posted: they wait in the store, and are leased to whoever fetches them. Times are those of
//! the schedule clock ([`crate::clock`]).
//!
//! Each call is a handful of statements however many deliveries it concerns, in one transaction.

use hookwright_domain::outcome::ErrorClass;

use crate::{
    batch::StoredEvent,
    clock::shown_us,
    error::StoreError,
    operations::Discard,
    postgres,
    rows::{AttemptRow, DELIVERED, GOES_ON, PendingRow},
    sqlite,
    store::{Backend, Store, write},
};

/// How much is handed out.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// Deliveries at most.
    pub rows: usize,
    /// About how many bytes of payload; at least one delivery.
    pub bytes: usize,
    /// Until when it is leased.
    pub until: i64,
    /// What is being discarded is not handed out.
    pub discard: Option<Discard>,
}

/// A delivery that was handed out.
#[derive(Clone, Debug, PartialEq)]
pub struct LeasedDelivery {
    /// Its id.
    pub delivery: i64,
    /// 1 when it is handed out for the first time.
    pub attempt: i32,
    /// Its event.
    pub event: StoredEvent,
}

/// A lease that is acknowledged or moved: delivery and attempt.
pub type Lease = (i64, i32);

/// A delivery that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The delivery.
    pub delivery: i64,
    /// The attempt.
    pub attempt: i32,
    /// The event.
    pub event: i64,
    /// When it was handed out.
    pub leased_at: i64,
}

impl Store {
    /// Leases what waits for a webhook, oldest first, at whichever node it waits.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn hand_out(&self, webhook: i64, now: i64, portion: Portion) -> Result<Vec<LeasedDelivery>, StoreError> {
        write!(self, hand_out(webhook, now, portion))
    }

    /// Ends leased deliveries as delivered. Returns those that were; the others were handed out again, or are final.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn acknowledge(&self, webhook: i64, leases: &[Lease], now: i64) -> Result<Vec<Acknowledged>, StoreError> {
        let (leases, node) = (leases.to_vec(), i32::from(self.node()));
        write!(self, acknowledge(node, webhook, &leases, now))
    }

    /// Moves the deadlines of leased deliveries to `until`. Returns those whose deadline was moved.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn extend_leases(&self, webhook: i64, leases: &[Lease], until: i64) -> Result<Vec<Lease>, StoreError> {
        let leases = leases.to_vec();
        write!(self, extend_leases(webhook, &leases, until))
    }
}

/// The attempt of a delivery that was handed out and never acknowledged.
pub(crate) fn not_acknowledged(row: &PendingRow, leased_at: i64) -> AttemptRow {
    AttemptRow {
        error_class: Some(ErrorClass::Timeout.as_str().to_owned()),
        error_message: Some("it was handed out, and not acknowledged before its deadline".to_owned()),
        delivery_state: GOES_ON,
        ..attempt(row, leased_at, row.due_at)
    }
}

/// The attempt of a delivery that was acknowledged.
pub(crate) fn acknowledged(row: &PendingRow, leased_at: i64, now: i64) -> AttemptRow {
    AttemptRow {
        delivery_state: DELIVERED,
        ..attempt(row, leased_at, now)
    }
}

fn attempt(row: &PendingRow, leased_at: i64, ended_at: i64) -> AttemptRow {
    AttemptRow {
        delivery_id: row.delivery_id,
        number: row.attempts,
        event_id: row.event_id,
        organization_id: row.organization_id,
        webhook_id: row.webhook_id,
        started_at: shown_us(leased_at),
        duration_us: (ended_at - leased_at).max(0),
        status: None,
        error_class: None,
        error_message: None,
        delivery_state: GOES_ON,
        // Nothing was posted.
        details: "{\"url\":\"\"}".to_owned(),
        response_body: None,
    }
}
