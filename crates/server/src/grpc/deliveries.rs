//! `DeliveryService`.

use hookwright_proto::v1::{
    CancelDeliveryRequest, CancelDeliveryResponse, Delivery, GetDeliveryRequest, ListAttemptsRequest,
    ListAttemptsResponse, ListDeliveriesRequest, ListDeliveriesResponse, QueryDeliveryStatsRequest,
    QueryDeliveryStatsResponse, ReplayDeliveryRequest, ReplayDeliveryResponse, RetryDeliveryRequest,
    RetryDeliveryResponse, SkipDeliveryRequest, SkipDeliveryResponse, WatchDeliveriesRequest,
    delivery_service_server::DeliveryService,
};
use hookwright_storage::{AttemptRow, DeliveryFilter, DeliveryRecord};
use tonic::{Request, Response, Status};

use super::{
    Api,
    conditions::{conditions, same_organization},
    name, page,
    records::{attempt, delivery},
    time::optional_micros,
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
