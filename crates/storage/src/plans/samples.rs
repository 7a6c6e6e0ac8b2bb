//! Sample rows for the calls that write.

use std::sync::Arc;

use bytes::Bytes;

use super::filled::{EVENT, Filled, ORGANIZATION};
use crate::{
    batch::{Batch, NewEvent, RequestKey, StoredEvent},
    replays::{REPLAY_RUNNING, ReplayRow},
    rows::{
        AttemptRow, AuditRow, ENDING_CANCELLED, EndingRow, EventTypeRow, GOES_ON, HealthChange, OrganizationRow,
        PendingRow, SecretRow, TokenRow, WebhookRow,
    },
};

pub(crate) fn organization(id: i64) -> OrganizationRow {
    OrganizationRow {
        id,
        name: format!("org{id}"),
        display_name: String::new(),
        created_at: 1,
        updated_at: 1,
        deleted_at: None,
    }
}

pub(crate) fn event_type(id: i64) -> EventTypeRow {
    EventTypeRow {
        id,
        name: format!("type{id}"),
        description: String::new(),
        json_schema: Some("{}".to_owned()),
        schema_mode: "warn".to_owned(),
        schema_version: 3,
        example: None,
        archived: false,
        created_at: 1,
        updated_at: 1,
        visible_to: None,
    }
}

pub(crate) fn webhook(id: i64) -> WebhookRow {
    WebhookRow {
        id,
        organization_id: ORGANIZATION,
        payload_url: "https://host.example/".to_owned(),
        pull: false,
        events: "[]".to_owned(),
        filter: String::new(),
        active: true,
        disabled_reason: None,
        disabled_at: None,
        description: String::new(),
        headers: Vec::new(),
        timeout_ms: 1,
        retry_delays_ms: None,
        rate_limit: None,
        ordered: false,
        pauses: false,
        insecure_skip_verify: false,
        ed25519: None,
        version: 2,
        created_at: 1,
        updated_at: 2,
        deleted_at: None,
    }
}

pub(crate) fn secret(id: i64, webhook_id: i64) -> SecretRow {
    SecretRow {
        id,
        webhook_id,
        sealed: Vec::new(),
        created_at: 1,
        expires_at: None,
    }
}

pub(crate) fn token(id: i64) -> TokenRow {
    TokenRow {
        id,
        hash: vec![1; 32],
        name: String::new(),
        scope: "read".to_owned(),
        organization_id: Some(ORGANIZATION),
        created_at: 1,
        expires_at: None,
        revoked_at: None,
    }
}

/// An audit entry with an id above those of the pending deliveries.
pub(crate) fn audit(filled: Filled) -> AuditRow {
    AuditRow {
        id: filled.event(80_000),
        at: 1,
        actor: "a".to_owned(),
        action: "b".to_owned(),
        resource: "organizations/org1".to_owned(),
        details: "{}".to_owned(),
        organization_id: Some(ORGANIZATION),
    }
}

pub(crate) fn replay(id: i64) -> ReplayRow {
    ReplayRow {
        id,
        organization_id: ORGANIZATION,
        request_id: None,
        spec: "{}".to_owned(),
        state: REPLAY_RUNNING,
        error: None,
        first_id: 0,
        last_id: 0,
        cursor: 0,
        examined: 0,
        matched: 0,
        replayed: 0,
        skipped: 0,
        node: 0,
        leased_until: 0,
        created_at: 1,
        ended_at: None,
    }
}

fn attempt(filled: Filled) -> AttemptRow {
    AttemptRow {
        delivery_id: filled.delivery(EVENT, 1),
        number: 9,
        event_id: filled.event(EVENT),
        organization_id: ORGANIZATION,
        webhook_id: 2,
        started_at: 1,
        duration_us: 1,
        status: Some(500),
        error_class: Some("status".to_owned()),
        error_message: None,
        delivery_state: GOES_ON,
        details: "{}".to_owned(),
        response_body: None,
    }
}

fn pending(filled: Filled, number: i64, webhook_id: i64, ordering_key: Option<&str>) -> PendingRow {
    PendingRow {
        delivery_id: filled.delivery(number, 1),
        event_id: filled.event(number),
        organization_id: ORGANIZATION,
        webhook_id,
        due_at: 7,
        attempts: 1,
        ordering_key: ordering_key.map(str::to_owned),
    }
}

/// An event that is owed to the ordered webhook 4 and to webhook 2.
fn event(filled: Filled, number: i64, request: &str, replay_of: Option<i64>) -> NewEvent {
    let event = StoredEvent {
        id: filled.event(number),
        organization_id: ORGANIZATION,
        event_type: "clocking".to_owned(),
        payload: Bytes::from_static(b"{}"),
        webhooks: [4, 2].into(),
        occurred_at: 1,
        attributes: None,
        trace: None,
        tracestate: None,
        ordering_key: Some("k5".to_owned()),
        replay_of,
    };
    NewEvent {
        event: Arc::new(event),
        request: Some(RequestKey {
            request_id: request.to_owned(),
            fingerprint: [0; 32],
        }),
        spilled: vec![0, 1],
        ordered: vec![0],
        due_at: 7,
    }
}

/// A batch with rows for every table. Its second event repeats a stored one.
pub(crate) fn batch(filled: Filled) -> Batch {
    let mut succeeded = HealthChange::none(1);
    succeeded.succeeded(20_000);
    let mut failed = HealthChange::none(2);
    failed.failed(20_000);
    Batch {
        events: vec![
            event(filled, 70_001, "new", Some(filled.event(EVENT))),
            event(filled, 70_002, "r31500", None),
        ],
        attempts: vec![Arc::new(attempt(filled))],
        pend: vec![pending(filled, 50_500, 4, Some("k0")), pending(filled, EVENT, 2, None)],
        unpend: vec![filled.delivery(50_005, 1)],
        advance: vec![(4, "k5".to_owned())],
        endings: vec![EndingRow {
            delivery_id: filled.delivery(50_005, 1),
            event_id: filled.event(50_005),
            organization_id: ORGANIZATION,
            webhook_id: 4,
            state: ENDING_CANCELLED,
            reason: "webhook_deleted".to_owned(),
            ended_at: 1,
        }],
        health: vec![succeeded, failed],
        repeated: false,
        exclusive: vec![2],
        watermark: Some(filled.event(EVENT)),
    }
}
