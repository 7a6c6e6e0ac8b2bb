//! Changes of event types: register, update, archive, delete.

use hookwright_delivery::clock;
use hookwright_domain::{id::WebhookId, outcome::SchemaMode};
use hookwright_storage::{EventTypeRow, WebhookRow};
use serde_json::{Value, json};

use super::{EventTypePatch, KIND, patch::check_compatible};
use crate::app::{
    App,
    access::{Caller, Scope},
    audit,
    error::{AppError, AppResult},
};

/// Maximum number of webhooks named in an error that prevents a deletion.
const SUBSCRIBERS_NAMED: usize = 10;

/// Options of an update.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpdateOptions {
    /// Accept a schema that allows payloads which the former one did not.
    pub allow_breaking_schema: bool,
    /// Validate and change nothing.
    pub validate_only: bool,
}

impl App {
    /// Registers an event type. `name` has been checked.
    ///
    /// # Errors
    /// When the name is taken, or the schema or example is invalid.
    pub async fn create_event_type(
        &self,
        caller: &Caller,
        name: &str,
        patch: EventTypePatch,
    ) -> AppResult<EventTypeRow> {
        caller.require(Scope::Admin)?;
        let mut changing = self.changing().await?;
        if self.registry.event_types().contains_key(name) {
            return Err(AppError::AlreadyExists {
                reason: "EVENT_TYPE_EXISTS",
                kind: KIND,
                name: format!("eventTypes/{name}"),
                message: format!("event type `{name}` is already registered; update or unarchive it"),
            });
        }
        let now = clock::now_us();
        let row = EventTypeRow {
            id: self.next_id(),
            name: name.to_owned(),
            description: String::new(),
            json_schema: None,
            schema_mode: SchemaMode::Reject.as_str().to_owned(),
            schema_version: 0,
            example: None,
            archived: false,
            created_at: now,
            updated_at: now,
            visible_to: None,
        };
        let row = self.patched(row, patch)?;
        let audit = self.audit(
            Some(caller),
            "event_type.create",
            None,
            format!("eventTypes/{name}"),
            json!({
                "description": row.description,
                "schema_mode": row.schema_mode,
                "schema_version": row.schema_version,
                "visible_to": self.visible_to(caller, &row),
            }),
        );
        changing.store().insert_event_type(&row, &audit).await?;
        self.registry.put_event_type(row.clone());
        changing.settle().await?;
        Ok(row)
    }

    /// Changes an event type.
    ///
    /// # Errors
    /// When it is not registered, the schema or example is invalid, or the schema allows payloads that the former one did
    /// not.
    pub async fn update_event_type(
        &self,
        caller: &Caller,
        name: &str,
        patch: EventTypePatch,
        options: UpdateOptions,
    ) -> AppResult<EventTypeRow> {
        let change = |row: EventTypeRow| {
            let before = row.json_schema.clone();
            let row = self.patched(row, patch)?;
            if !options.allow_breaking_schema {
                check_compatible(&row, before.as_deref())?;
            }
            Ok(row)
        };
        if options.validate_only {
            caller.require(Scope::Admin)?;
            return change(self.get_event_type(caller, name)?);
        }
        self.change_event_type(caller, name, "event_type.update", change).await
    }

    /// Archives or restores an event type.
    ///
    /// # Errors
    /// When it is not registered.
    pub async fn archive_event_type(&self, caller: &Caller, name: &str, archived: bool) -> AppResult<EventTypeRow> {
        let action = if archived {
            "event_type.archive"
        } else {
            "event_type.unarchive"
        };
        self.change_event_type(caller, name, action, |row| Ok(EventTypeRow { archived, ..row }))
            .await
    }

    /// Deletes an event type that no webhook names. Its events stay in the history.
    ///
    /// # Errors
    /// When it is not registered, or webhooks name it.
    pub async fn delete_event_type(&self, caller: &Caller, name: &str) -> AppResult<()> {
        caller.require(Scope::Admin)?;
        let mut changing = self.changing().await?;
        let row = self.get_event_type(caller, name)?;
        self.check_unnamed(name)?;
        let details = json!({ "description": row.description, "schema_version": row.schema_version });
        let audit = self.audit(
            Some(caller),
            "event_type.delete",
            None,
            format!("eventTypes/{name}"),
            details,
        );
        changing.store().delete_event_type(row.id, &audit).await?;
        self.registry.remove_event_type(name);
        changing.settle().await
    }

    /// Fails if webhooks name an event type; webhooks with the wildcard do not name it.
    fn check_unnamed(&self, name: &str) -> AppResult<()> {
        let by_name = |organization: &str, row: &WebhookRow| {
            // An unreadable webhook may name it.
            let events: Option<Vec<String>> = serde_json::from_str(&row.events).ok();
            let names = events.is_none_or(|events| events.iter().any(|event| event == name));
            names.then(|| format!("organizations/{organization}/webhooks/{}", WebhookId::from_raw(row.id)))
        };
        let mut subscribers = self.registry.filter_webhooks(i64::MIN, SUBSCRIBERS_NAMED + 1, by_name);
        if subscribers.is_empty() {
            return Ok(());
        }
        if subscribers.len() > SUBSCRIBERS_NAMED {
            subscribers.truncate(SUBSCRIBERS_NAMED);
            subscribers.push("others".to_owned());
        }
        Err(AppError::Precondition {
            reason: "EVENT_TYPE_IN_USE",
            subject: format!("eventTypes/{name}"),
            message: format!(
                "event type `{name}` is subscribed to by name, by {}; remove it from their events, or archive it",
                subscribers.join(", ")
            ),
        })
    }

    async fn change_event_type(
        &self,
        caller: &Caller,
        name: &str,
        action: &str,
        change: impl FnOnce(EventTypeRow) -> AppResult<EventTypeRow>,
    ) -> AppResult<EventTypeRow> {
        caller.require(Scope::Admin)?;
        let mut changing = self.changing().await?;
        let old = self.get_event_type(caller, name)?;
        let row = EventTypeRow {
            updated_at: clock::now_us(),
            ..change(old.clone())?
        };
        let shown = |row: &EventTypeRow| shown(row, &self.visible_to(caller, row));
        let changed = audit::changed(&shown(&old), &shown(&row));
        let audit = self.audit(Some(caller), action, None, format!("eventTypes/{name}"), changed);
        changing.store().update_event_type(&row, &audit).await?;
        self.registry.put_event_type(row.clone());
        changing.settle().await?;
        Ok(row)
    }
}

/// An event type in the audit log: a schema is represented by its version, under which it is stored.
fn shown(row: &EventTypeRow, visible_to: &[String]) -> Value {
    json!({
        "description": row.description,
        "schema_version": row.schema_version,
        "schema_mode": row.schema_mode,
        "example": row.example,
        "archived": row.archived,
        "visible_to": visible_to,
    })
}
