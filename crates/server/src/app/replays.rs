//! Replays: repeat deliveries, one or many, and send events that a webhook missed.
//!
//! A replay of many is a row in the store with the selection and the progress. `runner` works on it, and resumes it after a
//! restart. Its published events carry their own request ids, so that repeated work sends nothing twice.

mod runner;
mod selection;
mod single;

use hookwright_delivery::clock;
use hookwright_domain::{
    id::{ReplayId, WebhookId, first_at},
    limits,
    name::EventTypeName,
    outcome::{DeliveryState, ErrorClass},
};
use hookwright_storage::{
    DeliveryFilter, OrganizationRow,
    replays::{REPLAY_CANCELLED, REPLAY_RUNNING, REPLAY_SUCCEEDED, ReplayRow},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult, Faults},
    events::check_request_id,
};

const KIND: &str = "hookwright.v1.Replay";
/// Maximum number of running replays per organization.
const RUNNING_MAX: i64 = 10;
const EVENT_TYPES_MAX: usize = 100;
/// The default states of a replay.
const STATES_DEFAULT: [DeliveryState; 2] = [DeliveryState::Failed, DeliveryState::Cancelled];

/// A replay's request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplaySpec {
    /// Missed deliveries instead of existing ones.
    pub missed: bool,
    /// Only deliveries to this webhook.
    pub webhook: Option<i64>,
    /// Only deliveries of events of these types.
    pub event_types: Vec<String>,
    /// Only deliveries in these states.
    pub states: Vec<String>,
    /// Only deliveries whose last attempt failed with one of these error classes.
    pub error_classes: Vec<String>,
    /// Only deliveries of events published at or after this time.
    pub start_us: Option<i64>,
    /// Only deliveries of events published before this time.
    pub end_us: Option<i64>,
    /// Count only.
    pub dry_run: bool,
    /// Maximum number of deliveries created per second.
    pub rate: Option<f64>,
}

impl ReplaySpec {
    /// The conditions in the form of a delivery filter.
    pub fn with_conditions(self, filter: &DeliveryFilter) -> Self {
        Self {
            webhook: filter.webhook_id,
            states: filter.states.iter().map(ToString::to_string).collect(),
            error_classes: filter.error_classes.iter().map(ToString::to_string).collect(),
            ..self
        }
    }

    /// The request in the audit log, by the names that callers use.
    fn shown(&self) -> Value {
        let mut shown = json!(self);
        shown["webhook"] = json!(self.webhook.map(|id| WebhookId::from_raw(id).to_string()));
        if let Value::Object(fields) = &mut shown {
            fields.retain(|_, value| !value.is_null());
        }
        shown
    }

    /// The filter of existing deliveries.
    pub fn conditions(&self) -> DeliveryFilter {
        let states: Vec<DeliveryState> = self.states.iter().filter_map(|state| state.parse().ok()).collect();
        let classes = self.error_classes.iter();
        DeliveryFilter {
            webhook_id: self.webhook,
            states: if states.is_empty() {
                STATES_DEFAULT.to_vec()
            } else {
                states
            },
            error_classes: classes.filter_map(|class| class.parse::<ErrorClass>().ok()).collect(),
            ..DeliveryFilter::default()
        }
    }
}

/// A replay as callers see it.
#[derive(Clone, Debug)]
pub struct ReplayView {
    /// Its row.
    pub row: ReplayRow,
    /// The request.
    pub spec: ReplaySpec,
    /// The progress through the selected time range: 0 to 1.
    pub progress: f64,
}

impl App {
    /// Starts a replay, which runs in the background. A retry under the same request id returns the first one.
    ///
    /// # Errors
    /// With every invalid field, or when the organization has reached its limit on running replays.
    pub async fn replay_deliveries(
        &self,
        caller: &Caller,
        organization: &str,
        spec: ReplaySpec,
        request_id: &str,
    ) -> AppResult<ReplayView> {
        let organization_row = self.organization_for(caller, Scope::Manage, organization)?;
        self.check_replay(&spec, &organization_row, request_id)?;
        let request = (!request_id.is_empty()).then_some(request_id);
        if let Some(repeat) = self.repeated_replay(&organization_row, request, &spec).await? {
            return Ok(repeat);
        }
        let row = self.replay_row(&organization_row, &spec, request)?;
        let id = ReplayId::from_raw(row.id);
        let audit = self.audit(
            Some(caller),
            "replay.create",
            Some(row.organization_id),
            resource(organization, id),
            spec.shown(),
        );
        match self.store.insert_replay(&row, RUNNING_MAX, &audit).await {
            Ok(true) => {}
            Ok(false) => {
                return Err(AppError::Precondition {
                    reason: "REPLAY_LIMIT_REACHED",
                    subject: format!("organizations/{organization}"),
                    message: format!(
                        "the organization has {RUNNING_MAX} running replays, which is the limit; wait for one to end, or cancel one"
                    ),
                });
            }
            // The same request may have arrived twice concurrently.
            Err(error) => match self.repeated_replay(&organization_row, request, &spec).await? {
                Some(repeat) => return Ok(repeat),
                None => return Err(error.into()),
            },
        }
        self.replays_begun.notify_one();
        self.view_of_replay(row)
    }

    /// One replay.
    ///
    /// # Errors
    /// When the organization has no replay with this id.
    pub async fn get_replay(&self, caller: &Caller, organization: &str, id: ReplayId) -> AppResult<ReplayView> {
        let organization_row = self.organization_for(caller, Scope::Read, organization)?;
        self.replay(&organization_row, id).await
    }

    /// An organization's replays with ids below `before`, newest first; and the id to continue from, if there are more.
    ///
    /// # Errors
    /// When the organization does not exist.
    pub async fn list_replays(
        &self,
        caller: &Caller,
        organization: &str,
        before: i64,
        size: usize,
    ) -> AppResult<(Vec<ReplayView>, Option<String>)> {
        let organization_row = self.organization_for(caller, Scope::Read, organization)?;
        let rows = self.store.list_replays(organization_row.id, before, size + 1).await?;
        let (rows, next) = super::page(rows, size, |row| row.id.to_string());
        let views = rows.into_iter().map(|row| self.view_of_replay(row));
        let views = views.collect::<AppResult<_>>()?;
        Ok((views, next))
    }

    /// Stops a running replay.
    ///
    /// # Errors
    /// When the organization has no replay with this id, or it has ended.
    pub async fn cancel_replay(&self, caller: &Caller, organization: &str, id: ReplayId) -> AppResult<ReplayView> {
        let organization_row = self.organization_for(caller, Scope::Manage, organization)?;
        self.replay(&organization_row, id).await?;
        let audit = self.audit(
            Some(caller),
            "replay.cancel",
            Some(organization_row.id),
            resource(organization, id),
            json!({}),
        );
        let ended = self
            .store
            .end_replay(id.raw(), REPLAY_CANCELLED, None, clock::now_us(), Some(&audit))
            .await?;
        if ended {
            return self.replay(&organization_row, id).await;
        }
        Err(AppError::Precondition {
            reason: "REPLAY_ENDED",
            subject: resource(organization, id),
            message: "the replay has already ended".to_owned(),
        })
    }

    async fn replay(&self, organization: &OrganizationRow, id: ReplayId) -> AppResult<ReplayView> {
        let row = self.store.get_replay(organization.id, id.raw()).await?;
        row.map_or_else(
            || Err(AppError::not_found(KIND, resource(&organization.name, id))),
            |row| self.view_of_replay(row),
        )
    }

    /// The earlier replay under a request id, if its request is the same.
    async fn repeated_replay(
        &self,
        organization: &OrganizationRow,
        request_id: Option<&str>,
        spec: &ReplaySpec,
    ) -> AppResult<Option<ReplayView>> {
        let Some(request_id) = request_id else { return Ok(None) };
        let Some(row) = self.store.replay_of_request(organization.id, request_id).await? else {
            return Ok(None);
        };
        let first = self.view_of_replay(row)?;
        if first.spec == *spec {
            return Ok(Some(first));
        }
        let name = resource(&organization.name, ReplayId::from_raw(first.row.id));
        Err(AppError::AlreadyExists {
            reason: "REQUEST_ID_REUSED",
            kind: KIND,
            message: format!("the request id was used for {name}, which has another request; use a new one"),
            name,
        })
    }

    fn replay_row(
        &self,
        organization: &OrganizationRow,
        spec: &ReplaySpec,
        request_id: Option<&str>,
    ) -> AppResult<ReplayRow> {
        // All events published earlier have smaller ids.
        let id = self.next_id();
        let first_id = spec.start_us.map_or(0, first_at);
        Ok(ReplayRow {
            id,
            organization_id: organization.id,
            request_id: request_id.map(str::to_owned),
            spec: serde_json::to_string(spec).map_err(|error| AppError::internal(&error))?,
            state: REPLAY_RUNNING,
            error: None,
            first_id,
            last_id: spec.end_us.map_or(id, |end| (first_at(end) - 1).min(id)),
            cursor: first_id - 1,
            examined: 0,
            matched: 0,
            replayed: 0,
            skipped: 0,
            node: i32::from(self.store.node()),
            leased_until: 0,
            created_at: clock::now_us(),
            ended_at: None,
        })
    }

    /// No event is older than its organization or, approximately, than the retention: a replay's progress starts there,
    /// whatever its request.
    fn view_of_replay(&self, row: ReplayRow) -> AppResult<ReplayView> {
        let spec = serde_json::from_str(&row.spec).map_err(|error| AppError::internal(&error))?;
        let kept = i64::try_from(self.limits.retention.as_micros()).unwrap_or(i64::MAX);
        let oldest = first_at(row.created_at.saturating_sub(kept)).max(row.organization_id);
        Ok(ReplayView {
            progress: progress(&row, oldest),
            row,
            spec,
        })
    }

    fn check_replay(&self, spec: &ReplaySpec, organization: &OrganizationRow, request_id: &str) -> AppResult<()> {
        let mut faults = check_spec(spec);
        faults.extend(check_request_id(request_id));
        if let Some(webhook) = spec.webhook.map(WebhookId::from_raw)
            && self.registry.webhook(organization.id, webhook).is_none()
        {
            let name = format!("organizations/{}/webhooks/{webhook}", organization.name);
            return Err(AppError::not_found("hookwright.v1.Webhook", name));
        }
        faults.check()
    }
}

fn check_spec(spec: &ReplaySpec) -> Faults {
    let mut faults = Faults::of("");
    if spec.missed {
        let only_made = [
            ("states", spec.states.is_empty()),
            ("error_classes", spec.error_classes.is_empty()),
        ];
        for (field, _) in only_made.into_iter().filter(|(_, empty)| !empty) {
            let rule = "has no meaning for missed events; omit it";
            faults.add(field, "NOT_FOR_MISSED", rule);
        }
        if spec.webhook.is_none() {
            let rule = "is required to select missed events";
            faults.add("webhook", "FIELD_REQUIRED", rule);
        }
    }
    let open = spec.states.iter().find(|state| {
        let state: Option<DeliveryState> = state.parse().ok();
        state.is_none_or(|state| !state.is_final())
    });
    if let Some(open) = open {
        let rule = format!("`{open}` is not final; replay deliveries that are delivered, failed or cancelled");
        faults.add("states", "STATE_NOT_FINAL", rule);
    }
    if spec.event_types.len() > EVENT_TYPES_MAX {
        faults.add("event_types", "TOO_MANY", format!("must be at most {EVENT_TYPES_MAX}"));
    }
    for (index, event_type) in spec.event_types.iter().enumerate() {
        if let Err(error) = EventTypeName::parse(event_type) {
            faults.add(format!("event_types[{index}]"), error.rule(), error);
        }
    }
    if let (Some(start), Some(end)) = (spec.start_us, spec.end_us)
        && start >= end
    {
        faults.add("start_time", "OUT_OF_RANGE", "must be before the end time");
    }
    if let Some(Err(error)) = spec.rate.map(limits::check_rate) {
        faults.add("deliveries_per_second", error.rule(), error);
    }
    faults
}

/// The finished share of the time between two ids.
fn progress(row: &ReplayRow, oldest: i64) -> f64 {
    if row.state == REPLAY_SUCCEEDED {
        return 1.0;
    }
    let first = row.first_id.max(oldest);
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    let share = (row.cursor.saturating_sub(first)) as f64 / (row.last_id.saturating_sub(first)).max(1) as f64;
    share.clamp(0.0, 1.0)
}

fn resource(organization: &str, id: ReplayId) -> String {
    format!("organizations/{organization}/replays/{id}")
}
