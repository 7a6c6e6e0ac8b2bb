//! Deliveries that receivers pull: they are stored as pending, and leased to the callers that pull them. Times are
//! those of the schedule clock ([`crate::clock`]).
//!
//! Each call runs a small fixed number of statements, however many deliveries it concerns, in one transaction.

use hookwright_domain::outcome::ErrorClass;

use crate::{
    batch::StoredEvent,
    clock::shown_us,
    operations::Discard,
    rows::{AttemptRow, DELIVERED, GOES_ON, PendingRow},
};

/// How much to hand out.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// The maximum number of deliveries.
    pub rows: usize,
    /// The approximate maximum of payload bytes. At least one delivery is handed out.
    pub bytes: usize,
    /// When the lease ends.
    pub until: i64,
    /// The deliveries that are being discarded, which are not handed out.
    pub discard: Option<Discard>,
}

/// A delivery that was handed out.
#[derive(Clone, Debug, PartialEq)]
pub struct LeasedDelivery {
    /// Its id.
    pub delivery: i64,
    /// 1 for the first time that it is handed out.
    pub attempt: i32,
    /// Its event.
    pub event: StoredEvent,
}

/// A lease to acknowledge or extend: delivery and attempt.
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

/// The attempt of a delivery that was handed out and not acknowledged.
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
        // No request was posted.
        details: "{\"url\":\"\"}".to_owned(),
        response_body: None,
    }
}
