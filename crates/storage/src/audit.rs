//! The audit log: who changed what, and when. An entry is written in the transaction of its change.

use hookwright_domain::id::first_at;

use crate::{
    error::StoreError,
    postgres,
    rows::AuditRow,
    sqlite,
    store::{Backend, Store, read, write},
};

/// Selects entries of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only about this organization.
    pub organization_id: Option<i64>,
    /// Only by this actor.
    pub actor: Option<String>,
    /// Only actions with this prefix.
    pub action_prefix: String,
    /// Only at or after this time.
    pub start_us: Option<i64>,
    /// Only before this time.
    pub end_us: Option<i64>,
}

impl AuditFilter {
    /// Checks an entry's actor and action. The query checks the organization and the times.
    pub(crate) fn matches(&self, row: &AuditRow) -> bool {
        self.actor.as_ref().is_none_or(|actor| *actor == row.actor) && row.action.starts_with(&self.action_prefix)
    }
}

/// An entry of the audit log with the name of its organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedAudit {
    /// The entry.
    pub row: AuditRow,
    /// The name of the organization that it concerns, even if that was deleted.
    pub organization: Option<String>,
}

impl Store {
    /// Appends an entry to the audit log.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn append_audit(&self, audit: &AuditRow) -> Result<(), StoreError> {
        let audit = audit.clone();
        write!(self, append_audit(&audit))
    }

    /// Entries of the audit log with ids below `before`, newest first, and the id below which the next page begins, if
    /// there may be more. A page may have fewer entries although there are more.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn list_audit(
        &self,
        filter: &AuditFilter,
        before: i64,
        size: usize,
    ) -> Result<(Vec<ListedAudit>, Option<i64>), StoreError> {
        let filter = filter.clone();
        read!(self, list_audit(&filter, before, size))
    }

    /// Removes entries of the audit log that are older than a time.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn forget_audit(&self, before_us: i64) -> Result<usize, StoreError> {
        let before = first_at(before_us);
        write!(self, forget_audit(before))
    }
}
