//! Publish calls: events from requests, and results for responses.

use bytes::Bytes;
use hookwright_delivery::{
    engine::Published,
    trace::{TRACE_TARGET, is_exporting},
};
use hookwright_proto::v1::{
    FieldViolation, PublishError, PublishEventRequest, PublishEventResponse, PublishResult,
    publish_event_request::Payload, publish_result,
};
use tonic::metadata::MetadataMap;
use tracing::Span;

use super::{name, status, struct_json::json_text, time::optional_micros, trace};
use crate::app::{
    App,
    access::Caller,
    error::{AppError, AppResult, Violation},
    events::{NewEvent, PreparedEvent},
};

/// The trace of a publish call. If traces are exported, the call is a span of it, which ends with this value, and the
/// events' attempts are below that span.
#[derive(Clone)]
pub(super) struct Origin {
    trace: Option<[u8; 25]>,
    state: Option<String>,
    _span: Span,
}

impl Origin {
    pub(super) fn of(metadata: &MetadataMap) -> Self {
        let parent = trace::parent(metadata);
        let span = if is_exporting() {
            tracing::info_span!(target: TRACE_TARGET, "publish", otel.kind = "server")
        } else {
            Span::none()
        };
        Self {
            trace: trace::of_span(&span, parent).or(parent),
            state: trace::state(metadata),
            _span: span,
        }
    }
}

/// A small payload with its own memory. The received one is part of a buffer that many messages share, and a payload that
/// waits for a slow webhook would keep the whole buffer.
fn unpinned(payload: Bytes) -> Bytes {
    const SMALL: usize = 64 << 10;
    if payload.len() < SMALL {
        Bytes::copy_from_slice(&payload)
    } else {
        payload
    }
}

/// Validates one event of a publish call. `organization` is the default.
pub(super) fn prepare(
    app: &App,
    caller: &Caller,
    origin: &Origin,
    organization: &str,
    request: PublishEventRequest,
) -> AppResult<PreparedEvent> {
    let named = match (request.organization.as_str(), organization) {
        ("", default) => default,
        (own, "") => own,
        (own, default) if own == default => own,
        _ => {
            let rule = "must be the batch's organization, or empty";
            return Err(AppError::invalid("organization", "ORGANIZATION_MISMATCH", rule));
        }
    };
    let organization = name::organization("organization", named)?;
    let (payload, payload_field) = payload_of(request.payload)?;
    let occurred_at = optional_micros("event_time", request.event_time.as_ref())?;
    let event = NewEvent {
        organization,
        event_type: request.event_type,
        payload,
        payload_field,
        request_id: request.request_id,
        occurred_at,
        attributes: request.attributes.into_iter().collect(),
        ordering_key: request.ordering_key,
        trace: origin.trace,
        tracestate: origin.state.clone(),
    };
    app.prepare_event(caller, event)
}

/// The payload, and the name of its field.
pub(super) fn payload_of(payload: Option<Payload>) -> AppResult<(Bytes, &'static str)> {
    match payload {
        Some(Payload::Json(json)) => Ok((unpinned(json), "json")),
        Some(Payload::Object(object)) => Ok((json_text(object)?, "object")),
        None => Err(AppError::invalid(
            "json",
            "FIELD_REQUIRED",
            "is required: set json or object",
        )),
    }
}

/// Publishes events, the valid ones in one commit; each gets its result, in order.
pub(super) async fn publish_all(
    app: &App,
    caller: &Caller,
    origin: &Origin,
    organization: &str,
    requests: Vec<PublishEventRequest>,
) -> Vec<PublishResult> {
    let mut drafts = Vec::with_capacity(requests.len());
    let mut results = Vec::with_capacity(requests.len());
    for mut request in requests {
        if request.organization.is_empty() {
            organization.clone_into(&mut request.organization);
        }
        let named = request.organization.clone();
        match prepare(app, caller, origin, organization, request) {
            Ok(PreparedEvent { draft, warnings }) => {
                drafts.push(draft);
                results.push(Ok((named, warnings)));
            }
            Err(error) => results.push(Err(error)),
        }
    }
    let mut published = if drafts.is_empty() {
        Vec::new()
    } else {
        app.publish(drafts).await
    }
    .into_iter();
    let unanswered = || AppError::Unavailable("the server is shutting down".to_owned());
    results
        .into_iter()
        .map(|prepared| {
            let result = prepared.and_then(|(organization, warnings)| {
                let published = published.next().unwrap_or_else(|| Err(unanswered()))?;
                Ok(response(&organization, &published, &warnings))
            });
            publish_result(result)
        })
        .collect()
}

fn publish_result(result: AppResult<PublishEventResponse>) -> PublishResult {
    let result = match result {
        Ok(published) => publish_result::Result::Published(published),
        Err(error) => publish_result::Result::Error(publish_error(&error)),
    };
    PublishResult { result: Some(result) }
}

fn publish_error(error: &AppError) -> PublishError {
    let violations = if let AppError::Invalid(violations) = error {
        violations.as_slice()
    } else {
        &[]
    };
    PublishError {
        code: status::code(error).into(),
        reason: status::reason(error).to_owned(),
        message: error.to_string(),
        field_violations: field_violations(violations),
    }
}

fn field_violations(violations: &[Violation]) -> Vec<FieldViolation> {
    let violation = |violation: &Violation| FieldViolation {
        field: violation.field.clone(),
        description: violation.description.clone(),
        reason: violation.reason.to_owned(),
    };
    violations.iter().map(violation).collect()
}

pub(super) fn response(organization: &str, published: &Published, warnings: &[Violation]) -> PublishEventResponse {
    PublishEventResponse {
        event: format!("{organization}/events/{}", published.event),
        delivery_count: i32::try_from(published.delivery_count).unwrap_or(i32::MAX),
        repeated_request: published.repeated,
        schema_warnings: field_violations(warnings),
    }
}
