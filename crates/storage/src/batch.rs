//! The content of one commit, and what the commit found.

use std::sync::Arc;

use bytes::Bytes;

use crate::rows::{AttemptRow, EndingRow, HealthChange, HealthRow, PendingRow};

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
    /// The key by which ordered webhooks order it.
    pub ordering_key: Option<String>,
    /// The event that this one replays. Receivers get that event's id.
    pub replay_of: Option<i64>,
}

impl StoredEvent {
    /// The id that receivers and callers see.
    pub fn known_as(&self) -> i64 {
        self.replay_of.unwrap_or(self.id)
    }
}

/// Makes a publish call safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The publisher's id for the call.
    pub request_id: String,
    /// Hash of the request's content.
    pub fingerprint: [u8; 32],
}

/// An event to store.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event.
    pub event: Arc<StoredEvent>,
    /// The publisher's request id.
    pub request: Option<RequestKey>,
    /// Positions in the list of webhooks of the deliveries that are stored as pending from the start, in order.
    pub spilled: Vec<usize>,
    /// Those of them whose webhooks are ordered, in order.
    pub ordered: Vec<usize>,
    /// Since when those deliveries are due, by the schedule clock. Their ids hold the time of another clock.
    pub due_at: i64,
}

impl NewEvent {
    /// The pending rows of the deliveries that are stored as pending from the start.
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

/// The content of one commit. Either all of it is durable afterwards, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Events to store.
    pub events: Vec<NewEvent>,
    /// Attempts to append. If `repeated`, appending one again changes nothing; otherwise the commit may fail.
    pub attempts: Vec<Arc<AttemptRow>>,
    /// Pending rows to insert or replace, at most one per delivery.
    pub pend: Vec<PendingRow>,
    /// Deliveries whose pending rows are deleted.
    pub unpend: Vec<i64>,
    /// Ordered webhooks and keys of which a delivery ended: the next delivery of the key becomes due.
    pub advance: Vec<(i64, String)>,
    /// Endings to append. Appending one again changes nothing.
    pub endings: Vec<EndingRow>,
    /// Changes of webhooks' health, at most one per webhook. They are sorted by webhook, so that nodes that write the
    /// same webhooks do not deadlock.
    pub health: Vec<HealthChange>,
    /// A failed commit may have stored some of it already.
    pub repeated: bool,
    /// Webhooks of these events that only one node may send to. Their deliveries are stored as pending for that node.
    pub exclusive: Vec<i64>,
    /// The watermark to store.
    pub watermark: Option<i64>,
}

impl Batch {
    /// The approximate number of bytes that it writes.
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

    /// Adds webhooks whose next delivery an earlier commit of the same batch may have made due. If that commit got no
    /// answer, the caller did not learn of them.
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
            && self.watermark.is_none()
    }
}

/// The results of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Events that were not stored because their request id was used before.
    pub repeats: Vec<Repeat>,
    /// Exclusive webhooks whose owner is another node.
    pub elsewhere: Vec<i64>,
    /// Ordered webhooks that have another due delivery now.
    pub due: Vec<i64>,
    /// The health over all nodes of those webhooks whose failures the batch contained.
    pub failing: Vec<HealthRow>,
}

/// An event whose request id was used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Its index in the batch.
    pub index: usize,
    /// The event stored under the request id.
    pub event_id: i64,
    /// Whether that event has the same content.
    pub same: bool,
    /// How many webhooks that event is owed to.
    pub delivery_count: usize,
}
