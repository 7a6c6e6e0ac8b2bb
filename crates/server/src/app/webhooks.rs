//! Webhooks: create, get, list, update, delete, ping.

mod audited;
pub mod resume;
pub mod rotation;
pub mod spec;

use std::{sync::Arc, time::Duration};

use hookwright_delivery::{
    clock,
    engine::{DisableReason, Draft},
};
use hookwright_domain::{
    id::{DeliveryId, EventId, OperationId, OrganizationId, WebhookId},
    secret::SigningSecret,
    signing::Ed25519Key,
};
use hookwright_storage::{
    Disabling, NewEvent, OrganizationRow, SecretRow, StoredEvent, UpdateOutcome, WebhookRow, operations::Begun,
};
use serde_json::{Value, json};

pub use self::spec::WebhookSpec;
use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult, Faults},
    events,
    registry::WebhookRows,
    secrets,
};

pub(super) const KIND: &str = "hookwright.v1.Webhook";
/// The event type of pings; it can be neither published nor subscribed to.
pub(super) const PING: &str = "ping";

/// An operation releases the blocked deliveries.
const RELEASING: Begun = Begun {
    rows: 0,
    operation: true,
};

/// A webhook as callers see it.
#[derive(Clone, Debug)]
pub struct WebhookView {
    /// The stored row.
    pub row: WebhookRow,
    /// The owner's settings.
    pub spec: WebhookSpec,
    /// Its public ed25519 key.
    pub ed25519_public_key: Option<String>,
    /// The signing secret, only on creation.
    pub signing_secret: Option<SigningSecret>,
    /// The operation that the change began.
    pub operation: Option<OperationId>,
    /// When the rotation ends, if one is in progress.
    pub rotation_until: Option<i64>,
    /// Number of its blocked ordering keys, if they were counted.
    pub paused_keys: usize,
}

/// A webhook's display data.
#[derive(Clone, Debug)]
pub struct WebhookName {
    /// Its id.
    pub id: i64,
    /// Its payload URL; empty for a pull webhook.
    pub payload_url: String,
    /// The description.
    pub description: String,
}

impl WebhookName {
    /// From a row.
    pub(super) fn of(row: &WebhookRow) -> Self {
        Self {
            id: row.id,
            payload_url: row.payload_url.clone(),
            description: row.description.clone(),
        }
    }
}

impl App {
    /// Creates a webhook and sends it a ping. `secret` is generated if `None`.
    ///
    /// # Errors
    /// With every invalid field, or when the organization has reached its limit on webhooks.
    pub async fn create_webhook(
        &self,
        caller: &Caller,
        organization: &str,
        spec: WebhookSpec,
        secret: Option<&str>,
    ) -> AppResult<WebhookView> {
        let organization_row = self.organization_for(caller, Scope::Manage, organization)?;
        let checked = self.check_spec(caller, organization_row.id, spec, secret, None)?;
        let secret = match checked.secret {
            Some(secret) => secret,
            None => SigningSecret::generate(),
        };
        let mut changing = self.changing().await?;
        // Looked up again: it may have been deleted while this call waited for its turn.
        let organization_row = self.organization_for(caller, Scope::Manage, &organization_row.name)?;
        self.check_webhook_count(&organization_row)?;
        // So may an event type.
        let mut faults = Faults::of("webhook.");
        self.check_events(caller, organization_row.id, &checked.spec.events, &[], &mut faults);
        faults.check()?;
        let id = WebhookId::from_raw(self.next_id());
        let now = clock::now_us();
        let ed25519 = checked.spec.ed25519.then(Ed25519Key::generate);
        let row = WebhookRow {
            created_at: now,
            ..self.row(id, organization_row.id, &checked.spec, ed25519.as_ref(), 1, now)
        };
        let secret_id = self.next_id();
        let secret_row = SecretRow {
            id: secret_id,
            webhook_id: id.raw(),
            sealed: secrets::seal_secret(&self.key, secret_id, &secret),
            created_at: now,
            expires_at: None,
        };
        let ping = row.active.then(|| self.ping_event(&row, &checked.spec, "created"));
        let audit = self.audit(
            Some(caller),
            "webhook.create",
            Some(row.organization_id),
            resource(organization, id),
            Value::Object(checked.spec.shown()),
        );
        changing
            .store()
            .insert_webhook(&row, &secret_row, ping.as_ref(), &audit)
            .await?;
        self.registry.put_webhook(WebhookRows {
            row: row.clone(),
            secrets: vec![secret_row],
        });
        if ping.is_some() {
            self.engine.stored(id);
        }
        changing.settle().await?;
        let mut view = self.view(row)?;
        view.signing_secret = Some(secret);
        Ok(view)
    }

    /// One webhook.
    ///
    /// # Errors
    /// When the organization has no webhook with this id.
    pub fn get_webhook(&self, caller: &Caller, organization: &str, id: WebhookId) -> AppResult<WebhookView> {
        let rows = self.webhook_for(caller, Scope::Read, organization, id)?;
        let mut view = self.view(rows.row)?;
        self.hide_header_values(caller, &mut view);
        Ok(view)
    }

    /// An organization's webhooks with ids above `after`, oldest first; and the id to continue from, if there are more.
    ///
    /// # Errors
    /// When the organization does not exist.
    pub fn list_webhooks(
        &self,
        caller: &Caller,
        organization: &str,
        after: i64,
        size: usize,
    ) -> AppResult<(Vec<WebhookView>, Option<String>)> {
        let organization_row = self.organization_for(caller, Scope::Read, organization)?;
        let rows = self.registry.webhooks(organization_row.id, after, size + 1);
        let (rows, next) = super::page(rows, size, |rows| rows.row.id.to_string());
        let views = rows.into_iter().map(|rows| {
            let mut view = self.view(rows.row)?;
            self.hide_header_values(caller, &mut view);
            Ok(view)
        });
        Ok((views.collect::<AppResult<_>>()?, next))
    }

    /// The display data of an organization's webhooks, oldest first.
    ///
    /// # Errors
    /// When the organization does not exist.
    pub fn webhook_names(&self, caller: &Caller, organization: &str) -> AppResult<Vec<WebhookName>> {
        let organization_row = self.organization_for(caller, Scope::Read, organization)?;
        Ok(self.registry.webhook_names(organization_row.id))
    }

    /// Changes a webhook with `change`, if its version is still the one that `version` names, and sends a ping unless it is
    /// inactive afterwards.
    ///
    /// # Errors
    /// With every invalid field, or when the webhook was changed in the meantime.
    pub async fn update_webhook(
        &self,
        caller: &Caller,
        organization: &str,
        id: WebhookId,
        version: Option<i64>,
        change: impl FnOnce(WebhookSpec) -> WebhookSpec,
    ) -> AppResult<WebhookView> {
        let mut changing = self.changing().await?;
        let WebhookRows { row: old, secrets } = self.webhook_for(caller, Scope::Manage, organization, id)?;
        if version.is_some_and(|version| version != old.version) {
            return Err(stale());
        }
        let before = self.spec_of(&old)?;
        let spec = self.check_change(caller, old.organization_id, &before, change(before.clone()))?;
        let row = self.changed_row(&old, &spec)?;
        let ping = row.active.then(|| self.ping_event(&row, &spec, "updated"));
        let audit = self.audit(
            Some(caller),
            "webhook.update",
            Some(row.organization_id),
            resource(organization, id),
            WebhookSpec::changed(&before, &spec),
        );
        let store = changing.store();
        let begun = match store.update_webhook(&row, old.version, ping.as_ref(), &audit).await? {
            UpdateOutcome::Updated => Begun::default(),
            UpdateOutcome::Releasing => RELEASING,
            UpdateOutcome::Stale => return Err(stale()),
        };
        self.registry.put_webhook(WebhookRows {
            row: row.clone(),
            secrets,
        });
        self.engine.webhook_changed(id);
        if ping.is_some() {
            self.engine.stored(id);
        }
        let operation = self.operation_of(begun, &audit);
        changing.settle().await?;
        let mut view = self.view(row)?;
        view.operation = operation;
        Ok(view)
    }

    /// The stored form of a change, if it satisfies all rules.
    fn check_change(
        &self,
        caller: &Caller,
        organization: i64,
        before: &WebhookSpec,
        spec: WebhookSpec,
    ) -> AppResult<WebhookSpec> {
        let stopped = WebhookSpec {
            active: false,
            ..before.clone()
        };
        // Deactivating is always possible, even if the webhook's settings would no longer be accepted.
        if spec == stopped {
            return Ok(spec);
        }
        Ok(self
            .check_spec(caller, organization, spec, None, Some(&before.events))?
            .spec)
    }

    /// The row of a webhook with these settings. It keeps its key, and the reason why it was disabled until it is active
    /// again.
    fn changed_row(&self, old: &WebhookRow, spec: &WebhookSpec) -> AppResult<WebhookRow> {
        let id = WebhookId::from_raw(old.id);
        let kept = secrets::open_ed25519(&self.key, old).map_err(|error| AppError::internal(&error))?;
        let ed25519 = spec.ed25519.then(|| kept.unwrap_or_else(Ed25519Key::generate));
        let now = clock::now_us();
        let row = self.row(id, old.organization_id, spec, ed25519.as_ref(), old.version + 1, now);
        Ok(WebhookRow {
            created_at: old.created_at,
            disabled_reason: old.disabled_reason.clone().filter(|_| !row.active),
            disabled_at: old.disabled_at.filter(|_| !row.active),
            ..row
        })
    }

    /// Deletes a webhook and cancels its pending deliveries: a small backlog before this returns, a large one by the
    /// returned operation.
    ///
    /// # Errors
    /// When the organization has no webhook with this id.
    pub async fn delete_webhook(
        &self,
        caller: &Caller,
        organization: &str,
        id: WebhookId,
    ) -> AppResult<Option<OperationId>> {
        let mut changing = self.changing().await?;
        let rows = self.webhook_for(caller, Scope::Manage, organization, id)?;
        let audit = self.audit(
            Some(caller),
            "webhook.delete",
            Some(rows.row.organization_id),
            resource(organization, id),
            json!({}),
        );
        let begun = changing
            .store()
            .delete_webhook(rows.row.id, clock::now_us(), &audit)
            .await?;
        self.registry.remove_webhook(id);
        self.engine.webhook_changed(id);
        let operation = self.operation_of(begun, &audit);
        changing.settle().await?;
        Ok(operation)
    }

    /// Sends a ping, and returns its delivery.
    ///
    /// # Errors
    /// When the organization has no webhook with this id, or it is inactive.
    pub async fn ping_webhook(&self, caller: &Caller, organization: &str, id: WebhookId) -> AppResult<DeliveryId> {
        let rows = self.webhook_for(caller, Scope::Manage, organization, id)?;
        if !rows.row.active {
            return Err(inactive(organization, id));
        }
        let spec = self.spec_of(&rows.row)?;
        let draft = Draft {
            organization: OrganizationId::from_raw(rows.row.organization_id),
            event_type: PING.to_owned(),
            payload: ping_payload(&rows.row, &spec, "updated"),
            webhooks: events::only(rows.row.id),
            occurred_at: None,
            attributes: None,
            trace: None,
            tracestate: None,
            ordering_key: None,
            replay_of: None,
            request: None,
        };
        Ok(self.publish_one(draft).await?.event.delivery(0))
    }

    /// Disables a webhook because of its receiver; for failures, only if no attempt succeeded on any node since they began.
    /// Sends no ping; pending deliveries stay.
    pub(super) async fn disable_webhook(&self, id: WebhookId, reason: DisableReason) -> AppResult<()> {
        let (reason, rule) = match reason {
            DisableReason::Gone => ("gone", None),
            DisableReason::Failing(rule) => ("failing", Some(rule)),
        };
        // Most often the answer is no, so check before delaying configuration changes.
        if let Some(rule) = rule
            && !self.store.has_only_failed(id.raw(), rule).await?
        {
            return Ok(());
        }
        let mut changing = self.changing().await?;
        let Some(WebhookRows { row, secrets }) = self.registry.any_webhook(id) else {
            return Ok(());
        };
        if !row.active {
            return Ok(());
        }
        let now = clock::now_us();
        let disabled = WebhookRow {
            active: false,
            disabled_reason: Some(reason.to_owned()),
            disabled_at: Some(now),
            version: row.version + 1,
            updated_at: now,
            ..row.clone()
        };
        let organization = self.registry.organization_name(row.organization_id).unwrap_or_default();
        let audit = self.audit(
            None,
            "webhook.disable",
            Some(row.organization_id),
            resource(&organization, id),
            json!({ "reason": reason }),
        );
        let disabling = changing
            .store()
            .disable_webhook(&disabled, row.version, rule, &audit)
            .await?;
        match disabling {
            Disabling::Disabled => {}
            Disabling::Releasing => {
                self.operation_of(RELEASING, &audit);
            }
            Disabling::Kept => return changing.settle().await,
        }
        self.registry.put_webhook(WebhookRows { row: disabled, secrets });
        self.engine.webhook_changed(id);
        tracing::warn!(webhook = %id, reason, "webhook disabled");
        changing.settle().await
    }

    /// The webhook, if the caller has the scope for its organization.
    pub(super) fn webhook_for(
        &self,
        caller: &Caller,
        scope: Scope,
        organization: &str,
        id: WebhookId,
    ) -> AppResult<WebhookRows> {
        let organization_row = self.organization_for(caller, scope, organization)?;
        let rows = self.registry.webhook(organization_row.id, id);
        rows.ok_or_else(|| AppError::not_found(KIND, resource(organization, id)))
    }

    fn check_webhook_count(&self, organization: &OrganizationRow) -> AppResult<()> {
        let max = self.limits.webhooks_per_organization_max;
        if self.registry.webhook_count(organization.id) < max {
            return Ok(());
        }
        Err(AppError::Precondition {
            reason: "WEBHOOK_LIMIT_REACHED",
            subject: format!("organizations/{}", organization.name),
            message: format!(
                "the organization has {max} webhooks, which is the limit; delete one, or raise webhooks-per-organization-max"
            ),
        })
    }

    /// The row of an owner's settings; the caller sets creation time and disabling.
    fn row(
        &self,
        id: WebhookId,
        organization: i64,
        spec: &WebhookSpec,
        ed25519: Option<&Ed25519Key>,
        version: i64,
        now: i64,
    ) -> WebhookRow {
        let delays = spec.retry_delays.as_ref().map(|delays| {
            let delays: Vec<u128> = delays.iter().map(Duration::as_millis).collect();
            serde_json::to_string(&delays).expect("numbers always serialise")
        });
        WebhookRow {
            id: id.raw(),
            organization_id: organization,
            payload_url: spec.payload_url.clone(),
            pull: spec.pull,
            events: serde_json::to_string(&spec.events).expect("strings always serialise"),
            filter: spec.filter.clone(),
            active: spec.active,
            disabled_reason: None,
            disabled_at: None,
            description: spec.description.clone(),
            headers: secrets::seal_headers(&self.key, id, &spec.headers),
            timeout_ms: i64::try_from(spec.timeout.as_millis()).unwrap_or(i64::MAX),
            retry_delays_ms: delays,
            rate_limit: spec.rate,
            ordered: spec.ordered,
            pauses: spec.pauses,
            insecure_skip_verify: spec.skip_verify,
            ed25519: ed25519.map(|key| secrets::seal_ed25519(&self.key, id, key)),
            version,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        }
    }

    fn view(&self, row: WebhookRow) -> AppResult<WebhookView> {
        let spec = self.spec_of(&row)?;
        let ed25519 = secrets::open_ed25519(&self.key, &row).map_err(|error| AppError::internal(&error))?;
        let ed25519_public_key = ed25519.map(|key| format!("whpk_{}", key.public_key_base64()));
        let secrets = self.registry.secrets(WebhookId::from_raw(row.id));
        let rotation_until = rotation::overlap_of(&secrets, clock::now_us());
        Ok(WebhookView {
            row,
            spec,
            ed25519_public_key,
            signing_secret: None,
            operation: None,
            rotation_until,
            paused_keys: 0,
        })
    }

    /// Values of custom headers are often credentials: only callers who may manage the webhook see them.
    fn hide_header_values(&self, caller: &Caller, view: &mut WebhookView) {
        if caller.require_for(Scope::Manage, view.row.organization_id).is_err() {
            for (_, value) in &mut view.spec.headers {
                "(redacted)".clone_into(value);
            }
        }
    }

    /// A ping that is committed with the change of its webhook. It is pending in the store from the start, so that a crash
    /// right after the commit does not lose it.
    fn ping_event(&self, row: &WebhookRow, spec: &WebhookSpec, action: &str) -> NewEvent {
        let now = clock::reference_us();
        let event = StoredEvent {
            id: self.ids.reserve(2, now / 1_000),
            organization_id: row.organization_id,
            event_type: PING.to_owned(),
            payload: ping_payload(row, spec, action),
            webhooks: events::only(row.id),
            occurred_at: now,
            attributes: None,
            trace: None,
            tracestate: None,
            ordering_key: None,
            replay_of: None,
        };
        NewEvent {
            event: Arc::new(event),
            request: None,
            spilled: vec![0],
            ordered: Vec::new(),
            due_at: clock::schedule_us(),
        }
    }
}

fn ping_payload(row: &WebhookRow, spec: &WebhookSpec, action: &str) -> bytes::Bytes {
    let names: Vec<&str> = spec.events.iter().map(String::as_str).collect();
    events::ping_payload(
        action,
        &WebhookId::from_raw(row.id).to_string(),
        &row.payload_url,
        row.active,
        &names,
    )
}

/// A webhook's name in the audit log.
pub(super) fn resource(organization: &str, id: WebhookId) -> String {
    format!("organizations/{organization}/webhooks/{id}")
}

/// An inactive webhook receives nothing, pushed or pulled.
pub(super) fn inactive(organization: &str, id: WebhookId) -> AppError {
    AppError::Precondition {
        reason: "WEBHOOK_INACTIVE",
        subject: resource(organization, id),
        message: "the webhook is inactive; resume it first".to_owned(),
    }
}

fn stale() -> AppError {
    AppError::Aborted(
        "the webhook was changed in the meantime; get it again and retry the update with its new etag".to_owned(),
    )
}

/// The event of a delivery, by its id; only pings have exactly one delivery, at position 0.
pub fn event_of_ping(delivery: DeliveryId) -> EventId {
    EventId::from_raw(delivery.raw() - 1)
}
