//! The request that receivers get: the contract's headers, in a fixed order, with the signatures of the body.

use std::borrow::Cow;

use hookwright_domain::id::{DeliveryId, EventId};
use hookwright_storage::StoredEvent;

use crate::{catalogue::Webhook, clock, trace::TraceContext};

/// The parts of the request that an operator can change.
#[derive(Clone, Debug)]
pub struct RequestFormat {
    user_agent: String,
    event: String,
    delivery: String,
    signature: String,
    signature_256: String,
}

impl RequestFormat {
    /// `prefix` brands the headers, `TT-Hook-` by default; `user_agent` is sent unchanged.
    pub fn new(prefix: &str, user_agent: &str) -> Self {
        Self {
            user_agent: user_agent.to_owned(),
            event: format!("{prefix}Event"),
            delivery: format!("{prefix}Delivery"),
            signature: format!("{prefix}Signature"),
            signature_256: format!("{prefix}Signature-256"),
        }
    }
}

/// One header of a request. Names keep their case on HTTP/1.1.
pub type HeaderLine<'a> = (&'a str, Cow<'a, str>);

/// The headers of one attempt, without `Host` and `Content-Length`, which framing adds.
#[derive(Debug)]
pub(crate) struct PreparedRequest<'a> {
    pub(crate) headers: Vec<HeaderLine<'a>>,
}

impl<'a> PreparedRequest<'a> {
    /// Signs the event's payload for one attempt. `None` when the webhook's keys could not be opened.
    pub(crate) fn new(
        format: &'a RequestFormat,
        webhook: &'a Webhook,
        delivery: i64,
        event: &'a StoredEvent,
        trace: &'a TraceContext,
    ) -> Option<Self> {
        let now_us = clock::now_us();
        let timestamp = now_us / 1_000_000;
        let id = EventId::from_raw(event.known_as()).to_string();
        let signatures = webhook.keys.as_ref()?.sign(now_us, &id, timestamp, &event.payload);
        let mut headers: Vec<HeaderLine<'a>> = Vec::with_capacity(12 + webhook.headers.len());
        headers.push(("User-Agent", Cow::Borrowed(&format.user_agent)));
        headers.push(("Accept-Encoding", Cow::Borrowed("identity")));
        headers.push((&format.signature, Cow::Owned(signatures.sha1)));
        headers.push((&format.signature_256, Cow::Owned(signatures.sha256)));
        headers.push(("Content-Type", Cow::Borrowed("application/json")));
        headers.push((&format.event, Cow::Borrowed(&event.event_type)));
        headers.push((&format.delivery, Cow::Owned(DeliveryId::from_raw(delivery).to_string())));
        headers.push(("webhook-id", Cow::Owned(id)));
        headers.push((
            "webhook-timestamp",
            Cow::Owned(itoa::Buffer::new().format(timestamp).to_owned()),
        ));
        headers.push(("webhook-signature", Cow::Owned(signatures.webhook_signature)));
        headers.push(("traceparent", Cow::Owned(trace.traceparent())));
        if let Some(state) = trace.tracestate() {
            headers.push(("tracestate", Cow::Borrowed(state)));
        }
        headers.extend(
            webhook
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_str()))),
        );
        Some(Self { headers })
    }
}
