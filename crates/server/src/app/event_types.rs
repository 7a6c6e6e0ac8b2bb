//! Event types: who can see them, and who is subscribed. A type may be visible to some organizations only; for the others it
//! behaves as if it were not registered.

mod changing;
mod patch;

use hookwright_domain::name;
use hookwright_storage::{EventTypeRow, OrganizationRow, SchemaRow, WebhookRow};

pub use self::{changing::UpdateOptions, patch::EventTypePatch};
use super::{
    App,
    access::{Caller, Scope},
    error::{AppError, AppResult},
    registry::{self, EventType},
    texts::NamePrefix,
    webhook_name::WebhookName,
};

const KIND: &str = "hookwright.v1.EventType";

/// Means no organization.
pub const NOBODY: &str = "-";

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

impl App {
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
            message: format!(
                "event type `{name}` is not visible to organization `{whose}`; add it to its visible_to (--visible-to)"
            ),
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
            [one] => format!("; the nearest registered name is `{one}`"),
            near => format!("; the nearest registered names are `{}`", near.join("`, `")),
        };
        AppError::NotFound {
            kind: KIND,
            name: format!("eventTypes/{name}"),
            hint,
        }
    }
}
