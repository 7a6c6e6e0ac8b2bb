//! Disabling of webhooks whose receivers fail or are gone.

use hookwright_delivery::{clock, engine::DisableReason};
use hookwright_domain::id::WebhookId;
use hookwright_storage::{Disabling, WebhookRow};
use serde_json::json;

use super::{RELEASING, resource};
use crate::app::{App, error::AppResult, registry::WebhookRows};

impl App {
    /// Disables a webhook because of its receiver; for failures, only if no attempt succeeded on any node since they began.
    /// Sends no ping; pending deliveries stay.
    pub(in crate::app) async fn disable_webhook(&self, id: WebhookId, reason: DisableReason) -> AppResult<()> {
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
}
