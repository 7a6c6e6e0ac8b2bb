//! Prints deliveries and attempts for people.

use hookwright_proto::v1::{Attempt, Delivery, DeliveryState, ErrorClass, ListAttemptsResponse};

use crate::{client::names, output};

/// The state.
pub(super) fn state(delivery: &Delivery) -> String {
    output::enum_name(delivery.state().as_str_name(), "DELIVERY_STATE_")
}

/// The result of the last attempt. A server of an earlier version does not put it in words.
pub(super) fn last(delivery: &Delivery) -> String {
    if !delivery.last_result.is_empty() {
        return delivery.last_result.clone();
    }
    result(delivery.last_response_status, delivery.last_error_class())
}

/// A status, an error class, or both.
fn result(status: i32, class: ErrorClass) -> String {
    let class = output::enum_name(class.as_str_name(), "ERROR_CLASS_");
    match (status, class) {
        (0, class) => class,
        (status, class) if class.is_empty() || class == "status" => status.to_string(),
        (status, class) => format!("{status} {class}"),
    }
}

/// The delivery that replayed it, with its state.
pub(super) fn replayed(delivery: &Delivery) -> String {
    let state = output::enum_name(delivery.replayed_state().as_str_name(), "DELIVERY_STATE_");
    match delivery.replayed_as.as_str() {
        "" => String::new(),
        name => format!("{} ({state})", names::id(name)),
    }
}

/// The commands for a delivery that blocks its key.
fn next_commands(delivery: &Delivery) -> String {
    if delivery.state() != DeliveryState::Paused {
        return String::new();
    }
    let (organization, id) = (names::owner(&delivery.name), names::id(&delivery.name));
    format!(
        "it blocks the others of its ordering key until you retry or skip it:\n\
         hookwright deliveries retry {id} --organization {organization}   (one more attempt)\n\
         hookwright deliveries skip {id} --organization {organization}    (give it up; the next one is sent)"
    )
}

/// One delivery.
pub(crate) fn show(delivery: &Delivery) -> String {
    output::fields(vec![
        ("delivery", names::id(&delivery.name).to_owned()),
        ("name", delivery.name.clone()),
        ("state", state(delivery)),
        ("event", names::id(&delivery.event).to_owned()),
        ("type", delivery.event_type.clone()),
        ("webhook", names::id(&delivery.webhook).to_owned()),
        ("ordering key", delivery.ordering_key.clone()),
        ("attempts", delivery.attempt_count.to_string()),
        ("last result", last(delivery)),
        ("last attempt", output::time(delivery.last_attempt_time.as_ref())),
        ("next attempt", output::time(delivery.next_attempt_time.as_ref())),
        ("next step", next_commands(delivery)),
        ("replayed as", replayed(delivery)),
        ("cancelled", delivery.cancel_reason.clone()),
        ("created", output::time(delivery.create_time.as_ref())),
        ("by", if delivery.replay { "a replay" } else { "" }.to_owned()),
    ])
}

/// The attempts of one delivery.
pub(super) fn attempts(response: &ListAttemptsResponse) -> String {
    response.attempts.iter().map(attempt).collect::<Vec<_>>().join("\n\n")
}

fn attempt(attempt: &Attempt) -> String {
    let outcome = match attempt.result.as_str() {
        "" => result(attempt.response_status, attempt.error_class()),
        words => words.to_owned(),
    };
    let headers = |headers: &[hookwright_proto::v1::Header]| {
        headers
            .iter()
            .map(|header| format!("{}: {}", header.name, header.value))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let mut body = String::from_utf8_lossy(&attempt.response_body).into_owned();
    if attempt.response_body_truncated {
        body.push_str("\n(truncated: the rest was not kept)");
    }
    let mut rows = vec![
        ("attempt", attempt.number.to_string()),
        ("result", outcome),
        ("error", attempt.error_message.clone()),
        ("started", output::time(attempt.start_time.as_ref())),
        ("duration", output::milliseconds(attempt.duration.as_ref())),
    ];
    if let Some(phases) = &attempt.phases {
        let phases = [
            ("dns", &phases.dns),
            ("connect", &phases.connect),
            ("tls", &phases.tls),
            ("wait", &phases.wait),
            ("body", &phases.body),
        ];
        let phases = phases.into_iter().filter_map(|(name, duration)| {
            duration
                .as_ref()
                .map(|duration| format!("{name} {}", output::milliseconds(Some(duration))))
        });
        rows.push(("phases", phases.collect::<Vec<_>>().join(", ")));
    }
    rows.extend([
        ("url", attempt.url.clone()),
        ("remote address", attempt.remote_address.clone()),
        ("request headers", headers(&attempt.request_headers)),
        ("response headers", headers(&attempt.response_headers)),
        ("response body", body),
    ]);
    output::fields(rows)
}
