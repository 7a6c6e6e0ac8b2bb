//! The overview of the installation, for users who may see all of it.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect},
};
use hookwright_delivery::clock;
use hookwright_domain::id::WebhookId;
use hookwright_storage::nodes::NodeState;

use super::{
    Answer, Shared,
    charts::Summary,
    fault::Fault,
    labels::label,
    page::{Frame, html},
    session::Visitor,
    show::{Badge, Time, count, duration},
    troubles::Trouble,
    webhooks::blocked_keys,
};
use crate::app::{health::PausedWebhook, nodes::NodeView, stats::Subject, texts::NamePrefix};

/// Maximum number of nodes on the page.
const NODES: usize = 100;
/// Maximum number of failing webhooks on the page.
const TROUBLES: usize = 20;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    summary: Summary,
    troubles: Vec<Trouble>,
    paused: Vec<Paused>,
    more_paused: bool,
    /// The total number, if not all are shown.
    all_troubles: Option<String>,
    /// `None` for users who may not see them.
    nodes: Option<Vec<Node>>,
    organizations: bool,
    /// The server holds: nothing is sent.
    hold: bool,
}

/// A webhook with blocked ordering keys.
struct Paused {
    organization: String,
    id: String,
    target: String,
    keys: String,
}

struct Node {
    number: u16,
    name: String,
    state: Badge,
    version: String,
    address: String,
    started: Time,
    in_memory: String,
    in_flight: String,
    waiting: String,
    answering: bool,
}

/// The page; users of one organization are redirected to it.
pub(super) async fn overview(State(console): Shared, visitor: Visitor) -> Answer {
    let caller = visitor.caller();
    if caller.organization().is_some() {
        let own = console.app.own_organization(caller).ok_or(Fault::NotFound)?;
        return Ok(Redirect::to(&visitor.site().organization(&own.name)).into_response());
    }
    let frame = Frame::new(&console, &visitor, "overview", "Overview");
    let nodes = match &frame.who {
        Some(who) if who.is_admin => Some(console.app.list_nodes(caller, None, NODES).await?.0),
        _ => None,
    };
    let due = console.app.oldest_due(caller).await?;
    let mut summary = console.summary(&visitor, Subject::Installation).await?;
    summary.oldest_due = Some(oldest_due(due));
    let troubled = console.app.troubled_webhooks(caller, None, TROUBLES).await?;
    let all = i64::try_from(troubled.total).unwrap_or(i64::MAX);
    let (paused, more_paused) = console.app.webhooks_with_blocked_keys(caller, TROUBLES).await?;
    let page = OverviewPage {
        paused: paused.into_iter().map(paused_webhook).collect(),
        more_paused,
        summary,
        all_troubles: troubled.next.map(|_| count(all)),
        troubles: troubled.webhooks.into_iter().map(Trouble::from).collect(),
        nodes: nodes.map(|views| views.into_iter().map(node).collect()),
        organizations: !console
            .app
            .list_organizations(caller, NamePrefix::default(), "", 1)?
            .0
            .is_empty(),
        hold: console.app.holds(),
        frame,
    };
    Ok(html(&page))
}

fn paused_webhook(paused: PausedWebhook) -> Paused {
    Paused {
        id: WebhookId::from_raw(paused.webhook.id).to_string(),
        target: label(&paused.webhook),
        keys: blocked_keys(paused.keys),
        organization: paused.organization,
    }
}

/// The age of the oldest overdue delivery.
fn oldest_due(due: Option<i64>) -> String {
    due.map_or_else(|| "None".to_owned(), |due| duration(clock::schedule_us() - due))
}

fn node(view: NodeView) -> Node {
    let NodeView { row, leased, answering } = view;
    let state = match row.state {
        NodeState::Serving if leased && row.expired => Badge::new("alert", "bad", "silent"),
        NodeState::Serving => Badge::new("check", "good", "serving"),
        NodeState::Draining => Badge::new("clock", "warn", "draining"),
        NodeState::Lost => Badge::new("cross", "bad", "lost"),
        NodeState::Free => Badge::new("dot", "calm", "unused"),
    };
    Node {
        number: row.number,
        name: row.name,
        state,
        version: row.version,
        address: row.grpc_address,
        started: Time(row.started_at),
        in_memory: count(row.deliveries_in_memory),
        in_flight: count(row.attempts_in_flight),
        waiting: count(row.deliveries_waiting),
        answering,
    }
}
