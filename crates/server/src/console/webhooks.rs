//! Webhooks: the list with their health, and one of them.

use std::{collections::HashMap, slice};

use askama::Template;
use axum::{
    extract::{Path, State},
    http::HeaderMap,
};
use hookwright_domain::{
    id::{DeliveryId, WebhookId},
    outcome::DeliveryState,
};
use hookwright_storage::{BLOCKED_COUNTED, DeliveryFilter, DeliveryRecord, HealthRow, stats::Tally};

use super::{
    Answer, Console, ROWS, Shared,
    charts::Summary,
    cookies::{Once, OnceKind},
    deliveries::{Row, outcome, rows},
    errors::Errors,
    fault::Fault,
    fields::Fields,
    labels,
    live_address::live_address,
    operations::{self, Running},
    page::{Frame, Place, html, refused},
    pages::{Cursor, Pages},
    session::Visitor,
    show::{Badge, Time, count, counted_up_to, percent, percentile},
    units,
};
use crate::app::{stats::Subject, webhooks::WebhookView};

/// Maximum number of event types of a webhook in a list.
const TYPES_NAMED: usize = 4;
/// Number of deliveries on a webhook's page.
const RECENT: usize = 10;

/// A webhook in a list.
pub(super) struct Line {
    pub(super) id: String,
    pub(super) target: String,
    pub(super) description: String,
    pub(super) state: Badge,
    pub(super) types: Vec<String>,
    pub(super) more_types: usize,
    pub(super) has_filter: bool,
    pub(super) ordered: bool,
    /// When the rotation of its signing secret ends.
    pub(super) rotates_until: Option<Time>,
    /// The number of its blocked ordering keys, in words; empty for none.
    pub(super) blocked_keys: String,
    pub(super) day: Day,
    pub(super) failing_since: Option<Time>,
}

/// A webhook's last 24 hours.
pub(super) struct Day {
    pub(super) attempts: String,
    pub(super) success: String,
    pub(super) p50: String,
    pub(super) is_empty: bool,
}

pub(super) const FAILING: Badge = Badge::new("alert", "warn", "failing");

const KEYS_BLOCKED: Badge = Badge::new("pause", "warn", "keys blocked");

/// The number of blocked ordering keys, in words; empty for none.
pub(super) fn blocked_keys(keys: usize) -> String {
    match keys {
        0 => String::new(),
        keys => format!("{} blocked", counted_up_to(BLOCKED_COUNTED, keys, "key")),
    }
}

/// Why the service disabled a webhook.
pub(super) fn disabled(reason: &str) -> Badge {
    match reason {
        "gone" => Badge::new("cross", "bad", "disabled: 410 Gone"),
        _ => Badge::new("cross", "bad", "disabled: failing"),
    }
}

fn state(view: &WebhookView, health: Option<&HealthRow>) -> Badge {
    match &view.row.disabled_reason {
        Some(reason) if !view.row.active => disabled(reason),
        _ if !view.row.active => Badge::new("pause", "calm", "paused"),
        _ if health.is_some() => FAILING,
        _ if view.blocked_keys > 0 => KEYS_BLOCKED,
        _ => Badge::new("check", "good", "active"),
    }
}

/// Webhooks as rows of a list.
pub(super) async fn lines(
    console: &Console,
    visitor: &Visitor,
    place: &Place,
    mut views: Vec<WebhookView>,
) -> Result<Vec<Line>, Fault> {
    let ids: Vec<i64> = views.iter().map(|view| view.row.id).collect();
    let (app, caller) = (&console.app, visitor.caller());
    app.count_blocked_keys(&mut views).await?;
    let failing = app.failing_webhooks(caller, place.name(), &ids).await?;
    let mut days = app.webhooks_day(caller, place.name(), &ids).await?;
    let mut targets = console.targets(visitor, place)?;
    let lines = views.into_iter().map(|view| {
        let day = days.remove(&view.row.id).unwrap_or_default();
        let target = targets.remove(&view.row.id).unwrap_or_default();
        line(view, target, day, &failing)
    });
    Ok(lines.collect())
}

/// The description, if the label does not contain it.
fn note(target: &str, description: String) -> String {
    Some(description)
        .filter(|note| !labels::is_called_by(target, note))
        .unwrap_or_default()
}

fn line(view: WebhookView, target: String, tally: Tally, failing: &HashMap<i64, HealthRow>) -> Line {
    let health = failing.get(&view.row.id);
    Line {
        id: WebhookId::from_raw(view.row.id).to_string(),
        state: state(&view, health),
        more_types: view.spec.events.len().saturating_sub(TYPES_NAMED),
        types: view.spec.events.into_iter().take(TYPES_NAMED).collect(),
        description: note(&target, view.spec.description),
        target,
        has_filter: !view.spec.filter.is_empty(),
        ordered: view.spec.ordered,
        rotates_until: view.rotation_until.map(Time),
        blocked_keys: blocked_keys(view.blocked_keys),
        day: Day {
            attempts: count(tally.attempts),
            success: percent(tally.attempts - tally.failed_attempts, tally.attempts),
            p50: percentile(&tally.durations, 0.5),
            is_empty: tally.attempts == 0,
        },
        failing_since: health.and_then(|health| health.failing_since).map(Time),
    }
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct ListPage {
    frame: Frame,
    webhooks: Vec<Line>,
    running: Vec<Running>,
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
    let cursor = Cursor::<i64>::after(&fields, &mut errors);
    let (app, caller) = (&console.app, visitor.caller());
    let asked = async { app.list_webhooks(caller, &organization, cursor.at.unwrap_or(0), ROWS) };
    let (views, next) = errors.found(asked, "webhook").await?;
    let page = ListPage {
        frame: Frame::within(&console, &visitor, &place, "webhooks", "Webhooks").after(&fields),
        webhooks: lines(&console, &visitor, &place, views).await?,
        running: operations::running(&console, &visitor, Some(&place)).await?,
        pages: cursor.pages(&format!("{}/webhooks", place.base()), &fields, next),
        may_manage: place.may_manage,
        errors,
    };
    Ok(html(&page))
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct ShowPage {
    frame: Frame,
    webhook: Shown,
    running: Vec<Running>,
    summary: Summary,
    paused: Vec<BlockedKey>,
    /// The number of blocked keys, if not all are shown.
    all_paused: Option<String>,
    deliveries: Vec<Row>,
    /// Maximum number of rows.
    rows: usize,
    show_webhook: bool,
    may_manage: bool,
    /// The signing secret, if it was just generated or revealed.
    secret: Option<Secret>,
    rotation: Rotation,
    live: String,
}

/// A blocked ordering key.
struct BlockedKey {
    key: String,
    delivery: String,
    outcome: String,
    since: Time,
    behind: String,
}

/// A secret that is shown once.
struct Secret {
    text: String,
    explanation: String,
    /// For a new secret, when the old one stops signing.
    until: Option<Time>,
}

impl Secret {
    fn of(once: Once) -> Self {
        let until = Some(once.kind).filter(|kind| *kind == OnceKind::Rotated);
        let until = until.and_then(|_| once.note.parse().ok()).map(Time);
        let explanation = match once.kind {
            OnceKind::Rotated => {
                "New signing secret. Every request is now signed with it alone: copy it to your endpoint's configuration now. You \
                 can reveal it again later."
                    .to_owned()
            }
            OnceKind::Installed => format!(
                "Webhook created.{} Copy its signing secret to your endpoint's configuration, to verify requests. You can reveal \
                 it again later.",
                once.note
            ),
            _ => "Signing secret. This reveal was logged.".to_owned(),
        };
        Self {
            text: once.text,
            explanation,
            until,
        }
    }
}

/// A webhook on its page.
struct Shown {
    id: String,
    target: String,
    pull: bool,
    description: String,
    state: Badge,
    active: bool,
    disabled_at: Option<Time>,
    failing_since: Option<Time>,
    failures: String,
    events: Vec<String>,
    all_events: bool,
    filter: String,
    headers: Vec<(String, String)>,
    timeout: String,
    delays: Option<String>,
    rate: Option<f64>,
    ordered: bool,
    pauses: bool,
    skip_verify: bool,
    public_key: Option<String>,
    overlap_until: Option<Time>,
    created: Time,
    updated: Time,
}

/// One webhook.
pub(super) async fn show(
    State(console): Shared,
    visitor: Visitor,
    Path(which): Path<(String, String)>,
    fields: Fields,
    headers: HeaderMap,
) -> Answer {
    let (place, id) = console.enter_at(&visitor, which)?;
    let once = console.once(&visitor, &headers);
    let shows = once.is_some();
    let page = page(
        &console,
        &visitor,
        &place,
        id,
        &fields,
        once.map(Secret::of),
        Rotation::default(),
    )
    .await?;
    Ok(console.shown_once(&visitor, &address(&place, id), html(&page), shows))
}

/// The address of a webhook's page.
pub(super) fn address(place: &Place, id: WebhookId) -> String {
    format!("{}/webhooks/{id}", place.base())
}

/// The rotation form, as submitted.
pub(super) struct Rotation {
    pub(super) overlap: String,
    pub(super) errors: Errors,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            overlap: "1d".to_owned(),
            errors: Errors::default(),
        }
    }
}

/// The page of a webhook after a failed rotation.
pub(super) async fn not_rotated(
    console: &Console,
    visitor: &Visitor,
    place: &Place,
    id: WebhookId,
    rotation: Rotation,
) -> Answer {
    let page = page(console, visitor, place, id, &Fields::default(), None, rotation).await?;
    let frame = page.frame.with_address(address(place, id));
    Ok(refused(&ShowPage { frame, ..page }))
}

async fn page(
    console: &Console,
    visitor: &Visitor,
    place: &Place,
    id: WebhookId,
    fields: &Fields,
    secret: Option<Secret>,
    rotation: Rotation,
) -> Result<ShowPage, Fault> {
    let caller = visitor.caller();
    let mut view = console.app.get_webhook(caller, place.name(), id)?;
    console.app.count_blocked_keys(slice::from_mut(&mut view)).await?;
    let paused = paused(console, visitor, place, &view).await?;
    let failing = console.app.failing_webhooks(caller, place.name(), &[id.raw()]).await?;
    let filter = DeliveryFilter {
        webhook_id: Some(id.raw()),
        ..DeliveryFilter::default()
    };
    let live = live_address(console, visitor, place, &format!("webhook={id}")).await?;
    let (records, _) = console
        .app
        .list_deliveries(caller, place.name(), &filter, i64::MAX, RECENT)
        .await?;
    let targets = console.targets(visitor, place)?;
    let target = targets.get(&id.raw()).cloned().unwrap_or_default();
    Ok(ShowPage {
        all_paused: (view.blocked_keys > paused.len()).then(|| blocked_keys(view.blocked_keys)),
        paused,
        frame: Frame::within(console, visitor, place, "webhooks", target.as_str()).after(fields),
        webhook: shown(view, target, failing.get(&id.raw())),
        running: operations::running(console, visitor, Some(place)).await?,
        summary: console.summary(visitor, Subject::Webhook(place.name(), id)).await?,
        deliveries: rows(place, &targets, records),
        rows: RECENT,
        show_webhook: false,
        may_manage: place.may_manage,
        secret,
        live,
        rotation,
    })
}

/// The deliveries that block a webhook's first ordering keys, newest first.
async fn paused(
    console: &Console,
    visitor: &Visitor,
    place: &Place,
    view: &WebhookView,
) -> Result<Vec<BlockedKey>, Fault> {
    if view.blocked_keys == 0 {
        return Ok(Vec::new());
    }
    let filter = DeliveryFilter {
        webhook_id: Some(view.row.id),
        states: vec![DeliveryState::Paused],
        ..DeliveryFilter::default()
    };
    let (app, caller) = (&console.app, visitor.caller());
    let (records, _) = app
        .list_deliveries(caller, place.name(), &filter, i64::MAX, RECENT)
        .await?;
    let mut keys = Vec::new();
    for record in records {
        let behind = app.count_behind(caller, place.name(), &record).await?;
        keys.push(blocked_key(record, behind));
    }
    Ok(keys)
}

fn blocked_key(record: DeliveryRecord, behind: usize) -> BlockedKey {
    BlockedKey {
        delivery: DeliveryId::from_raw(record.delivery_id).to_string(),
        outcome: outcome(&record),
        since: Time(record.changed_at()),
        behind: counted_up_to(BLOCKED_COUNTED, behind, "delivery"),
        key: record.ordering_key.unwrap_or_default(),
    }
}

fn shown(view: WebhookView, target: String, health: Option<&HealthRow>) -> Shown {
    let state = state(&view, health);
    let WebhookView { row, spec, .. } = view;
    let delays = spec.retry_delays.as_ref().map(|delays| {
        let delays: Vec<String> = delays.iter().map(|delay| units::shown(*delay)).collect();
        delays.join(", ")
    });
    Shown {
        id: WebhookId::from_raw(row.id).to_string(),
        pull: spec.pull,
        description: note(&target, spec.description),
        target,
        state,
        active: row.active,
        disabled_at: row.disabled_at.filter(|_| !row.active).map(Time),
        failing_since: health.and_then(|health| health.failing_since).map(Time),
        failures: count(i64::from(health.map_or(0, |health| health.failures))),
        all_events: spec.events.iter().any(|event| event == "*"),
        events: spec.events,
        filter: spec.filter,
        headers: spec.headers,
        timeout: units::shown(spec.timeout),
        delays,
        rate: spec.rate,
        ordered: spec.ordered,
        pauses: spec.pauses,
        skip_verify: spec.skip_verify,
        public_key: view.ed25519_public_key,
        overlap_until: view.rotation_until.map(Time),
        created: Time(row.created_at),
        updated: Time(row.updated_at),
    }
}
