//! Pings: test events to one webhook, after each change of it and on request.

use std::sync::Arc;

use hookwright_delivery::{clock, engine::Draft};
use hookwright_domain::id::{DeliveryId, OrganizationId, WebhookId};
use hookwright_storage::{NewEvent, StoredEvent, WebhookRow};

use super::{PING, WebhookSpec, inactive};
use crate::app::{
    App,
    access::{Caller, Scope},
    error::AppResult,
    events,
};

impl App {
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

    /// A ping that is committed with the change of its webhook. It is pending in the store from the start, so that a crash
    /// right after the commit does not lose it.
    pub(super) fn ping_event(&self, row: &WebhookRow, spec: &WebhookSpec, action: &str) -> NewEvent {
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
