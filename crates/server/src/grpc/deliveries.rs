//! `DeliveryService`.

use hookwright_delivery::details::AttemptDetails;
use hookwright_domain::{
    id::{DeliveryId, EventId, WebhookId},
    outcome,
};
use hookwright_proto::v1::{
    Attempt, AttemptPhases, CancelDeliveryRequest, CancelDeliveryResponse, Delivery, DeliveryState, ErrorClass,
    GetDeliveryRequest, Header, ListAttemptsRequest, ListAttemptsResponse, ListDeliveriesRequest,
    ListDeliveriesResponse, RetryDeliveryRequest, RetryDeliveryResponse, SkipDeliveryRequest, SkipDeliveryResponse,
    delivery_service_server::DeliveryService,
};
use hookwright_storage::{AttemptRow, DeliveryFilter, DeliveryRecord};
use tonic::{Request, Response, Status};

use super::{
    Api, name, page,
    time::{duration_us, micros, timestamp},
};
use crate::app::error::{AppError, AppResult};

#[tonic::async_trait]
impl DeliveryService for Api {
    async fn get_delivery(&self, request: Request<GetDeliveryRequest>) -> Result<Response<Delivery>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::delivery("name", &request.get_ref().name)?;
        let record = self.app.get_delivery(&caller, organization, id).await?;
        Ok(Response::new(delivery(organization, record)))
    }

    async fn list_deliveries(
        &self,
        request: Request<ListDeliveriesRequest>,
    ) -> Result<Response<ListDeliveriesResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let organization = name::organization("parent", &request.parent)?;
        let filter = filter(organization, request)?;
        let lists = format!("{:?} {:?}", request.states, request.error_classes);
        let times = format!("{:?} {:?}", filter.start_us, filter.end_us);
        let arguments = page::Arguments::new(&[
            "ListDeliveries",
            organization,
            &request.webhook,
            &request.event,
            &request.event_type,
            &lists,
            &times,
        ]);
        let before = arguments
            .place(&request.page_token)?
            .and_then(|place| place.parse().ok())
            .unwrap_or(i64::MAX);
        let size = page::size(request.page_size)?;
        let (records, next) = self
            .app
            .list_deliveries(&caller, organization, &filter, before, size)
            .await?;
        let next = next.map(|next| next.to_string());
        Ok(Response::new(ListDeliveriesResponse {
            deliveries: records
                .into_iter()
                .map(|record| delivery(organization, record))
                .collect(),
            next_page_token: arguments.token(next.as_deref()),
        }))
    }

    async fn list_attempts(
        &self,
        request: Request<ListAttemptsRequest>,
    ) -> Result<Response<ListAttemptsResponse>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::delivery("parent", &request.get_ref().parent)?;
        let rows = self.app.list_attempts(&caller, organization, id).await?;
        let attempts = rows.into_iter().map(|row| attempt(organization, row)).collect();
        Ok(Response::new(ListAttemptsResponse { attempts }))
    }

    async fn skip_delivery(
        &self,
        request: Request<SkipDeliveryRequest>,
    ) -> Result<Response<SkipDeliveryResponse>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::delivery("name", &request.get_ref().name)?;
        let record = self.app.skip_delivery(&caller, organization, id).await?;
        Ok(Response::new(SkipDeliveryResponse {
            delivery: Some(delivery(organization, record)),
        }))
    }

    async fn cancel_delivery(
        &self,
        request: Request<CancelDeliveryRequest>,
    ) -> Result<Response<CancelDeliveryResponse>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::delivery("name", &request.get_ref().name)?;
        let record = self.app.cancel_delivery(&caller, organization, id).await?;
        Ok(Response::new(CancelDeliveryResponse {
            delivery: Some(delivery(organization, record)),
        }))
    }

    async fn retry_delivery(
        &self,
        request: Request<RetryDeliveryRequest>,
    ) -> Result<Response<RetryDeliveryResponse>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::delivery("name", &request.get_ref().name)?;
        let record = self.app.retry_delivery(&caller, organization, id).await?;
        Ok(Response::new(RetryDeliveryResponse {
            delivery: Some(delivery(organization, record)),
        }))
    }
}

fn filter(organization: &str, request: &ListDeliveriesRequest) -> AppResult<DeliveryFilter> {
    let same = |field: &str, owner: &str| {
        if owner == organization {
            return Ok(());
        }
        Err(AppError::invalid(
            field,
            "ORGANIZATION_MISMATCH",
            "must belong to the organization in parent",
        ))
    };
    let mut filter = DeliveryFilter::default();
    if !request.webhook.is_empty() {
        let (owner, id) = name::webhook("webhook", &request.webhook)?;
        same("webhook", owner)?;
        filter.webhook_id = Some(id.raw());
    }
    if !request.event.is_empty() {
        let (owner, id) = name::event("event", &request.event)?;
        same("event", owner)?;
        filter.event_id = Some(id.raw());
    }
    filter.event_type = (!request.event_type.is_empty()).then(|| request.event_type.clone());
    let time = |field, time: Option<&prost_types::Timestamp>| time.map(|time| micros(field, time)).transpose();
    filter.start_us = time("start_time", request.start_time.as_ref())?;
    filter.end_us = time("end_time", request.end_time.as_ref())?;
    for class in &request.error_classes {
        let known = outcome::ErrorClass::ALL
            .iter()
            .find(|known| *class == i32::from(error_class(Some(known.as_str()))));
        filter.error_classes.push(*known.ok_or_else(|| {
            AppError::invalid(
                "error_classes",
                "UNKNOWN_ERROR_CLASS",
                format!("{class} is not an error class"),
            )
        })?);
    }
    for state in &request.states {
        filter.states.push(match DeliveryState::try_from(*state) {
            Ok(DeliveryState::Pending) => outcome::DeliveryState::Pending,
            Ok(DeliveryState::Retrying) => outcome::DeliveryState::Retrying,
            Ok(DeliveryState::Delivered) => outcome::DeliveryState::Delivered,
            Ok(DeliveryState::Failed) => outcome::DeliveryState::Failed,
            Ok(DeliveryState::Cancelled) => outcome::DeliveryState::Cancelled,
            Ok(DeliveryState::Paused) => outcome::DeliveryState::Paused,
            Ok(DeliveryState::Unspecified) | Err(_) => {
                return Err(AppError::invalid(
                    "states",
                    "UNKNOWN_STATE",
                    format!("{state} is not a delivery state"),
                ));
            }
        });
    }
    Ok(filter)
}

pub(super) fn delivery(organization: &str, record: DeliveryRecord) -> Delivery {
    let state = state(record.state);
    let last = record.last_attempt.as_ref();
    let waits = matches!(state, DeliveryState::Pending | DeliveryState::Retrying);
    let next = record
        .pending
        .as_ref()
        .filter(|_| waits && record.attempts_made > 0)
        .map(|row| timestamp(row.due_at));
    Delivery {
        name: format!(
            "organizations/{organization}/deliveries/{}",
            DeliveryId::from_raw(record.delivery_id)
        ),
        event: format!(
            "organizations/{organization}/events/{}",
            EventId::from_raw(record.event_id)
        ),
        event_type: record.event_type,
        webhook: format!(
            "organizations/{organization}/webhooks/{}",
            WebhookId::from_raw(record.webhook_id)
        ),
        state: state.into(),
        attempt_count: record.attempts_made,
        create_time: Some(timestamp(record.created_at)),
        next_attempt_time: next,
        last_attempt_time: last.map(|attempt| timestamp(attempt.started_at)),
        last_response_status: last.and_then(|attempt| attempt.status).unwrap_or(0),
        last_error_class: error_class(last.and_then(|attempt| attempt.error_class.as_deref())).into(),
        cancel_reason: record.ending.map(|ending| ending.reason).unwrap_or_default(),
    }
}

pub(super) fn state(state: outcome::DeliveryState) -> DeliveryState {
    match state {
        outcome::DeliveryState::Pending => DeliveryState::Pending,
        outcome::DeliveryState::Retrying => DeliveryState::Retrying,
        outcome::DeliveryState::Delivered => DeliveryState::Delivered,
        outcome::DeliveryState::Failed => DeliveryState::Failed,
        outcome::DeliveryState::Cancelled => DeliveryState::Cancelled,
        outcome::DeliveryState::Paused => DeliveryState::Paused,
    }
}

fn attempt(organization: &str, row: AttemptRow) -> Attempt {
    let details: AttemptDetails = serde_json::from_str(&row.details).unwrap_or_default();
    let header = |(name, value): (String, String)| Header { name, value };
    let phase = |us: Option<i64>| us.map(duration_us);
    Attempt {
        name: format!(
            "organizations/{organization}/deliveries/{}/attempts/{}",
            DeliveryId::from_raw(row.delivery_id),
            row.number
        ),
        number: row.number,
        start_time: Some(timestamp(row.started_at)),
        duration: Some(duration_us(row.duration_us)),
        phases: Some(AttemptPhases {
            dns: phase(details.phases.dns_us),
            connect: phase(details.phases.connect_us),
            tls: phase(details.phases.tls_us),
            wait: phase(details.phases.wait_us),
            body: phase(details.phases.body_us),
        }),
        url: details.url,
        remote_address: details.remote.unwrap_or_default(),
        request_headers: details.request.into_iter().map(header).collect(),
        response_status: row.status.unwrap_or(0),
        response_headers: details.response.into_iter().map(header).collect(),
        response_body: row.response_body.unwrap_or_default().into(),
        response_body_truncated: details.truncated,
        error_class: error_class(row.error_class.as_deref()).into(),
        error_message: row.error_message.unwrap_or_default(),
    }
}

fn error_class(stored: Option<&str>) -> ErrorClass {
    use outcome::ErrorClass as Class;
    match stored.and_then(|text| text.parse().ok()) {
        None => ErrorClass::Unspecified,
        Some(Class::Dns) => ErrorClass::Dns,
        Some(Class::BlockedAddress) => ErrorClass::BlockedAddress,
        Some(Class::Connect) => ErrorClass::Connect,
        Some(Class::TlsName) => ErrorClass::TlsName,
        Some(Class::TlsExpired) => ErrorClass::TlsExpired,
        Some(Class::TlsNotYetValid) => ErrorClass::TlsNotYetValid,
        Some(Class::TlsUntrusted) => ErrorClass::TlsUntrusted,
        Some(Class::TlsHandshake) => ErrorClass::TlsHandshake,
        Some(Class::Timeout) => ErrorClass::Timeout,
        Some(Class::Reset) => ErrorClass::Reset,
        Some(Class::InvalidResponse) => ErrorClass::InvalidResponse,
        Some(Class::Redirect) => ErrorClass::Redirect,
        Some(Class::Status) => ErrorClass::Status,
        Some(Class::Gone) => ErrorClass::Gone,
        Some(Class::Proxy) => ErrorClass::Proxy,
        Some(Class::Internal) => ErrorClass::Internal,
    }
}
