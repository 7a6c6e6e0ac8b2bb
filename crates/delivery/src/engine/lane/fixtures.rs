//! Test fixtures: a webhook with the id 7, its catalogue, and its lane.

use std::time::Duration;

use bytes::Bytes;
use hookwright_domain::{id::OrganizationId, retry::RetrySchedule, subscription::Subscription, url::PayloadUrl};
use hookwright_storage::StoredEvent;

use super::*;
use crate::catalogue::{Snapshot, Webhook};

pub(super) const SECOND: i64 = 1_000_000;

pub(in super::super) fn event(id: i64) -> Arc<StoredEvent> {
    Arc::new(StoredEvent {
        id,
        organization_id: 1,
        event_type: "clocking".to_owned(),
        payload: Bytes::from_static(b"{}"),
        webhooks: Arc::from([7]),
        occurred_at: 0,
        attributes: None,
        trace: None,
        tracestate: None,
        ordering_key: None,
        replay_of: None,
    })
}

pub(super) fn webhook(active: bool) -> Webhook {
    Webhook {
        id: WebhookId::from_raw(7),
        organization: OrganizationId::from_raw(1),
        url: Some(PayloadUrl::parse("https://receiver.example/hook").unwrap()),
        subscription: Subscription::from_events(&["clocking".to_owned()]).unwrap(),
        filter: None,
        active,
        headers: Vec::new(),
        timeout: Duration::from_secs(1),
        schedule: Arc::new(RetrySchedule::new(vec![Duration::from_secs(1)]).unwrap()),
        rate: None,
        ordered: false,
        pauses: false,
        skip_verify: false,
        keys: None,
    }
}

/// Puts the webhook in force; `None` deletes it.
pub(super) fn configure(catalogue: &Catalogue, webhook: Option<Webhook>) {
    catalogue.replace(Snapshot {
        webhooks: webhook.map(|webhook| (7, Arc::new(webhook))).into_iter().collect(),
        ..Snapshot::default()
    });
}

/// A catalogue with one active webhook, which has the id 7.
pub(in super::super) fn catalogue() -> Arc<Catalogue> {
    let catalogue = Arc::new(Catalogue::default());
    configure(&catalogue, Some(webhook(true)));
    catalogue
}

pub(super) fn lane_with(
    limits: LaneLimits,
    memory: &Arc<Memory>,
    turns: &Arc<Turns<WakeHandle>>,
    catalogue: &Arc<Catalogue>,
) -> Arc<Lane> {
    let shared = Shared::new(Arc::clone(catalogue), Arc::clone(memory), Arc::clone(turns));
    Arc::new(Lane::new(WebhookId::from_raw(7), limits, shared, Health::default()))
}

pub(super) fn job(delivery: i64, attempts: u32) -> Job {
    Job {
        delivery,
        webhook: 7,
        event: event(delivery - 1),
        attempts,
        ordering_key: None,
    }
}
