//! The audit log: who changed what, and when. A line is written in the transaction of its change.

use hookwright_domain::id::first_at;

use crate::{
    error::StoreError,
    postgres,
    rows::AuditRow,
    sqlite,
    store::{Backend, Store, read, write},
};

/// Which lines of the audit log to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only about this organization.
    pub organization_id: Option<i64>,
    /// Only by this actor.
    pub actor: Option<String>,
    /// Only actions that begin like this.
    pub action_prefix: String,
    /// Only at or after this time.
    pub start_us: Option<i64>,
    /// Only before this time.
    pub end_us: Option<i64>,
}

impl AuditFilter {
    /// Whether a line has the actor and action asked for; organization and times are looked for in the store.
    pub(crate) fn matches(&self, row: &AuditRow) -> bool {
        self.actor.as_ref().is_none_or(|actor| *actor == row.actor) && row.action.starts_with(&self.action_prefix)
    }
}

/// A line of the audit log with the name of its organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedAudit {
    /// The line.
    pub row: AuditRow,
    /// The name of the organization that it is about, also of one that was deleted.
    pub organization: Option<String>,
}

impl Store {
    /// Appends to the audit log.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn append_audit(&self, audit: &AuditRow) -> Result<(), StoreError> {
        let audit = audit.clone();
        write!(self, append_audit(&audit))
    }

    /// Lines of the audit log below the id `before`, newest first; and the id to go on below, if there may be more. A page may
    /// come out short while there are more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list_audit(
        &self,
        filter: &AuditFilter,
        before: i64,
        size: usize,
    ) -> Result<(Vec<ListedAudit>, Option<i64>), StoreError> {
        let filter = filter.clone();
        read!(self, list_audit(&filter, before, size))
    }

    /// Removes what the audit log says of the time before.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn forget_audit(&self, before_us: i64) -> Result<usize, StoreError> {
        let before = first_at(before_us);
        write!(self, forget_audit(before))
    }
}
