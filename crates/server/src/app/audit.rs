//! The audit log: every change leaves a line, in the transaction that makes it. No line holds a secret.

use hookwright_delivery::clock;
use hookwright_storage::{
    AuditRow,
    audit::{AuditFilter, ListedAudit},
};
use prost_types::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    App,
    access::{Caller, Scope},
    error::AppResult,
};

impl App {
    /// Lines of the audit log, newest first, from below `before`: those about one organization, if one is named; and the id to
    /// go on from, if there may be more.
    ///
    /// # Errors
    /// When the organization does not exist, or the caller may not see its log.
    pub async fn list_audit(
        &self,
        caller: &Caller,
        organization: Option<&str>,
        filter: AuditFilter,
        before: i64,
        size: usize,
    ) -> AppResult<(Vec<ListedAudit>, Option<i64>)> {
        // It names the operator's tokens.
        caller.require_token()?;
        let organization_id = match organization {
            Some(name) => Some(self.organization_for(caller, Scope::Manage, name)?.id),
            None => caller.require(Scope::Admin).map(|()| None)?,
        };
        super::texts::check_sought([
            ("actor", filter.actor.as_deref().unwrap_or_default()),
            ("action", filter.action_prefix.as_str()),
        ])?;
        let filter = AuditFilter {
            organization_id,
            ..filter
        };
        Ok(self.store.list_audit(&filter, before, size).await?)
    }

    /// A line for the audit log; `None` for what the service does by itself.
    pub(super) fn audit(
        &self,
        caller: Option<&Caller>,
        action: &str,
        organization_id: Option<i64>,
        resource: String,
        details: Value,
    ) -> AuditRow {
        AuditRow {
            id: self.next_id(),
            at: clock::now_us(),
            actor: caller.map_or_else(|| "hookwright".to_owned(), |caller| caller.actor().to_string()),
            action: action.to_owned(),
            resource,
            details: details.to_string(),
            organization_id,
        }
    }
}

/// The members of two objects that differ, each with what it was and what it is.
pub(super) fn changed(before: &Value, after: &Value) -> Value {
    let fields = after.as_object().into_iter().flatten();
    let differing = fields.filter(|(field, new)| before[field.as_str()] != **new);
    let changed = differing.map(|(field, new)| (field.clone(), json!({ "from": before[field.as_str()], "to": new })));
    Value::Object(changed.collect::<Map<_, _>>())
}

/// A time for people and programs to read.
pub(super) fn time(us: i64) -> String {
    let timestamp = Timestamp {
        seconds: us.div_euclid(1_000_000),
        nanos: 0,
    };
    timestamp.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_with_both_values() {
        let before = json!({ "a": 1, "b": "x", "c": null });
        let after = json!({ "a": 1, "b": "y", "c": [2] });
        let expected = json!({ "b": { "from": "x", "to": "y" }, "c": { "from": null, "to": [2] } });
        assert_eq!(changed(&before, &after), expected);
        assert_eq!(changed(&before, &before), json!({}));
    }

    #[test]
    fn times_can_be_read() {
        assert_eq!(time(1_735_689_600_123_456), "2025-01-01T00:00:00Z");
    }
}
