//! Deliveries and attempts as messages.

use hookwright_delivery::{clock, details::AttemptDetails};
use hookwright_domain::id::{DeliveryId, EventId, WebhookId};
use hookwright_proto::v1::{Attempt, AttemptPhases, Delivery, DeliveryState, Header};
use hookwright_storage::{AttemptRow, DeliveryRecord};

use super::{
    conditions::{error_class, state},
    time::{duration_us, timestamp},
};

pub(super) fn delivery(organization: &str, record: DeliveryRecord) -> Delivery {
    let replayed_state = record
        .replayed
        .map_or(DeliveryState::Unspecified, |replayed| state(replayed.state));
    let state = state(record.state);
    let last = record.last_attempt.as_ref();
    let last_result = last.map(|attempt| attempt.attempted().words()).unwrap_or_default();
    let waits = matches!(state, DeliveryState::Pending | DeliveryState::Retrying);
    let next = record.next_attempt().due_at();
    let next = next.filter(|_| waits && record.attempts_made > 0);
    let next = next.map(|due_at| timestamp(clock::shown_us(due_at)));
    let named = |id: i64| format!("organizations/{organization}/deliveries/{}", DeliveryId::from_raw(id));
    Delivery {
        name: named(record.delivery_id),
        replayed_as: record
            .replayed
            .map(|replayed| named(replayed.delivery_id))
            .unwrap_or_default(),
        replayed_state: replayed_state.into(),
        event: format!(
            "organizations/{organization}/events/{}",
            EventId::from_raw(record.event_id)
        ),
        event_type: record.event_type,
        webhook: format!(
            "organizations/{organization}/webhooks/{}",
            WebhookId::from_raw(record.webhook_id)
        ),
        state: state.into(),
        attempt_count: record.attempts_made,
        create_time: Some(timestamp(record.created_at)),
        next_attempt_time: next,
        last_attempt_time: last.map(|attempt| timestamp(attempt.started_at)),
        last_response_status: last.and_then(|attempt| attempt.status).unwrap_or(0),
        last_error_class: error_class(last.and_then(|attempt| attempt.error_class.as_deref())).into(),
        cancel_reason: record.ending.map(|ending| ending.reason).unwrap_or_default(),
        replay: record.replay,
        last_result,
        ordering_key: record.ordering_key.unwrap_or_default(),
    }
}

pub(super) fn attempt(organization: &str, row: AttemptRow) -> Attempt {
    let result = row.attempted().words();
    let details: AttemptDetails = serde_json::from_str(&row.details).unwrap_or_default();
    let header = |(name, value): (String, String)| Header { name, value };
    let phase = |us: Option<i64>| us.map(duration_us);
    Attempt {
        name: format!(
            "organizations/{organization}/deliveries/{}/attempts/{}",
            DeliveryId::from_raw(row.delivery_id),
            row.number
        ),
        number: row.number,
        start_time: Some(timestamp(row.started_at)),
        duration: Some(duration_us(row.duration_us)),
        phases: Some(AttemptPhases {
            dns: phase(details.phases.dns_us),
            connect: phase(details.phases.connect_us),
            tls: phase(details.phases.tls_us),
            wait: phase(details.phases.wait_us),
            body: phase(details.phases.body_us),
        }),
        url: details.url,
        remote_address: details.remote.unwrap_or_default(),
        request_headers: details.request.into_iter().map(header).collect(),
        response_status: row.status.unwrap_or(0),
        response_headers: details.response.into_iter().map(header).collect(),
        response_body: row.response_body.unwrap_or_default().into(),
        response_body_truncated: details.truncated,
        error_class: error_class(row.error_class.as_deref()).into(),
        error_message: row.error_message.unwrap_or_default(),
        result,
    }
}
