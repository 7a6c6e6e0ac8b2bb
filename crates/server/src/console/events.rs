//! Events: search by type, time and id; for one event, why each webhook did or did not receive it.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect},
};
use hookwright_domain::id::{DeliveryId, EventId};
use hookwright_storage::{EventFilter, EventRecord};

use super::{
    Answer, ROWS, Shared,
    attempts::{BODY_SHOWN, Body},
    deliveries::{outcome, target_of},
    downloads::payload_file,
    errors::Errors,
    fields::Fields,
    page::{Frame, html},
    pages::{Cursor, Pages},
    session::Visitor,
    show::{Badge, Time, size, state},
};
use crate::app::explain::{ExplainedEvent, Explanation, Reason};

/// An event in a list.
struct Row {
    id: String,
    event_type: String,
    created: Time,
    size: String,
    webhooks: usize,
    ordering_key: String,
    replay: bool,
}

#[derive(Template)]
#[template(path = "events.html")]
struct ListPage {
    frame: Frame,
    events: Vec<Row>,
    event_type: String,
    start: String,
    end: String,
    id: String,
    ordering_key: String,
    request_id: String,
    expression: String,
    errors: Errors,
    pages: Pages,
    is_filtered: bool,
    may_publish: bool,
}

/// The list.
pub(super) async fn list(
    State(console): Shared,
    visitor: Visitor,
    Path(organization): Path<String>,
    fields: Fields,
) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    let mut errors = Errors::default();
    if let Some(text) = fields.some("id") {
        match text.parse::<EventId>() {
            Ok(id) => return Ok(Redirect::to(&format!("{}/events/{id}", place.base())).into_response()),
            Err(error) => errors.add("id", error.to_string()),
        }
    }
    let (start_us, end_us) = fields.times(&mut errors);
    let filter = EventFilter {
        start_us,
        end_us,
        event_type: fields.some("event_type").map(str::to_owned),
        ordering_key: fields.some("ordering_key").map(str::to_owned),
        request_id: fields.some("request_id").map(str::to_owned),
    };
    let expression = fields.get("expression");
    let cursor = Cursor::before(&fields, &mut errors);
    let (app, caller) = (&console.app, visitor.caller());
    let asked = app.list_events(caller, &organization, &filter, expression, cursor.below(), ROWS);
    let (records, next) = errors.found(asked, "event").await?;
    errors.move_to("filter", "expression");
    let page = ListPage {
        frame: Frame::within(&console, &visitor, &place, "events", "Events").after(&fields),
        events: records.into_iter().map(list_row).collect(),
        event_type: fields.get("event_type").to_owned(),
        start: fields.get("start").to_owned(),
        end: fields.get("end").to_owned(),
        id: fields.get("id").to_owned(),
        ordering_key: fields.get("ordering_key").to_owned(),
        request_id: fields.get("request_id").to_owned(),
        expression: expression.to_owned(),
        errors,
        pages: cursor.pages(&format!("{}/events", place.base()), &fields, next),
        is_filtered: filter != EventFilter::default() || !expression.is_empty(),
        may_publish: place.may_publish,
    };
    Ok(html(&page))
}

fn list_row(record: EventRecord) -> Row {
    Row {
        id: EventId::from_raw(record.event.id).to_string(),
        created: Time(record.created_at),
        size: size(record.payload_bytes),
        webhooks: record.event.webhooks.len(),
        replay: record.event.replay_of.is_some(),
        ordering_key: record.event.ordering_key.unwrap_or_default(),
        event_type: record.event.event_type,
    }
}

#[derive(Template)]
#[template(path = "event.html")]
struct ShowPage {
    frame: Frame,
    id: String,
    event_type: String,
    created: Time,
    occurred: Time,
    ordering_key: String,
    attributes: Vec<(String, String)>,
    replay_of: Option<String>,
    payload: Body,
    explanations: Vec<Explained>,
    open: bool,
}

/// The result of the event for one webhook.
struct Explained {
    webhook: String,
    target: String,
    verdict: Badge,
    reason: String,
    delivery: Option<String>,
    state: Option<Badge>,
    outcome: String,
}

/// One event.
pub(super) async fn show(
    State(console): Shared,
    visitor: Visitor,
    Path(path): Path<(String, String)>,
    fields: Fields,
) -> Answer {
    let (place, id) = console.enter_at::<EventId>(&visitor, path)?;
    let explained = console
        .app
        .explain_event(visitor.caller(), place.name(), id, BODY_SHOWN);
    let ExplainedEvent { record, explanations } = explained.await?;
    let targets = console.targets(&visitor, &place)?;
    let open = explanations.iter().any(|explanation| {
        let delivery = explanation.delivery.as_ref();
        delivery.is_some_and(|delivery| !delivery.state.is_final())
    });
    let is_ping = record.event.event_type == "ping";
    let explanations = explanations.into_iter().map(|explanation| {
        let (verdict, reason) = reason(&explanation, is_ping);
        let Explanation { webhook, delivery, .. } = explanation;
        Explained {
            target: target_of(&targets, webhook),
            webhook: webhook.to_string(),
            verdict,
            reason,
            state: delivery.as_ref().map(|delivery| state(delivery.state)),
            outcome: delivery.as_ref().map(outcome).unwrap_or_default(),
            delivery: delivery.map(|delivery| DeliveryId::from_raw(delivery.delivery_id).to_string()),
        }
    });
    let attributes = record
        .event
        .attributes
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok());
    let attributes: std::collections::BTreeMap<String, String> = attributes.unwrap_or_default();
    let page = ShowPage {
        frame: Frame::within(&console, &visitor, &place, "events", format!("Event {id}")).after(&fields),
        explanations: explanations.collect(),
        id: id.to_string(),
        event_type: record.event.event_type,
        created: Time(record.created_at),
        occurred: Time(record.event.occurred_at),
        ordering_key: record.event.ordering_key.unwrap_or_default(),
        attributes: attributes.into_iter().collect(),
        replay_of: record.event.replay_of.map(|id| EventId::from_raw(id).to_string()),
        payload: Body::of_size(&record.event.payload, record.payload_bytes),
        open,
    };
    Ok(html(&page))
}

const SENT: Badge = Badge::new("check", "good", "sent");
const NOT_SENT: Badge = Badge::new("ban", "calm", "not sent");

/// The reason, in one or two sentences.
fn reason(explanation: &Explanation, is_ping: bool) -> (Badge, String) {
    // A webhook's former configuration is not kept: the reason for not sending uses its current one.
    let judged = |sentence: String| {
        let now = if explanation.changed_since {
            " The webhook was changed after the event was published; this reason uses its current configuration."
        } else {
            ""
        };
        (NOT_SENT, format!("{sentence}{now}"))
    };
    match &explanation.reason {
        Reason::Owed => (SENT, owed(explanation, is_ping).to_owned()),
        Reason::CreatedLater => (
            NOT_SENT,
            "The webhook was created after the event was published.".to_owned(),
        ),
        Reason::Inactive => judged("The webhook is paused or disabled.".to_owned()),
        Reason::NotSubscribed => judged("The webhook is not subscribed to this type.".to_owned()),
        Reason::Filtered(None) => judged("The webhook's filter does not match the event.".to_owned()),
        Reason::Filtered(Some(error)) => judged(format!("The webhook's filter could not be evaluated: {error}.")),
        Reason::ChangedSince => (
            NOT_SENT,
            "The webhook was changed after the event was published. It would receive such an event now.".to_owned(),
        ),
    }
}

/// Why an event was sent. It has a delivery, so the rest describes the webhook at that time, as far as it is known.
fn owed(explanation: &Explanation, is_ping: bool) -> &'static str {
    let is_replay = explanation.delivery.as_ref().is_some_and(|delivery| delivery.replay);
    match (is_ping, is_replay) {
        (true, _) => "The ping was for this webhook.",
        (_, true) => "A replay created the delivery.",
        _ if explanation.changed_since => "The webhook was subscribed when the event was published.",
        _ if explanation.has_filter => "The webhook is subscribed, and its filter matches the event.",
        _ => "The webhook is subscribed to this type.",
    }
}

/// The payload as published.
pub(super) async fn payload(State(console): Shared, visitor: Visitor, Path(path): Path<(String, String)>) -> Answer {
    let (place, id) = console.enter_at::<EventId>(&visitor, path)?;
    let download = console.downloads.begin(place.row.id)?;
    let record = console.app.get_event(visitor.caller(), place.name(), id).await?;
    Ok(download.answer(&payload_file(id), "application/json", record.event.payload))
}

#[cfg(test)]
mod tests {
    use hookwright_domain::id::WebhookId;

    use super::*;

    #[test]
    fn an_explanation_by_present_settings_shows_the_present_webhook() {
        let told = |reason_of: Reason, changed_since: bool, has_filter: bool| {
            let explanation = Explanation {
                webhook: WebhookId::from_raw(1),
                reason: reason_of,
                delivery: None,
                changed_since,
                has_filter,
            };
            reason(&explanation, false).1
        };
        const NOW: &str = "its current configuration";
        for judged in [Reason::Inactive, Reason::NotSubscribed, Reason::Filtered(None)] {
            assert!(told(judged.clone(), true, true).contains(NOW), "{judged:?}");
            assert!(!told(judged.clone(), false, true).contains(NOW), "{judged:?}");
        }
        for known in [Reason::CreatedLater, Reason::ChangedSince, Reason::Owed] {
            assert!(!told(known.clone(), true, true).contains(NOW), "{known:?}");
        }
        assert!(told(Reason::Owed, false, true).contains("filter"));
        assert!(!told(Reason::Owed, false, false).contains("filter"));
        assert!(
            !told(Reason::Owed, true, true).contains("filter"),
            "it may have had none then"
        );
    }
}
