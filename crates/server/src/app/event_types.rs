//! Event types: register, get, list, update, archive, delete. A type may be visible to some organizations only; for the
//! others it behaves as if it were not registered.

use std::collections::BTreeSet;

use hookwright_delivery::clock;
use hookwright_domain::{
    id::WebhookId,
    name,
    outcome::SchemaMode,
    schema::{EventSchema, breaking_changes},
};
use hookwright_storage::{EventTypeRow, OrganizationRow, SchemaRow, WebhookRow};
use serde_json::{Value, json};

use super::{
    App,
    access::{Caller, Scope},
    audit,
    error::{AppError, AppResult, Faults},
    registry::{self, EventType},
    texts::NamePrefix,
    webhooks::WebhookName,
};

const KIND: &str = "hookwright.v1.EventType";
const DESCRIPTION_CHARS_MAX: usize = 1_000;
/// An example is for people, who can read far less than this.
const EXAMPLE_BYTES_MAX: usize = 65_536;
/// Maximum number of organizations in `visible_to`.
const VISIBLE_TO_MAX: usize = 1_000;
/// Means no organization.
pub const NOBODY: &str = "-";
/// Maximum number of webhooks named in an error that prevents a deletion.
const SUBSCRIBERS_NAMED: usize = 10;

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

    /// One event type.
    ///
    /// # Errors
    /// When it is not registered, or the caller's organization cannot see it.
    pub fn get_event_type(&self, caller: &Caller, name: &str) -> AppResult<EventTypeRow> {
        caller.require_more_than_links()?;
        let event_types = self.registry.event_types();
        let known = event_types.get(name);
        let seen = known.filter(|event_type| event_type.is_visible_to(caller.organization()));
        seen.map(|event_type| event_type.row.clone())
            .ok_or_else(|| self.unknown_event_type(name, caller.organization()))
    }

    /// The names of the organizations that can see an event type, sorted, as far as the caller may know them; empty for all.
    /// [`NOBODY`] stands for deleted organizations if no other is left.
    pub fn visible_to(&self, caller: &Caller, row: &EventTypeRow) -> Vec<String> {
        let Some(only) = registry::visible_to(row) else {
            return Vec::new();
        };
        let known = only
            .iter()
            .filter(|id| caller.organization().is_none_or(|own| own == **id));
        let mut names: Vec<String> = known.filter_map(|id| self.registry.organization_name(*id)).collect();
        names.sort_unstable();
        if names.is_empty() {
            names.push(NOBODY.to_owned());
        }
        names
    }

    /// Event types after a name, sorted, that the caller can see and whose names begin with the prefix; and the position to
    /// continue from, if there are more.
    ///
    /// # Errors
    /// When the caller's token is for portal links only.
    pub fn list_event_types(
        &self,
        caller: &Caller,
        prefix: NamePrefix<'_>,
        after: &str,
        size: usize,
        archived_too: bool,
    ) -> AppResult<(Vec<EventTypeRow>, Option<String>)> {
        caller.require_more_than_links()?;
        Ok(self.event_types_of(caller.organization(), prefix, after, size, archived_too))
    }

    /// The first event types that an organization can see, sorted; and whether there are more.
    pub fn list_event_types_for(
        &self,
        organization: &OrganizationRow,
        size: usize,
        archived_too: bool,
    ) -> (Vec<EventTypeRow>, bool) {
        let (rows, next) = self.event_types_of(Some(organization.id), NamePrefix::default(), "", size, archived_too);
        (rows, next.is_some())
    }

    fn event_types_of(
        &self,
        organization: Option<i64>,
        prefix: NamePrefix<'_>,
        after: &str,
        size: usize,
        archived_too: bool,
    ) -> (Vec<EventTypeRow>, Option<String>) {
        let event_types = self.registry.event_types();
        let rows = event_types
            .range::<str, _>(prefix.range(after))
            .take_while(|(name, _)| prefix.begins(name))
            .filter(|(_, event_type)| event_type.is_visible_to(organization))
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

    /// The schemas of an event type below a version, newest first; and the version to continue below, if there are more.
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

    /// The webhooks with ids above `after` that are subscribed to an event type and visible to the caller, oldest first; and
    /// the id to continue from, if there are more.
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
        let event_types = self.registry.event_types();
        let event_type = event_types.get(name);
        let snapshot = self.registry.snapshot();
        let subscriber = |organization: &str, row: &WebhookRow| {
            let visible = event_type.is_none_or(|event_type| event_type.is_visible_to(Some(row.organization_id)));
            let seen = visible && caller.require_for(Scope::Read, row.organization_id).is_ok();
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

    /// Fails unless an organization can see a registered event type. Callers for all organizations learn that it belongs to
    /// others; everyone else gets the same error as for an unregistered type.
    pub(super) fn check_visible(&self, caller: &Caller, event_type: &EventType, organization: i64) -> AppResult<()> {
        if event_type.is_visible_to(Some(organization)) {
            return Ok(());
        }
        let name = &event_type.row.name;
        if caller.organization().is_some() {
            return Err(self.unknown_event_type(name, Some(organization)));
        }
        let whose = self.registry.organization_name(organization).unwrap_or_default();
        Err(AppError::Precondition {
            reason: "EVENT_TYPE_NOT_VISIBLE",
            subject: format!("eventTypes/{name}"),
            message: format!("event type `{name}` is not visible to organization `{whose}`; add it to visible_to"),
        })
    }

    /// The error for an unknown event type, with the nearest registered names that the organization can see; `None` stands
    /// for callers for all organizations.
    pub(super) fn unknown_event_type(&self, name: &str, organization: Option<i64>) -> AppError {
        let event_types = self.registry.event_types();
        let active = event_types
            .values()
            .filter(|event_type| !event_type.row.archived && event_type.is_visible_to(organization));
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

/// Receivers expect the former schema: a new one must not allow what it did not.
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

impl App {
    /// Applies new values after validating them.
    fn patched(&self, row: EventTypeRow, mut patch: EventTypePatch) -> AppResult<EventTypeRow> {
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
