//! Deliveries: search by state, webhook, type, error class and time; actions on one.

use std::{collections::BTreeMap, str::FromStr};

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect},
};
use hookwright_delivery::clock;
use hookwright_domain::{
    id::{DeliveryId, EventId, WebhookId},
    outcome::{DeliveryState, ErrorClass},
};
use hookwright_storage::{DeliveryFilter, DeliveryRecord, NextAttempt};

use super::{
    Answer, Console, ROWS, Shared,
    errors::Errors,
    fault::Fault,
    fields::Fields,
    labels::labels,
    live_address::live_address,
    page::{Frame, Place, html},
    pages::{Cursor, Pages},
    session::{Sent, Visitor},
    show::{Badge, Next, Time, failure, state, words},
};

/// Maximum number of webhooks in the selection.
const WEBHOOKS_LISTED: usize = 1_000;

/// A delivery in a list.
pub(super) struct Row {
    pub(super) id: String,
    /// Its raw id, for the address of the next page.
    pub(super) raw: i64,
    pub(super) base: String,
    pub(super) state: Badge,
    pub(super) created: Time,
    pub(super) event: String,
    pub(super) event_type: String,
    pub(super) webhook: String,
    pub(super) target: String,
    pub(super) attempts: i32,
    /// The result of the last attempt.
    pub(super) outcome: String,
    /// The next step.
    pub(super) next: Next,
    pub(super) replay: bool,
    /// The delivery that replayed it.
    pub(super) replayed: Option<Replay>,
}

/// The delivery that replayed another one.
pub(super) struct Replay {
    pub(super) id: String,
    pub(super) state: Badge,
}

/// The labels of an organization's webhooks, by id.
pub(super) type Targets = BTreeMap<i64, String>;

impl Console {
    /// The labels of an organization's webhooks.
    pub(super) fn targets(&self, visitor: &Visitor, place: &Place) -> Result<Targets, Fault> {
        Ok(labels(&self.app.webhook_names(visitor.caller(), place.name())?))
    }

    /// The label of one of them.
    pub(super) fn target(&self, visitor: &Visitor, place: &Place, id: WebhookId) -> Result<String, Fault> {
        Ok(target_of(&self.targets(visitor, place)?, id))
    }
}

/// Deliveries as rows of a list.
pub(super) fn rows(place: &Place, targets: &Targets, records: Vec<DeliveryRecord>) -> Vec<Row> {
    let now = clock::now_us();
    let rows = records.into_iter().map(|record| row(place, targets, record, now));
    rows.collect()
}

/// A webhook's label, also of a deleted one.
pub(super) fn target_of(targets: &Targets, webhook: WebhookId) -> String {
    let deleted = || "deleted webhook".to_owned();
    targets.get(&webhook.raw()).cloned().unwrap_or_else(deleted)
}

/// A delivery as a row of a list.
pub(super) fn row(place: &Place, targets: &Targets, record: DeliveryRecord, now: i64) -> Row {
    let webhook = WebhookId::from_raw(record.webhook_id);
    Row {
        id: DeliveryId::from_raw(record.delivery_id).to_string(),
        raw: record.delivery_id,
        base: place.base(),
        state: state(record.state),
        created: Time(record.created_at),
        event: EventId::from_raw(record.event_id).to_string(),
        webhook: webhook.to_string(),
        target: target_of(targets, webhook),
        attempts: record.attempts_made,
        outcome: outcome(&record),
        next: next(&record, now),
        replay: record.replay,
        replayed: record.replayed.map(|replayed| Replay {
            id: DeliveryId::from_raw(replayed.delivery_id).to_string(),
            state: state(replayed.state),
        }),
        event_type: record.event_type,
    }
}

/// The result of the last attempt, in a few words.
pub(super) fn outcome(record: &DeliveryRecord) -> String {
    if let Some(ending) = &record.ending {
        return words(&ending.reason);
    }
    let attempt = record.last_attempt.as_ref();
    attempt.map(|attempt| attempt.attempted().words()).unwrap_or_default()
}

/// The time of the next attempt, in a few words.
fn next(record: &DeliveryRecord, now: i64) -> Next {
    match record.next_attempt() {
        NextAttempt::Paused => Next::Waits("Blocked: retry or skip"),
        NextAttempt::Follows => Next::Waits("Blocked by an earlier delivery"),
        NextAttempt::DueAt(due) => Next::Due {
            due: clock::shown_us(due),
            now,
        },
        NextAttempt::Unknown => Next::Nothing,
    }
}

#[derive(Template)]
#[template(path = "deliveries.html")]
struct ListPage {
    frame: Frame,
    deliveries: Vec<Row>,
    show_webhook: bool,
    /// Maximum number of rows.
    rows: usize,
    filter: Filter,
    errors: Errors,
    pages: Pages,
    /// The address of the live stream; only the first page is live.
    live: Option<String>,
    is_filtered: bool,
    may_publish: bool,
}

/// An option.
pub(super) struct Pick {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) picked: bool,
}

/// The values of the filter form.
pub(super) struct Filter {
    pub(super) states: Vec<Pick>,
    pub(super) classes: Vec<Pick>,
    pub(super) webhooks: Vec<Pick>,
    pub(super) event_type: String,
    pub(super) start: String,
    pub(super) end: String,
    pub(super) hide_replayed: bool,
}

/// The list.
pub(super) async fn list(
    State(console): Shared,
    visitor: Visitor,
    Path(organization): Path<String>,
    fields: Fields,
) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    let (asked, mut errors) = filter(&fields);
    let cursor = Cursor::before(&fields, &mut errors);
    let (app, caller) = (&console.app, visitor.caller());
    let is_live = cursor.at.is_none()
        && errors.is_empty()
        && asked.start_us.is_none()
        && asked.end_us.is_none()
        && asked.event_id.is_none();
    let live = if is_live {
        let query = fields.query_with("webhook_column", "yes");
        Some(live_address(&console, &visitor, &place, &query).await?)
    } else {
        None
    };
    let found = app.list_deliveries(caller, &organization, &asked, cursor.below(), ROWS);
    let (records, next) = errors.found(found, "delivery").await?;
    let targets = console.targets(&visitor, &place)?;
    let page = ListPage {
        frame: Frame::within(&console, &visitor, &place, "deliveries", "Deliveries").after(&fields),
        deliveries: rows(&place, &targets, records),
        show_webhook: true,
        filter: shown(&fields, &targets),
        pages: cursor.pages(&format!("{}/deliveries", place.base()), &fields, next),
        live: live.filter(|_| errors.is_empty()),
        errors,
        may_publish: place.may_publish,
        is_filtered: asked != DeliveryFilter::default(),
        rows: ROWS,
    };
    Ok(html(&page))
}

/// The requested filter, with the errors of its fields.
pub(super) fn filter(fields: &Fields) -> (DeliveryFilter, Errors) {
    let mut errors = Errors::default();
    let (start_us, end_us) = fields.times(&mut errors);
    let mut id = |name: &str, raw: Option<Option<i64>>| {
        if raw == Some(None) {
            errors.add(name, "is not a valid id");
        }
        raw.flatten()
    };
    let webhook = fields
        .some("webhook")
        .map(|text| text.parse::<WebhookId>().ok().map(WebhookId::raw));
    let event = fields
        .some("event")
        .map(|text| text.parse::<EventId>().ok().map(EventId::raw));
    let (webhook_id, event_id) = (id("webhook", webhook), id("event", event));
    let states = known(fields, "state", &mut errors);
    let error_classes = known(fields, "error_class", &mut errors);
    let filter = DeliveryFilter {
        webhook_id,
        event_id,
        event_type: fields.some("event_type").map(str::to_owned),
        start_us,
        end_us,
        states,
        error_classes,
        hide_replayed: fields.has("hide_replayed"),
    };
    (filter, errors)
}

/// The values of a name; unknown ones are errors.
fn known<T: FromStr>(fields: &Fields, name: &str, errors: &mut Errors) -> Vec<T> {
    let given = fields.all(name).filter(|text| !text.is_empty());
    let read = given.filter_map(|text| {
        let read = text.parse().ok();
        if read.is_none() {
            errors.add(name, format!("`{text}` is not an option"));
        }
        read
    });
    read.collect()
}

/// The form as submitted.
pub(super) fn shown(fields: &Fields, targets: &Targets) -> Filter {
    Filter {
        states: state_picks(fields, DeliveryState::ALL),
        classes: class_picks(fields),
        webhooks: webhook_picks(fields, targets),
        event_type: fields.get("event_type").to_owned(),
        start: fields.get("start").to_owned(),
        end: fields.get("end").to_owned(),
        hide_replayed: fields.has("hide_replayed"),
    }
}

/// Options for states.
pub(super) fn state_picks(fields: &Fields, states: &[DeliveryState]) -> Vec<Pick> {
    let states = states.iter().map(|state| state.as_str());
    states.map(|state| Pick::new(fields, "state", state, state)).collect()
}

/// Options for error classes.
pub(super) fn class_picks(fields: &Fields) -> Vec<Pick> {
    let classes = ErrorClass::ALL.iter().map(|class| class.as_str());
    let pick = |class: &str| Pick::new(fields, "error_class", class, &failure(class));
    classes.map(pick).collect()
}

/// Options for webhooks.
pub(super) fn webhook_picks(fields: &Fields, targets: &Targets) -> Vec<Pick> {
    let webhooks = targets.iter().take(WEBHOOKS_LISTED);
    let pick =
        |(id, target): (&i64, &String)| Pick::new(fields, "webhook", &WebhookId::from_raw(*id).to_string(), target);
    webhooks.map(pick).collect()
}

impl Pick {
    fn new(fields: &Fields, name: &str, value: &str, label: &str) -> Self {
        Self {
            picked: fields.all(name).any(|picked| picked == value),
            value: value.to_owned(),
            label: label.to_owned(),
        }
    }
}

/// Retries or replays a delivery. Actions that end one ask for confirmation: [`super::confirm`].
pub(super) async fn steer(
    State(console): Shared,
    Path((organization, id, action)): Path<(String, String, String)>,
    sent: Sent,
) -> Answer {
    let (place, id) = console.enter_at::<DeliveryId>(&sent.visitor, (organization, id))?;
    let (app, caller) = (&console.app, sent.visitor.caller());
    let record = match action.as_str() {
        "retry" => app.retry_delivery(caller, place.name(), id).await?,
        "replay" => {
            app.replay_delivery(caller, place.name(), id, &sent.fields.request_id())
                .await?
        }
        _ => return Err(Fault::NotFound),
    };
    let id = DeliveryId::from_raw(record.delivery_id);
    Ok(Redirect::to(&format!("{}/deliveries/{id}?done={action}", place.base())).into_response())
}
