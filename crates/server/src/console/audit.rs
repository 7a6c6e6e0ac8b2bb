//! The audit log: who changed what, of the installation or of one organization.

use askama::Template;
use axum::extract::{Path, State};
use hookwright_storage::audit::{AuditFilter, ListedAudit};

use super::{
    Answer, Console, ROWS, Shared,
    errors::Errors,
    fault::Fault,
    fields::Fields,
    page::{Frame, Place, html},
    session::Visitor,
    show::{Time, beginning},
};

/// How much of a line's details is shown.
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
    next: Option<String>,
    newest: String,
    is_filtered: bool,
    is_paged: bool,
    with_organization: bool,
}

/// A line of the log.
struct Entry {
    at: Time,
    actor: String,
    action: String,
    resource: String,
    organization: String,
    details: Vec<Detail>,
}

/// A member of a line's details.
struct Detail {
    name: String,
    value: String,
}

/// That of the installation.
pub(super) async fn list(State(console): Shared, visitor: Visitor, fields: Fields) -> Answer {
    if visitor.caller().organization().is_some() {
        return Err(Fault::NotFound);
    }
    page(&console, &visitor, None, &fields).await
}

/// That of an organization.
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
    let filter = AuditFilter {
        organization_id: None,
        actor: fields
            .some("actor")
            .map(|actor| actor.trim_start_matches("tokens/").to_owned()),
        action_prefix: fields.get("action").to_owned(),
        start_us,
        end_us,
    };
    let is_filtered = filter != AuditFilter::default();
    let before = fields.before(&mut errors);
    let (entries, next) = if errors.is_empty() {
        let from = before.unwrap_or(i64::MAX);
        let organization = place.map(Place::name);
        let found = console
            .app
            .list_audit(visitor.caller(), organization, filter, from, ROWS);
        errors.unless(found.await, "audit_entry")?
    } else {
        (Vec::new(), None)
    };
    let (frame, address) = match place {
        Some(place) => {
            let frame = Frame::within(console, visitor, place, "audit", "Audit log");
            (frame, format!("{}/audit", place.base()))
        }
        None => (
            Frame::new(console, visitor, "audit", "Audit log"),
            "/console/audit".to_owned(),
        ),
    };
    let page = ListPage {
        frame,
        entries: entries.into_iter().map(entry).collect(),
        actor: fields.get("actor").to_owned(),
        action: fields.get("action").to_owned(),
        start: fields.get("start").to_owned(),
        end: fields.get("end").to_owned(),
        errors,
        address,
        next: next.map(|next| fields.query_with("before", &next.to_string())),
        newest: fields.query_without(&["before", "done"]),
        is_filtered,
        is_paged: before.is_some(),
        with_organization: place.is_none(),
    };
    Ok(html(&page))
}

fn entry(listed: ListedAudit) -> Entry {
    let ListedAudit { row, organization } = listed;
    let details: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&row.details).unwrap_or_default();
    Entry {
        at: Time(row.at),
        actor: row.actor,
        action: row.action,
        resource: row.resource,
        organization: organization.unwrap_or_default(),
        details: details.into_iter().map(|(name, value)| detail(name, &value)).collect(),
    }
}

/// A change as what was and what is, anything else as it stands.
fn detail(name: String, value: &serde_json::Value) -> Detail {
    let plain = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = match (value.get("from"), value.get("to")) {
        (Some(from), Some(to)) => format!("{} → {}", plain(from), plain(to)),
        _ => plain(value),
    };
    let (shown, cut) = beginning(&text, DETAILS_SHOWN);
    Detail {
        name,
        value: if cut { format!("{shown} …") } else { text },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_what_was_and_what_is() {
        let changed = detail("active".to_owned(), &serde_json::json!({ "from": true, "to": false }));
        assert_eq!(changed.value, "true → false");
        assert_eq!(detail("name".to_owned(), &serde_json::json!("x")).value, "x");
        let long = detail("filter".to_owned(), &serde_json::json!("ä".repeat(10_000)));
        assert!(long.value.len() < DETAILS_SHOWN + 8);
    }
}
