//! `DeliveryService`.

use hookwright_delivery::{clock, details::AttemptDetails};
use hookwright_domain::id::{DeliveryId, EventId, WebhookId};
use hookwright_proto::v1::{
    Attempt, AttemptPhases, CancelDeliveryRequest, CancelDeliveryResponse, Delivery, DeliveryState, GetDeliveryRequest,
    Header, ListAttemptsRequest, ListAttemptsResponse, ListDeliveriesRequest, ListDeliveriesResponse,
    QueryDeliveryStatsRequest, QueryDeliveryStatsResponse, ReplayDeliveryRequest, ReplayDeliveryResponse,
    RetryDeliveryRequest, RetryDeliveryResponse, SkipDeliveryRequest, SkipDeliveryResponse, WatchDeliveriesRequest,
    delivery_service_server::DeliveryService,
};
use hookwright_storage::{AttemptRow, DeliveryFilter, DeliveryRecord};
use tonic::{Request, Response, Status};

use super::{
    Api,
    conditions::{conditions, error_class, same_organization, state},
    name, page,
    time::{duration_us, optional_micros, timestamp},
    watch::DeliveryStream,
};
use crate::app::error::AppResult;

/// The default number of attempts per page: all of a push delivery.
const ATTEMPTS_DEFAULT: usize = 200;

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
        let mut lists = format!("{:?} {:?}", request.states, request.error_classes);
        // Tokens of older versions, without this argument, stay valid.
        if request.hide_replayed {
            lists.push_str(" hide_replayed");
        }
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
        let before = arguments.before(&request.page_token)?;
        let size = page::size(request.page_size)?;
        let (records, next) = self
            .app
            .list_deliveries(&caller, organization, &filter, before, size)
            .await?;
        let next = next.map(|next| next.to_string());
        let place = |record: &DeliveryRecord| record.delivery_id.to_string();
        let (deliveries, next) = page::fit(records, next, place, |record| delivery(organization, record));
        Ok(Response::new(ListDeliveriesResponse {
            deliveries,
            next_page_token: arguments.token(next.as_deref()),
        }))
    }

    async fn list_attempts(
        &self,
        request: Request<ListAttemptsRequest>,
    ) -> Result<Response<ListAttemptsResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let (organization, id) = name::delivery("parent", &request.parent)?;
        let arguments = page::Arguments::new(&["ListAttempts", &request.parent]);
        let after = arguments
            .place(&request.page_token)?
            .and_then(|place| place.parse().ok())
            .unwrap_or(0);
        let size = page::size_or(request.page_size, ATTEMPTS_DEFAULT)?;
        let (rows, next) = self.app.list_attempts(&caller, organization, id, after, size).await?;
        let place = |row: &AttemptRow| row.number.to_string();
        let (attempts, next) = page::fit(rows, next, place, |row| attempt(organization, row));
        Ok(Response::new(ListAttemptsResponse {
            attempts,
            next_page_token: arguments.token(next.as_deref()),
        }))
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

    async fn replay_delivery(
        &self,
        request: Request<ReplayDeliveryRequest>,
    ) -> Result<Response<ReplayDeliveryResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let (organization, id) = name::delivery("name", &request.name)?;
        let record = self
            .app
            .replay_delivery(&caller, organization, id, &request.request_id)
            .await?;
        Ok(Response::new(ReplayDeliveryResponse {
            delivery: Some(delivery(organization, record)),
        }))
    }

    type WatchDeliveriesStream = DeliveryStream;

    async fn watch_deliveries(
        &self,
        request: Request<WatchDeliveriesRequest>,
    ) -> Result<Response<DeliveryStream>, Status> {
        Ok(Response::new(self.watch(&request).await?))
    }

    async fn query_delivery_stats(
        &self,
        request: Request<QueryDeliveryStatsRequest>,
    ) -> Result<Response<QueryDeliveryStatsResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(self.stats(&caller, request.get_ref()).await?))
    }
}

fn filter(organization: &str, request: &ListDeliveriesRequest) -> AppResult<DeliveryFilter> {
    let mut filter = conditions(
        organization,
        &request.webhook,
        &request.event_type,
        &request.states,
        &request.error_classes,
    )?;
    if !request.event.is_empty() {
        let (owner, id) = name::event("event", &request.event)?;
        same_organization("event", owner, organization)?;
        filter.event_id = Some(id.raw());
    }
    filter.start_us = optional_micros("start_time", request.start_time.as_ref())?;
    filter.end_us = optional_micros("end_time", request.end_time.as_ref())?;
    filter.hide_replayed = request.hide_replayed;
    Ok(filter)
}

pub(super) fn delivery(organization: &str, record: DeliveryRecord) -> Delivery {
    let replayed_state = record
        .replayed
        .map_or(DeliveryState::Unspecified, |replayed| state(replayed.state));
    let state = state(record.state);
    let last = record.last_attempt.as_ref();
    let waits = matches!(state, DeliveryState::Pending | DeliveryState::Retrying);
    let next = record.next_attempt().due_at();
    let next = next.filter(|_| waits && record.attempts_made > 0);
    let next = next.map(|due_at| timestamp(clock::shown_us(due_at)));
    let named = |id: i64| format!("organizations/{organization}/deliveries/{}", DeliveryId::from_raw(id));
    Delivery {
        name: named(record.delivery_id),
        replayed_as: record
            .replayed
            .map(|replayed| named(replayed.delivery_id))
            .unwrap_or_default(),
        replayed_state: replayed_state.into(),
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
        replay: record.replay,
        ordering_key: record.ordering_key.unwrap_or_default(),
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
