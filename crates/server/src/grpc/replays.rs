//! `ReplayService`.

use hookwright_domain::id::{ReplayId, WebhookId};
use hookwright_proto::v1::{
    CancelReplayRequest, CancelReplayResponse, GetReplayRequest, ListReplaysRequest, ListReplaysResponse, Replay,
    ReplayDeliveriesRequest, ReplaySelection, ReplayState, replay_service_server::ReplayService,
};
use hookwright_storage::replays::{REPLAY_CANCELLED, REPLAY_RUNNING, REPLAY_SUCCEEDED};
use tonic::{Request, Response, Status};

use super::{
    Api,
    conditions::{conditions, error_class, state},
    name, page,
    time::{optional_micros, timestamp},
};
use crate::app::{
    error::{AppError, AppResult},
    replays::{ReplaySpec, ReplayView},
};

#[tonic::async_trait]
impl ReplayService for Api {
    async fn replay_deliveries(&self, request: Request<ReplayDeliveriesRequest>) -> Result<Response<Replay>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let organization = name::organization("parent", &request.parent)?;
        let spec = spec(organization, request)?;
        let view = self
            .app
            .replay_deliveries(&caller, organization, spec, &request.request_id)
            .await?;
        Ok(Response::new(replay(organization, view)))
    }

    async fn get_replay(&self, request: Request<GetReplayRequest>) -> Result<Response<Replay>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::replay("name", &request.get_ref().name)?;
        let view = self.app.get_replay(&caller, organization, id).await?;
        Ok(Response::new(replay(organization, view)))
    }

    async fn list_replays(
        &self,
        request: Request<ListReplaysRequest>,
    ) -> Result<Response<ListReplaysResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let organization = name::organization("parent", &request.parent)?;
        let arguments = page::Arguments::new(&["ListReplays", organization]);
        let before = arguments.before(&request.page_token)?;
        let size = page::size(request.page_size)?;
        let (views, next) = self.app.list_replays(&caller, organization, before, size).await?;
        let place = |view: &ReplayView| view.row.id.to_string();
        let (replays, next) = page::fit(views, next, place, |view| replay(organization, view));
        Ok(Response::new(ListReplaysResponse {
            replays,
            next_page_token: arguments.token(next.as_deref()),
        }))
    }

    async fn cancel_replay(
        &self,
        request: Request<CancelReplayRequest>,
    ) -> Result<Response<CancelReplayResponse>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::replay("name", &request.get_ref().name)?;
        let view = self.app.cancel_replay(&caller, organization, id).await?;
        Ok(Response::new(CancelReplayResponse {
            replay: Some(replay(organization, view)),
        }))
    }
}

fn spec(organization: &str, request: &ReplayDeliveriesRequest) -> AppResult<ReplaySpec> {
    let missed = match ReplaySelection::try_from(request.selection) {
        Ok(selection) => selection == ReplaySelection::Missed,
        Err(_) => {
            let rule = format!("{} is not one of its values", request.selection);
            return Err(AppError::invalid("selection", "UNKNOWN_VALUE", rule));
        }
    };
    let filter = conditions(
        organization,
        &request.webhook,
        "",
        &request.states,
        &request.error_classes,
    )?;
    let spec = ReplaySpec {
        missed,
        event_types: request.event_types.clone(),
        start_us: optional_micros("start_time", request.start_time.as_ref())?,
        end_us: optional_micros("end_time", request.end_time.as_ref())?,
        dry_run: request.dry_run,
        rate: request.deliveries_per_second,
        ..ReplaySpec::default()
    };
    Ok(spec.with_conditions(&filter))
}

fn replay(organization: &str, view: ReplayView) -> Replay {
    let ReplayView { row, spec, progress } = view;
    let replay_state = match row.state {
        REPLAY_RUNNING => ReplayState::Running,
        REPLAY_SUCCEEDED => ReplayState::Succeeded,
        REPLAY_CANCELLED => ReplayState::Cancelled,
        _ => ReplayState::Failed,
    };
    Replay {
        name: format!("organizations/{organization}/replays/{}", ReplayId::from_raw(row.id)),
        state: replay_state.into(),
        examined_count: row.examined,
        matched_count: row.matched,
        replayed_count: row.replayed,
        skipped_count: row.skipped,
        progress,
        create_time: Some(timestamp(row.created_at)),
        end_time: row.ended_at.map(timestamp),
        error_message: row.error.unwrap_or_default(),
        request: Some(asked(organization, spec, row.request_id.unwrap_or_default())),
    }
}

fn asked(organization: &str, spec: ReplaySpec, request_id: String) -> ReplayDeliveriesRequest {
    let webhook = spec.webhook.map(WebhookId::from_raw);
    let states = spec.states.iter().filter_map(|text| text.parse().ok());
    let classes = spec.error_classes.iter();
    ReplayDeliveriesRequest {
        parent: format!("organizations/{organization}"),
        selection: if spec.missed {
            ReplaySelection::Missed
        } else {
            ReplaySelection::Made
        }
        .into(),
        webhook: webhook.map_or_else(String::new, |id| format!("organizations/{organization}/webhooks/{id}")),
        event_types: spec.event_types,
        states: states.map(|known| state(known).into()).collect(),
        error_classes: classes.map(|class| error_class(Some(class)).into()).collect(),
        start_time: spec.start_us.map(timestamp),
        end_time: spec.end_us.map(timestamp),
        dry_run: spec.dry_run,
        deliveries_per_second: spec.rate,
        request_id,
    }
}
