//! Problems: webhooks and ordering keys that need attention, over the installation or in one organization.
//!
//! A list does bounded work per page: webhooks are checked in memory, failing ones are few rows, and blocked keys have an
//! index.

use std::{collections::HashMap, fmt, num::ParseIntError, str::FromStr};

use hookwright_delivery::clock;
use hookwright_domain::id::WebhookId;
use hookwright_storage::{BlockedRange, HealthRow, WebhookRow};

use super::{
    App,
    access::{Caller, Scope},
    error::AppResult,
    webhook_name::WebhookName,
};

/// The problem, in the order in which a webhook's problems are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemState {
    /// The service disabled the webhook, for this reason.
    Disabled(String),
    /// Number of failed attempts since its last success.
    Failing(i32),
    /// A user paused it.
    Paused,
    /// Number of its blocked ordering keys. A number above [`hookwright_storage::BLOCKED_COUNTED`] means that there are more.
    KeysBlocked(usize),
}

impl ProblemState {
    /// The kind of problem.
    pub const fn kind(&self) -> ProblemKind {
        match self {
            Self::Disabled(_) => ProblemKind::Disabled,
            Self::Failing(_) => ProblemKind::Failing,
            Self::Paused => ProblemKind::Paused,
            Self::KeysBlocked(_) => ProblemKind::KeysBlocked,
        }
    }
}

/// A kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// See [`ProblemState::Disabled`].
    Disabled,
    /// See [`ProblemState::Failing`].
    Failing,
    /// See [`ProblemState::Paused`].
    Paused,
    /// See [`ProblemState::KeysBlocked`].
    KeysBlocked,
}

/// A webhook that needs attention.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The organization's name.
    pub organization: String,
    /// The webhook.
    pub webhook: WebhookName,
    /// The problem.
    pub state: ProblemState,
    /// Since when, if known.
    pub since: Option<i64>,
    organization_id: i64,
}

/// The position of a problem in a list: organization, webhook and kind. As text `organization.webhook.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProblemPlace(i64, i64, u8);

impl fmt::Display for ProblemPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for ProblemPlace {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().unwrap_or_default();
        Ok(Self(part().parse()?, part().parse()?, part().parse()?))
    }
}

impl Problem {
    /// Its position in a list.
    pub fn place(&self) -> ProblemPlace {
        ProblemPlace(self.organization_id, self.webhook.id, self.state.kind() as u8)
    }
}

/// A query of problems.
#[derive(Clone, Debug, Default)]
pub struct ProblemFilter<'a> {
    /// Only problems of this organization.
    pub organization: Option<&'a str>,
    /// Only problems of these kinds; all if empty.
    pub kinds: Vec<ProblemKind>,
}

impl ProblemFilter<'_> {
    fn asks_for(&self, kind: ProblemKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// Number of webhooks in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WebhookStates {
    pub(crate) active: usize,
    pub(crate) failing: usize,
    pub(crate) disabled: usize,
    pub(crate) paused: usize,
}

impl App {
    /// The failing webhooks, by id.
    pub(super) async fn all_failing(&self) -> AppResult<HashMap<i64, HealthRow>> {
        let rows = self.store.all_failing_webhooks().await?;
        Ok(rows.into_iter().map(|row| (row.webhook_id, row)).collect())
    }

    /// Number of the installation's webhooks in each state.
    pub(crate) async fn webhook_states(&self) -> AppResult<WebhookStates> {
        let failing = self.all_failing().await?;
        let mut states = WebhookStates::default();
        self.registry.filter_webhooks(i64::MIN, usize::MAX, |_, row| {
            match state_of(row, failing.get(&row.id)).map(|(state, _)| state.kind()) {
                Some(ProblemKind::Disabled) => states.disabled += 1,
                Some(ProblemKind::Failing) => states.failing += 1,
                Some(ProblemKind::Paused) => states.paused += 1,
                Some(ProblemKind::KeysBlocked) | None => states.active += 1,
            }
            None::<()>
        });
        Ok(states)
    }

    /// Problems after a position, by organization and webhook: at most `size`; and the position to continue after, if there
    /// are more.
    ///
    /// # Errors
    /// When the caller may not see them, the organization does not exist, or the store does not answer.
    pub async fn list_problems(
        &self,
        caller: &Caller,
        filter: &ProblemFilter<'_>,
        after: Option<ProblemPlace>,
        size: usize,
    ) -> AppResult<(Vec<Problem>, Option<String>)> {
        let organization = match filter.organization {
            Some(name) => Some(self.organization_for(caller, Scope::Read, name)?.id),
            None => {
                caller.require(Scope::Read)?;
                None
            }
        };
        let mut problems = self.webhook_problems(organization, filter).await?;
        if filter.asks_for(ProblemKind::KeysBlocked) {
            problems.extend(self.key_problems(organization, after, size + 1).await?);
        }
        problems.retain(|problem| after.is_none_or(|after| problem.place() > after));
        problems.sort_by_key(Problem::place);
        Ok(super::page(problems, size, |problem| problem.place().to_string()))
    }

    /// Webhooks that are disabled, failing or paused.
    async fn webhook_problems(&self, organization: Option<i64>, filter: &ProblemFilter<'_>) -> AppResult<Vec<Problem>> {
        let failing = self.all_failing().await?;
        let problem = |name: &str, row: &WebhookRow| {
            let is_meant = organization.is_none_or(|id| id == row.organization_id);
            let (state, since) = is_meant.then(|| state_of(row, failing.get(&row.id)))??;
            filter.asks_for(state.kind()).then(|| Problem {
                organization: name.to_owned(),
                webhook: WebhookName::of(row),
                state,
                since,
                organization_id: row.organization_id,
            })
        };
        Ok(self.registry.filter_webhooks(i64::MIN, usize::MAX, problem))
    }

    /// Webhooks with blocked ordering keys from a position on, about `size` at most.
    async fn key_problems(
        &self,
        organization: Option<i64>,
        after: Option<ProblemPlace>,
        size: usize,
    ) -> AppResult<Vec<Problem>> {
        // The blocked keys of the webhook at the position may come next.
        let from = after.map_or((i64::MIN, i64::MIN), |ProblemPlace(organization, webhook, _)| {
            (organization, webhook.saturating_sub(1))
        });
        let range = match organization {
            Some(id) => BlockedRange {
                organization: Some(id),
                ..BlockedRange::all_after(from)
            },
            None => BlockedRange::all_after(from),
        };
        // One more, to replace the one that the previous page may have had.
        let found = self.store.webhooks_with_blocked_keys(range, size + 1).await?;
        let problems = found.into_iter().filter_map(|found| {
            let rows = self.registry.any_webhook(WebhookId::from_raw(found.webhook_id))?;
            Some(Problem {
                organization: self.registry.organization_name(found.organization_id)?,
                webhook: WebhookName::of(&rows.row),
                state: ProblemState::KeysBlocked(found.keys),
                since: None,
                organization_id: found.organization_id,
            })
        });
        Ok(problems.collect())
    }
}

/// A webhook's problem apart from its keys, and since when.
fn state_of(row: &WebhookRow, health: Option<&HealthRow>) -> Option<(ProblemState, Option<i64>)> {
    match (row.active, &row.disabled_reason) {
        (false, Some(reason)) => Some((ProblemState::Disabled(reason.clone()), row.disabled_at)),
        (false, None) => Some((ProblemState::Paused, None)),
        (true, _) => {
            let since = health?.failing_since?;
            Some((ProblemState::Failing(health?.failures), Some(clock::shown_us(since))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let place = ProblemPlace(-1, i64::MAX, 3);
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "1", "1.2", "1.2.x", "1.2.300", "a.b.c"] {
            assert!(text.parse::<ProblemPlace>().is_err(), "{text}");
        }
    }
}
