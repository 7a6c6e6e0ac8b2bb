//! Catalogue: the configuration that the hot path reads. Webhooks and organizations are in one immutable [`Snapshot`],
//! which is swapped when anything changes. A new snapshot shares all unchanged parts with the previous one. Reading
//! needs no lock and no query.

mod sharded;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use hookwright_domain::{
    filter::{EventFacts, WebhookFilter},
    id::{OrganizationId, WebhookId},
    retry::RetrySchedule,
    signing::SigningKeys,
    subscription::Subscription,
    url::PayloadUrl,
};
use hookwright_storage::operations::Discard;

pub use self::sharded::Sharded;

/// A webhook as the engine needs it: parsed, with its keys prepared.
#[derive(Debug)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// The organization it belongs to.
    pub organization: OrganizationId,
    /// Where deliveries are posted; `None` when receivers pull them.
    pub url: Option<PayloadUrl>,
    /// Which event types it receives.
    pub subscription: Subscription,
    /// Which events of those types it receives; `None` for all.
    pub filter: Option<Arc<WebhookFilter>>,
    /// Whether it receives anything.
    pub active: bool,
    /// The owner's headers, in the given case and order.
    pub headers: Vec<(String, String)>,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// When failed attempts are repeated.
    pub schedule: Arc<RetrySchedule>,
    /// The limit on attempts per second.
    pub rate: Option<f64>,
    /// Whether deliveries of an ordering key are sent in order, one at a time.
    pub ordered: bool,
    /// Whether an ordered delivery that fails permanently blocks its key.
    pub pauses: bool,
    /// Whether TLS certificates are not verified.
    pub skip_verify: bool,
    /// The signing keys; `None` if a stored secret could not be opened: attempts then fail as `internal`.
    pub keys: Option<SigningKeys>,
}

/// An organization's webhooks, indexed by their subscriptions.
#[derive(Debug)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its name.
    pub name: String,
    by_type: HashMap<String, Subscribers>,
    wildcard: Subscribers,
}

/// The active webhooks that are subscribed to a type.
#[derive(Debug, Default)]
pub struct Subscribers {
    /// All of them, by id.
    pub webhooks: Arc<[i64]>,
    /// The index of each webhook's filter, in the same order.
    filter_of: Vec<Option<usize>>,
    /// The distinct filters.
    filters: Vec<Arc<WebhookFilter>>,
}

impl Subscribers {
    fn new<'a>(webhooks: impl Iterator<Item = &'a Arc<Webhook>>) -> Self {
        let mut filters: Vec<Arc<WebhookFilter>> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut filter_of = Vec::new();
        let ids = webhooks.map(|webhook| {
            let index = webhook.filter.as_ref().map(|filter| {
                *known.entry(filter.text()).or_insert_with(|| {
                    filters.push(Arc::clone(filter));
                    filters.len() - 1
                })
            });
            filter_of.push(index);
            webhook.id.raw()
        });
        Self {
            webhooks: ids.collect(),
            filter_of,
            filters,
        }
    }

    /// Whether some webhook has a filter.
    pub fn are_filtered(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Whether some filter reads the payload.
    pub fn read_payload(&self) -> bool {
        self.filters.iter().any(|filter| filter.reads_payload())
    }

    /// The webhooks without a filter, and those whose filter matches an event. Each distinct filter is evaluated once.
    /// Call this only if there are filters.
    pub fn matching(&self, facts: &EventFacts<'_>) -> Arc<[i64]> {
        self.matching_by(|filter| filter.matches(facts) == Ok(true))
    }

    fn matching_by(&self, matches: impl FnMut(&WebhookFilter) -> bool) -> Arc<[i64]> {
        let mut matches = matches;
        let matched: Vec<bool> = self.filters.iter().map(|filter| matches(filter)).collect();
        let pairs = self.webhooks.iter().zip(&self.filter_of);
        let receiving = pairs.filter(|(_, filter)| filter.is_none_or(|index| matched[index]));
        receiving.map(|(id, _)| *id).collect()
    }
}

impl Organization {
    /// Indexes `webhooks`, which belong to the organization. Inactive ones match nothing.
    pub fn new<'a>(id: OrganizationId, name: String, webhooks: impl Iterator<Item = &'a Arc<Webhook>>) -> Self {
        let mut active: Vec<_> = webhooks.filter(|webhook| webhook.active).collect();
        active.sort_by_key(|webhook| webhook.id);
        // Webhooks for all types belong to each list, and those for some types only to the lists of these.
        let (all, some): (Vec<_>, Vec<_>) = active
            .iter()
            .copied()
            .partition(|webhook| webhook.subscription.is_all());
        let mut by_name: HashMap<&str, Vec<&Arc<Webhook>>> = HashMap::new();
        for webhook in some {
            for name in webhook.subscription.names() {
                by_name.entry(name).or_insert_with(|| all.clone()).push(webhook);
            }
        }
        let subscribers = |mut webhooks: Vec<&'a Arc<Webhook>>| {
            webhooks.sort_by_key(|webhook| webhook.id);
            webhooks.dedup_by_key(|webhook| webhook.id);
            Subscribers::new(webhooks.into_iter())
        };
        let by_type = by_name.into_iter();
        let by_type = by_type.map(|(name, webhooks)| (name.to_owned(), subscribers(webhooks)));
        let by_type = by_type.collect();
        let wildcard = subscribers(all);
        Self {
            id,
            name,
            by_type,
            wildcard,
        }
    }

    /// The active webhooks that are subscribed to a type.
    pub fn subscribers(&self, event_type: &str) -> &Subscribers {
        self.by_type.get(event_type).unwrap_or(&self.wildcard)
    }
}

/// The configuration at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Organizations by name.
    pub organizations: Sharded<String, Arc<Organization>>,
    /// Webhooks by raw id, active or not.
    pub webhooks: Sharded<i64, Arc<Webhook>>,
    /// Webhooks whose stored configuration cannot be read. Nothing is sent to them, and their deliveries are kept.
    pub unreadable: HashSet<i64>,
    /// Backlogs that are being discarded, by webhook.
    pub discards: HashMap<i64, Discard>,
}

/// The state of a delivery's webhook.
#[derive(Clone, Debug)]
pub enum Target {
    /// It can be sent.
    Active(Arc<Webhook>),
    /// The delivery waits until the receiver pulls it.
    Fetched(Arc<Webhook>),
    /// The delivery waits until the webhook is active again. The webhook is `None` if its stored configuration cannot
    /// be read.
    Paused(Option<Arc<Webhook>>),
    /// The webhook was deleted.
    Gone,
}

/// The current [`Snapshot`].
#[derive(Debug, Default)]
pub struct Catalogue {
    current: ArcSwap<Snapshot>,
    /// Counts the snapshots. Incremented after a snapshot is in force, so a reader that sees a number reads that
    /// snapshot or a later one.
    generation: AtomicU64,
}

impl Catalogue {
    /// The configuration in force. Callers should hold the guard only briefly.
    pub fn current(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Puts a new configuration in force: every event that is matched from now on uses it.
    pub fn replace(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The number of the snapshot in force. Callers compare it to detect that data which they derived from the
    /// catalogue is stale.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The part of a webhook's backlog that is being discarded.
    pub fn discard(&self, webhook: i64) -> Option<Discard> {
        self.current.load().discards.get(&webhook).copied()
    }

    /// The state of a delivery's webhook in the current configuration.
    pub fn target(&self, webhook: i64) -> Target {
        let current = self.current.load();
        match current.webhooks.get(&webhook) {
            Some(webhook) if webhook.active && webhook.url.is_none() => Target::Fetched(Arc::clone(webhook)),
            Some(webhook) if webhook.active => Target::Active(Arc::clone(webhook)),
            Some(webhook) => Target::Paused(Some(Arc::clone(webhook))),
            None if current.unreadable.contains(&webhook) => Target::Paused(None),
            None => Target::Gone,
        }
    }
}

#[cfg(test)]
mod tests;
