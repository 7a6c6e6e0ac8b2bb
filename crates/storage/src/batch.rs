//! What one commit holds, and what the queue and history give back.

use std::sync::Arc;

use bytes::Bytes;
use diesel::prelude::*;
use hookwright_domain::outcome::{DeliveryState, ErrorClass};

use crate::rows::{AttemptRow, EndingRow, HealthChange, HealthRow, NextAttempt, PendingRow};

/// An event as stored. Cheap to share: the payload is never copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its id.
    pub id: i64,
    /// The organization.
    pub organization_id: i64,
    /// Its event type.
    pub event_type: String,
    /// Its payload.
    pub payload: Bytes,
    /// The webhooks that it is owed to.
    pub webhooks: Arc<[i64]>,
    /// When it happened.
    pub occurred_at: i64,
    /// The publisher's attributes as a JSON object.
    pub attributes: Option<String>,
    /// The publisher's trace context.
    pub trace: Option<[u8; 25]>,
    /// The publisher's `tracestate`.
    pub tracestate: Option<String>,
    /// What ordered webhooks order it by.
    pub ordering_key: Option<String>,
    /// The event that this one replays: receivers are sent that one's id.
    pub replay_of: Option<i64>,
}

impl StoredEvent {
    /// The id that receivers and callers know the event by.
    pub fn known_as(&self) -> i64 {
        self.replay_of.unwrap_or(self.id)
    }
}

/// Makes a publish call safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The publisher's id for the call.
    pub request_id: String,
    /// Hash of what was published under it.
    pub fingerprint: [u8; 32],
}

/// An event to store.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event.
    pub event: Arc<StoredEvent>,
    /// The publisher's request id.
    pub request: Option<RequestKey>,
    /// Places in the list of webhooks whose deliveries wait in the store from the start, in order.
    pub spilled: Vec<usize>,
    /// Those of them whose webhooks are ordered, in order.
    pub ordered: Vec<usize>,
    /// Since when those deliveries are due, by the schedule clock: their ids tell another clock's time.
    pub due_at: i64,
}

impl NewEvent {
    /// The pending rows of the deliveries that wait in the store.
    pub(crate) fn spilled_rows(&self) -> impl Iterator<Item = PendingRow> + '_ {
        self.spilled.iter().map(|position| PendingRow {
            delivery_id: hookwright_domain::id::EventId::from_raw(self.event.id)
                .delivery(*position)
                .raw(),
            event_id: self.event.id,
            organization_id: self.event.organization_id,
            webhook_id: self.event.webhooks[*position],
            due_at: self.due_at,
            attempts: 0,
            ordering_key: self
                .ordered
                .binary_search(position)
                .is_ok()
                .then(|| self.event.ordering_key.clone().unwrap_or_default()),
        })
    }
}

/// What one commit holds: all of it is durable afterwards, or none.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Events to store.
    pub events: Vec<NewEvent>,
    /// Attempts to append. Appending one again changes nothing if `repeated`, else the commit may fail.
    pub attempts: Vec<Arc<AttemptRow>>,
    /// Pending rows to write, in place of what is there; one a delivery.
    pub pend: Vec<PendingRow>,
    /// Deliveries whose pending row goes.
    pub unpend: Vec<i64>,
    /// Ordered webhooks and keys of which a delivery ended: the next one of the key is due.
    pub advance: Vec<(i64, String)>,
    /// Endings to append. Appending one again changes nothing.
    pub endings: Vec<EndingRow>,
    /// What came of webhooks' attempts; one a webhook, sorted by webhook: nodes that write the same ones must not wait for each
    /// other.
    pub health: Vec<HealthChange>,
    /// Some of it may be stored already, by a commit that failed.
    pub repeated: bool,
    /// Webhooks of these events that one node alone may send to: what they are owed waits in the store, for that node.
    pub exclusive: Vec<i64>,
    /// The checkpoint to store.
    pub checkpoint: Option<i64>,
}

impl Batch {
    /// About how many bytes it writes.
    pub(crate) fn bytes(&self) -> u64 {
        const ROW: usize = 200;
        let events = self.events.iter().map(|new| new.event.payload.len() + ROW);
        let attempts = self
            .attempts
            .iter()
            .map(|row| row.details.len() + row.response_body.as_ref().map_or(0, Vec::len) + ROW);
        let others = self.pend.len() + self.unpend.len() + self.endings.len() + self.health.len();
        (events.sum::<usize>() + attempts.sum::<usize>() + others * ROW) as u64
    }

    /// Adds webhooks whose next delivery an earlier commit of the same batch may have made due: nobody heard of it if that commit
    /// was not answered.
    pub(crate) fn add_due_again(&self, due: &mut Vec<i64>) {
        if self.repeated {
            due.extend(self.advance.iter().map(|(webhook, _)| *webhook));
            due.sort_unstable();
            due.dedup();
        }
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.attempts.is_empty()
            && self.pend.is_empty()
            && self.unpend.is_empty()
            && self.advance.is_empty()
            && self.endings.is_empty()
            && self.health.is_empty()
            && self.checkpoint.is_none()
    }
}

/// What a commit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Events that were not stored because their request id was used before.
    pub repeats: Vec<Repeat>,
    /// Exclusive webhooks that another node sends to.
    pub elsewhere: Vec<i64>,
    /// Ordered webhooks of which another delivery is due now.
    pub due: Vec<i64>,
    /// What is known of the webhooks of which the batch held failures, over all nodes.
    pub failing: Vec<HealthRow>,
}

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

/// An event whose request id was used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Its place in the batch.
    pub index: usize,
    /// The event stored under the request id.
    pub event_id: i64,
    /// Whether that one has the same content.
    pub same: bool,
    /// How many webhooks that one is owed to.
    pub delivery_count: usize,
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

/// What a step of retention did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// How many events were removed, with all that belongs to them; about how many, where they went as a whole partition.
    pub events: usize,
    /// Where to go on, if there may be more.
    pub next: Option<i64>,
    /// The first of what had outlived its retention when the step began, as a place among event ids. On PostgreSQL events go
    /// by whole days, and a day counts from its end.
    pub overdue: Option<i64>,
    /// Why a day could not go as a whole, in the database's words: most likely because somebody reads it. The same step may
    /// succeed later, and `next` leads past it.
    pub busy: Option<String>,
}

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

/// A webhook with paused keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PausedKeys {
    /// Its organization.
    pub organization_id: i64,
    /// The webhook.
    pub webhook_id: i64,
    /// How many of its keys are paused; more than [`PAUSED_COUNTED`] stands for any number above it.
    pub keys: usize,
}

/// How many paused keys of a webhook are counted, and how many deliveries that wait behind one.
pub const PAUSED_COUNTED: usize = 1_000;

/// Which webhooks to look for paused keys of, in order of organization and webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PausedRange {
    /// Only those of this organization.
    pub organization: Option<i64>,
    /// Only those after this organization and webhook.
    pub after: (i64, i64),
    /// Only those with ids up to this one.
    pub last: i64,
}

impl PausedRange {
    /// Webhooks of an organization, from one through another.
    pub fn of(organization: i64, first: i64, last: i64) -> Self {
        Self {
            organization: Some(organization),
            after: (organization, first.saturating_sub(1)),
            last,
        }
    }

    /// All webhooks after a place.
    pub fn all_after(after: (i64, i64)) -> Self {
        Self {
            organization: None,
            after,
            last: i64::MAX,
        }
    }
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
