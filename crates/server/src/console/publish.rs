//! The form that publishes a test event.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect},
};

use super::{
    Answer, Console, Shared,
    errors::Errors,
    event_types::TYPES_LISTED,
    fields::Fields,
    page::{Frame, Place, html, refused},
    session::{Sent, Visitor},
};
use crate::app::{
    access::Scope,
    error::{AppError, AppResult},
    events::NewEvent,
};

#[derive(Template)]
#[template(path = "publish.html")]
struct FormPage {
    frame: Frame,
    types: Vec<String>,
    event_type: String,
    payload: String,
    attributes: String,
    ordering_key: String,
    errors: Errors,
}

/// The form; if the address names a type, the payload is its example.
pub(super) async fn form(
    State(console): Shared,
    visitor: Visitor,
    Path(organization): Path<String>,
    fields: Fields,
) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    visitor.caller().require_for(Scope::Publish, place.row.id)?;
    Ok(html(&page(&console, &visitor, &place, &fields, Errors::default())))
}

fn page(console: &Console, visitor: &Visitor, place: &Place, fields: &Fields, errors: Errors) -> FormPage {
    let (types, _) = console.app.list_event_types_for(&place.row, TYPES_LISTED, false);
    let event_type = fields.get("event_type").to_owned();
    let example = types
        .iter()
        .find(|row| row.name == event_type)
        .and_then(|row| row.example.clone());
    let payload = match fields.some("payload") {
        Some(_) => fields.raw("payload").to_owned(),
        None => example.unwrap_or_else(|| "{}".to_owned()),
    };
    FormPage {
        frame: Frame::within(console, visitor, place, "events", "Publish a test event"),
        types: types.into_iter().map(|row| row.name).collect(),
        event_type,
        payload,
        attributes: fields.raw("attributes").to_owned(),
        ordering_key: fields.get("ordering_key").to_owned(),
        errors: errors.shown_at(&["event_type", "payload", "attributes", "ordering_key"]),
    }
}

/// Publishes the event, and redirects to its results.
pub(super) async fn publish(State(console): Shared, Path(organization): Path<String>, sent: Sent) -> Answer {
    let Sent { visitor, fields } = sent;
    let place = console.enter(&visitor, &organization)?;
    match publish_event(&console, &visitor, &place, &fields).await {
        Ok(event) => Ok(Redirect::to(&format!("{}/events/{event}?done=published", place.base())).into_response()),
        Err(error) => {
            let errors = Errors::of_missing(error, "event", "event_type", "is not registered")?;
            Ok(refused(&page(&console, &visitor, &place, &fields, errors)))
        }
    }
}

async fn publish_event(console: &Console, visitor: &Visitor, place: &Place, fields: &Fields) -> AppResult<String> {
    let event = NewEvent {
        organization: place.name(),
        event_type: fields.get("event_type").to_owned(),
        payload: fields.get("payload").to_owned().into(),
        payload_field: "payload",
        request_id: fields.request_id(),
        occurred_at: None,
        attributes: attributes(fields.get("attributes"))?,
        ordering_key: fields.get("ordering_key").to_owned(),
        trace: None,
        tracestate: None,
    };
    let prepared = console.app.prepare_event(visitor.caller(), event)?;
    let published = console.app.publish(vec![prepared.draft]).await.pop();
    let published =
        published.unwrap_or_else(|| Err(AppError::Unavailable("the server is shutting down".to_owned())))?;
    Ok(published.event.to_string())
}

/// `name=value` on each line.
fn attributes(text: &str) -> AppResult<BTreeMap<String, String>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let pairs = lines.map(|line| match line.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => {
            let rule = format!("`{line}` is not an attribute; write name=value");
            Err(AppError::invalid("attributes", "INVALID_ATTRIBUTE", rule))
        }
    });
    pairs.collect()
}
