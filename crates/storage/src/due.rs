//! Deliveries that are due or wait in the store, as the queue gives them back.

use diesel::prelude::*;

use crate::{batch::StoredEvent, rows::PendingRow};

/// What came of an operator's skip or retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steered {
    /// It is done; the webhook has something due.
    Done {
        /// The webhook.
        webhook: i64,
    },
    /// The delivery waits behind another one of its key.
    Follows,
    /// The delivery does not wait in the store: it is final, or under way, or not there at all.
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

/// How much to read of what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Deliveries.
    pub rows: usize,
    /// Bytes of payload.
    pub bytes: usize,
    /// The first delivery is read also if its payload exceeds `bytes`, up to this size.
    pub first_bytes: usize,
}

/// What is due for a webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refill {
    /// In order of due time.
    pub rows: Vec<DueDelivery>,
    /// Whether more is due than was read.
    pub more_due: bool,
    /// Whether nothing was read because the first delivery is larger than the limits allow.
    pub too_large: bool,
    /// When the earliest delivery that is not due yet will be.
    pub next_due: Option<i64>,
    /// Whether that one was never attempted: a first attempt does not wait for long.
    pub next_is_first: bool,
}

/// The latest that deliveries to a webhook can be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestDue {
    /// Of those that were not attempted yet.
    pub first: i64,
    /// Of all.
    pub any: i64,
}

/// Something waits for a webhook at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Waiting {
    /// The webhook.
    #[diesel(sql_type = diesel::sql_types::BigInt, column_name = webhook_id)]
    pub webhook: i64,
    /// The node's number.
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pub node: i32,
    /// When the first of it is due.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub due_at: i64,
}

/// An event some of whose deliveries have no row at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedEvent {
    /// The event.
    pub event: StoredEvent,
    /// The places of those deliveries in the list of webhooks.
    pub positions: Vec<usize>,
}

/// A stretch of events that was looked through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnfinishedPage {
    /// What was found.
    pub events: Vec<UnfinishedEvent>,
    /// The last event that was looked at; the end of the stretch when there are no more.
    pub last_id: i64,
}
