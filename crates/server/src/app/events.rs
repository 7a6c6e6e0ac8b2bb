//! Events: validates published events, matches them with webhooks, and passes them to the engine; reads events.

mod search;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use hookwright_delivery::{
    catalogue::Subscribers,
    engine::{Draft, Published},
};
use hookwright_domain::{
    filter::{EventFacts, WebhookFilter},
    id::EventId,
    limits,
    name::EventTypeName,
    payload::check_payload,
    schema::SchemaViolation,
};
use hookwright_storage::{EventRecord, RequestKey, StoredEvent};
use sha2::{Digest as _, Sha256};

use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult, Violation},
};

/// Filters need more than some hundreds of microseconds to read a larger payload.
const READ_AT_ONCE_MAX: usize = 32 << 10;
const REQUEST_ID_CHARS_MAX: usize = 128;

/// An event from a publisher.
#[derive(Clone, Debug)]
pub struct NewEvent<'a> {
    /// The organization's name, validated.
    pub organization: &'a str,
    /// The event type's name.
    pub event_type: String,
    /// The payload as it will be sent.
    pub payload: Bytes,
    /// The name of the payload's field in the request.
    pub payload_field: &'static str,
    /// The request id; empty for none.
    pub request_id: String,
    /// When the event occurred.
    pub occurred_at: Option<i64>,
    /// The publisher's attributes.
    pub attributes: BTreeMap<String, String>,
    /// The ordering key; empty for none.
    pub ordering_key: String,
    /// The publisher's trace context.
    pub trace: Option<[u8; 25]>,
    /// The publisher's `tracestate`.
    pub tracestate: Option<String>,
}

/// A validated event.
#[derive(Debug)]
pub struct PreparedEvent {
    /// For the engine.
    pub draft: Draft,
    /// The mismatches with the schema of its type, if the schema only warns.
    pub warnings: Vec<Violation>,
}

impl App {
    /// Validates an event and matches it with webhooks.
    ///
    /// # Errors
    /// With every invalid field.
    pub fn prepare_event(&self, caller: &Caller, event: NewEvent<'_>) -> AppResult<PreparedEvent> {
        let snapshot = self.registry.snapshot();
        let organization = snapshot.organizations.get(event.organization);
        caller.require_for(
            Scope::Publish,
            organization.map_or(0, |organization| organization.id.raw()),
        )?;
        let organization = organization.ok_or_else(|| {
            AppError::not_found(
                "hookwright.v1.Organization",
                format!("organizations/{}", event.organization),
            )
        })?;
        let warnings = self.check_event_type(caller, organization.id.raw(), &event)?;
        let violations = check_fields(&event);
        if !violations.is_empty() {
            return Err(AppError::Invalid(violations));
        }
        let attributes =
            (!event.attributes.is_empty()).then(|| serde_json::to_string(&event.attributes).unwrap_or_default());
        let request = (!event.request_id.is_empty()).then(|| RequestKey {
            fingerprint: fingerprint(&event, attributes.as_deref()),
            request_id: event.request_id.clone(),
        });
        let draft = Draft {
            organization: organization.id,
            webhooks: receivers(organization.subscribers(&event.event_type), &event),
            event_type: event.event_type,
            payload: event.payload,
            occurred_at: event.occurred_at,
            attributes,
            trace: event.trace,
            tracestate: event.tracestate,
            ordering_key: (!event.ordering_key.is_empty()).then_some(event.ordering_key),
            replay_of: None,
            request,
        };
        Ok(PreparedEvent { draft, warnings })
    }

    /// The type must be registered and active. The payload must be a JSON object within the limit that fits the type's
    /// schema; if the schema only warns, returns the mismatches.
    fn check_event_type(&self, caller: &Caller, organization: i64, event: &NewEvent<'_>) -> AppResult<Vec<Violation>> {
        let event_types = self.registry.event_types();
        let Some(event_type) = event_types.get(&event.event_type) else {
            return Err(match EventTypeName::parse(&event.event_type) {
                Ok(_) => self.unknown_event_type(&event.event_type, Some(organization)),
                Err(error) => AppError::invalid("event_type", error.rule(), error.to_string()),
            });
        };
        self.check_visible(caller, event_type, organization)?;
        if event_type.row.archived {
            let name = &event.event_type;
            return Err(AppError::Precondition {
                reason: "EVENT_TYPE_ARCHIVED",
                subject: format!("eventTypes/{name}"),
                message: format!("event type `{name}` is archived; unarchive it, or publish another type"),
            });
        }
        check_payload(&event.payload, self.limits.payload_bytes_max)
            .map_err(|error| AppError::invalid(event.payload_field, error.rule(), error.to_string()))?;
        let Some(schema) = &event_type.schema else {
            return Ok(Vec::new());
        };
        let Err(misfits) = schema.validate(&event.payload) else {
            return Ok(Vec::new());
        };
        self.schema_mismatches.inc();
        let violation = |misfit: SchemaViolation| Violation {
            field: format!("{}{}", event.payload_field, misfit.pointer),
            description: format!("does not fit the schema of `{}`: {}", event.event_type, misfit.message),
            reason: "SCHEMA_MISMATCH",
        };
        let violations = misfits.into_iter().map(violation).collect();
        if event_type.only_warns {
            Ok(violations)
        } else {
            Err(AppError::Invalid(violations))
        }
    }

    /// Publishes prepared events: each gets its result, in order.
    pub async fn publish(&self, drafts: Vec<Draft>) -> Vec<AppResult<Published>> {
        let results = self.engine.publish(drafts).await;
        results
            .into_iter()
            .map(|result| result.map_err(AppError::from))
            .collect()
    }

    /// Publishes one event.
    ///
    /// # Errors
    /// When it could not be stored, or the server is shutting down.
    pub async fn publish_one(&self, draft: Draft) -> AppResult<Published> {
        let published = self.publish(vec![draft]).await.pop();
        published.unwrap_or_else(|| Err(AppError::Unavailable("the server is shutting down".to_owned())))
    }

    /// One event with its payload.
    ///
    /// # Errors
    /// When the organization has no event with this id.
    pub async fn get_event(&self, caller: &Caller, organization: &str, id: EventId) -> AppResult<EventRecord> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let record = self.store.get_event(row.id, id.raw()).await?;
        record.ok_or_else(|| not_found(organization, id))
    }

    /// One event with the first bytes of its payload.
    ///
    /// # Errors
    /// When the organization has no event with this id.
    pub async fn event_beginning(
        &self,
        caller: &Caller,
        organization: &str,
        id: EventId,
        bytes: usize,
    ) -> AppResult<EventRecord> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let record = self.store.event_beginning(row.id, id.raw(), bytes).await?;
        record.ok_or_else(|| not_found(organization, id))
    }
}

fn not_found(organization: &str, id: EventId) -> AppError {
    AppError::not_found(
        "hookwright.v1.Event",
        format!("organizations/{organization}/events/{id}"),
    )
}

/// The webhooks that an event is owed to: the subscribers whose filter matches.
fn receivers(subscribers: &Subscribers, event: &NewEvent<'_>) -> Arc<[i64]> {
    if !subscribers.are_filtered() {
        return Arc::clone(&subscribers.webhooks);
    }
    let payload = subscribers.read_payload().then_some(&event.payload[..]);
    while_others_are_served(payload.map_or(0, <[u8]>::len), || {
        let facts = EventFacts::new(&event.event_type, &event.attributes, &event.ordering_key, payload);
        // It was validated as JSON.
        facts.map_or_else(|_| Arc::default(), |facts| subscribers.matching(&facts))
    })
}

/// Work that reads a payload of this size. If it is large, other callers get other threads in the meantime.
pub(super) fn while_others_are_served<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes > READ_AT_ONCE_MAX {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// Compiles a filter that a caller passed.
pub(super) fn compile_filter(filter: &str) -> AppResult<WebhookFilter> {
    WebhookFilter::compile(filter).map_err(|error| AppError::invalid("filter", error.rule(), error.to_string()))
}

/// Whether a filter matches a stored event; false if it cannot be evaluated. The payload is optional if the filter does not
/// read it.
pub(super) fn filter_matches(filter: &WebhookFilter, event: &StoredEvent, payload: Option<&[u8]>) -> bool {
    let Ok(attributes) = attributes_of(event) else {
        return false;
    };
    let key = event.ordering_key.as_deref().unwrap_or_default();
    while_others_are_served(payload.map_or(0, <[u8]>::len), || {
        EventFacts::new(&event.event_type, &attributes, key, payload)
            .is_ok_and(|facts| filter.matches(&facts) == Ok(true))
    })
}

/// The attributes of a stored event.
pub(super) fn attributes_of(event: &StoredEvent) -> serde_json::Result<BTreeMap<String, String>> {
    let attributes = event.attributes.as_deref().map(serde_json::from_str).transpose()?;
    Ok(attributes.unwrap_or_default())
}

/// The error for an invalid request id.
pub(super) fn check_request_id(id: &str) -> Option<Violation> {
    let is_good = id.len() <= REQUEST_ID_CHARS_MAX && id.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    (!is_good).then(|| Violation {
        field: "request_id".to_owned(),
        description: format!("must be at most {REQUEST_ID_CHARS_MAX} printable ASCII characters"),
        reason: "INVALID_REQUEST_ID",
    })
}

fn check_fields(event: &NewEvent<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    violations.extend(check_request_id(&event.request_id));
    let checks = [
        limits::check_attributes(event.attributes.iter()),
        limits::check_ordering_key(&event.ordering_key),
    ];
    for error in checks.into_iter().filter_map(Result::err) {
        violations.push(Violation {
            field: error.field(),
            description: error.to_string(),
            reason: error.rule(),
        });
    }
    violations
}

/// The content that a retry under the same request id must repeat: type, payload, time, attributes and ordering key.
fn fingerprint(event: &NewEvent<'_>, attributes: Option<&str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let occurred_at = event.occurred_at.unwrap_or_default().to_be_bytes();
    let parts = [
        event.event_type.as_bytes(),
        &event.payload,
        &occurred_at,
        attributes.unwrap_or_default().as_bytes(),
        event.ordering_key.as_bytes(),
    ];
    // Without a key, as in versions before ordering keys.
    let count = if event.ordering_key.is_empty() { 4 } else { 5 };
    for part in &parts[..count] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The payload of a ping.
pub(super) fn ping_payload(action: &str, webhook: &str, url: &str, active: bool, events: &[&str]) -> Bytes {
    #[derive(serde::Serialize)]
    struct Ping<'a> {
        action: &'a str,
        hook: Hook<'a>,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Hook<'a> {
        id: &'a str,
        payload_url: &'a str,
        active: bool,
        events: &'a [&'a str],
    }
    let ping = Ping {
        action,
        hook: Hook {
            id: webhook,
            payload_url: url,
            active,
            events,
        },
    };
    Bytes::from(serde_json::to_vec(&ping).expect("strings always serialise"))
}

/// The webhooks of a ping: only its own.
pub(super) fn only(webhook: i64) -> Arc<[i64]> {
    Arc::from([webhook])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ping_is_the_contracts_to_the_byte() {
        let payload = ping_payload(
            "created",
            "WEBHOOK-ID",
            "http://www.example.com/api/listener",
            true,
            &["clocking"],
        );
        let expected = concat!(
            r#"{"action":"created","hook":{"id":"WEBHOOK-ID","payloadUrl":"http://www.example.com/api/listener","#,
            r#""active":true,"events":["clocking"]}}"#,
        );
        assert_eq!(payload, expected);
    }
}
