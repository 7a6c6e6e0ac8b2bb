//! Publish calls in the engine: checked and matched events, and the results for publishers.

use std::sync::Arc;

use bytes::Bytes;
use hookwright_domain::id::{EventId, OrganizationId};
use hookwright_storage::RequestKey;

/// A checked and matched event, ready to be made durable.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The organization it belongs to.
    pub organization: OrganizationId,
    /// Its event type.
    pub event_type: String,
    /// Its payload, as it will be sent.
    pub payload: Bytes,
    /// The webhooks that it is owed to.
    pub webhooks: Arc<[i64]>,
    /// When it happened, if the publisher set a time.
    pub occurred_at: Option<i64>,
    /// The publisher's attributes as a JSON object.
    pub attributes: Option<String>,
    /// The publisher's trace context: trace id, span id, flags.
    pub trace: Option<[u8; 25]>,
    /// The publisher's `tracestate`.
    pub tracestate: Option<String>,
    /// The key by which ordered webhooks order it.
    pub ordering_key: Option<String>,
    /// The event that this one replays.
    pub replay_of: Option<i64>,
    /// The publisher's request id, with the fingerprint of the content.
    pub request: Option<RequestKey>,
}

#[cfg(test)]
impl Draft {
    /// An event for some webhooks of the organization 1.
    pub(super) fn sample(webhooks: &[i64], payload: impl Into<Bytes>) -> Self {
        Self {
            organization: OrganizationId::from_raw(1),
            event_type: "clocking".to_owned(),
            payload: payload.into(),
            webhooks: webhooks.into(),
            occurred_at: None,
            attributes: None,
            trace: None,
            tracestate: None,
            ordering_key: None,
            replay_of: None,
            request: None,
        }
    }
}

impl Draft {
    /// How many rows the store may need for it: its own, and a pending one for each of its webhooks. Deliveries that
    /// are sent at once need none, but that is unknown before the commit.
    pub(super) fn rows(&self) -> usize {
        1 + self.webhooks.len()
    }
}

/// A durable event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its id.
    pub event: EventId,
    /// How many webhooks it is owed to.
    pub delivery_count: usize,
    /// Whether it was published by an earlier call with the same request id.
    pub repeated: bool,
}

/// Why an event was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The request id was used for an event with other content.
    #[error("the request id was used for {0} with other content; use a new request id for a new event")]
    Conflict(EventId),
    /// The event matches more webhooks than one event can be owed to.
    #[error(
        "{0} webhooks match this event, and one event can be owed to at most {1}; delete webhooks, or divide them over several organizations"
    )]
    FanOut(usize, usize),
    /// The store is full.
    #[error(
        "the store is full; an operator must free disk space, then publish the event again with the same request id"
    )]
    Full,
    /// The store failed. It is unknown whether the event was stored.
    #[error("the event could not be stored: {0}; publish it again with the same request id")]
    Unavailable(&'static str),
    /// The store refuses this event in any commit.
    #[error("the store refuses this event; the server's log says why")]
    Refused,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Stopping,
}

impl PublishError {
    /// Whether the store could not accept a commit, whatever it contained. The rest of a call with this error is not
    /// stored either.
    pub(super) fn ends_call(&self) -> bool {
        match self {
            Self::Full | Self::Unavailable(_) | Self::Stopping => true,
            Self::Conflict(_) | Self::FanOut(..) | Self::Refused => false,
        }
    }
}

/// The result of each event of a publish call, in order.
pub type PublishResults = Vec<Result<Published, PublishError>>;
