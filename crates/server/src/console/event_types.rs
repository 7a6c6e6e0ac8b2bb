//! Event types: the list, and one with its schema, versions, example and subscribers.

use askama::Template;
use axum::extract::{Path, State};
use hookwright_domain::id::WebhookId;
use hookwright_storage::{EventTypeRow, SchemaRow};

use super::{
    Answer, ROWS, Shared,
    errors::Errors,
    fault::Fault,
    fields::Fields,
    labels::label,
    page::{Frame, html},
    pages::{Cursor, Pages},
    session::Visitor,
    show::{Badge, Time},
};
use crate::app::{error::AppError, texts::NamePrefix};

/// Maximum number of event types in a form.
pub(super) const TYPES_LISTED: usize = 500;
/// Maximum number of schema versions on the page.
const VERSIONS: usize = 20;
/// Maximum number of subscribers on the page.
const SUBSCRIBERS: usize = 100;

#[derive(Template)]
#[template(path = "event_types.html")]
struct ListPage {
    frame: Frame,
    types: Vec<Row>,
    /// The prefix of the listed names.
    prefix: String,
    pages: Pages,
    /// Whether there are any event types.
    any: bool,
    archived_too: bool,
    /// The address of the same list with or without archived types.
    other_way: String,
    errors: Errors,
}

struct Row {
    name: String,
    description: String,
    schema: String,
    state: Badge,
}

fn state(row: &EventTypeRow) -> Badge {
    if row.archived {
        Badge::new("ban", "calm", "archived")
    } else {
        Badge::new("check", "good", "active")
    }
}

/// The validation of payloads, in a few words.
fn schema(row: &EventTypeRow) -> String {
    match (&row.json_schema, row.schema_mode.as_str()) {
        (None, _) => "none".to_owned(),
        (Some(_), "warn") => format!("version {}, warns only", row.schema_version),
        (Some(_), "off") => format!("version {}, off", row.schema_version),
        (Some(_), _) => format!("version {}", row.schema_version),
    }
}

/// The list.
pub(super) async fn list(State(console): Shared, visitor: Visitor, fields: Fields) -> Answer {
    let archived_too = fields.has("archived");
    let (app, caller) = (&console.app, visitor.caller());
    let mut errors = Errors::default();
    let cursor = Cursor::<String>::after(&fields, &mut errors);
    let found = async {
        let prefix = NamePrefix::new("prefix", fields.get("prefix"))?;
        let after = cursor.at.as_deref().unwrap_or_default();
        app.list_event_types(caller, prefix, after, ROWS, archived_too)
    };
    let (rows, next) = errors.found(found, "event_type").await?;
    let any = app.list_event_types(caller, NamePrefix::default(), "", 1, true)?;
    let address = format!("{}/event-types", visitor.site().root());
    let (with, without) = (
        fields.query_with("archived", "yes"),
        fields.query_without(&["archived", "after", "done"]),
    );
    let types = rows.into_iter().map(|row| Row {
        schema: schema(&row),
        state: state(&row),
        name: row.name,
        description: row.description,
    });
    let page = ListPage {
        frame: Frame::new(&console, &visitor, "event-types", "Event types").after(&fields),
        types: types.collect(),
        prefix: fields.get("prefix").to_owned(),
        pages: cursor.pages(&address, &fields, next),
        any: !any.0.is_empty(),
        archived_too,
        other_way: format!("{address}?{}", if archived_too { without } else { with })
            .trim_end_matches('?')
            .to_owned(),
        errors,
    };
    Ok(html(&page))
}

#[derive(Template)]
#[template(path = "event_type.html")]
struct ShowPage {
    frame: Frame,
    name: String,
    description: String,
    state: Badge,
    schema: String,
    json_schema: Option<String>,
    example: Option<String>,
    versions: Vec<Version>,
    subscribers: Vec<Subscriber>,
    pages: Pages,
    errors: Errors,
    created: Time,
    updated: Time,
    publish: Option<String>,
    /// The organizations that can see it, for operators; empty for all.
    visible_to: String,
}

struct Version {
    number: i32,
    created: Time,
    text: String,
}

struct Subscriber {
    organization: String,
    webhook: String,
    target: String,
    wildcard: bool,
    active: bool,
}

/// One event type.
pub(super) async fn show(State(console): Shared, visitor: Visitor, Path(name): Path<String>, fields: Fields) -> Answer {
    let (app, caller) = (&console.app, visitor.caller());
    let row = app.get_event_type(caller, &name)?;
    let (versions, _) = app.list_event_type_schemas(caller, &name, i32::MAX, VERSIONS).await?;
    let mut errors = Errors::default();
    let cursor = Cursor::<i64>::after(&fields, &mut errors);
    let subscribers = async { app.subscribers(caller, &name, cursor.at.unwrap_or(0), SUBSCRIBERS) };
    let subscribers = errors.found(subscribers, "event_type").await;
    let (subscribers, next) = subscribers.map_err(|error| match error {
        AppError::Denied(_) => Fault::NotFound,
        error => error.into(),
    })?;
    let own = app.own_organization(caller);
    let publish = own.filter(|row| caller.require_for(crate::app::access::Scope::Publish, row.id).is_ok());
    let visible_to = match caller.organization() {
        None => app.visible_to(caller, &row),
        Some(_) => Vec::new(),
    };
    let page = ShowPage {
        frame: Frame::new(&console, &visitor, "event-types", format!("Event type {name}")),
        state: state(&row),
        schema: schema(&row),
        json_schema: row.json_schema.as_deref().map(pretty),
        example: row.example.as_deref().map(pretty),
        versions: versions.into_iter().map(version).collect(),
        subscribers: subscribers
            .into_iter()
            .map(|subscriber| Subscriber {
                organization: subscriber.organization,
                webhook: WebhookId::from_raw(subscriber.webhook.id).to_string(),
                target: label(&subscriber.webhook),
                wildcard: subscriber.wildcard,
                active: subscriber.active,
            })
            .collect(),
        pages: cursor.pages(&format!("{}/event-types/{name}", visitor.site().root()), &fields, next),
        errors,
        visible_to: visible_to.join(", "),
        created: Time(row.created_at),
        updated: Time(row.updated_at),
        publish: publish.map(|own| {
            let own = visitor.site().organization(&own.name);
            format!("{own}/events/new?event_type={}", row.name)
        }),
        name: row.name,
        description: row.description,
    };
    Ok(html(&page))
}

fn version(row: SchemaRow) -> Version {
    Version {
        number: row.version,
        created: Time(row.created_at),
        text: row
            .json_schema
            .as_deref()
            .map_or_else(|| "(no schema)".to_owned(), pretty),
    }
}

/// JSON with line breaks; text that is not JSON stays unchanged.
fn pretty(text: &str) -> String {
    let value: Result<serde_json::Value, _> = serde_json::from_str(text);
    let pretty = value.and_then(|value| serde_json::to_string_pretty(&value));
    pretty.unwrap_or_else(|_| text.to_owned())
}
