//! Signing secrets: rotate, complete a rotation, reveal.

use std::time::Duration;

use hookwright_delivery::clock;
use hookwright_domain::{id::WebhookId, secret::SigningSecret};
use hookwright_storage::SecretRow;
use serde_json::json;

use super::{WebhookView, resource};
use crate::app::{
    App,
    access::{Caller, Scope},
    audit,
    error::{AppError, AppResult},
    registry::WebhookRows,
    secrets,
};

/// The maximum overlap of an old secret.
const OVERLAP_MAX: Duration = Duration::from_secs(7 * 86_400);

/// The request of a rotation.
pub struct NewSecret<'a> {
    /// The new secret; generated if `None`.
    pub secret: Option<&'a str>,
    /// The overlap during which the old one also signs.
    pub overlap: Duration,
    /// Whether to rotate even while a rotation is in progress: the secret before the old one then stops signing.
    pub ends_older: bool,
}

/// The error for a rotation that would end another one.
pub const IN_PROGRESS: &str = "ROTATION_IN_PROGRESS";

/// The result of a rotation.
pub struct Rotation {
    /// The new secret.
    pub secret: SigningSecret,
    /// When the old one stops signing.
    pub old_expires_at: i64,
}

impl App {
    /// Replaces the signing secret; the old one stays valid for the overlap.
    ///
    /// # Errors
    /// When the webhook does not exist, a field is invalid, or another rotation is in progress and may not be ended.
    pub async fn rotate_secret(
        &self,
        caller: &Caller,
        organization: &str,
        id: WebhookId,
        new: NewSecret<'_>,
    ) -> AppResult<Rotation> {
        let NewSecret {
            secret,
            overlap,
            ends_older,
        } = new;
        if overlap > OVERLAP_MAX {
            return Err(AppError::invalid(
                "overlap",
                "OVERLAP_TOO_LONG",
                "must be at most 7 days",
            ));
        }
        let secret = match secret {
            Some(text) => SigningSecret::parse(text)
                .map_err(|error| AppError::invalid("signing_secret", error.rule(), error.to_string()))?,
            None => SigningSecret::generate(),
        };
        let mut changing = self.changing().await?;
        let WebhookRows { row, secrets: mut rows } = self.webhook_for(caller, Scope::Manage, organization, id)?;
        let now = clock::now_us();
        if let Some(until) = overlap_of(&rows, now).filter(|_| !ends_older) {
            return Err(AppError::Precondition {
                reason: IN_PROGRESS,
                subject: resource(organization, id),
                message: format!(
                    "a rotation is in progress: the older secret signs until {}. Another rotation would end it at once, and receivers \
         that have only that secret would reject requests. Wait, complete the rotation first, or set `force` (`--force`) to rotate now",
                    audit::time(until)
                ),
            });
        }
        let until = now + i64::try_from(overlap.as_micros()).unwrap_or(i64::MAX);
        let new_id = self.next_id();
        let new = SecretRow {
            id: new_id,
            webhook_id: id.raw(),
            sealed: secrets::seal_secret(&self.key, new_id, &secret),
            created_at: now,
            expires_at: None,
        };
        let audit = self.audit(
            Some(caller),
            "webhook.rotate_secret",
            Some(row.organization_id),
            resource(organization, id),
            json!({ "old_secret_expire_time": audit::time(until) }),
        );
        changing.store().rotate_secret(&new, until, &audit).await?;
        // Only the previous secret may still sign: an older overlap ends here.
        rows.truncate(1);
        rows[0].expires_at = Some(until);
        rows.insert(0, new);
        self.registry.put_webhook(WebhookRows { row, secrets: rows });
        changing.settle().await?;
        Ok(Rotation {
            secret,
            old_expires_at: until,
        })
    }

    /// Ends the overlap of a rotation now.
    ///
    /// # Errors
    /// When the webhook does not exist.
    pub async fn complete_rotation(
        &self,
        caller: &Caller,
        organization: &str,
        id: WebhookId,
    ) -> AppResult<WebhookView> {
        let mut changing = self.changing().await?;
        let WebhookRows { row, secrets: mut rows } = self.webhook_for(caller, Scope::Manage, organization, id)?;
        let audit = self.audit(
            Some(caller),
            "webhook.complete_rotation",
            Some(row.organization_id),
            resource(organization, id),
            json!({}),
        );
        changing.store().expire_secrets(id.raw(), &audit).await?;
        rows.truncate(1);
        self.registry.put_webhook(WebhookRows {
            row: row.clone(),
            secrets: rows,
        });
        changing.settle().await?;
        self.view(row)
    }

    /// The newest signing secret. Every call is audited.
    ///
    /// # Errors
    /// When the webhook does not exist.
    pub async fn reveal_secret(&self, caller: &Caller, organization: &str, id: WebhookId) -> AppResult<SigningSecret> {
        let rows = self.webhook_for(caller, Scope::Manage, organization, id)?;
        let newest = rows
            .secrets
            .first()
            .ok_or_else(|| AppError::internal(&"a webhook without a secret"))?;
        let audit = self.audit(
            Some(caller),
            "webhook.reveal_secret",
            Some(rows.row.organization_id),
            resource(organization, id),
            json!({}),
        );
        self.store.append_audit(&audit).await?;
        secrets::open_secret(&self.key, newest).map_err(|error| AppError::internal(&error))
    }
}

/// When the overlap of the previous secret ends.
pub(super) fn overlap_of(secrets: &[SecretRow], now: i64) -> Option<i64> {
    let until = secrets.get(1).and_then(|old| old.expires_at);
    until.filter(|until| *until > now)
}
