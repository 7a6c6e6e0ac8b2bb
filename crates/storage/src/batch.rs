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
