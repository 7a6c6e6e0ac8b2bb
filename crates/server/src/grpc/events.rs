//! `EventService`.

use bytes::Bytes;
use hookwright_delivery::{
    engine::Published,
    trace::{TRACE_TARGET, is_exporting},
};
use hookwright_domain::id::EventId;
use hookwright_proto::v1::{
    BatchPublishEventsRequest, BatchPublishEventsResponse, Event, ExplainEventRequest, ExplainEventResponse,
    FieldViolation, GetEventRequest, ListEventsRequest, ListEventsResponse, PublishError, PublishEventRequest,
    PublishEventResponse, PublishResult, PublishStreamRequest, event_service_server::EventService,
    publish_event_request::Payload, publish_result,
};
use hookwright_storage::{EventFilter, EventRecord};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};
use tracing::Span;

use super::{
    Api, explain, name, page,
    publish_stream::{self, AckStream},
    status,
    time::{optional_micros, timestamp},
    trace,
};
use crate::app::{
    App,
    access::Caller,
    error::{AppError, AppResult, Violation},
    events::{NewEvent, PreparedEvent},
};

/// Maximum number of events per batch.
const BATCH_MAX: usize = 1_000;

#[tonic::async_trait]
impl EventService for Api {
    async fn publish_event(
        &self,
        request: Request<PublishEventRequest>,
    ) -> Result<Response<PublishEventResponse>, Status> {
        let caller = self.caller(&request)?;
        let origin = Origin::of(request.metadata());
        let request = request.into_inner();
        let organization = request.organization.clone();
        let PreparedEvent { draft, warnings } = prepare(&self.app, &caller, &origin, "", request)?;
        let published = self.app.publish_one(draft).await?;
        Ok(Response::new(response(&organization, &published, &warnings)))
    }

    async fn batch_publish_events(
        &self,
        request: Request<BatchPublishEventsRequest>,
    ) -> Result<Response<BatchPublishEventsResponse>, Status> {
        let caller = self.caller(&request)?;
        let origin = Origin::of(request.metadata());
        let BatchPublishEventsRequest { organization, requests } = request.into_inner();
        if requests.is_empty() || requests.len() > BATCH_MAX {
            let rule = format!("must have 1 to {BATCH_MAX} events; it has {}", requests.len());
            return Err(AppError::invalid("requests", "BATCH_SIZE", rule).into());
        }
        if !organization.is_empty() {
            name::organization("organization", &organization)?;
        }
        let results = publish_all(&self.app, &caller, &origin, &organization, requests).await;
        Ok(Response::new(BatchPublishEventsResponse { results }))
    }

    type PublishStreamStream = AckStream;

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<AckStream>, Status> {
        let admission = self.admission(&request)?;
        let origin = Origin::of(request.metadata());
        Ok(Response::new(publish_stream::run(
            self.app.clone(),
            admission,
            origin,
            request.into_inner(),
        )))
    }

    async fn get_event(&self, request: Request<GetEventRequest>) -> Result<Response<Event>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::event("name", &request.get_ref().name)?;
        let record = self.app.get_event(&caller, organization, id).await?;
        Ok(Response::new(event(organization, record)))
    }

    async fn explain_event(
        &self,
        request: Request<ExplainEventRequest>,
    ) -> Result<Response<ExplainEventResponse>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::event("name", &request.get_ref().name)?;
        let explanations = self.app.explain_event(&caller, organization, id, 0).await?.explanations;
        let explanations = explanations
            .into_iter()
            .map(|one| explain::explanation(organization, one));
        Ok(Response::new(ExplainEventResponse {
            explanations: explanations.collect(),
        }))
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let organization = name::organization("parent", &request.parent)?;
        let start = optional_micros("start_time", request.start_time.as_ref())?;
        let end = optional_micros("end_time", request.end_time.as_ref())?;
        let times = format!("{start:?} {end:?}");
        let arguments = page::Arguments::new(&[
            "ListEvents",
            organization,
            &request.event_type,
            &request.ordering_key,
            &request.request_id,
            &request.filter,
            &times,
        ]);
        let before = arguments.before(&request.page_token)?;
        let given = |text: &String| (!text.is_empty()).then(|| text.clone());
        let filter = EventFilter {
            event_type: given(&request.event_type),
            ordering_key: given(&request.ordering_key),
            request_id: given(&request.request_id),
            start_us: start,
            end_us: end,
        };
        let size = page::size(request.page_size)?;
        let (records, next) = self
            .app
            .list_events(&caller, organization, &filter, &request.filter, before, size)
            .await?;
        let next = next.map(|next| next.to_string());
        let place = |record: &EventRecord| record.event.id.to_string();
        let (events, next) = page::fit(records, next, place, |record| event(organization, record));
        Ok(Response::new(ListEventsResponse {
            events,
            next_page_token: arguments.token(next.as_deref()),
        }))
    }
}

/// The trace of a publish call. If traces are exported, the call is a span of it, which ends with this value, and the
/// events' attempts are below that span.
#[derive(Clone)]
pub(super) struct Origin {
    trace: Option<[u8; 25]>,
    state: Option<String>,
    _span: Span,
}

impl Origin {
    fn of(metadata: &MetadataMap) -> Self {
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
fn prepare(
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

fn response(organization: &str, published: &Published, warnings: &[Violation]) -> PublishEventResponse {
    PublishEventResponse {
        event: format!("{organization}/events/{}", published.event),
        delivery_count: i32::try_from(published.delivery_count).unwrap_or(i32::MAX),
        repeated_request: published.repeated,
        schema_warnings: field_violations(warnings),
    }
}

/// JSON text of a `Struct`, with sorted members. Whole numbers in the exact range of doubles have no fraction.
fn json_text(object: prost_types::Struct) -> AppResult<Bytes> {
    let mut depth_left = 126;
    let value = json_object(object, &mut depth_left)?;
    Ok(Bytes::from(
        serde_json::to_vec(&value).expect("a JSON value always serialises"),
    ))
}

fn json_object(object: prost_types::Struct, depth_left: &mut u32) -> AppResult<serde_json::Value> {
    let fields = object
        .fields
        .into_iter()
        .map(|(name, value)| Ok((name, json_value(value, depth_left)?)));
    Ok(serde_json::Value::Object(fields.collect::<AppResult<_>>()?))
}

fn json_value(value: prost_types::Value, depth_left: &mut u32) -> AppResult<serde_json::Value> {
    use prost_types::value::Kind;
    use serde_json::Value;
    if *depth_left == 0 {
        return Err(AppError::invalid(
            "object",
            "PAYLOAD_TOO_DEEP",
            "must be nested less than 128 levels deep",
        ));
    }
    *depth_left -= 1;
    let json = match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::NumberValue(number)) => json_number(number)?,
        Some(Kind::ListValue(list)) => {
            let values = list.values.into_iter().map(|value| json_value(value, depth_left));
            Value::Array(values.collect::<AppResult<_>>()?)
        }
        Some(Kind::StructValue(object)) => json_object(object, depth_left)?,
    };
    *depth_left += 1;
    Ok(json)
}

fn json_number(number: f64) -> AppResult<serde_json::Value> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        return Ok(serde_json::Value::from(number as i64));
    }
    serde_json::Number::from_f64(number)
        .map(serde_json::Value::Number)
        .ok_or_else(|| {
            AppError::invalid(
                "object",
                "PAYLOAD_NOT_JSON",
                "contains a number that is not finite, which JSON does not allow",
            )
        })
}

fn event(organization: &str, record: EventRecord) -> Event {
    let EventRecord {
        event,
        created_at,
        payload_bytes,
        request_id,
    } = record;
    let attributes = event
        .attributes
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    Event {
        name: format!("organizations/{organization}/events/{}", EventId::from_raw(event.id)),
        event_type: event.event_type,
        json: String::from_utf8_lossy(&event.payload).into_owned(),
        event_time: Some(timestamp(event.occurred_at)),
        create_time: Some(timestamp(created_at)),
        attributes,
        delivery_count: i32::try_from(event.webhooks.len()).unwrap_or(i32::MAX),
        payload_bytes,
        ordering_key: event.ordering_key.unwrap_or_default(),
        request_id: request_id.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{Struct, Value, value::Kind};

    use super::*;

    fn number(number: f64) -> Struct {
        Struct {
            fields: [(
                "n".to_owned(),
                Value {
                    kind: Some(Kind::NumberValue(number)),
                },
            )]
            .into(),
        }
    }

    #[test]
    fn p03_numbers_of_a_struct_are_doubles() {
        for (given, text) in [
            (1.0, r#"{"n":1}"#),
            (-0.5, r#"{"n":-0.5}"#),
            (1e300, r#"{"n":1e+300}"#),
            (0.0, r#"{"n":0}"#),
        ] {
            assert_eq!(json_text(number(given)).unwrap(), text);
        }
        assert!(json_text(number(f64::NAN)).is_err());
        assert!(json_text(number(f64::INFINITY)).is_err());
    }

    #[test]
    fn p02_a_struct_that_is_nested_too_deep_is_refused() {
        let nested = |depth: usize| {
            (0..depth).fold(number(1.0), |inner, _| Struct {
                fields: [(
                    "a".to_owned(),
                    Value {
                        kind: Some(Kind::StructValue(inner)),
                    },
                )]
                .into(),
            })
        };
        assert!(json_text(nested(100)).is_ok());
        assert!(json_text(nested(200)).is_err());
    }
}
