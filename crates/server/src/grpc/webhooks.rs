//! `WebhookService`.

use std::{collections::HashMap, slice, time::Duration};

use hookwright_domain::{id::WebhookId, secret::SigningSecret};
use hookwright_proto::v1::{
    CheckWebhookUrlRequest, CheckWebhookUrlResponse, CompleteSigningSecretRotationRequest, CreateWebhookRequest,
    DeleteWebhookRequest, DeliveryMode, DisabledReason, GetWebhookRequest, ListWebhooksRequest, ListWebhooksResponse,
    OrderedFailure, Ordering, PingWebhookRequest, PingWebhookResponse, ResumeWebhookRequest, ResumeWebhookResponse,
    RetrySchedule, RevealSigningSecretRequest, RevealSigningSecretResponse, RotateSigningSecretRequest,
    RotateSigningSecretResponse, SigningSecretRotation, TestWebhookFilterRequest, TestWebhookFilterResponse,
    UpdateWebhookRequest, Webhook, webhook_service_server::WebhookService,
};
use tonic::{Request, Response, Status};

use super::{
    Api, mask, name, operations, page, records,
    time::{proto_duration, std_duration, timestamp},
};
use crate::app::{
    access::Scope,
    error::{AppError, AppResult},
    webhooks::{WebhookSpec, WebhookView, rotation::NewSecret},
};

const FIELDS: [&str; 13] = [
    "payload_url",
    "events",
    "active",
    "description",
    "headers",
    "timeout",
    "retry_schedule",
    "requests_per_second",
    "insecure_skip_tls_verify",
    "ed25519_signing",
    "ordering",
    "ordered_failure",
    "filter",
];
/// Maximum wait for a ping: the longest attempt, and its overhead.
const PING_WAIT: Duration = Duration::from_secs(35);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const OVERLAP_DEFAULT: Duration = Duration::from_secs(86_400);

#[tonic::async_trait]
impl WebhookService for Api {
    async fn create_webhook(&self, request: Request<CreateWebhookRequest>) -> Result<Response<Webhook>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let organization = name::organization("parent", &request.parent)?;
        let given = required(request.webhook)?;
        let secret = (!given.signing_secret.is_empty()).then(|| given.signing_secret.clone());
        let pull = match DeliveryMode::try_from(given.delivery_mode) {
            Ok(mode) => mode == DeliveryMode::Pull,
            Err(_) => return Err(unknown("webhook.delivery_mode", given.delivery_mode).into()),
        };
        let mut spec = apply(default_spec(), given, &FIELDS)?;
        spec.pull = pull;
        let view = self
            .app
            .create_webhook(&caller, organization, spec, secret.as_deref())
            .await?;
        Ok(Response::new(webhook(organization, view)))
    }

    async fn get_webhook(&self, request: Request<GetWebhookRequest>) -> Result<Response<Webhook>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::webhook("name", &request.get_ref().name)?;
        let mut view = self.app.get_webhook(&caller, organization, id)?;
        self.app.count_blocked_keys(slice::from_mut(&mut view)).await?;
        Ok(Response::new(webhook(organization, view)))
    }

    async fn list_webhooks(
        &self,
        request: Request<ListWebhooksRequest>,
    ) -> Result<Response<ListWebhooksResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let organization = name::organization("parent", &request.parent)?;
        let arguments = page::Arguments::new(&["ListWebhooks", organization]);
        let after = arguments
            .place(&request.page_token)?
            .and_then(|place| place.parse().ok())
            .unwrap_or(0);
        let size = page::size(request.page_size)?;
        let (mut views, next) = self.app.list_webhooks(&caller, organization, after, size)?;
        self.app.count_blocked_keys(&mut views).await?;
        let place = |view: &WebhookView| view.row.id.to_string();
        let (webhooks, next) = page::fit(views, next, place, |view| webhook(organization, view));
        Ok(Response::new(ListWebhooksResponse {
            webhooks,
            next_page_token: arguments.token(next.as_deref()),
        }))
    }

    async fn update_webhook(&self, request: Request<UpdateWebhookRequest>) -> Result<Response<Webhook>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let given = required(request.webhook)?;
        let given_name = given.name.clone();
        let (organization, id) = name::webhook("webhook.name", &given_name)?;
        let fields = mask::fields(request.update_mask.as_ref(), &FIELDS, &set_fields(&given))?;
        let version = version(&given.etag)?;
        // Validated before the webhook is locked; applied to the row that is stored then.
        apply(default_spec(), given.clone(), &fields)?;
        let change = |spec: WebhookSpec| apply(spec.clone(), given, &fields).unwrap_or(spec);
        let view = self
            .app
            .update_webhook(&caller, organization, id, version, change)
            .await?;
        let operation = view.operation;
        Ok(operations::answer(self.changed(organization, view).await, operation))
    }

    async fn resume_webhook(
        &self,
        request: Request<ResumeWebhookRequest>,
    ) -> Result<Response<ResumeWebhookResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let (organization, id) = name::webhook("name", &request.name)?;
        let (view, discarded) = self
            .app
            .resume_webhook(&caller, organization, id, request.discard_backlog)
            .await?;
        let operation = view.operation;
        let resumed = ResumeWebhookResponse {
            webhook: Some(self.changed(organization, view).await),
            discarded_count: i64::try_from(discarded).unwrap_or(i64::MAX),
            operation: operations::operation_name(operation),
        };
        Ok(operations::answer(resumed, operation))
    }

    async fn delete_webhook(&self, request: Request<DeleteWebhookRequest>) -> Result<Response<()>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::webhook("name", &request.get_ref().name)?;
        let operation = self.app.delete_webhook(&caller, organization, id).await?;
        Ok(operations::answer((), operation))
    }

    async fn ping_webhook(
        &self,
        request: Request<PingWebhookRequest>,
    ) -> Result<Response<PingWebhookResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let (organization, id) = name::webhook("name", &request.name)?;
        let delivery = self.app.ping_webhook(&caller, organization, id).await?;
        // It is unknown when a pull receiver will fetch a ping.
        let is_fetched = self.app.get_webhook(&caller, organization, id)?.spec.pull;
        let limit = if request.wait && !is_fetched {
            PING_WAIT
        } else {
            Duration::ZERO
        };
        let record = self
            .app
            .wait_for_attempt(&caller, organization, delivery, limit)
            .await?;
        Ok(Response::new(PingWebhookResponse {
            delivery: Some(records::delivery(organization, record)),
        }))
    }

    async fn check_webhook_url(
        &self,
        request: Request<CheckWebhookUrlRequest>,
    ) -> Result<Response<CheckWebhookUrlResponse>, Status> {
        self.caller(&request)?.require_any(Scope::Manage)?;
        let verdict = self.app.explain_url(&request.get_ref().payload_url);
        Ok(Response::new(CheckWebhookUrlResponse {
            allowed: verdict.allowed,
            rule: verdict.rule,
            message: verdict.message,
            normalized_url: verdict.normalized,
        }))
    }

    async fn test_webhook_filter(
        &self,
        request: Request<TestWebhookFilterRequest>,
    ) -> Result<Response<TestWebhookFilterResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(self.test_filter(&caller, request.into_inner()).await?))
    }

    async fn rotate_signing_secret(
        &self,
        request: Request<RotateSigningSecretRequest>,
    ) -> Result<Response<RotateSigningSecretResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.get_ref();
        let (organization, id) = name::webhook("name", &request.name)?;
        let overlap = request
            .overlap
            .as_ref()
            .map_or(Ok(OVERLAP_DEFAULT), |overlap| std_duration("overlap", overlap))?;
        let secret = (!request.signing_secret.is_empty()).then_some(request.signing_secret.as_str());
        let new = NewSecret {
            secret,
            overlap,
            ends_older: request.force,
        };
        let rotation = self.app.rotate_secret(&caller, organization, id, new).await?;
        Ok(Response::new(RotateSigningSecretResponse {
            signing_secret: rotation.secret.expose().to_owned(),
            standard_form: rotation.secret.standard_form(),
            old_secret_expire_time: Some(timestamp(rotation.old_expires_at)),
        }))
    }

    async fn complete_signing_secret_rotation(
        &self,
        request: Request<CompleteSigningSecretRotationRequest>,
    ) -> Result<Response<Webhook>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::webhook("name", &request.get_ref().name)?;
        let view = self.app.complete_rotation(&caller, organization, id).await?;
        Ok(Response::new(self.changed(organization, view).await))
    }

    async fn reveal_signing_secret(
        &self,
        request: Request<RevealSigningSecretRequest>,
    ) -> Result<Response<RevealSigningSecretResponse>, Status> {
        let caller = self.caller(&request)?;
        let (organization, id) = name::webhook("name", &request.get_ref().name)?;
        let secret = self.app.reveal_secret(&caller, organization, id).await?;
        Ok(Response::new(RevealSigningSecretResponse {
            signing_secret: secret.expose().to_owned(),
            standard_form: secret.standard_form(),
        }))
    }
}

impl Api {
    /// A webhook after a change, which is made whether or not its blocked keys can be counted.
    async fn changed(&self, organization: &str, mut view: WebhookView) -> Webhook {
        let counted = self.app.count_blocked_keys(slice::from_mut(&mut view)).await;
        if let Err(error) = counted {
            tracing::debug!(%error, "the blocked keys of a changed webhook were not counted");
        }
        webhook(organization, view)
    }
}

fn required(given: Option<Webhook>) -> AppResult<Webhook> {
    given.ok_or_else(|| AppError::invalid("webhook", "FIELD_REQUIRED", "is required"))
}

/// The version in an etag; `None` for no etag.
fn version(etag: &str) -> AppResult<Option<i64>> {
    if etag.is_empty() {
        return Ok(None);
    }
    let parsed = etag.parse().map(Some);
    parsed.map_err(|_| {
        AppError::invalid(
            "webhook.etag",
            "INVALID_ETAG",
            "must be the etag of an earlier response",
        )
    })
}

fn default_spec() -> WebhookSpec {
    WebhookSpec {
        payload_url: String::new(),
        pull: false,
        events: Vec::new(),
        filter: String::new(),
        active: true,
        description: String::new(),
        headers: Vec::new(),
        timeout: TIMEOUT_DEFAULT,
        retry_delays: None,
        rate: None,
        skip_verify: false,
        ed25519: false,
        ordered: false,
        pauses: false,
    }
}

/// The fields with a value: those that an update without a mask changes.
fn set_fields(given: &Webhook) -> Vec<&'static str> {
    let set = [
        !given.payload_url.is_empty(),
        !given.events.is_empty(),
        given.active.is_some(),
        !given.description.is_empty(),
        !given.headers.is_empty(),
        given.timeout.is_some(),
        given.retry_schedule.is_some(),
        given.requests_per_second.is_some(),
        given.insecure_skip_tls_verify,
        given.ed25519_signing,
        given.ordering() != Ordering::Unspecified,
        given.ordered_failure() != OrderedFailure::Unspecified,
        !given.filter.is_empty(),
    ];
    FIELDS
        .iter()
        .zip(set)
        .filter(|(_, set)| *set)
        .map(|(field, _)| *field)
        .collect()
}

/// Sets the named fields; an absent field gets its default.
fn apply(mut spec: WebhookSpec, given: Webhook, fields: &[&str]) -> AppResult<WebhookSpec> {
    let has = |field: &str| fields.contains(&field);
    if has("ordering") {
        spec.ordered = match Ordering::try_from(given.ordering) {
            Ok(ordering) => ordering == Ordering::Ordered,
            Err(_) => return Err(unknown("webhook.ordering", given.ordering)),
        };
    }
    if has("ordered_failure") {
        spec.pauses = match OrderedFailure::try_from(given.ordered_failure) {
            Ok(failure) => failure == OrderedFailure::Pause,
            Err(_) => return Err(unknown("webhook.ordered_failure", given.ordered_failure)),
        };
    }
    if has("payload_url") {
        spec.payload_url = given.payload_url;
    }
    if has("events") {
        spec.events = given.events;
    }
    if has("filter") {
        spec.filter = given.filter;
    }
    if has("active") {
        spec.active = given.active.unwrap_or(true);
    }
    if has("description") {
        spec.description = given.description;
    }
    if has("headers") {
        spec.headers = sorted(given.headers);
    }
    if has("timeout") {
        let timeout = given.timeout.map(|timeout| std_duration("webhook.timeout", &timeout));
        spec.timeout = timeout.transpose()?.unwrap_or(TIMEOUT_DEFAULT);
    }
    if has("retry_schedule") {
        spec.retry_delays = given.retry_schedule.map(delays).transpose()?;
    }
    if has("requests_per_second") {
        spec.rate = given.requests_per_second;
    }
    if has("insecure_skip_tls_verify") {
        spec.skip_verify = given.insecure_skip_tls_verify;
    }
    if has("ed25519_signing") {
        spec.ed25519 = given.ed25519_signing;
    }
    Ok(spec)
}

fn unknown(field: &str, number: i32) -> AppError {
    AppError::invalid(field, "UNKNOWN_VALUE", format!("{number} is not one of its values"))
}

fn delays(schedule: RetrySchedule) -> AppResult<Vec<Duration>> {
    let delays = schedule.delays.iter().enumerate();
    delays
        .map(|(index, delay)| std_duration(&format!("webhook.retry_schedule.delays[{index}]"), delay))
        .collect()
}

/// Headers in a stable order, which maps do not have.
fn sorted(headers: HashMap<String, String>) -> Vec<(String, String)> {
    let mut headers: Vec<_> = headers.into_iter().collect();
    headers.sort_unstable();
    headers
}

fn webhook(organization: &str, view: WebhookView) -> Webhook {
    let WebhookView {
        row,
        spec,
        ed25519_public_key,
        signing_secret,
        operation: _,
        rotation_until,
        blocked_keys,
    } = view;
    let reason = disabled_reason(row.disabled_reason.as_deref());
    let schedule = spec.retry_delays.map(|delays| RetrySchedule {
        delays: delays.into_iter().map(proto_duration).collect(),
    });
    Webhook {
        name: format!("organizations/{organization}/webhooks/{}", WebhookId::from_raw(row.id)),
        payload_url_unicode: unicode(&spec.payload_url),
        delivery_mode: if spec.pull {
            DeliveryMode::Pull
        } else {
            DeliveryMode::Push
        }
        .into(),
        payload_url: spec.payload_url,
        events: spec.events,
        filter: spec.filter,
        active: Some(spec.active),
        disabled_reason: reason.into(),
        disable_time: row.disabled_at.map(timestamp),
        description: spec.description,
        headers: spec.headers.into_iter().collect(),
        timeout: Some(proto_duration(spec.timeout)),
        retry_schedule: schedule,
        requests_per_second: spec.rate,
        insecure_skip_tls_verify: spec.skip_verify,
        ed25519_signing: spec.ed25519,
        ed25519_public_key: ed25519_public_key.unwrap_or_default(),
        signing_secret: signing_secret
            .as_ref()
            .map(SigningSecret::expose)
            .unwrap_or_default()
            .to_owned(),
        rotation: rotation_until.map(|until| SigningSecretRotation {
            expire_time: Some(timestamp(until)),
        }),
        blocked_key_count: i32::try_from(blocked_keys).unwrap_or(i32::MAX),
        etag: row.version.to_string(),
        create_time: Some(timestamp(row.created_at)),
        update_time: Some(timestamp(row.updated_at)),
        ordering: if spec.ordered {
            Ordering::Ordered
        } else {
            Ordering::Unordered
        }
        .into(),
        ordered_failure: if spec.pauses {
            OrderedFailure::Pause
        } else {
            OrderedFailure::Skip
        }
        .into(),
    }
}

/// Why a webhook was disabled, as stored.
pub(super) fn disabled_reason(stored: Option<&str>) -> DisabledReason {
    match stored {
        Some("gone") => DisabledReason::Gone,
        Some("failing") => DisabledReason::Failing,
        _ => DisabledReason::Unspecified,
    }
}

fn unicode(url: &str) -> String {
    hookwright_domain::url::PayloadUrl::parse_stored(url).map_or_else(|_| url.to_owned(), |url| url.unicode())
}
