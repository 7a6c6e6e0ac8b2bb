//! Replays of many deliveries: form, preview, progress, stopping.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect},
};
use hookwright_domain::{
    id::{ReplayId, WebhookId},
    outcome::DeliveryState,
};
use hookwright_storage::replays::{REPLAY_CANCELLED, REPLAY_FAILED, REPLAY_RUNNING, REPLAY_SUCCEEDED};

use super::{
    Answer, Console, ROWS, Shared,
    deliveries::{Pick, class_picks, state_picks, webhook_picks},
    errors::Errors,
    fault::Fault,
    fields::Fields,
    page::{Frame, Place, html, refused},
    pages::{Cursor, Pages},
    session::{Sent, Visitor},
    show::{Badge, Time, count, failure},
    units,
};
use crate::app::{
    access::Scope,
    replays::{ReplaySpec, ReplayView},
};

/// A replay in a list, and on its page.
struct Row {
    id: String,
    what: String,
    /// The time range, after `what`.
    start: Option<Time>,
    end: Option<Time>,
    state: Badge,
    dry_run: bool,
    examined: String,
    matched: String,
    /// Whether anything matched.
    any: bool,
    replayed: String,
    skipped: String,
    /// The progress, of a thousand.
    progress: i64,
    running: bool,
    /// Whether it succeeded.
    succeeded: bool,
    error: Option<String>,
    created: Time,
    ended: Option<Time>,
}

fn row(view: &ReplayView) -> Row {
    let ReplayView { row, spec, progress } = view;
    let state = match row.state {
        REPLAY_RUNNING => Badge::new("repeat", "warn", "running"),
        REPLAY_CANCELLED => Badge::new("ban", "calm", "stopped"),
        REPLAY_FAILED => Badge::new("cross", "bad", "failed"),
        _ => Badge::new("check", "good", "done"),
    };
    Row {
        id: ReplayId::from_raw(row.id).to_string(),
        what: told(spec),
        start: spec.start_us.map(Time),
        end: spec.end_us.map(Time),
        state,
        dry_run: spec.dry_run,
        examined: count(row.examined),
        matched: count(row.matched),
        any: row.matched > 0,
        replayed: count(row.replayed),
        skipped: count(row.skipped),
        progress: per_mille(*progress),
        running: row.state == REPLAY_RUNNING,
        succeeded: row.state == REPLAY_SUCCEEDED,
        error: row.error.clone(),
        created: Time(row.created_at),
        ended: row.ended_at.map(Time),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is 0 to 1")]
fn per_mille(share: f64) -> i64 {
    (share * 1_000.0) as i64
}

/// The selection in words, without its times.
fn told(spec: &ReplaySpec) -> String {
    let mut parts = Vec::new();
    if spec.missed {
        parts.push("missed events".to_owned());
    } else if spec.states.is_empty() {
        parts.push("deliveries that failed or were cancelled".to_owned());
    } else {
        parts.push(format!("deliveries that are {}", spec.states.join(" or ")));
    }
    if let Some(webhook) = spec.webhook {
        parts.push(format!("to {}", WebhookId::from_raw(webhook)));
    }
    if !spec.event_types.is_empty() {
        parts.push(format!("of {}", spec.event_types.join(", ")));
    }
    if !spec.error_classes.is_empty() {
        let reasons: Vec<String> = spec.error_classes.iter().map(|class| failure(class)).collect();
        parts.push(format!("({})", reasons.join(", ")));
    }
    parts.join(" ")
}

#[derive(Template)]
#[template(path = "replays.html")]
struct ListPage {
    frame: Frame,
    replays: Vec<Row>,
    pages: Pages,
    may_manage: bool,
    errors: Errors,
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
    let cursor = Cursor::before(&fields, &mut errors);
    let (app, caller) = (&console.app, visitor.caller());
    let asked = app.list_replays(caller, &organization, cursor.below(), ROWS);
    let (views, next) = errors.found(asked, "replay").await?;
    let page = ListPage {
        frame: Frame::within(&console, &visitor, &place, "replays", "Replays").after(&fields),
        replays: views.iter().map(row).collect(),
        pages: cursor.pages(&format!("{}/replays", place.base()), &fields, next),
        may_manage: place.may_manage,
        errors,
    };
    Ok(html(&page))
}

/// The fields that can show errors.
const FIELDS: &[&str] = &[
    "states",
    "error_classes",
    "webhook",
    "event_types",
    "start",
    "end",
    "deliveries_per_second",
];

#[derive(Template)]
#[template(path = "replay_form.html")]
struct FormPage {
    frame: Frame,
    missed: bool,
    states: Vec<Pick>,
    classes: Vec<Pick>,
    webhooks: Vec<Pick>,
    event_types: String,
    start: String,
    end: String,
    rate: String,
    errors: Errors,
}

/// The form.
pub(super) async fn form(
    State(console): Shared,
    visitor: Visitor,
    Path(organization): Path<String>,
    fields: Fields,
) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    visitor.caller().require_for(Scope::Manage, place.row.id)?;
    Ok(html(&form_page(
        &console,
        &visitor,
        &place,
        &fields,
        Errors::default(),
    )?))
}

fn form_page(
    console: &Console,
    visitor: &Visitor,
    place: &Place,
    fields: &Fields,
    errors: Errors,
) -> Result<FormPage, Fault> {
    let finals: Vec<DeliveryState> = DeliveryState::ALL
        .iter()
        .copied()
        .filter(|state| state.is_final())
        .collect();
    let webhooks = console.targets(visitor, place)?;
    Ok(FormPage {
        frame: Frame::within(console, visitor, place, "replays", "New replay"),
        missed: fields.get("what") == "missed",
        states: state_picks(fields, &finals),
        classes: class_picks(fields),
        webhooks: webhook_picks(fields, &webhooks),
        event_types: fields.get("event_types").to_owned(),
        start: fields.get("start").to_owned(),
        end: fields.get("end").to_owned(),
        rate: fields.get("rate").to_owned(),
        errors: errors.shown_at(FIELDS),
    })
}

/// Starts a replay or a preview.
pub(super) async fn create(State(console): Shared, Path(organization): Path<String>, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let place = console.enter(&visitor, &organization)?;
    let spec = match spec(&fields) {
        Ok(spec) => spec,
        Err(errors) => return Ok(refused(&form_page(&console, &visitor, &place, &fields, errors)?)),
    };
    let (app, caller) = (&console.app, visitor.caller());
    match app
        .replay_deliveries(caller, &organization, spec, &fields.request_id())
        .await
    {
        Ok(view) => {
            let id = ReplayId::from_raw(view.row.id);
            Ok(Redirect::to(&format!("{}/replays/{id}", place.base())).into_response())
        }
        Err(error) => {
            let missing = "the webhook no longer exists; choose another";
            let mut errors = Errors::of_missing(error, "replay", "webhook", missing)?;
            errors.move_to("start_time", "start");
            errors.move_to("end_time", "end");
            Ok(refused(&form_page(&console, &visitor, &place, &fields, errors)?))
        }
    }
}

fn spec(fields: &Fields) -> Result<ReplaySpec, Errors> {
    let mut errors = Errors::default();
    let (start_us, end_us) = fields.times(&mut errors);
    let rate = fields.some("rate").map(str::parse::<f64>);
    if let Some(Err(_)) = rate {
        errors.add("deliveries_per_second", "must be a number, such as 10 or 0.5");
    }
    let webhook = fields.some("webhook").map(str::parse::<WebhookId>);
    if let Some(Err(error)) = &webhook {
        errors.add("webhook", error.to_string());
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(ReplaySpec {
        missed: fields.get("what") == "missed",
        webhook: webhook.and_then(Result::ok).map(WebhookId::raw),
        event_types: units::names(fields.get("event_types")).map(str::to_owned).collect(),
        states: fields.all("state").map(str::to_owned).collect(),
        error_classes: fields.all("error_class").map(str::to_owned).collect(),
        start_us,
        end_us,
        dry_run: fields.get("intent") == "count",
        rate: rate.and_then(Result::ok),
    })
}

#[derive(Template)]
#[template(path = "replay.html")]
struct ShowPage {
    frame: Frame,
    replay: Row,
    may_manage: bool,
    /// The form that replays what the preview counted: names and values.
    again: Vec<(&'static str, String)>,
    target: Option<String>,
}

/// One replay.
pub(super) async fn show(
    State(console): Shared,
    visitor: Visitor,
    Path(path): Path<(String, String)>,
    fields: Fields,
) -> Answer {
    let (place, id) = console.enter_at::<ReplayId>(&visitor, path)?;
    let view = console.app.get_replay(visitor.caller(), place.name(), id).await?;
    let webhook = view.spec.webhook.map(WebhookId::from_raw);
    let target = webhook.map(|id| console.target(&visitor, &place, id)).transpose()?;
    let page = ShowPage {
        frame: Frame::within(&console, &visitor, &place, "replays", format!("Replay {id}")).after(&fields),
        replay: row(&view),
        may_manage: place.may_manage,
        again: again(&view),
        target,
    };
    Ok(html(&page))
}

/// The fields of the form, to repeat the request for what was counted, without events published since.
fn again(view: &ReplayView) -> Vec<(&'static str, String)> {
    let spec = &view.spec;
    let mut fields = vec![("what", if spec.missed { "missed" } else { "made" }.to_owned())];
    fields.extend(spec.states.iter().map(|state| ("state", state.clone())));
    fields.extend(spec.error_classes.iter().map(|class| ("error_class", class.clone())));
    fields.extend(spec.webhook.map(|id| ("webhook", WebhookId::from_raw(id).to_string())));
    fields.push(("event_types", spec.event_types.join(",")));
    fields.extend(
        spec.start_us
            .map(|start| ("start", Time(start).plain().replace(' ', "T"))),
    );
    // Forms have whole seconds; no counted event may be missed.
    let counted = (view.row.created_at.div_euclid(1_000_000) + 1) * 1_000_000;
    let end = spec.end_us.unwrap_or(counted);
    fields.push(("end", Time(end).plain().replace(' ', "T")));
    fields.extend(spec.rate.map(|rate| ("rate", rate.to_string())));
    fields
}

/// Stops a replay.
pub(super) async fn cancel(State(console): Shared, Path(path): Path<(String, String)>, sent: Sent) -> Answer {
    let (place, id) = console.enter_at::<ReplayId>(&sent.visitor, path)?;
    console
        .app
        .cancel_replay(sent.visitor.caller(), place.name(), id)
        .await?;
    Ok(Redirect::to(&format!("{}/replays/{id}?done=stopped", place.base())).into_response())
}
