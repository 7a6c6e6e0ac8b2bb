//! Webhooks: the list with their health, and one of them.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{OriginalUri, Path, State};
use futures::future::try_join_all;
use hookwright_delivery::clock;
use hookwright_domain::id::WebhookId;
use hookwright_storage::{DeliveryFilter, HealthRow, stats::Tally};

use super::{
    Answer, Console, ROWS, Shared,
    charts::Summary,
    deliveries::{Row, rows},
    fault::Fault,
    fields::Fields,
    live,
    page::{Frame, Place, html},
    session::Visitor,
    show::{Badge, Time, count, duration, percent},
    units,
};
use crate::app::{
    stats::{StatsQuery, Subject},
    webhooks::WebhookView,
};

/// How many event types of a webhook a list names.
const TYPES_NAMED: usize = 4;
/// How many deliveries a webhook's page shows.
const RECENT: usize = 10;
/// How many webhooks in trouble the overview shows.
const TROUBLES: usize = 20;
const DAY_US: i64 = 86_400_000_000;

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

/// A webhook that somebody should look at.
pub(super) struct Trouble {
    pub(super) organization: String,
    pub(super) id: String,
    pub(super) target: String,
    pub(super) state: Badge,
    pub(super) since: Option<Time>,
    pub(super) failures: String,
}

/// The installation's webhooks in trouble.
pub(super) async fn troubles(console: &Console, visitor: &Visitor) -> Result<Vec<Trouble>, Fault> {
    let troubled = console.app.troubled_webhooks(visitor.caller(), TROUBLES).await?;
    let troubles = troubled.into_iter().map(|webhook| Trouble {
        organization: webhook.organization,
        id: webhook.webhook.to_string(),
        target: target(&webhook.payload_url),
        state: match &webhook.disabled {
            Some((reason, _)) => disabled(reason),
            None => FAILING,
        },
        since: webhook.failing_since.or(webhook.disabled.map(|(_, at)| at)).map(Time),
        failures: count(i64::from(webhook.failures)),
    });
    Ok(troubles.collect())
}

const FAILING: Badge = Badge::new("alert", "warn", "failing");

fn disabled(reason: &str) -> Badge {
    match reason {
        "gone" => Badge::new("cross", "bad", "disabled: answered 410"),
        _ => Badge::new("cross", "bad", "disabled: kept failing"),
    }
}

/// Where a webhook posts to, for people.
pub(super) fn target(payload_url: &str) -> String {
    if payload_url.is_empty() {
        "deliveries are fetched".to_owned()
    } else {
        payload_url.to_owned()
    }
}

fn state(view: &WebhookView, health: Option<&HealthRow>) -> Badge {
    match &view.row.disabled_reason {
        Some(reason) if !view.row.active => disabled(reason),
        _ if !view.row.active => Badge::new("pause", "calm", "paused"),
        _ if health.is_some() => FAILING,
        _ => Badge::new("check", "good", "active"),
    }
}

/// Webhooks as a list shows them.
pub(super) async fn lines(
    console: &Console,
    visitor: &Visitor,
    place: &Place,
    views: Vec<WebhookView>,
) -> Result<Vec<Line>, Fault> {
    let failing = console.app.failing_webhooks(visitor.caller(), place.name()).await?;
    let days = views
        .iter()
        .map(|view| day(console, visitor, place, WebhookId::from_raw(view.row.id)));
    let days = try_join_all(days).await?;
    let lines = views.into_iter().zip(days).map(|(view, day)| line(view, day, &failing));
    Ok(lines.collect())
}

async fn day(console: &Console, visitor: &Visitor, place: &Place, id: WebhookId) -> Result<Tally, Fault> {
    let query = StatsQuery {
        period: 3_600,
        start: Some(clock::now_us() - DAY_US),
        end: None,
    };
    let subject = Subject::Webhook(place.name(), id);
    Ok(console.app.delivery_stats(visitor.caller(), subject, query).await?.1)
}

fn line(view: WebhookView, tally: Tally, failing: &HashMap<i64, HealthRow>) -> Line {
    let health = failing.get(&view.row.id);
    let p50 = tally.durations.percentile(0.5);
    Line {
        id: WebhookId::from_raw(view.row.id).to_string(),
        target: target(&view.row.payload_url),
        state: state(&view, health),
        more_types: view.spec.events.len().saturating_sub(TYPES_NAMED),
        types: view.spec.events.into_iter().take(TYPES_NAMED).collect(),
        description: view.spec.description,
        has_filter: !view.spec.filter.is_empty(),
        ordered: view.spec.ordered,
        day: Day {
            attempts: count(tally.attempts),
            success: percent(tally.attempts - tally.failed_attempts, tally.attempts),
            p50: p50.map_or_else(|| "–".to_owned(), |us| duration(i64::try_from(us).unwrap_or(i64::MAX))),
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
    next: Option<String>,
    may_manage: bool,
}

/// The list.
pub(super) async fn list(
    State(console): Shared,
    visitor: Visitor,
    Path(organization): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    let fields = Fields::parse(uri.query().unwrap_or_default().as_bytes());
    let after = fields.get("after").parse().unwrap_or(0);
    let (views, next) = console
        .app
        .list_webhooks(visitor.caller(), &organization, after, ROWS)?;
    let page = ListPage {
        frame: Frame::within(&console, &visitor, &place, "webhooks", "Webhooks").after(&fields),
        webhooks: lines(&console, &visitor, &place, views).await?,
        next,
        may_manage: place.may_manage,
    };
    Ok(html(&page))
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct ShowPage {
    frame: Frame,
    webhook: Shown,
    summary: Summary,
    deliveries: Vec<Row>,
    show_webhook: bool,
    may_manage: bool,
    /// The signing secret, where it was just made or asked for.
    secret: Option<Secret>,
    live: String,
}

/// A secret that is shown this once.
pub(super) struct Secret {
    pub(super) text: String,
    pub(super) explanation: String,
}

/// A webhook as its page shows it.
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

/// One of them.
pub(super) async fn show(
    State(console): Shared,
    visitor: Visitor,
    Path((organization, id)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let fields = Fields::parse(uri.query().unwrap_or_default().as_bytes());
    let place = console.enter(&visitor, &organization)?;
    let id = id.parse().map_err(|_| Fault::NotFound)?;
    page(&console, &visitor, &place, id, &fields, None).await
}

/// The page of a webhook, with a secret where there is one to show.
pub(super) async fn page(
    console: &Console,
    visitor: &Visitor,
    place: &Place,
    id: WebhookId,
    fields: &Fields,
    secret: Option<Secret>,
) -> Answer {
    let caller = visitor.caller();
    let view = console.app.get_webhook(caller, place.name(), id)?;
    let failing = console.app.failing_webhooks(caller, place.name()).await?;
    let filter = DeliveryFilter {
        webhook_id: Some(id.raw()),
        ..DeliveryFilter::default()
    };
    let live = live::address(console, visitor, place, &format!("webhook={id}")).await?;
    let (records, _) = console
        .app
        .list_deliveries(caller, place.name(), &filter, i64::MAX, RECENT)
        .await?;
    let overlap = console.app.overlap_until(caller, place.name(), id)?;
    let page = ShowPage {
        frame: Frame::within(console, visitor, place, "webhooks", target(&view.row.payload_url)).after(fields),
        webhook: shown(view, failing.get(&id.raw()), overlap),
        summary: console.summary(visitor, Subject::Webhook(place.name(), id)).await?,
        deliveries: rows(console, visitor, place, records)?,
        show_webhook: false,
        may_manage: place.may_manage,
        secret,
        live,
    };
    Ok(html(&page))
}

fn shown(view: WebhookView, health: Option<&HealthRow>, overlap_until: Option<i64>) -> Shown {
    let state = state(&view, health);
    let WebhookView { row, spec, .. } = view;
    let delays = spec.retry_delays.as_ref().map(|delays| {
        let delays: Vec<String> = delays.iter().map(|delay| units::shown(*delay)).collect();
        delays.join(", ")
    });
    Shown {
        id: WebhookId::from_raw(row.id).to_string(),
        target: target(&row.payload_url),
        pull: spec.pull,
        description: spec.description,
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
        overlap_until: overlap_until.map(Time),
        created: Time(row.created_at),
        updated: Time(row.updated_at),
    }
}
