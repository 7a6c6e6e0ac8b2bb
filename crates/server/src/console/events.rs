//! Events: found by type, time and id; and for one of them why each webhook was sent it or not.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect},
};
use hookwright_delivery::clock;
use hookwright_domain::id::EventId;
use hookwright_storage::{EventFilter, EventRecord};

use super::{
    Answer, ROWS, Shared,
    attempts::{BODY_SHOWN, Body, download},
    deliveries::{outcome, row},
    errors::Errors,
    fault::Fault,
    fields::Fields,
    page::{Frame, html},
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
    next: Option<String>,
    newest: String,
    is_filtered: bool,
    is_paged: bool,
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
    let before = fields.before(&mut errors);
    let (app, caller) = (&console.app, visitor.caller());
    let (records, next) = if errors.is_empty() {
        let from = before.unwrap_or(i64::MAX);
        let found = app.list_events(caller, &organization, &filter, expression, from, ROWS);
        let found = errors.unless(found.await, "event")?;
        errors.move_to("filter", "expression");
        found
    } else {
        (Vec::new(), None)
    };
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
        next: next.map(|next| fields.query_with("before", &next.to_string())),
        newest: fields.query_without(&["before", "done"]),
        is_filtered: filter != EventFilter::default() || !expression.is_empty(),
        is_paged: before.is_some(),
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

/// What became of the event for one webhook.
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
    Path((organization, id)): Path<(String, String)>,
    fields: Fields,
) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    let id: EventId = id.parse().map_err(|_| Fault::NotFound)?;
    let explained = console
        .app
        .explain_event(visitor.caller(), &organization, id, BODY_SHOWN);
    let ExplainedEvent { record, explanations } = explained.await?;
    let targets = console.targets(&visitor, &place)?;
    let open = explanations.iter().any(|explanation| {
        let delivery = explanation.delivery.as_ref();
        delivery.is_some_and(|delivery| !delivery.state.is_final())
    });
    let now = clock::now_us();
    let explanations = explanations.into_iter().map(|explanation| {
        let target = targets.get(&explanation.webhook.raw()).cloned();
        let (verdict, reason) = reason(&explanation);
        let Explanation { webhook, delivery, .. } = explanation;
        Explained {
            webhook: webhook.to_string(),
            target: target.unwrap_or_else(|| "a webhook that was deleted".to_owned()),
            verdict,
            reason,
            state: delivery.as_ref().map(|delivery| state(delivery.state)),
            outcome: delivery.as_ref().map(outcome).unwrap_or_default(),
            delivery: delivery.map(|delivery| row(&place, &targets, delivery, now).id),
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

/// Why, as a sentence.
fn reason(explanation: &Explanation) -> (Badge, String) {
    const NO: Badge = Badge::new("ban", "calm", "not sent");
    let now = if explanation.changed_since {
        " The webhook was changed after the event was published: this is judged by what it is now."
    } else {
        ""
    };
    let (badge, sentence) = match &explanation.reason {
        Reason::Owed => {
            return (
                Badge::new("check", "good", "sent"),
                "It is subscribed, and its filter lets the event through.".to_owned(),
            );
        }
        Reason::CreatedLater => (
            NO,
            "The webhook was installed after the event was published.".to_owned(),
        ),
        Reason::Inactive => (NO, "The webhook is paused or disabled.".to_owned()),
        Reason::NotSubscribed => (NO, "The webhook is not subscribed to this type.".to_owned()),
        Reason::Filtered(None) => (NO, "The webhook's filter does not match the event.".to_owned()),
        Reason::Filtered(Some(error)) => (NO, format!("The webhook's filter cannot be evaluated for it: {error}.")),
        Reason::ChangedSince => (NO, "The webhook would be sent such an event now.".to_owned()),
    };
    (badge, format!("{sentence}{now}"))
}

/// The file that an event's payload is saved as.
pub(super) fn payload_file(id: EventId) -> String {
    format!("{id}.json")
}

/// The payload as it was published.
pub(super) async fn payload(
    State(console): Shared,
    visitor: Visitor,
    Path((organization, id)): Path<(String, String)>,
) -> Answer {
    console.enter(&visitor, &organization)?;
    let id: EventId = id.parse().map_err(|_| Fault::NotFound)?;
    let record = console.app.get_event(visitor.caller(), &organization, id).await?;
    Ok(download(
        &payload_file(id),
        "application/json",
        record.event.payload.to_vec(),
    ))
}
