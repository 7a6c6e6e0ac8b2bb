//! The web console, rendered on the server. It uses the same use cases as the API, with exactly the rights of the token that
//! the user signed in with.
//!
//! | module | contents |
//! | --- | --- |
//! | `site` | the console and the portal: two sites with the same pages |
//! | `session` | identifies the visitor |
//! | `sign_in` | signing in and out |
//! | `cookies` | cookies of sessions and one-time data |
//! | `limit` | limits on signing in |
//! | `forms` | limits on concurrent forms |
//! | `downloads` | limits on concurrent downloads |
//! | `guard` | headers, timeouts and the check for forged posts |
//! | `twice` | deduplication of repeated forms |
//! | `page` | the frame of every page |
//! | `pages` | links to the next and the first page of a list |
//! | `fault`, `fault_page` | reasons why there is no page, and error pages |
//! | `fields` | the fields of a form or an address |
//! | `errors` | errors of a form, per field |
//! | `units` | durations, times and names as users type them |
//! | `labels` | labels of webhooks |
//! | `show` | times, sizes, counts and states as text |
//! | `charts` | figures and the chart of the last hour |
//! | `live`, `live_address` | live changes of a list for open pages, and their address |
//! | `assets` | script, stylesheet, icon |
//! | the others | a page or two each |
//!
//! Invariants: no stored text reaches a page unescaped (templates escape, and the content security policy allows only our
//! script). A resource of an organization that the visitor may not see looks exactly like one that does not exist. Every
//! list has pages of bounded size. Every change needs a form that this server made for the signed-in user.

mod assets;
mod attempts;
mod audit;
mod charts;
mod confirm;
mod cookies;
mod deliveries;
mod downloads;
mod errors;
mod event_types;
mod events;
mod fault;
mod fault_page;
mod fields;
mod forms;
mod guard;
mod labels;
mod limit;
mod live;
mod live_address;
mod operations;
mod organizations;
mod overview;
mod page;
mod pages;
mod portal;
mod publish;
mod replays;
mod session;
mod settings;
mod show;
mod sign_in;
mod site;
mod tokens;
mod troubles;
mod twice;
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

use self::{downloads::Downloads, fault::Fault, forms::Forms, limit::SignInLimits, twice::RecentForms};
use crate::{app::App, proxies::Proxies};

/// The maximum size of a form.
const FORM_BYTES_MAX: usize = 2 << 20;
/// The maximum size of a form before signing in.
const SIGN_IN_BYTES_MAX: usize = 16 << 10;
/// The number of rows of a list.
const ROWS: usize = 50;

/// The operator's settings of the console.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsoleOptions {
    /// The public origin of the console.
    pub(crate) origin: String,
    /// The origins of pages that may show the portal in a frame.
    pub(crate) portal_parents: Vec<String>,
    /// The proxies whose client addresses are trusted.
    pub(crate) proxies: Proxies,
}

impl ConsoleOptions {
    /// Whether browsers use TLS with the console.
    fn is_https(&self) -> bool {
        self.origin.starts_with("https://")
    }
}

/// The state that every page uses.
pub(crate) struct Console {
    app: Arc<App>,
    options: ConsoleOptions,
    limits: SignInLimits,
    downloads: Downloads,
    forms: Forms,
    recent_forms: Arc<RecentForms>,
}

/// The result of handlers.
type Answer = Result<axum::response::Response, Fault>;
/// The console, as handlers receive it.
type Shared = axum::extract::State<Arc<Console>>;

/// The routes.
pub(crate) fn router(app: Arc<App>, options: ConsoleOptions) -> Router {
    let console = Arc::new(Console {
        app,
        options,
        limits: SignInLimits::default(),
        downloads: Downloads::default(),
        forms: Forms::default(),
        recent_forms: Arc::default(),
    });
    let pages = Router::new()
        .route("/console/", get(overview::overview))
        .nest("/console", console_pages())
        .route("/portal/", get(overview::overview))
        .nest("/portal", portal_pages())
        .fallback(fault::no_such_page)
        .layer(middleware::from_fn_with_state(Arc::clone(&console), twice::once))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&console), guard::guard));
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/console/") }))
        .route("/console", get(|| async { Redirect::permanent("/console/") }))
        .route("/console/assets/{version}/{name}", get(assets::asset))
        .merge(pages)
        .with_state(console)
}

/// The console: the installation, and every organization.
fn console_pages() -> Router<Arc<Console>> {
    let sign_in = post(sign_in::sign_in).layer(DefaultBodyLimit::max(SIGN_IN_BYTES_MAX));
    let operators = Router::new()
        .route("/audit", get(audit::list_of_organization))
        .route("/tokens", get(tokens::list_of_organization))
        .route("/portal-links", get(portal::form).post(portal::create))
        .route("/portal-links/revoke", post(portal::revoke));
    Router::new()
        .route("/sign-in", get(sign_in::form).merge(sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/failing-webhooks", get(troubles::list))
        .route("/organizations", get(organizations::list).post(organizations::create))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route(
            "/tokens/{token}/revoke",
            get(tokens::confirm_revoke).post(tokens::revoke),
        )
        .route("/audit", get(audit::list))
        .route("/settings", get(settings::show))
        .merge(event_types())
        .nest("/organizations/{organization}", operators.merge(organization()))
}

/// The portal: one organization, without what is the operator's.
fn portal_pages() -> Router<Arc<Console>> {
    Router::new()
        .route("/leave", post(sign_in::leave))
        .route("/{link}", get(portal::open))
        .merge(event_types())
        .nest("/organizations/{organization}", organization())
}

fn event_types() -> Router<Arc<Console>> {
    Router::new()
        .route("/event-types", get(event_types::list))
        .route("/event-types/{event_type}", get(event_types::show))
}

/// The routes of an organization.
fn organization() -> Router<Arc<Console>> {
    Router::new()
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
        .route(
            "/deliveries/{delivery}/cancel",
            get(confirm::cancel).post(confirm::cancel_delivery),
        )
        .route(
            "/deliveries/{delivery}/skip",
            get(confirm::skip).post(confirm::skip_delivery),
        )
        .route("/deliveries/{delivery}/{action}", post(deliveries::steer))
        .route("/replays", get(replays::list).post(replays::create))
        .route("/replays/new", get(replays::form))
        .route("/replays/{replay}", get(replays::show))
        .route("/replays/{replay}/cancel", post(replays::cancel))
        .nest("/webhooks", webhook())
}

/// The routes of an organization's webhooks.
fn webhook() -> Router<Arc<Console>> {
    Router::new()
        .route("/", get(webhooks::list).post(webhook_form::create))
        .route("/new", get(webhook_form::new))
        .route("/{webhook}", get(webhooks::show))
        .route("/{webhook}/edit", get(webhook_form::edit).post(webhook_form::update))
        .route(
            "/{webhook}/delete",
            get(webhook_actions::confirm_delete).post(webhook_actions::delete),
        )
        .route("/{webhook}/pause", post(webhook_actions::pause))
        .route("/{webhook}/discard", get(confirm::discard))
        .route("/{webhook}/resume", post(webhook_actions::resume))
        .route("/{webhook}/ping", post(webhook_actions::ping))
        .route("/{webhook}/rotate", post(webhook_actions::rotate))
        .route("/{webhook}/complete-rotation", post(webhook_actions::complete_rotation))
        .route("/{webhook}/reveal", post(webhook_actions::reveal))
}
