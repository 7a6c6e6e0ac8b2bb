//! Changes of webhooks by their owners: create, update, delete.

use std::time::Duration;

use hookwright_delivery::clock;
use hookwright_domain::{
    id::{OperationId, WebhookId},
    secret::SigningSecret,
    signing::Ed25519Key,
};
use hookwright_storage::{OrganizationRow, SecretRow, UpdateOutcome, WebhookRow, operations::Begun};
use serde_json::{Value, json};

use super::{RELEASING, WebhookSpec, WebhookView, resource, stale};
use crate::app::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult, Faults},
    registry::WebhookRows,
    secrets,
};

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
}
