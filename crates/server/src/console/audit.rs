//! The audit log of the installation or of one organization.

use askama::Template;
use axum::extract::{Path, State};

use super::{
    Answer, Console, ROWS, Shared,
    errors::Errors,
    fields::{Fields, encoded},
    page::{self, Frame, Place, html},
    pages::{Cursor, Pages},
    session::Visitor,
    show::{Time, beginning},
};
use crate::app::audit::{AuditLine, AuditQuery};

/// Maximum length of each detail of an entry.
const DETAILS_SHOWN: usize = 4 << 10;

#[derive(Template)]
#[template(path = "audit.html")]
struct ListPage {
    frame: Frame,
    entries: Vec<Entry>,
    actor: String,
    action: String,
    start: String,
    end: String,
    errors: Errors,
    address: String,
    pages: Pages,
    is_filtered: bool,
    with_organization: bool,
}

/// An entry of the log.
struct Entry {
    at: Time,
    /// The actor: a display name and the id; the service has no id.
    actor: String,
    actor_id: Option<String>,
    action: String,
    resource: String,
    /// The page of the resource or of its changes; `None` if it no longer exists.
    seen_at: Option<String>,
    organization: String,
    details: Vec<Detail>,
}

/// A member of an entry's details.
struct Detail {
    name: String,
    /// The former value of a change.
    was: Option<Value>,
    value: Value,
}

/// The details of an entry.
#[derive(Debug)]
enum Value {
    Text(String),
    Time(Time),
}

/// The installation's log.
pub(super) async fn list(State(console): Shared, visitor: Visitor, fields: Fields) -> Answer {
    console.enter_installation(&visitor)?;
    page(&console, &visitor, None, &fields).await
}

/// An organization's log.
pub(super) async fn list_of_organization(
    State(console): Shared,
    visitor: Visitor,
    Path(organization): Path<String>,
    fields: Fields,
) -> Answer {
    let place = console.enter(&visitor, &organization)?;
    page(&console, &visitor, Some(&place), &fields).await
}

async fn page(console: &Console, visitor: &Visitor, place: Option<&Place>, fields: &Fields) -> Answer {
    let mut errors = Errors::default();
    let (start_us, end_us) = fields.times(&mut errors);
    let query = AuditQuery {
        actor: fields.get("actor"),
        action_prefix: fields.get("action"),
        start_us,
        end_us,
    };
    let cursor = Cursor::before(fields, &mut errors);
    let asked = console
        .app
        .list_audit(visitor.caller(), place.map(Place::name), query, cursor.below(), ROWS);
    let (lines, next) = errors.found(asked, "audit_entry").await?;
    errors.move_to("action_prefix", "action");
    let address = page::address(place, "audit");
    let page = ListPage {
        frame: Frame::at(console, visitor, place, "audit", "Audit log"),
        entries: lines
            .into_iter()
            .map(|line| entry(console, visitor, &address, line))
            .collect(),
        actor: query.actor.to_owned(),
        action: query.action_prefix.to_owned(),
        start: fields.get("start").to_owned(),
        end: fields.get("end").to_owned(),
        errors,
        pages: cursor.pages(&address, fields, next),
        address,
        is_filtered: query != AuditQuery::default(),
        with_organization: place.is_none(),
    };
    Ok(html(&page))
}

fn entry(console: &Console, visitor: &Visitor, log: &str, line: AuditLine) -> Entry {
    let AuditLine {
        row,
        organization,
        actor,
        actor_display_name,
    } = line;
    let details: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&row.details).unwrap_or_default();
    Entry {
        at: Time(row.at),
        actor: actor_display_name,
        actor_id: actor.contains('/').then_some(row.actor),
        action: row.action,
        seen_at: seen_at(console, visitor, log, &row.resource),
        resource: row.resource,
        organization: organization.unwrap_or_default(),
        details: details.into_iter().map(|(name, value)| detail(name, &value)).collect(),
    }
}

/// The page of an entry's resource. Tokens and portal links have none, so their changes are shown.
fn seen_at(console: &Console, visitor: &Visitor, log: &str, resource: &str) -> Option<String> {
    let (app, caller) = (&console.app, visitor.caller());
    let parts: Vec<&str> = resource.split('/').collect();
    match parts[..] {
        ["tokens" | "portalLinks", id] => Some(format!("{log}?actor={}", encoded(id))),
        ["eventTypes", name] => {
            app.get_event_type(caller, name).ok()?;
            Some(format!("{}/event-types/{name}", visitor.site().root()))
        }
        ["organizations", name, ref rest @ ..] => {
            let base = console.enter(visitor, name).ok()?.base();
            match *rest {
                [] => Some(base),
                ["webhooks", id] => {
                    app.get_webhook(caller, name, id.parse().ok()?).ok()?;
                    Some(format!("{base}/webhooks/{id}"))
                }
                [kind @ ("deliveries" | "replays" | "events"), id] => Some(format!("{base}/{kind}/{id}")),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A change as its former and new value, anything else unchanged.
fn detail(name: String, value: &serde_json::Value) -> Detail {
    let is_time = name.ends_with("_time");
    let (was, value) = match (value.get("from"), value.get("to")) {
        (Some(from), Some(to)) => (Some(shown(from, is_time)), shown(to, is_time)),
        _ => (None, shown(value, is_time)),
    };
    Detail { name, was, value }
}

fn shown(value: &serde_json::Value, is_time: bool) -> Value {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "none".to_owned(),
        other => other.to_string(),
    };
    let time = is_time.then(|| Time::parse(&text)).flatten();
    let (beginning, cut) = beginning(&text, DETAILS_SHOWN);
    match time {
        Some(time) => Value::Time(time),
        None if cut => Value::Text(format!("{beginning} …")),
        None => Value::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(name: &str, value: serde_json::Value) -> (Option<String>, String) {
        let text = |value: Value| match value {
            Value::Text(text) => text,
            Value::Time(time) => time.plain(),
        };
        let detail = detail(name.to_owned(), &value);
        (detail.was.map(text), text(detail.value))
    }

    #[test]
    fn a_change_is_what_was_and_what_is() {
        let changed = texts("active", json!({ "from": true, "to": false }));
        assert_eq!(changed, (Some("true".to_owned()), "false".to_owned()));
        assert_eq!(texts("name", json!("x")), (None, "x".to_owned()));
        assert_eq!(texts("expire_time", json!(null)), (None, "none".to_owned()));
        let (_, long) = texts("filter", json!("ä".repeat(10_000)));
        assert!(long.len() < DETAILS_SHOWN + 8);
    }

    #[test]
    fn times_are_times() {
        let at = "2026-11-23T17:43:43Z";
        assert_eq!(texts("expire_time", json!(at)).1, "2026-11-23 17:43:43");
        assert_eq!(texts("display_name", json!(at)).1, at, "what somebody typed");
        assert_eq!(texts("expire_time", json!("soon")).1, "soon");
    }
}
