//! Registered event types as callers' events are checked by them.

use std::collections::BTreeSet;

use hookwright_domain::{outcome::SchemaMode, schema::EventSchema};
use hookwright_storage::EventTypeRow;

/// A registered event type with its schema compiled.
pub(in crate::app) struct EventType {
    /// The row as stored.
    pub row: EventTypeRow,
    /// Its schema, if it has one that payloads are compared with.
    pub schema: Option<EventSchema>,
    /// Whether an event that does not fit is published all the same.
    pub only_warns: bool,
    /// The ids of the only organizations that see it; `None` for all.
    visible_to: Option<BTreeSet<i64>>,
}

impl EventType {
    pub(in crate::app) fn new(row: EventTypeRow) -> Self {
        let mode: SchemaMode = row.schema_mode.parse().unwrap_or(SchemaMode::Reject);
        let compared = row.json_schema.as_deref().filter(|_| mode != SchemaMode::Off);
        let schema = compared.and_then(|schema| {
            // It compiled when it was registered; should a later version refuse it, publishing goes on unchecked and says so.
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

    /// Whether an organization sees it; `None` stands for those who look after all.
    pub(in crate::app) fn is_visible_to(&self, organization: Option<i64>) -> bool {
        match (&self.visible_to, organization) {
            (Some(only), Some(organization)) => only.contains(&organization),
            _ => true,
        }
    }
}

/// The ids of the only organizations that see an event type; `None` for all.
pub(in crate::app) fn visible_to(row: &EventTypeRow) -> Option<BTreeSet<i64>> {
    let stored = row.visible_to.as_deref()?;
    // Nobody's, where it cannot be read: what is kept from others must not be shown to them by a fault.
    let read = serde_json::from_str(stored);
    Some(
        read.inspect_err(|error| tracing::error!(event_type = row.name, %error, "a stored list cannot be read"))
            .unwrap_or_default(),
    )
}
