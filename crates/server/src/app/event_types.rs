//! Event types: register, get, list, update, archive.

use hookwright_delivery::clock;
use hookwright_domain::{
    name,
    outcome::SchemaMode,
    schema::{EventSchema, breaking_changes},
};
use hookwright_storage::{EventTypeRow, SchemaRow, WebhookRow};
use serde_json::{Value, json};

use super::{
    App,
    access::{Caller, Scope},
    audit,
    error::{AppError, AppResult, Faults},
    texts::NamePrefix,
    webhooks::WebhookName,
};

const KIND: &str = "hookwright.v1.EventType";
const DESCRIPTION_CHARS_MAX: usize = 1_000;
/// An example is for people; what they can read is far smaller.
const EXAMPLE_BYTES_MAX: usize = 65_536;

/// New values for an event type; `None` leaves a field as it is, an empty text clears it.
#[derive(Clone, Debug, Default)]
pub struct EventTypePatch {
    /// What it stands for.
    pub description: Option<String>,
    /// Its JSON Schema.
    pub json_schema: Option<String>,
    /// What becomes of an event that does not fit it.
    pub schema_mode: Option<SchemaMode>,
    /// An example payload.
    pub example: Option<String>,
}

/// A webhook that is subscribed to an event type.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// The organization's name.
    pub organization: String,
    /// The webhook.
    pub webhook: WebhookName,
    /// Whether it is subscribed to every type.
    pub wildcard: bool,
    /// Whether events are sent to it.
    pub active: bool,
}

/// How an event type is updated.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpdateOptions {
    /// Put the schema in force although it admits what the one before did not.
    pub allow_breaking_schema: bool,
    /// Check everything and change nothing.
    pub validate_only: bool,
}

impl App {
    /// Registers an event type. `name` has been checked.
    ///
    /// # Errors
    /// When the name is taken, or the schema or example cannot be used.
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
                message: format!("event type `{name}` is registered already; update or unarchive it"),
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
        };
        let row = patched(row, patch)?;
        let audit = self.audit(
            Some(caller),
            "event_type.create",
            None,
            format!("eventTypes/{name}"),
            json!({ "description": row.description, "schema_mode": row.schema_mode, "schema_version": row.schema_version }),
        );
        changing.store().insert_event_type(&row, &audit).await?;
        self.registry.put_event_type(row.clone());
        changing.settle().await?;
        Ok(row)
    }

    /// One event type.
    ///
    /// # Errors
    /// When it is not registered.
    pub fn get_event_type(&self, _caller: &Caller, name: &str) -> AppResult<EventTypeRow> {
        let event_types = self.registry.event_types();
        let known = event_types.get(name).map(|event_type| event_type.row.clone());
        known.ok_or_else(|| self.unknown_event_type(name))
    }

    /// Event types after a name, sorted, of those whose names begin with the prefix; and the place to go on from, if there are more.
    pub fn list_event_types(
        &self,
        _caller: &Caller,
        prefix: NamePrefix<'_>,
        after: &str,
        size: usize,
        archived_too: bool,
    ) -> (Vec<EventTypeRow>, Option<String>) {
        let event_types = self.registry.event_types();
        let rows = event_types
            .range::<str, _>(prefix.range(after))
            .take_while(|(name, _)| prefix.begins(name))
            .map(|(_, event_type)| &event_type.row)
            .filter(|row| archived_too || !row.archived)
            .take(size + 1)
            .cloned()
            .collect();
        super::page(rows, size, |row: &EventTypeRow| row.name.clone())
    }

    /// Changes an event type.
    ///
    /// # Errors
    /// When it is not registered, the schema or example cannot be used, or the schema admits what the one before did not.
    pub async fn update_event_type(
        &self,
        caller: &Caller,
        name: &str,
        patch: EventTypePatch,
        options: UpdateOptions,
    ) -> AppResult<EventTypeRow> {
        let change = |row: EventTypeRow| {
            let before = row.json_schema.clone();
            let row = patched(row, patch)?;
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

    /// The schemas that an event type has had below a version, newest first; and the version to go on below, if there are more.
    ///
    /// # Errors
    /// When it is not registered.
    pub async fn list_event_type_schemas(
        &self,
        caller: &Caller,
        name: &str,
        before: i32,
        size: usize,
    ) -> AppResult<(Vec<SchemaRow>, Option<String>)> {
        let row = self.get_event_type(caller, name)?;
        let rows = self.store.event_type_schemas(row.id, before, size + 1).await?;
        Ok(super::page(rows, size, |row| row.version.to_string()))
    }

    /// The webhooks with ids above `after` that are subscribed to an event type, of those that the caller may see, oldest first;
    /// and the id to go on from, if there are more.
    ///
    /// # Errors
    /// When the caller may see none.
    pub fn subscribers(
        &self,
        caller: &Caller,
        name: &str,
        after: i64,
        size: usize,
    ) -> AppResult<(Vec<Subscriber>, Option<String>)> {
        caller.require_any(Scope::Read)?;
        let snapshot = self.registry.snapshot();
        let subscriber = |organization: &str, row: &WebhookRow| {
            let seen = caller.require_for(Scope::Read, row.organization_id).is_ok();
            let webhook = snapshot.webhooks.get(&row.id).filter(|_| seen)?;
            webhook.subscription.matches(name).then(|| Subscriber {
                organization: organization.to_owned(),
                webhook: WebhookName::of(row),
                wildcard: webhook.subscription.is_all(),
                active: row.active,
            })
        };
        let subscribers = self.registry.filter_webhooks(after, size + 1, subscriber);
        Ok(super::page(subscribers, size, |subscriber| {
            subscriber.webhook.id.to_string()
        }))
    }

    /// Archives an event type, or brings it back.
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
        let changed = audit::changed(&shown(&old), &shown(&row));
        let audit = self.audit(Some(caller), action, None, format!("eventTypes/{name}"), changed);
        changing.store().update_event_type(&row, &audit).await?;
        self.registry.put_event_type(row.clone());
        changing.settle().await?;
        Ok(row)
    }

    /// An unknown event type, with the nearest names that are registered.
    pub(super) fn unknown_event_type(&self, name: &str) -> AppError {
        let event_types = self.registry.event_types();
        let active = event_types.values().filter(|event_type| !event_type.row.archived);
        let near = name::nearest(name, active.map(|event_type| event_type.row.name.as_str()), 3);
        let hint = match near.as_slice() {
            [] => "; register it first".to_owned(),
            near => format!("; the nearest registered names are `{}`", near.join("`, `")),
        };
        AppError::NotFound {
            kind: KIND,
            name: format!("eventTypes/{name}"),
            hint,
        }
    }
}

/// What the audit log shows of an event type: of a schema its version, under which it is kept.
fn shown(row: &EventTypeRow) -> Value {
    json!({
        "description": row.description,
        "schema_version": row.schema_version,
        "schema_mode": row.schema_mode,
        "example": row.example,
        "archived": row.archived,
    })
}

/// Receivers were written by the schema before: a new one must not admit what that one did not.
fn check_compatible(row: &EventTypeRow, before: Option<&str>) -> AppResult<()> {
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

/// Applies new values after checking them; a new schema counts up its version.
fn patched(row: EventTypeRow, patch: EventTypePatch) -> AppResult<EventTypeRow> {
    let mut faults = Faults::of("event_type.");
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
    if let Err((reason, rule)) = super::texts::check(&row.description, DESCRIPTION_CHARS_MAX, "DESCRIPTION_TOO_LONG") {
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
            let misfits: Vec<_> = misfits
                .iter()
                .map(|misfit| format!("{}: {}", misfit.pointer, misfit.message))
                .collect();
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
