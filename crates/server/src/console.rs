//! The web console: what an installation does, for people. Rendered on the server over the same use cases as the API, with
//! the rights of the token that somebody signed in with and no others.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `session` | signing in and out, the cookie, who asks |
//! | `guard` | what every answer says to browsers, and which posts are forged |
//! | `page` | the frame of every page |
//! | `fault` | what is shown when something cannot be done |
//! | `fields` | what a form or an address holds |
//! | `show` | times, sizes, counts, states as people read them |
//! | the others | a page or two each |
//!
//! Invariants: nothing that somebody stored reaches a page unescaped (templates escape, and the policy that is sent with
//! each page runs no script but ours); what belongs to an organization that the visitor may not see looks exactly like what
//! does not exist; every list is a page of bounded size; every change needs a form that this server made for this session.

mod assets;
mod attempts;
mod audit;
mod charts;
mod deliveries;
mod errors;
mod event_types;
mod events;
mod fault;
mod fields;
mod guard;
mod limit;
mod live;
mod organizations;
mod overview;
mod page;
mod portal;
mod publish;
mod replays;
mod session;
mod settings;
mod show;
mod tokens;
mod units;
mod webhook_actions;
mod webhook_form;
mod webhooks;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    response::Redirect,
    routing::{get, post},
};

use self::{fault::Fault, limit::SignInLimit};
use crate::app::App;

/// The largest form that is read.
const FORM_BYTES_MAX: usize = 2 << 20;
/// How many rows a list shows at once.
const ROWS: usize = 50;

/// What an operator set of the console.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsoleOptions {
    /// The origin at which browsers find it.
    pub(crate) origin: String,
    /// The origins of pages that may show the portal in a frame.
    pub(crate) portal_parents: Vec<String>,
}

/// What every page rests on.
pub(crate) struct Console {
    app: Arc<App>,
    options: ConsoleOptions,
    limit: SignInLimit,
}

/// What handlers answer.
type Answer = Result<axum::response::Response, Fault>;
/// The console as handlers are given it.
type Shared = axum::extract::State<Arc<Console>>;

/// The routes.
pub(crate) fn router(app: Arc<App>, options: ConsoleOptions) -> Router {
    let console = Arc::new(Console {
        app,
        options,
        limit: SignInLimit::default(),
    });
    let pages = Router::new()
        .merge(installation())
        .merge(organization())
        .merge(webhook())
        .route("/portal/{link}", get(portal::open))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&console), guard::guard));
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/console/") }))
        .route("/console", get(|| async { Redirect::permanent("/console/") }))
        .route("/console/assets/{version}/{name}", get(assets::asset))
        .merge(pages)
        .with_state(console)
}

/// What concerns the installation.
fn installation() -> Router<Arc<Console>> {
    Router::new()
        .route("/console/", get(overview::overview))
        .route("/console/sign-in", get(session::form).post(session::sign_in))
        .route("/console/sign-out", post(session::sign_out))
        .route(
            "/console/organizations",
            get(organizations::list).post(organizations::create),
        )
        .route("/console/tokens", get(tokens::list).post(tokens::create))
        .route(
            "/console/tokens/{token}/revoke",
            get(tokens::confirm_revoke).post(tokens::revoke),
        )
        .route("/console/audit", get(audit::list))
        .route("/console/settings", get(settings::show))
        .route("/console/event-types", get(event_types::list))
        .route("/console/event-types/{event_type}", get(event_types::show))
        .route("/console/{*rest}", get(fault::no_such_page))
}

/// What concerns an organization.
fn organization() -> Router<Arc<Console>> {
    let pages = Router::new()
        .route("/", get(organizations::show))
        .route(
            "/delete",
            get(organizations::confirm_delete).post(organizations::delete),
        )
        .route("/events", get(events::list))
        .route("/events/new", get(publish::form).post(publish::publish))
        .route("/events/{event}", get(events::show))
        .route("/events/{event}/payload", get(events::payload))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/live", get(live::deliveries))
        .route("/deliveries/{delivery}", get(attempts::show))
        .route(
            "/deliveries/{delivery}/attempts/{number}/response",
            get(attempts::response),
        )
        .route("/deliveries/{delivery}/{action}", post(deliveries::steer))
        .route("/audit", get(audit::list_of_organization))
        .route("/tokens", get(tokens::list_of_organization))
        .route("/portal-links", get(portal::form).post(portal::create))
        .route("/replays", get(replays::list).post(replays::create))
        .route("/replays/new", get(replays::form))
        .route("/replays/{replay}", get(replays::show))
        .route("/replays/{replay}/cancel", post(replays::cancel));
    Router::new().nest("/console/organizations/{organization}", pages)
}

/// What concerns an organization's webhooks.
fn webhook() -> Router<Arc<Console>> {
    let pages = Router::new()
        .route("/", get(webhooks::list).post(webhook_form::create))
        .route("/new", get(webhook_form::new))
        .route("/{webhook}", get(webhooks::show))
        .route("/{webhook}/edit", get(webhook_form::edit).post(webhook_form::update))
        .route(
            "/{webhook}/delete",
            get(webhook_actions::confirm_delete).post(webhook_actions::delete),
        )
        .route("/{webhook}/pause", post(webhook_actions::pause))
        .route("/{webhook}/resume", post(webhook_actions::resume))
        .route("/{webhook}/ping", post(webhook_actions::ping))
        .route("/{webhook}/rotate", post(webhook_actions::rotate))
        .route("/{webhook}/complete-rotation", post(webhook_actions::complete_rotation))
        .route("/{webhook}/reveal", post(webhook_actions::reveal));
    Router::new().nest("/console/organizations/{organization}/webhooks", pages)
}
