//! The audit log.

use hookwright_domain::id::first_at;

use super::{Store, read, write};
use crate::{
    audit::{AuditFilter, ListedAudit},
    error::StoreError,
    rows::AuditRow,
};

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
