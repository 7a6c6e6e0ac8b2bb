//! `EventService`.

use hookwright_domain::id::EventId;
use hookwright_proto::v1::{
    BatchPublishEventsRequest, BatchPublishEventsResponse, Event, ExplainEventRequest, ExplainEventResponse,
    GetEventRequest, ListEventsRequest, ListEventsResponse, PublishEventRequest, PublishEventResponse,
    PublishStreamRequest, event_service_server::EventService,
};
use hookwright_storage::{EventFilter, EventRecord};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Api, explain, name, page,
    publish::{Origin, prepare, publish_all, response},
    publish_stream::{self, AckStream},
    time::{optional_micros, timestamp},
};
use crate::app::{error::AppError, events::PreparedEvent};

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
