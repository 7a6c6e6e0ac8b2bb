//! Events, deliveries and attempts as history shows them, and the filters of their lists.

use diesel::prelude::*;
use hookwright_domain::outcome::{DeliveryState, ErrorClass};

use crate::{
    batch::StoredEvent,
    rows::{EndingRow, NextAttempt, PendingRow},
};

/// Which events to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only this type.
    pub event_type: Option<String>,
    /// Only with this ordering key.
    pub ordering_key: Option<String>,
    /// Only published under this request id.
    pub request_id: Option<String>,
    /// Only published at or after this time.
    pub start_us: Option<i64>,
    /// Only published before this time.
    pub end_us: Option<i64>,
}

impl EventFilter {
    /// Whether there is a condition that no index answers.
    pub(crate) fn is_selective(&self) -> bool {
        self.event_type.is_some() || self.ordering_key.is_some()
    }

    /// Whether an event has the type and ordering key asked for; request id and times are looked for in the store.
    pub(crate) fn matches(&self, event_type: &str, ordering_key: Option<&str>) -> bool {
        self.event_type.as_deref().is_none_or(|wanted| wanted == event_type)
            && (self.ordering_key.is_none() || self.ordering_key.as_deref() == ordering_key)
    }
}

/// An event as history shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// The event; in lists without its payload, and with the beginning of it where no more was asked for.
    pub event: StoredEvent,
    /// When it was published.
    pub created_at: i64,
    /// The whole payload's size.
    pub payload_bytes: i64,
    /// The request id that it was published under.
    pub request_id: Option<String>,
}

/// Which deliveries to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only to this webhook.
    pub webhook_id: Option<i64>,
    /// Only of this event.
    pub event_id: Option<i64>,
    /// Only of events of this type.
    pub event_type: Option<String>,
    /// Only made at or after this time.
    pub start_us: Option<i64>,
    /// Only made before this time.
    pub end_us: Option<i64>,
    /// Only in one of these states; all when empty.
    pub states: Vec<DeliveryState>,
    /// Only those whose last attempt failed for one of these reasons; all when empty.
    pub error_classes: Vec<ErrorClass>,
    /// Without those that a replay made again.
    pub hide_replayed: bool,
}

impl DeliveryFilter {
    /// Whether deliveries to a webhook are asked for.
    pub(crate) fn is_to(&self, webhook: i64) -> bool {
        self.webhook_id.is_none_or(|wanted| wanted == webhook)
    }

    /// Whether deliveries of events of a type are asked for.
    pub(crate) fn is_of(&self, event_type: &str) -> bool {
        self.event_type.as_deref().is_none_or(|wanted| wanted == event_type)
    }

    /// Whether a delivery has the webhook, type, state and error class asked for; event and times are looked for in the store.
    pub fn matches(&self, record: &DeliveryRecord) -> bool {
        self.is_to(record.webhook_id)
            && self.is_of(&record.event_type)
            && (self.states.is_empty() || self.states.contains(&record.state))
            && (self.error_classes.is_empty()
                || record
                    .failed_for()
                    .is_some_and(|class| self.error_classes.contains(&class)))
            && !(self.hide_replayed && record.replayed.is_some())
    }
}

/// An attempt in short.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct AttemptSummary {
    /// The delivery.
    pub delivery_id: i64,
    /// 1 for the first.
    pub number: i32,
    /// When it began.
    pub started_at: i64,
    /// How long it took.
    pub duration_us: i64,
    /// The HTTP status, if one came.
    pub status: Option<i32>,
    /// Why it failed.
    pub error_class: Option<String>,
    /// What it made of the delivery.
    pub delivery_state: i32,
}

/// How many deliveries that wait in the store are in each state, of those that were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, QueryableByName)]
pub struct Backlog {
    /// Not attempted yet.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub pending: i64,
    /// Attempted, and to be attempted again.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub retrying: i64,
    /// Behind another one of their ordering key.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub following: i64,
    /// Waiting for a decision.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub paused: i64,
}

/// A delivery as history shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Its id.
    pub delivery_id: i64,
    /// Its event.
    pub event_id: i64,
    /// The event's type.
    pub event_type: String,
    /// Its webhook.
    pub webhook_id: i64,
    /// When it was made: when the event was published, or replayed.
    pub created_at: i64,
    /// Whether a replay made it.
    pub replay: bool,
    /// What ordered webhooks order its event by.
    pub ordering_key: Option<String>,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many attempts were made.
    pub attempts_made: i32,
    /// The last of them.
    pub last_attempt: Option<AttemptSummary>,
    /// Its pending row, if it waits in the store.
    pub pending: Option<PendingRow>,
    /// Its ending, if it ended without an attempt's doing.
    pub ending: Option<EndingRow>,
    /// The delivery by which it was made again, where that was looked up.
    pub replayed: Option<Replayed>,
}

/// The last delivery by which a replay sent an event to a webhook again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Its id.
    pub delivery_id: i64,
    /// Where it stands.
    pub state: DeliveryState,
}

impl DeliveryRecord {
    /// What its next attempt waits for.
    pub fn next_attempt(&self) -> NextAttempt {
        match &self.pending {
            Some(row) if !self.state.is_final() => row.next_attempt(),
            _ => NextAttempt::Unknown,
        }
    }

    /// Whether it failed or was cancelled: replays make such deliveries again.
    pub(crate) fn ended_undelivered(&self) -> bool {
        matches!(self.state, DeliveryState::Failed | DeliveryState::Cancelled)
    }

    /// Why its last attempt failed.
    fn failed_for(&self) -> Option<ErrorClass> {
        self.last_attempt.as_ref()?.error_class.as_deref()?.parse().ok()
    }

    /// When it came to stand where it stands: when its last attempt began, or it was ended.
    pub fn changed_at(&self) -> i64 {
        let attempted = self.last_attempt.as_ref().map(|attempt| attempt.started_at);
        let ended = self.ending.as_ref().map(|ending| ending.ended_at);
        attempted.max(ended).unwrap_or(self.created_at)
    }
}
