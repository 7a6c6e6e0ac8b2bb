//! The audit log: every change adds an entry, in its own transaction. No entry contains a secret.

use hookwright_delivery::clock;
use hookwright_domain::id::{PortalLinkId, TokenId};
use hookwright_storage::{
    AuditRow,
    audit::{AuditFilter, ListedAudit},
};
use prost_types::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    App,
    access::{Caller, Scope},
    error::{AppResult, Faults},
};

/// The actor of changes by the service itself.
const SERVICE: &str = "hookwright";
/// Longer than any action's name.
const ACTION_CHARS_MAX: usize = 100;

/// A query of the audit log, in the caller's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery<'a> {
    /// Only entries of this actor: `tokens/tok_…`, `portalLinks/lnk_…`, such an id alone, or `hookwright`.
    pub actor: &'a str,
    /// Only actions with this prefix.
    pub action_prefix: &'a str,
    /// Only at or after this time.
    pub start_us: Option<i64>,
    /// Only before this time.
    pub end_us: Option<i64>,
}

impl AuditQuery<'_> {
    /// The query as the store takes it.
    fn filter(&self, organization_id: Option<i64>) -> AppResult<AuditFilter> {
        let mut faults = Faults::of("");
        let actor = Some(self.actor).filter(|actor| !actor.is_empty()).map(stored_actor);
        if actor == Some(None) {
            let rule =
                "is not an actor; it must be `tokens/{token_id}`, `portalLinks/{portal_link_id}` or `hookwright`";
            faults.add("actor", "INVALID_ACTOR", rule);
        }
        if self.action_prefix.chars().count() > ACTION_CHARS_MAX {
            let rule = format!("must be at most {ACTION_CHARS_MAX} characters, `webhook.` for example");
            faults.add("action_prefix", "ACTION_PREFIX_TOO_LONG", rule);
        }
        faults.check()?;
        super::texts::check_sought([("action_prefix", self.action_prefix)])?;
        Ok(AuditFilter {
            organization_id,
            actor: actor.flatten(),
            action_prefix: self.action_prefix.to_owned(),
            start_us: self.start_us,
            end_us: self.end_us,
        })
    }
}

/// An audit entry for its readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// The entry.
    pub row: AuditRow,
    /// The name of its organization, even if it was deleted.
    pub organization: Option<String>,
    /// The actor: `tokens/tok_…`, `portalLinks/lnk_…` or `hookwright`.
    pub actor: String,
    /// The actor's display name; empty for an unknown token.
    pub actor_display_name: String,
}

impl App {
    /// Audit entries below `before`, newest first, of one organization if it is named; and the id to continue from, if there
    /// may be more.
    ///
    /// # Errors
    /// When the organization does not exist, the caller may not see its log, or the query is invalid.
    pub async fn list_audit(
        &self,
        caller: &Caller,
        organization: Option<&str>,
        query: AuditQuery<'_>,
        before: i64,
        size: usize,
    ) -> AppResult<(Vec<AuditLine>, Option<i64>)> {
        // It names the operator's tokens.
        caller.require_token()?;
        let organization_id = match organization {
            Some(name) => Some(self.organization_for(caller, Scope::Manage, name)?.id),
            None => caller.require(Scope::Admin).map(|()| None)?,
        };
        let filter = query.filter(organization_id)?;
        let (listed, next) = self.store.list_audit(&filter, before, size).await?;
        let mut tokens: Vec<i64> = listed.iter().filter_map(|line| token(&line.row.actor)).collect();
        tokens.sort_unstable();
        tokens.dedup();
        // Tokens are kept as long as the entries of their actions.
        let names = self.store.token_names(tokens).await?;
        let name = |actor: &str| match token(actor) {
            Some(id) => names.get(&id).cloned().unwrap_or_default(),
            None if actor == SERVICE => "Hookwright".to_owned(),
            None => "Portal link".to_owned(),
        };
        let line = |ListedAudit { row, organization }: ListedAudit| AuditLine {
            actor: actor_name(&row.actor),
            actor_display_name: name(&row.actor),
            row,
            organization,
        };
        Ok((listed.into_iter().map(line).collect(), next))
    }

    /// The audit entry's actor; `None` for the service itself.
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
            actor: caller.map_or_else(|| SERVICE.to_owned(), |caller| caller.actor().to_string()),
            action: action.to_owned(),
            resource,
            details: details.to_string(),
            organization_id,
        }
    }
}

/// The token of an actor, if it is one.
fn token(stored: &str) -> Option<i64> {
    stored.parse::<TokenId>().ok().map(TokenId::raw)
}

/// An actor's name as callers see it.
fn actor_name(stored: &str) -> String {
    match stored.get(..4) {
        Some(TokenId::PREFIX) => format!("tokens/{stored}"),
        Some(PortalLinkId::PREFIX) => format!("portalLinks/{stored}"),
        _ => stored.to_owned(),
    }
}

/// An actor's name or id in the store's form; `None` if it is not an actor.
fn stored_actor(name: &str) -> Option<String> {
    let token = |id: &str| id.parse::<TokenId>().ok().map(|id| id.to_string());
    let link = |id: &str| id.parse::<PortalLinkId>().ok().map(|id| id.to_string());
    match name.split_once('/') {
        None if name == SERVICE => Some(name.to_owned()),
        None => token(name).or_else(|| link(name)),
        Some(("tokens", id)) => token(id),
        Some(("portalLinks", id)) => link(id),
        Some(_) => None,
    }
}

/// The differing members of two objects, each with its former and new value.
pub(super) fn changed(before: &Value, after: &Value) -> Value {
    let fields = after.as_object().into_iter().flatten();
    let differing = fields.filter(|(field, new)| before[field.as_str()] != **new);
    let changed = differing.map(|(field, new)| (field.clone(), json!({ "from": before[field.as_str()], "to": new })));
    Value::Object(changed.collect::<Map<_, _>>())
}

/// A time for people and programs.
pub(super) fn time(us: i64) -> String {
    let timestamp = Timestamp {
        seconds: us.div_euclid(1_000_000),
        nanos: 0,
    };
    timestamp.to_string()
}

#[cfg(test)]
mod tests {
    use super::{super::error::AppError, *};

    #[test]
    fn a_changed_field_is_recorded_with_both_values() {
        let before = json!({ "a": 1, "b": "x", "c": null });
        let after = json!({ "a": 1, "b": "y", "c": [2] });
        let expected = json!({ "b": { "from": "x", "to": "y" }, "c": { "from": null, "to": [2] } });
        assert_eq!(changed(&before, &after), expected);
        assert_eq!(changed(&before, &before), json!({}));
    }

    #[test]
    fn an_actor_is_a_token_a_portal_link_or_the_service() {
        let (token, link) = (
            TokenId::from_raw(17).to_string(),
            PortalLinkId::from_raw(17).to_string(),
        );
        for stored in [&token, &link, SERVICE] {
            assert_eq!(stored_actor(&actor_name(stored)).as_deref(), Some(stored));
            assert_eq!(stored_actor(stored).as_deref(), Some(stored), "the id alone");
        }
        assert_eq!(actor_name(&token), format!("tokens/{token}"));
        for wrong in [
            "",
            "tok_x",
            "Hookwright",
            &format!("tokens/{link}"),
            &format!("webhooks/{token}"),
            &format!("tokens/{token}/x"),
        ] {
            assert_eq!(stored_actor(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn all_invalid_arguments_are_reported_at_once() {
        let long = "a".repeat(ACTION_CHARS_MAX + 1);
        let query = AuditQuery {
            actor: "me",
            action_prefix: &long,
            ..AuditQuery::default()
        };
        let Err(AppError::Invalid(wrong)) = query.filter(None) else {
            panic!("it was taken");
        };
        let fields: Vec<_> = wrong.iter().map(|wrong| wrong.field.as_str()).collect();
        assert_eq!(fields, ["actor", "action_prefix"]);
    }

    #[test]
    fn times_can_be_read() {
        assert_eq!(time(1_735_689_600_123_456), "2025-01-01T00:00:00Z");
    }
}
