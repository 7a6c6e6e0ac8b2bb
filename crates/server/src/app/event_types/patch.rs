//! New values of an event type, and their rules.

use std::collections::BTreeSet;

use hookwright_domain::{
    outcome::SchemaMode,
    schema::{EventSchema, breaking_changes},
};
use hookwright_storage::EventTypeRow;
use serde_json::json;

use super::NOBODY;
use crate::app::{
    App,
    error::{AppError, AppResult, Faults, placed},
    texts,
};

const DESCRIPTION_CHARS_MAX: usize = 1_000;
/// An example is for people, who can read far less than this.
const EXAMPLE_BYTES_MAX: usize = 65_536;
/// Maximum number of organizations in `visible_to`.
const VISIBLE_TO_MAX: usize = 1_000;

/// New values of an event type; `None` leaves a field unchanged, an empty text clears it.
#[derive(Clone, Debug, Default)]
pub struct EventTypePatch {
    /// Its description.
    pub description: Option<String>,
    /// Its JSON Schema.
    pub json_schema: Option<String>,
    /// What happens to an event that does not fit it.
    pub schema_mode: Option<SchemaMode>,
    /// An example payload.
    pub example: Option<String>,
    /// The names of the organizations that can see it; empty for all.
    pub visible_to: Option<Vec<String>>,
}

/// Receivers expect the former schema: a new one must not allow what it did not.
pub(super) fn check_compatible(row: &EventTypeRow, before: Option<&str>) -> AppResult<()> {
    let changes = if before == row.json_schema.as_deref() {
        Vec::new()
    } else {
        breaking_changes(before, row.json_schema.as_deref())
    };
    if changes.is_empty() {
        return Ok(());
    }
    Err(AppError::BreakingSchema {
        name: format!("eventTypes/{}", row.name),
        changes,
    })
}

impl App {
    /// Applies new values after validating them.
    pub(super) fn patched(&self, row: EventTypeRow, mut patch: EventTypePatch) -> AppResult<EventTypeRow> {
        let mut faults = Faults::of("event_type.");
        let visible_to = match patch.visible_to.take() {
            None => row.visible_to.clone(),
            Some(names) => self.visible_ids(&names, &mut faults),
        };
        let row = patched(row, patch, faults)?;
        Ok(EventTypeRow { visible_to, ..row })
    }

    /// The ids of organizations as stored; `None` for an empty list.
    fn visible_ids(&self, names: &[String], faults: &mut Faults) -> Option<String> {
        if names.len() > VISIBLE_TO_MAX {
            let rule = format!(
                "has {} organizations; at most {VISIBLE_TO_MAX} can be named",
                names.len()
            );
            faults.add("visible_to", "VISIBLE_TO_TOO_LONG", rule);
            return None;
        }
        let mut ids = BTreeSet::new();
        for name in names.iter().filter(|name| *name != NOBODY) {
            match self.registry.organization(name) {
                Some(row) => drop(ids.insert(row.id)),
                None => {
                    let rule = format!("the organization `organizations/{name}` does not exist");
                    faults.add("visible_to", "ORGANIZATION_UNKNOWN", rule);
                }
            }
        }
        (!names.is_empty()).then(|| json!(ids).to_string())
    }
}

/// Applies new values except visibility; a new schema increments its version.
fn patched(row: EventTypeRow, patch: EventTypePatch, mut faults: Faults) -> AppResult<EventTypeRow> {
    let non_empty = |text: String| (!text.is_empty()).then_some(text);
    let json_schema = patch.json_schema.map_or_else(|| row.json_schema.clone(), non_empty);
    let row = EventTypeRow {
        description: patch.description.unwrap_or(row.description),
        schema_version: row.schema_version + i32::from(json_schema != row.json_schema),
        json_schema,
        schema_mode: patch
            .schema_mode
            .map_or(row.schema_mode, |mode| mode.as_str().to_owned()),
        example: patch.example.map_or(row.example, non_empty),
        ..row
    };
    if let Err((reason, rule)) = texts::check(&row.description, DESCRIPTION_CHARS_MAX, "DESCRIPTION_TOO_LONG") {
        faults.add("description", reason, rule);
    }
    let schema = row.json_schema.as_deref().map(EventSchema::compile).transpose();
    if let Err(error) = &schema {
        faults.add("json_schema", error.rule(), error);
    }
    if let Some(example) = &row.example {
        if let Err(error) = hookwright_domain::payload::check_payload(example.as_bytes(), EXAMPLE_BYTES_MAX) {
            faults.add("example", error.rule(), error);
        } else if let Ok(Some(schema)) = &schema
            && let Err(misfits) = schema.validate(example.as_bytes())
        {
            let misfits: Vec<_> = misfits.iter().map(placed).collect();
            faults.add(
                "example",
                "SCHEMA_MISMATCH",
                format!("does not fit the schema: {}", misfits.join("; ")),
            );
        }
    }
    faults.check()?;
    Ok(row)
}
