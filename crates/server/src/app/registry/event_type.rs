//! Registered event types with their compiled schemas.

use std::collections::BTreeSet;

use hookwright_domain::{outcome::SchemaMode, schema::EventSchema};
use hookwright_storage::EventTypeRow;

/// A registered event type with its schema compiled.
pub(in crate::app) struct EventType {
    /// The stored row.
    pub row: EventTypeRow,
    /// Its schema, if payloads are validated.
    pub schema: Option<EventSchema>,
    /// Whether an event that does not fit is published anyway.
    pub only_warns: bool,
    /// The ids of the organizations that can see it; `None` for all.
    visible_to: Option<BTreeSet<i64>>,
}

impl EventType {
    pub(in crate::app) fn new(row: EventTypeRow) -> Self {
        let mode: SchemaMode = row.schema_mode.parse().unwrap_or(SchemaMode::Reject);
        let compared = row.json_schema.as_deref().filter(|_| mode != SchemaMode::Off);
        let schema = compared.and_then(|schema| {
            // It compiled when it was registered. If a later version rejects it, publishing continues without validation and
            // logs it.
            EventSchema::compile(schema)
                .inspect_err(|error| tracing::error!(event_type = row.name, %error, "a stored schema does not compile"))
                .ok()
        });
        Self {
            visible_to: visible_to(&row),
            row,
            schema,
            only_warns: mode == SchemaMode::Warn,
        }
    }

    /// Whether an organization can see it; `None` stands for callers for all organizations.
    pub(in crate::app) fn is_visible_to(&self, organization: Option<i64>) -> bool {
        match (&self.visible_to, organization) {
            (Some(only), Some(organization)) => only.contains(&organization),
            _ => true,
        }
    }
}

/// The ids of the organizations that can see an event type; `None` for all.
pub(in crate::app) fn visible_to(row: &EventTypeRow) -> Option<BTreeSet<i64>> {
    let stored = row.visible_to.as_deref()?;
    // No organizations, if it is unreadable: a fault must not reveal a hidden type.
    let read = serde_json::from_str(stored);
    Some(
        read.inspect_err(|error| tracing::error!(event_type = row.name, %error, "a stored list cannot be read"))
            .unwrap_or_default(),
    )
}
