//! Deliveries that are due or wait in the store, as the queue gives them back.

use diesel::prelude::*;

use crate::{batch::StoredEvent, rows::PendingRow};

/// The result of an operator's skip or retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steered {
    /// It is done, and the webhook has a due delivery.
    Done {
        /// The webhook.
        webhook: i64,
    },
    /// The delivery is behind another one of its key.
    Follows,
    /// The delivery is not pending in the store: it is final, in flight, or does not exist.
    NotWaiting,
}

/// A delivery that is due, with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueDelivery {
    /// Its pending row.
    pub pending: PendingRow,
    /// Its event.
    pub event: StoredEvent,
}

/// Limits on reading due deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Deliveries.
    pub rows: usize,
    /// Bytes of payload.
    pub bytes: usize,
    /// The first delivery is read also if its payload exceeds `bytes`, up to this size.
    pub first_bytes: usize,
}

/// The due deliveries of a webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refill {
    /// In order of due time.
    pub rows: Vec<DueDelivery>,
    /// Whether more is due than was read.
    pub more_due: bool,
    /// Whether nothing was read because the first delivery exceeds the limits.
    pub too_large: bool,
    /// When the next delivery becomes due.
    pub next_due: Option<i64>,
    /// Whether that delivery was never attempted. A first attempt is due soon.
    pub next_is_first: bool,
}

/// The latest possible due times of a webhook's deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestDue {
    /// Of deliveries without an attempt.
    pub first: i64,
    /// Of all deliveries.
    pub any: i64,
}

/// A webhook with pending deliveries at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Waiting {
    /// The webhook.
    #[diesel(sql_type = diesel::sql_types::BigInt, column_name = webhook_id)]
    pub webhook: i64,
    /// The node's number.
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pub node: i32,
    /// When the first of them is due.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub due_at: i64,
}

/// An event with deliveries that have no row at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedEvent {
    /// The event.
    pub event: StoredEvent,
    /// The positions of those deliveries in the list of webhooks.
    pub positions: Vec<usize>,
}

/// A page of events that was searched for unfinished ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnfinishedPage {
    /// The unfinished events.
    pub events: Vec<UnfinishedEvent>,
    /// The last event of the page; the end of the range when there are no more.
    pub last_id: i64,
}
