//! Webhooks: how they are shown, and the rows behind them.

mod audited;
mod changing;
mod disabling;
mod ping;
pub mod resume;
pub mod rotation;
pub mod spec;

use hookwright_delivery::clock;
use hookwright_domain::{
    id::{OperationId, WebhookId},
    secret::SigningSecret,
};
use hookwright_storage::{WebhookRow, operations::Begun};

pub use self::spec::WebhookSpec;
use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult},
    registry::WebhookRows,
    secrets,
    webhook_name::WebhookName,
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
    pub blocked_keys: usize,
}

impl App {
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
            blocked_keys: 0,
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
