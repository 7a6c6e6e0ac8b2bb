//! Organizations: create, get, list, update, delete.

use hookwright_delivery::clock;
use hookwright_domain::id::{OperationId, WebhookId};
use hookwright_storage::OrganizationRow;
use serde_json::json;

use super::{
    App,
    access::{Caller, Scope},
    audit,
    error::{AppError, AppResult},
    texts::NamePrefix,
};

const KIND: &str = "hookwright.v1.Organization";
const DISPLAY_NAME_CHARS_MAX: usize = 200;

impl App {
    /// Creates an organization. `name` has been checked.
    ///
    /// # Errors
    /// When the name is taken or the display name too long.
    pub async fn create_organization(
        &self,
        caller: &Caller,
        name: &str,
        display_name: &str,
    ) -> AppResult<OrganizationRow> {
        caller.require(Scope::Admin)?;
        check(display_name)?;
        let mut changing = self.changing().await?;
        if self.registry.organization(name).is_some() {
            return Err(AppError::AlreadyExists {
                reason: "ORGANIZATION_EXISTS",
                kind: KIND,
                name: format!("organizations/{name}"),
                message: format!("organization `{name}` already exists; choose another name"),
            });
        }
        let now = clock::now_us();
        let row = OrganizationRow {
            id: self.next_id(),
            name: name.to_owned(),
            display_name: display_name.to_owned(),
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        let audit = self.audit(
            Some(caller),
            "organization.create",
            Some(row.id),
            format!("organizations/{name}"),
            json!({ "display_name": display_name }),
        );
        changing.store().insert_organization(&row, &audit).await?;
        self.registry.put_organization(row.clone());
        changing.settle().await?;
        Ok(row)
    }

    /// One organization.
    ///
    /// # Errors
    /// When the caller may see no organization of this name.
    pub fn get_organization(&self, caller: &Caller, name: &str) -> AppResult<OrganizationRow> {
        self.organization_for(caller, Scope::Read, name)
    }

    /// The organization that the caller is limited to; `None` if it is not limited, or its organization was deleted.
    pub fn own_organization(&self, caller: &Caller) -> Option<OrganizationRow> {
        self.registry.organization_of_id(caller.organization()?)
    }

    /// The number of an organization's webhooks.
    pub fn webhook_count(&self, organization: &OrganizationRow) -> usize {
        self.registry.webhook_count(organization.id)
    }

    /// Organizations after a name, sorted, whose names begin with the prefix; and the position to continue from, if there
    /// are more.
    ///
    /// # Errors
    /// When the caller may not see all organizations.
    pub fn list_organizations(
        &self,
        caller: &Caller,
        prefix: NamePrefix<'_>,
        after: &str,
        size: usize,
    ) -> AppResult<(Vec<OrganizationRow>, Option<String>)> {
        caller.require(Scope::Read)?;
        let rows = self.registry.organizations(prefix, after, size + 1);
        Ok(super::page(rows, size, |row| row.name.clone()))
    }

    /// Changes an organization's display name; `None` changes nothing.
    ///
    /// # Errors
    /// When it does not exist, or the display name is too long.
    pub async fn update_organization(
        &self,
        caller: &Caller,
        name: &str,
        display_name: Option<String>,
    ) -> AppResult<OrganizationRow> {
        self.organization_for(caller, Scope::Admin, name)?;
        display_name.as_deref().map_or(Ok(()), check)?;
        let mut changing = self.changing().await?;
        // Looked up again: it may have changed while this call waited for its turn.
        let old = self.organization_for(caller, Scope::Admin, name)?;
        let row = OrganizationRow {
            display_name: display_name.unwrap_or_else(|| old.display_name.clone()),
            updated_at: clock::now_us(),
            ..old.clone()
        };
        let shown = |row: &OrganizationRow| json!({ "display_name": row.display_name });
        let audit = self.audit(
            Some(caller),
            "organization.update",
            Some(row.id),
            format!("organizations/{name}"),
            audit::changed(&shown(&old), &shown(&row)),
        );
        changing.store().update_organization(&row, &audit).await?;
        self.registry.put_organization(row.clone());
        changing.settle().await?;
        Ok(row)
    }

    /// Deletes an organization and revokes its tokens; with `force`, also its webhooks. Its pending deliveries are
    /// cancelled: a small backlog before this returns, a large one by the returned operation.
    ///
    /// # Errors
    /// When it does not exist, or has webhooks and `force` is not set.
    pub async fn delete_organization(
        &self,
        caller: &Caller,
        name: &str,
        force: bool,
    ) -> AppResult<Option<OperationId>> {
        caller.require(Scope::Admin)?;
        let mut changing = self.changing().await?;
        let row = self.organization_for(caller, Scope::Admin, name)?;
        let webhooks = self.registry.webhook_count(row.id);
        if webhooks > 0 && !force {
            return Err(AppError::Precondition {
                reason: "ORGANIZATION_HAS_WEBHOOKS",
                subject: format!("organizations/{name}"),
                message: format!("organization `{name}` has webhooks ({webhooks}); delete them first, or set force"),
            });
        }
        let audit = self.audit(
            Some(caller),
            "organization.delete",
            Some(row.id),
            format!("organizations/{name}"),
            json!({ "webhooks_deleted": webhooks }),
        );
        let begun = changing
            .store()
            .delete_organization(row.id, clock::now_us(), &audit)
            .await?;
        for webhook in self.registry.remove_organization(&row) {
            self.engine.webhook_changed(WebhookId::from_raw(webhook));
        }
        self.tokens.remove_organization(row.id);
        let operation = self.operation_of(begun, &audit);
        changing.settle().await?;
        Ok(operation)
    }

    /// The organization of this name, if the caller has the scope for it. A caller that is limited to another organization
    /// gets the same answer whether it exists or not.
    pub(super) fn organization_for(&self, caller: &Caller, scope: Scope, name: &str) -> AppResult<OrganizationRow> {
        let row = self.registry.organization(name);
        caller.require_for(scope, row.as_ref().map_or(0, |row| row.id))?;
        row.ok_or_else(|| AppError::not_found(KIND, format!("organizations/{name}")))
    }
}

fn check(display_name: &str) -> AppResult<()> {
    super::texts::check(display_name, DISPLAY_NAME_CHARS_MAX, "DISPLAY_NAME_TOO_LONG")
        .map_err(|(reason, rule)| AppError::invalid("organization.display_name", reason, rule))
}
