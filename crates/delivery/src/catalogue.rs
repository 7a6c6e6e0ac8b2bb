//! The configuration that the hot path reads: webhooks and organizations in one immutable [`Snapshot`], swapped whole when
//! anything changes. Reading takes no lock and no query.

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

/// A webhook as the engine needs it: parsed, with its keys prepared.
#[derive(Debug)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// The organization it belongs to.
    pub organization: OrganizationId,
    /// Where deliveries are posted; `None` when they are fetched.
    pub url: Option<PayloadUrl>,
    /// Which event types it receives.
    pub subscription: Subscription,
    /// Which events of those types it receives; `None` for all.
    pub filter: Option<Arc<WebhookFilter>>,
    /// Whether it receives anything.
    pub active: bool,
    /// The owner's own headers, in the case and order given.
    pub headers: Vec<(String, String)>,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// When failed attempts are repeated.
    pub schedule: Arc<RetrySchedule>,
    /// Attempts per second at most.
    pub rate: Option<f64>,
    /// Whether deliveries go one after another, by ordering key.
    pub ordered: bool,
    /// Whether an ordered delivery that fails for good holds up its key.
    pub pauses: bool,
    /// Whether TLS certificates go unverified.
    pub skip_verify: bool,
    /// The keys to sign with; `None` when a stored secret could not be opened: attempts then fail as `internal`.
    pub keys: Option<SigningKeys>,
}

/// An organization's webhooks, indexed by what they subscribe to.
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
    /// The filters of those that have one.
    pub filters: Vec<(i64, Arc<WebhookFilter>)>,
}

impl Subscribers {
    fn new<'a>(webhooks: impl Iterator<Item = &'a Arc<Webhook>>) -> Self {
        let mut filters = Vec::new();
        let ids = webhooks.map(|webhook| {
            let id = webhook.id.raw();
            filters.extend(webhook.filter.as_ref().map(|filter| (id, Arc::clone(filter))));
            id
        });
        Self {
            webhooks: ids.collect(),
            filters,
        }
    }

    /// Whether some filter reads the payload.
    pub fn read_payload(&self) -> bool {
        self.filters.iter().any(|(_, filter)| filter.reads_payload())
    }

    /// Those whose filter an event matches, if they have one. To be asked only where there are filters.
    pub fn matching(&self, facts: &EventFacts<'_>) -> Arc<[i64]> {
        let filter = |id: &i64| self.filters.iter().find(|(of, _)| of == id);
        let receives = |id: &i64| filter(id).is_none_or(|(_, filter)| filter.matches(facts) == Ok(true));
        self.webhooks.iter().copied().filter(receives).collect()
    }
}

impl Organization {
    /// Indexes `webhooks`, which belong to the organization; inactive ones match nothing.
    pub fn new<'a>(id: OrganizationId, name: String, webhooks: impl Iterator<Item = &'a Arc<Webhook>>) -> Self {
        let mut active: Vec<_> = webhooks.filter(|webhook| webhook.active).collect();
        active.sort_by_key(|webhook| webhook.id);
        let mut names: Vec<String> = active
            .iter()
            .filter(|webhook| !webhook.subscription.is_all())
            .flat_map(|webhook| webhook.subscription.names())
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.dedup();
        let of = |receives: &dyn Fn(&Subscription) -> bool| {
            let receive = active.iter().copied().filter(|webhook| receives(&webhook.subscription));
            Subscribers::new(receive)
        };
        let matching = |name: &str| of(&|subscription| subscription.matches(name));
        let wildcard = of(&Subscription::is_all);
        let by_type = names.into_iter().map(|name| (name.clone(), matching(&name))).collect();
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
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Organizations by name.
    pub organizations: HashMap<String, Arc<Organization>>,
    /// Webhooks by raw id, active or not.
    pub webhooks: HashMap<i64, Arc<Webhook>>,
    /// Webhooks whose stored configuration cannot be read. Nothing is sent to them, and what they are owed is kept.
    pub unreadable: HashSet<i64>,
}

/// What a delivery finds where its webhook should be.
#[derive(Clone, Debug)]
pub enum Target {
    /// It can be sent.
    Active(Arc<Webhook>),
    /// It waits until the receiver fetches it.
    Fetched(Arc<Webhook>),
    /// It waits until the webhook is active again. The webhook is `None` where its stored configuration cannot be read.
    Paused(Option<Arc<Webhook>>),
    /// The webhook was deleted.
    Gone,
}

/// The current [`Snapshot`].
#[derive(Debug, Default)]
pub struct Catalogue {
    current: ArcSwap<Snapshot>,
    /// Counts the snapshots. Raised after a snapshot is in force: a reader that sees a number reads that snapshot or a later one.
    generation: AtomicU64,
}

impl Catalogue {
    /// The configuration in force. Hold the guard briefly.
    pub fn current(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Puts a new configuration in force: every event matched from now on sees it.
    pub fn replace(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The number of the snapshot in force: whoever derived something from the catalogue compares it to learn of a change.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What there is for a delivery to the webhook in the current configuration.
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
