//! Failing webhooks and overdue deliveries, for operators.

use std::{collections::HashMap, fmt, num::ParseIntError, str::FromStr};

use hookwright_delivery::{clock, engine::Engine};
use hookwright_domain::id::WebhookId;
use hookwright_storage::{BlockedRange, DeliveryRecord, HealthRow, Store, StoreError, Waiting};

use super::{
    App,
    access::{Caller, Scope},
    error::AppResult,
    webhook_name::WebhookName,
    webhooks::WebhookView,
};

/// A webhook that fails, or was disabled because it failed.
#[derive(Clone, Debug)]
pub struct TroubledWebhook {
    /// The organization's name.
    pub organization: String,
    /// The webhook.
    pub webhook: WebhookName,
    /// When it first failed after its last success.
    pub failing_since: Option<i64>,
    /// Number of failures since then.
    pub failures: i32,
    /// Why and when it was disabled, if it was.
    pub disabled: Option<(String, i64)>,
}

/// A webhook with blocked ordering keys.
#[derive(Clone, Debug)]
pub struct PausedWebhook {
    /// The organization's name.
    pub organization: String,
    /// The webhook.
    pub webhook: WebhookName,
    /// Number of blocked keys; more than [`hookwright_storage::BLOCKED_COUNTED`] means any number above it.
    pub keys: usize,
}

/// The position of a failing webhook: since when, and its id. As text `since.id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TroublePlace(i64, i64);

impl fmt::Display for TroublePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for TroublePlace {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (since, id) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self(since.parse()?, id.parse()?))
    }
}

impl TroubledWebhook {
    /// Since when it fails.
    pub fn since(&self) -> Option<i64> {
        self.failing_since.or(self.disabled.as_ref().map(|(_, at)| *at))
    }

    fn place(&self) -> TroublePlace {
        TroublePlace(self.since().unwrap_or_default(), self.webhook.id)
    }
}

/// A page of failing webhooks.
#[derive(Clone, Debug)]
pub struct Troubles {
    /// Longest failing first.
    pub webhooks: Vec<TroubledWebhook>,
    /// The total number.
    pub total: usize,
    /// The position to continue after, if there are more.
    pub next: Option<TroublePlace>,
}

impl Troubles {
    fn page(mut all: Vec<TroubledWebhook>, after: Option<TroublePlace>, size: usize) -> Self {
        let total = all.len();
        all.retain(|webhook| after.is_none_or(|after| webhook.place() > after));
        all.sort_by_key(TroubledWebhook::place);
        let more = all.len() > size;
        all.truncate(size);
        Self {
            next: all.last().filter(|_| more).map(TroubledWebhook::place),
            webhooks: all,
            total,
        }
    }
}

/// Since when the oldest overdue delivery to an active webhook is due, by the schedule clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OldestDue {
    /// Of this node.
    pub(crate) here: Option<i64>,
    /// Of any node.
    pub(crate) anywhere: Option<i64>,
}

impl OldestDue {
    /// Deliveries in the store; and those in this node's memory, if it is stalled.
    pub(crate) async fn find(store: &Store, engine: &Engine) -> Result<Self, StoreError> {
        let (mut here, mut anywhere) = (None, None);
        let now = clock::schedule_us();
        let mut stalled = engine.stall().map(|stall| stall.since);
        let mut after = None;
        loop {
            let mut page = store.waiting_page(after).await?;
            page.waiting
                .retain(|waiting| engine.is_active(WebhookId::from_raw(waiting.webhook)));
            let of_page = Self::of(&page.waiting, stalled.take(), store.node(), now);
            here = earlier(here, of_page.here);
            anywhere = earlier(anywhere, of_page.anywhere);
            if page.next.is_none() {
                return Ok(Self { here, anywhere });
            }
            after = page.next;
        }
    }

    fn of(waiting: &[Waiting], stalled: Option<i64>, node: u16, now: i64) -> Self {
        let oldest = |is_meant: &dyn Fn(&Waiting) -> bool| {
            let waiting = waiting.iter().filter(|waiting| is_meant(waiting));
            let due = waiting.map(|waiting| waiting.due_at).chain(stalled);
            due.filter(|due| *due <= now).min()
        };
        Self {
            here: oldest(&|waiting| waiting.node == i32::from(node)),
            anywhere: oldest(&|_| true),
        }
    }
}

/// The earlier of two times.
fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

impl App {
    /// Which of these webhooks of an organization are failing, by id.
    ///
    /// # Errors
    /// When the organization does not exist, or the store does not answer.
    pub async fn failing_webhooks(
        &self,
        caller: &Caller,
        organization: &str,
        webhooks: &[i64],
    ) -> AppResult<HashMap<i64, HealthRow>> {
        let row = self.organization_for(caller, Scope::Read, organization)?;
        let failing = self.store.failing_webhooks(webhooks.to_vec()).await?.into_iter();
        let own = failing.filter(|health| {
            let id = WebhookId::from_raw(health.webhook_id);
            health.failing_since.is_some() && self.registry.webhook(row.id, id).is_some()
        });
        let shown = |health: HealthRow| HealthRow {
            failing_since: health.failing_since.map(clock::shown_us),
            ..health
        };
        Ok(own.map(|health| (health.webhook_id, shown(health))).collect())
    }

    /// Counts the blocked ordering keys of webhooks of one organization.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn count_blocked_keys(&self, views: &mut [WebhookView]) -> AppResult<()> {
        // Only deliveries of these webhooks are ever paused.
        let ordered = || views.iter().filter(|view| view.spec.ordered).map(|view| &view.row);
        let (first, last) = (ordered().map(|row| row.id).min(), ordered().map(|row| row.id).max());
        let (Some(first), Some(last), Some(row)) = (first, last, ordered().next()) else {
            return Ok(());
        };
        let range = BlockedRange::of(row.organization_id, first, last);
        let found = self.store.webhooks_with_blocked_keys(range, usize::MAX).await?;
        let keys: HashMap<i64, usize> = found.iter().map(|found| (found.webhook_id, found.keys)).collect();
        for view in views {
            view.blocked_keys = keys.get(&view.row.id).copied().unwrap_or_default();
        }
        Ok(())
    }

    /// Webhooks of the installation with blocked ordering keys, at most `size`; and whether there are more.
    ///
    /// # Errors
    /// When the caller may not see them, or the store does not answer.
    pub async fn webhooks_with_blocked_keys(
        &self,
        caller: &Caller,
        size: usize,
    ) -> AppResult<(Vec<PausedWebhook>, bool)> {
        caller.require(Scope::Read)?;
        let all = BlockedRange::all_after((i64::MIN, i64::MIN));
        let found = self.store.webhooks_with_blocked_keys(all, size + 1).await?;
        let more = found.len() > size;
        let known = found.iter().take(size).filter_map(|found| {
            let rows = self.registry.any_webhook(WebhookId::from_raw(found.webhook_id))?;
            Some(PausedWebhook {
                organization: self.registry.organization_name(found.organization_id)?,
                webhook: WebhookName::of(&rows.row),
                keys: found.keys,
            })
        });
        Ok((known.collect(), more))
    }

    /// Number of deliveries blocked by the first delivery of an ordering key; more than
    /// [`hookwright_storage::BLOCKED_COUNTED`] means any number above it.
    ///
    /// # Errors
    /// When the organization does not exist, or the store does not answer.
    pub async fn count_behind(&self, caller: &Caller, organization: &str, record: &DeliveryRecord) -> AppResult<usize> {
        self.organization_for(caller, Scope::Read, organization)?;
        let key = record.pending.as_ref().and_then(|row| row.ordering_key.as_deref());
        match key {
            Some(key) => Ok(self.store.count_behind(record.webhook_id, key).await?),
            None => Ok(0),
        }
    }

    /// Since when the oldest overdue delivery to an active webhook is due, by the schedule clock, over all nodes.
    ///
    /// # Errors
    /// When the caller may not see the installation, or the store does not answer.
    pub async fn oldest_due(&self, caller: &Caller) -> AppResult<Option<i64>> {
        caller.require(Scope::Read)?;
        Ok(OldestDue::find(&self.store, &self.engine).await?.anywhere)
    }

    /// The webhooks of the installation that are failing or disabled, longest first, after a position: at most `size`.
    ///
    /// # Errors
    /// When the caller may not see them, or the store does not answer.
    pub async fn troubled_webhooks(
        &self,
        caller: &Caller,
        after: Option<TroublePlace>,
        size: usize,
    ) -> AppResult<Troubles> {
        caller.require(Scope::Read)?;
        let failing = self.all_failing().await?;
        let troubled = self
            .registry
            .filter_webhooks(i64::MIN, usize::MAX, |organization, row| {
                let health = failing.get(&row.id).filter(|health| health.failing_since.is_some());
                let disabled = row.disabled_reason.clone().zip(row.disabled_at);
                (health.is_some() || disabled.is_some()).then(|| TroubledWebhook {
                    organization: organization.to_owned(),
                    webhook: WebhookName::of(row),
                    failing_since: health.and_then(|health| health.failing_since).map(clock::shown_us),
                    failures: health.map_or(0, |health| health.failures),
                    disabled,
                })
            });
        Ok(Troubles::page(troubled, after, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_in_trouble_come_page_by_page_the_longest_first() {
        let troubled = |id: i64, since: Option<i64>, disabled: Option<i64>| TroubledWebhook {
            organization: "acme".to_owned(),
            webhook: WebhookName {
                id,
                payload_url: String::new(),
                description: String::new(),
            },
            failing_since: since,
            failures: 1,
            disabled: disabled.map(|at| ("gone".to_owned(), at)),
        };
        let all = vec![
            troubled(1, Some(30), None),
            troubled(2, Some(10), Some(50)),
            troubled(3, None, Some(20)),
            troubled(4, Some(10), None),
            troubled(5, Some(10), None),
        ];
        let (mut ids, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = Troubles::page(all.clone(), after, 2);
            assert_eq!(page.total, 5);
            ids.extend(page.webhooks.iter().map(|webhook| webhook.webhook.id));
            pages += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((ids, pages), (vec![2, 4, 5, 3, 1], 3));
        assert_eq!(
            Troubles::page(all, None, 5).next,
            None,
            "a full page that is the last one"
        );
    }

    #[test]
    fn the_oldest_due_delivery_is_in_the_store_or_in_a_stalled_node() {
        let waiting = |node, due_at| Waiting {
            webhook: 1,
            node,
            due_at,
        };
        let now = 1_000;
        let of = |waiting: &[Waiting], stalled| {
            let oldest = OldestDue::of(waiting, stalled, 7, now);
            (oldest.here, oldest.anywhere)
        };
        let both = [waiting(7, 500), waiting(8, 400), waiting(7, now + 1)];
        assert_eq!(of(&both, None), (Some(500), Some(400)));
        assert_eq!(
            of(&both, Some(300)),
            (Some(300), Some(300)),
            "in memory, and not attempted"
        );
        assert_eq!(of(&both, Some(450)), (Some(450), Some(400)));
        assert_eq!(of(&[waiting(7, hookwright_storage::FOLLOWS)], None), (None, None));
    }
}
