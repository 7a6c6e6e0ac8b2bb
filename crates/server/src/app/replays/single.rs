//! Replay of one delivery.

use std::sync::Arc;

use hookwright_delivery::engine::Draft;
use hookwright_domain::id::{DeliveryId, OrganizationId, WebhookId};
use hookwright_storage::{DeliveryRecord, RequestKey, StoredEvent};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::app::{
    App,
    access::{Caller, Scope},
    deliveries,
    error::{AppError, AppResult},
    events::{self, check_request_id},
    webhooks,
};

/// The prefix of replays' request ids: a character that callers' ids cannot contain.
const REQUEST_PREFIX: &str = "\u{1}delivery/";

impl App {
    /// Replays a final delivery, and returns the new one.
    ///
    /// # Errors
    /// When the organization has no such delivery, it is not final or is a ping, or its webhook accepts nothing.
    pub async fn replay_delivery(
        &self,
        caller: &Caller,
        organization: &str,
        id: DeliveryId,
        request_id: &str,
    ) -> AppResult<DeliveryRecord> {
        let row = self.organization_for(caller, Scope::Manage, organization)?;
        if let Some(violation) = check_request_id(request_id) {
            return Err(AppError::Invalid(vec![violation]));
        }
        let record = self.get_delivery_as(row.id, organization, id).await?;
        self.check_replayable(organization, id, &record)?;
        let event = self.store.events(&[record.event_id]).await?.pop();
        let event = event.ok_or_else(|| AppError::Precondition {
            reason: "EVENT_EXPIRED",
            subject: deliveries::resource(organization, id),
            message: "the event is no longer stored: its retention has ended".to_owned(),
        })?;
        let request = (!request_id.is_empty()).then(|| RequestKey {
            request_id: format!("{REQUEST_PREFIX}{request_id}"),
            fingerprint: Sha256::digest(id.raw().to_be_bytes()).into(),
        });
        let audit = self.audit(
            Some(caller),
            "delivery.replay",
            Some(row.id),
            deliveries::resource(organization, id),
            json!({ "webhook": WebhookId::from_raw(record.webhook_id).to_string() }),
        );
        self.store.append_audit(&audit).await?;
        let draft = draft(&event, events::only(record.webhook_id), request);
        let published = self.publish_one(draft).await?;
        self.get_delivery_as(row.id, organization, published.event.delivery(0))
            .await
    }

    fn check_replayable(&self, organization: &str, id: DeliveryId, record: &DeliveryRecord) -> AppResult<()> {
        let refused = |reason, message: &str| {
            Err(AppError::Precondition {
                reason,
                subject: deliveries::resource(organization, id),
                message: message.to_owned(),
            })
        };
        if record.event_type == webhooks::PING {
            return refused(
                "DELIVERY_IS_PING",
                "a ping is not replayed; send a new one with PingWebhook",
            );
        }
        if !record.state.is_final() {
            let rule = "the delivery is not final; make it due now with RetryDelivery (`hookwright deliveries retry`)";
            return refused("DELIVERY_NOT_FINAL", rule);
        }
        let webhook = WebhookId::from_raw(record.webhook_id);
        match self.registry.any_webhook(webhook) {
            None => refused("WEBHOOK_DELETED", "the webhook was deleted"),
            Some(rows) if !rows.row.active => Err(webhooks::inactive(organization, webhook)),
            Some(_) => Ok(()),
        }
    }
}

/// The event again, for some webhooks.
pub(super) fn draft(event: &StoredEvent, webhooks: Arc<[i64]>, request: Option<RequestKey>) -> Draft {
    Draft {
        organization: OrganizationId::from_raw(event.organization_id),
        event_type: event.event_type.clone(),
        payload: event.payload.clone(),
        webhooks,
        occurred_at: Some(event.occurred_at),
        attributes: event.attributes.clone(),
        trace: event.trace,
        tracestate: event.tracestate.clone(),
        ordering_key: event.ordering_key.clone(),
        replay_of: Some(event.known_as()),
        request,
    }
}
