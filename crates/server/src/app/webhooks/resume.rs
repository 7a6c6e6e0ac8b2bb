//! Resuming inactive webhooks, with or without their backlog.

use hookwright_delivery::clock;
use hookwright_domain::id::WebhookId;
use hookwright_storage::{WebhookRow, operations::Discard};
use serde_json::json;

use super::{
    super::{
        App,
        access::{Caller, Scope},
        error::{AppError, AppResult},
        registry::WebhookRows,
    },
    WebhookView, resource, stale,
};

/// Pending deliveries are counted up to this number.
pub const COUNTED_MAX: usize = 10_000;

impl App {
    /// Number of pending deliveries of a webhook; `COUNTED_MAX` + 1 means more.
    ///
    /// # Errors
    /// When the organization has no webhook with this id, or the store does not answer.
    pub async fn count_waiting_for(&self, caller: &Caller, organization: &str, id: WebhookId) -> AppResult<usize> {
        self.webhook_for(caller, Scope::Manage, organization, id)?;
        Ok(self.store.count_waiting_for(id.raw(), COUNTED_MAX + 1).await?)
    }

    /// Reactivates an inactive webhook and sends it a ping. With `discard`, its pending deliveries are cancelled: a small
    /// backlog before this returns, a large one by the operation in the view.
    ///
    /// # Errors
    /// When the organization has no webhook with this id, or it is active.
    pub async fn resume_webhook(
        &self,
        caller: &Caller,
        organization: &str,
        id: WebhookId,
        discard: bool,
    ) -> AppResult<(WebhookView, usize)> {
        let mut changing = self.changing().await?;
        let WebhookRows { row: old, secrets } = self.webhook_for(caller, Scope::Manage, organization, id)?;
        if old.active {
            return Err(AppError::Precondition {
                reason: "WEBHOOK_ACTIVE",
                subject: resource(organization, id),
                message: "the webhook is already active; to discard its backlog, pause it first (`hookwright webhooks pause`, or `active` false)".to_owned(),
            });
        }
        if discard {
            // The backlog consists of smaller ids than that of the following audit entry, whichever node's clock is ahead.
            self.ids.move_to(self.store.node(), self.store.largest_id().await?);
        }
        let audit = self.audit(
            Some(caller),
            "webhook.resume",
            Some(old.organization_id),
            resource(organization, id),
            json!({ "discard_pending": discard, "disabled_reason": old.disabled_reason }),
        );
        let row = WebhookRow {
            active: true,
            disabled_reason: None,
            disabled_at: None,
            version: old.version + 1,
            updated_at: clock::now_us(),
            ..old.clone()
        };
        // After the audit entry: the ping is not part of the backlog.
        let ping = self.ping_event(&row, &self.spec_of(&row)?, "updated");
        let begun = changing
            .store()
            .resume_webhook(&row, old.version, discard, &ping, &audit)
            .await?
            .ok_or_else(stale)?;
        let discarding = begun.operation.then(|| Discard::begin(audit.id));
        let rows = WebhookRows {
            row: row.clone(),
            secrets,
        };
        self.registry.put_resumed(rows, discarding);
        self.engine.webhook_changed(id);
        self.engine.stored(id);
        let operation = self.operation_of(begun, &audit);
        changing.settle().await?;
        let mut view = self.view(row)?;
        view.operation = operation;
        Ok((view, begun.rows))
    }
}
