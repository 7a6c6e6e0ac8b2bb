//! Which webhooks fail, for those who look after them.

use std::collections::HashMap;

use hookwright_delivery::clock;
use hookwright_domain::id::WebhookId;
use hookwright_storage::HealthRow;

use super::{
    App,
    access::{Caller, Scope},
    error::AppResult,
};

/// A webhook that fails, or was disabled because it did.
#[derive(Clone, Debug)]
pub struct TroubledWebhook {
    /// The organization's name.
    pub organization: String,
    /// The webhook.
    pub webhook: WebhookId,
    /// Where it posts to.
    pub payload_url: String,
    /// When it first failed after its last success.
    pub failing_since: Option<i64>,
    /// How often it has failed since.
    pub failures: i32,
    /// Why and when it was disabled, if it was.
    pub disabled: Option<(String, i64)>,
}

impl App {
    /// Which of these webhooks of an organization fail now, by id.
    ///
    /// # Errors
    /// When the organization does not exist, or the store does not answer.
    pub async fn failing_webhooks(
        &self,
        caller: &Caller,
        organization: &str,
        webhooks: &[i64],
    ) -> AppResult<HashMap<i64, HealthRow>> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let failing = self.store.health_of(webhooks.to_vec()).await?.into_iter();
        let own = failing.filter(|health| {
            let id = WebhookId::from_raw(health.webhook_id);
            health.failing_since.is_some() && self.registry.webhook(row.id, id).is_some()
        });
        Ok(own.map(|health| (health.webhook_id, health)).collect())
    }

    /// Since when the delivery is due that has been due for the longest, to a webhook that is active: at whichever node it waits.
    ///
    /// # Errors
    /// When the caller may not see the installation, or the store does not answer.
    pub async fn oldest_due(&self, caller: &Caller) -> AppResult<Option<i64>> {
        caller.require(Scope::Read)?;
        let waiting = self.store.waiting().await?.into_iter();
        let active = waiting.filter(|waiting| self.engine.is_active(WebhookId::from_raw(waiting.webhook)));
        let stalled = self.engine.stall().map(|stall| stall.since);
        let due = active.map(|waiting| waiting.due_at).chain(stalled);
        let now = clock::now_us();
        Ok(due.filter(|due| *due <= now).min())
    }

    /// The webhooks of the installation that fail now or were disabled, the longest first, `size` at most.
    ///
    /// # Errors
    /// When the caller may not see them, or the store does not answer.
    pub async fn troubled_webhooks(&self, caller: &Caller, size: usize) -> AppResult<Vec<TroubledWebhook>> {
        caller.require(Scope::Read)?;
        let rows = self.store.failing_webhooks().await?;
        let failing: HashMap<i64, HealthRow> = rows.into_iter().map(|row| (row.webhook_id, row)).collect();
        let mut troubled: Vec<TroubledWebhook> =
            self.registry
                .filter_webhooks(i64::MIN, usize::MAX, |organization, row| {
                    let health = failing.get(&row.id).filter(|health| health.failing_since.is_some());
                    let disabled = row.disabled_reason.clone().zip(row.disabled_at);
                    (health.is_some() || disabled.is_some()).then(|| TroubledWebhook {
                        organization: organization.to_owned(),
                        webhook: WebhookId::from_raw(row.id),
                        payload_url: row.payload_url.clone(),
                        failing_since: health.and_then(|health| health.failing_since),
                        failures: health.map_or(0, |health| health.failures),
                        disabled,
                    })
                });
        let since = |webhook: &TroubledWebhook| webhook.failing_since.or(webhook.disabled.as_ref().map(|(_, at)| *at));
        troubled.sort_by_key(since);
        troubled.truncate(size);
        Ok(troubled)
    }
}
