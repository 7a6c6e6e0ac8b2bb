//! The installation's failing and disabled webhooks.

use askama::Template;
use axum::extract::State;
use hookwright_domain::id::WebhookId;

use super::{
    Answer, ROWS, Shared,
    errors::Errors,
    fields::Fields,
    labels::label,
    page::{Frame, html},
    pages::{Cursor, Pages},
    session::Visitor,
    show::{Badge, Time, count, counted},
    webhooks::{FAILING, disabled},
};
use crate::app::health::{TroublePlace, TroubledWebhook};

/// A webhook that needs attention.
pub(super) struct Trouble {
    pub(super) organization: String,
    pub(super) id: String,
    pub(super) target: String,
    pub(super) state: Badge,
    pub(super) since: Option<Time>,
    pub(super) failures: String,
}

impl From<TroubledWebhook> for Trouble {
    fn from(webhook: TroubledWebhook) -> Self {
        Self {
            since: webhook.since().map(Time),
            id: WebhookId::from_raw(webhook.webhook.id).to_string(),
            target: label(&webhook.webhook),
            state: webhook.disabled.map_or(FAILING, |(reason, _)| disabled(&reason)),
            failures: count(i64::from(webhook.failures)),
            organization: webhook.organization,
        }
    }
}

#[derive(Template)]
#[template(path = "troubles.html")]
struct ListPage {
    frame: Frame,
    troubles: Vec<Trouble>,
    total: String,
    pages: Pages,
    errors: Errors,
}

/// The list.
pub(super) async fn list(State(console): Shared, visitor: Visitor, fields: Fields) -> Answer {
    console.enter_installation(&visitor)?;
    let mut errors = Errors::default();
    let cursor = Cursor::<TroublePlace>::after(&fields, &mut errors);
    let found = console.app.troubled_webhooks(visitor.caller(), cursor.at, ROWS).await?;
    let page = ListPage {
        frame: Frame::new(&console, &visitor, "overview", "Failing webhooks"),
        troubles: found.webhooks.into_iter().map(Trouble::from).collect(),
        total: counted(found.total, "webhook"),
        pages: cursor.pages("/console/failing-webhooks", &fields, found.next),
        errors,
    };
    Ok(html(&page))
}
