//! Events, deliveries and attempts as history shows them, and the filters of their lists.

use diesel::prelude::*;
use hookwright_domain::{
    outcome::{DeliveryState, ErrorClass},
    reason::Attempted,
};

use crate::{
    batch::StoredEvent,
    rows::{EndingRow, NextAttempt, PendingRow},
};

/// Selects events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only this type.
    pub event_type: Option<String>,
    /// Only with this ordering key.
    pub ordering_key: Option<String>,
    /// Only with this request id.
    pub request_id: Option<String>,
    /// Only published at or after this time.
    pub start_us: Option<i64>,
    /// Only published before this time.
    pub end_us: Option<i64>,
}

impl EventFilter {
    /// Whether it has a condition without an index.
    pub(crate) fn is_selective(&self) -> bool {
        self.event_type.is_some() || self.ordering_key.is_some()
    }

    /// Checks an event's type and ordering key. The query checks the request id and the times.
    pub(crate) fn matches(&self, event_type: &str, ordering_key: Option<&str>) -> bool {
        self.event_type.as_deref().is_none_or(|wanted| wanted == event_type)
            && (self.ordering_key.is_none() || self.ordering_key.as_deref() == ordering_key)
    }
}

/// An event of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// The event. Lists omit its payload, and some calls read only the payload's beginning.
    pub event: StoredEvent,
    /// When it was published.
    pub created_at: i64,
    /// The whole payload's size.
    pub payload_bytes: i64,
    /// The request id of its publish call.
    pub request_id: Option<String>,
}

/// Selects deliveries.
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
    /// Without those that were replayed.
    pub hide_replayed: bool,
}

impl DeliveryFilter {
    /// Whether it selects deliveries to a webhook.
    pub(crate) fn is_to(&self, webhook: i64) -> bool {
        self.webhook_id.is_none_or(|wanted| wanted == webhook)
    }

    /// Whether it selects deliveries of events of a type.
    pub(crate) fn is_of(&self, event_type: &str) -> bool {
        self.event_type.as_deref().is_none_or(|wanted| wanted == event_type)
    }

    /// Checks a delivery's webhook, type, state and error class. The query checks the event and the times.
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

/// The summary of an attempt.
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
    /// The HTTP status of the response, if there was one.
    pub status: Option<i32>,
    /// Why it failed.
    pub error_class: Option<String>,
    /// Why it failed, as text.
    pub error_message: Option<String>,
    /// The state of the delivery after it.
    pub delivery_state: i32,
}

/// Counts the pending deliveries by state, among those that were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, QueryableByName)]
pub struct Backlog {
    /// Without an attempt.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub pending: i64,
    /// Attempted, and scheduled for a retry.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub retrying: i64,
    /// Behind another one of their ordering key.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub following: i64,
    /// Waiting for a retry or a skip.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub paused: i64,
}

/// A delivery of the history.
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
    /// The key by which ordered webhooks order its event.
    pub ordering_key: Option<String>,
    /// Its state.
    pub state: DeliveryState,
    /// How many attempts were made.
    pub attempts_made: i32,
    /// The last of them.
    pub last_attempt: Option<AttemptSummary>,
    /// Its pending row, if it has one.
    pub pending: Option<PendingRow>,
    /// Its ending, if it ended without an attempt.
    pub ending: Option<EndingRow>,
    /// The delivery that replayed it, if that was looked up.
    pub replayed: Option<Replayed>,
}

/// The latest replay of an event to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Its id.
    pub delivery_id: i64,
    /// Its state.
    pub state: DeliveryState,
}

impl AttemptSummary {
    /// Its result, for texts.
    pub fn attempted(&self) -> Attempted<'_> {
        Attempted {
            status: self.status,
            error_class: self.error_class.as_deref(),
            message: self.error_message.as_deref(),
            duration_us: self.duration_us,
        }
    }
}

impl DeliveryRecord {
    /// The time of its next attempt, or why there is none.
    pub fn next_attempt(&self) -> NextAttempt {
        match &self.pending {
            Some(row) if !self.state.is_final() => row.next_attempt(),
            _ => NextAttempt::Unknown,
        }
    }

    /// Whether it failed or was cancelled. Replays repeat such deliveries.
    pub(crate) fn ended_undelivered(&self) -> bool {
        matches!(self.state, DeliveryState::Failed | DeliveryState::Cancelled)
    }

    /// Why its last attempt failed.
    fn failed_for(&self) -> Option<ErrorClass> {
        self.last_attempt.as_ref()?.error_class.as_deref()?.parse().ok()
    }

    /// When it reached its state: when its last attempt began, or when it was ended.
    pub fn changed_at(&self) -> i64 {
        let attempted = self.last_attempt.as_ref().map(|attempt| attempt.started_at);
        let ended = self.ending.as_ref().map(|ending| ending.ended_at);
        attempted.max(ended).unwrap_or(self.created_at)
    }
}
