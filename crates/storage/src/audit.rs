//! The audit log: who changed what, and when. An entry is written in the transaction of its change.

use crate::rows::AuditRow;

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
