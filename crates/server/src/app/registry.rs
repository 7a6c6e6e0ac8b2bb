//! The configuration in memory: rows as stored, for answers, and the snapshot that the engine matches and sends by.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use hookwright_delivery::catalogue::{Catalogue, Organization, Snapshot, Webhook};
use hookwright_domain::{
    filter::WebhookFilter,
    id::{OrganizationId, WebhookId},
    outcome::SchemaMode,
    retry::RetrySchedule,
    schema::EventSchema,
    subscription::Subscription,
    url::PayloadUrl,
};
use hookwright_storage::{
    CatalogueRows, EventTypeRow, MasterKey, OrganizationRow, SecretRow, WebhookRow, operations::Discard,
};
use parking_lot::RwLock;

use super::{Limits, secrets, texts::NamePrefix, webhooks::WebhookName};

/// A registered event type with its schema compiled.
pub(super) struct EventType {
    /// The row as stored.
    pub row: EventTypeRow,
    /// Its schema, if it has one that payloads are compared with.
    pub schema: Option<EventSchema>,
    /// Whether an event that does not fit is published all the same.
    pub only_warns: bool,
    /// The ids of the only organizations that see it; `None` for all.
    visible_to: Option<BTreeSet<i64>>,
}

impl EventType {
    pub(super) fn new(row: EventTypeRow) -> Self {
        let mode: SchemaMode = row.schema_mode.parse().unwrap_or(SchemaMode::Reject);
        let compared = row.json_schema.as_deref().filter(|_| mode != SchemaMode::Off);
        let schema = compared.and_then(|schema| {
            // It compiled when it was registered; should a later version refuse it, publishing goes on unchecked and says so.
            EventSchema::compile(schema)
                .inspect_err(|error| tracing::error!(event_type = row.name, %error, "a stored schema does not compile"))
                .ok()
        });
        Self {
            visible_to: visible_to(&row),
            row,
            schema,
            only_warns: mode == SchemaMode::Warn,
        }
    }

    /// Whether an organization sees it; `None` stands for those who look after all.
    pub(super) fn is_visible_to(&self, organization: Option<i64>) -> bool {
        match (&self.visible_to, organization) {
            (Some(only), Some(organization)) => only.contains(&organization),
            _ => true,
        }
    }
}

/// The ids of the only organizations that see an event type; `None` for all.
pub(super) fn visible_to(row: &EventTypeRow) -> Option<BTreeSet<i64>> {
    let stored = row.visible_to.as_deref()?;
    // Nobody's, where it cannot be read: what is kept from others must not be shown to them by a fault.
    let read = serde_json::from_str(stored);
    Some(
        read.inspect_err(|error| tracing::error!(event_type = row.name, %error, "a stored list cannot be read"))
            .unwrap_or_default(),
    )
}

/// A webhook's rows.
#[derive(Clone, PartialEq)]
pub(super) struct WebhookRows {
    /// The webhook as stored.
    pub row: WebhookRow,
    /// Its secrets, newest first.
    pub secrets: Vec<SecretRow>,
}

#[derive(Default)]
struct State {
    organizations: BTreeMap<String, OrganizationRow>,
    /// The names of organizations by id.
    names: HashMap<i64, String>,
    webhooks: BTreeMap<i64, WebhookRows>,
    /// The webhooks of each organization that has some.
    owned: HashMap<i64, BTreeSet<i64>>,
    runtimes: HashMap<i64, Arc<Webhook>>,
    /// Backlogs that are being discarded, by webhook.
    discards: HashMap<i64, Discard>,
}

impl State {
    fn put_organization(&mut self, row: OrganizationRow) {
        self.names.insert(row.id, row.name.clone());
        self.organizations.insert(row.name.clone(), row);
    }

    fn put_rows(&mut self, rows: WebhookRows) {
        let owned = self.owned.entry(rows.row.organization_id).or_default();
        owned.insert(rows.row.id);
        self.webhooks.insert(rows.row.id, rows);
    }

    fn remove_webhook(&mut self, id: i64) {
        self.runtimes.remove(&id);
        self.discards.remove(&id);
        let Some(rows) = self.webhooks.remove(&id) else { return };
        if let Some(owned) = self.owned.get_mut(&rows.row.organization_id) {
            owned.remove(&id);
        }
    }

    /// An organization's webhooks with ids above `after`, oldest first.
    fn webhooks_of(&self, organization: i64, after: i64) -> impl Iterator<Item = &WebhookRows> {
        let owned = self.owned.get(&organization);
        let later = owned
            .into_iter()
            .flat_map(move |owned| owned.range(after.saturating_add(1)..));
        later.filter_map(|id| self.webhooks.get(id))
    }
}

/// See the module.
pub(super) struct Registry {
    state: RwLock<State>,
    event_types: ArcSwap<BTreeMap<String, Arc<EventType>>>,
    catalogue: Arc<Catalogue>,
    key: Arc<MasterKey>,
    schedule: Arc<RetrySchedule>,
}

impl Registry {
    /// Takes in what the store holds, and puts it in force.
    pub(super) fn new(rows: CatalogueRows, key: Arc<MasterKey>, limits: &Limits, catalogue: Arc<Catalogue>) -> Self {
        let registry = Self {
            state: RwLock::default(),
            event_types: ArcSwap::default(),
            catalogue,
            key,
            schedule: Arc::clone(&limits.schedule),
        };
        registry.replace(rows);
        registry
    }

    /// Puts what the store holds in force, in place of what was. Returns the webhooks that are new, changed or gone.
    pub(super) fn replace(&self, rows: CatalogueRows) -> HashSet<i64> {
        let event_types: BTreeMap<_, _> = rows
            .event_types
            .into_iter()
            .map(|row| (row.name.clone(), Arc::new(EventType::new(row))))
            .collect();
        self.event_types.store(Arc::new(event_types));
        let mut secrets: HashMap<i64, Vec<SecretRow>> = HashMap::new();
        for secret in rows.signing_secrets {
            secrets.entry(secret.webhook_id).or_default().push(secret);
        }
        let mut before = self.state.write();
        let mut changed = HashSet::new();
        let discards = rows.discards.iter();
        let mut state = State {
            discards: discards
                .filter_map(|row| Some((row.webhook_id?, Discard::of(row))))
                .collect(),
            ..State::default()
        };
        for row in rows.organizations {
            state.put_organization(row);
        }
        for row in rows.webhooks {
            let mut secrets = secrets.remove(&row.id).unwrap_or_default();
            secrets.sort_by_key(|secret| std::cmp::Reverse(secret.id));
            let rows = WebhookRows { row, secrets };
            // What is as it was keeps its keys and its parsed form.
            let same = before.webhooks.get(&rows.row.id).filter(|old| **old == rows);
            match same.and_then(|_| before.runtimes.get(&rows.row.id)) {
                Some(runtime) => {
                    state.runtimes.insert(rows.row.id, Arc::clone(runtime));
                    state.put_rows(rows);
                }
                None => {
                    changed.insert(rows.row.id);
                    self.put(&mut state, rows);
                }
            }
        }
        changed.extend(before.webhooks.keys().filter(|id| !state.webhooks.contains_key(id)));
        let discards = before.discards.keys().chain(state.discards.keys());
        changed.extend(discards.filter(|id| before.discards.get(id) != state.discards.get(id)));
        self.publish(&state);
        *before = state;
        changed
    }

    /// The configuration in force, as the engine sees it.
    pub(super) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.catalogue.current()
    }

    pub(super) fn event_types(&self) -> Arc<BTreeMap<String, Arc<EventType>>> {
        self.event_types.load_full()
    }

    pub(super) fn put_event_type(&self, row: EventTypeRow) {
        let mut event_types = BTreeMap::clone(&self.event_types.load());
        event_types.insert(row.name.clone(), Arc::new(EventType::new(row)));
        self.event_types.store(Arc::new(event_types));
    }

    pub(super) fn remove_event_type(&self, name: &str) {
        let mut event_types = BTreeMap::clone(&self.event_types.load());
        event_types.remove(name);
        self.event_types.store(Arc::new(event_types));
    }

    pub(super) fn organization(&self, name: &str) -> Option<OrganizationRow> {
        self.state.read().organizations.get(name).cloned()
    }

    pub(super) fn organization_of_id(&self, id: i64) -> Option<OrganizationRow> {
        let state = self.state.read();
        state.organizations.get(state.names.get(&id)?).cloned()
    }

    /// The name of the organization of an id.
    pub(super) fn organization_name(&self, id: i64) -> Option<String> {
        self.state.read().names.get(&id).cloned()
    }

    /// Those whose names come after `after`, sorted, `count` at most.
    pub(super) fn organizations(&self, prefix: NamePrefix<'_>, after: &str, count: usize) -> Vec<OrganizationRow> {
        let state = self.state.read();
        let range = state.organizations.range::<str, _>(prefix.range(after));
        let listed = range.take_while(|(name, _)| prefix.begins(name));
        listed.take(count).map(|(_, row)| row.clone()).collect()
    }

    pub(super) fn put_organization(&self, row: OrganizationRow) {
        let mut state = self.state.write();
        state.put_organization(row);
        self.publish(&state);
    }

    /// Removes an organization and its webhooks, and returns the webhooks' ids.
    pub(super) fn remove_organization(&self, row: &OrganizationRow) -> Vec<i64> {
        let mut state = self.state.write();
        state.organizations.remove(&row.name);
        state.names.remove(&row.id);
        let removed: Vec<i64> = state.owned.remove(&row.id).into_iter().flatten().collect();
        for id in &removed {
            state.remove_webhook(*id);
        }
        self.publish(&state);
        removed
    }

    pub(super) fn webhook(&self, organization: i64, id: WebhookId) -> Option<WebhookRows> {
        self.state
            .read()
            .webhooks
            .get(&id.raw())
            .filter(|rows| rows.row.organization_id == organization)
            .cloned()
    }

    pub(super) fn any_webhook(&self, id: WebhookId) -> Option<WebhookRows> {
        self.state.read().webhooks.get(&id.raw()).cloned()
    }

    /// A webhook's secrets, newest first.
    pub(super) fn secrets(&self, id: WebhookId) -> Vec<SecretRow> {
        let state = self.state.read();
        let rows = state.webhooks.get(&id.raw());
        rows.map(|rows| rows.secrets.clone()).unwrap_or_default()
    }

    /// An organization's webhooks with ids above `after`, oldest first, `count` at most.
    pub(super) fn webhooks(&self, organization: i64, after: i64, count: usize) -> Vec<WebhookRows> {
        let state = self.state.read();
        state.webhooks_of(organization, after).take(count).cloned().collect()
    }

    /// What an organization's webhooks post to, by id.
    pub(super) fn webhook_names(&self, organization: i64) -> Vec<WebhookName> {
        let state = self.state.read();
        let webhooks = state.webhooks_of(organization, i64::MIN);
        webhooks.map(|rows| WebhookName::of(&rows.row)).collect()
    }

    /// What is made of each webhook with an id above `after` and its organization's name, where something is, `count` at most.
    pub(super) fn filter_webhooks<T>(
        &self,
        after: i64,
        count: usize,
        mut make: impl FnMut(&str, &WebhookRow) -> Option<T>,
    ) -> Vec<T> {
        let state = self.state.read();
        let later = state.webhooks.range(after.saturating_add(1)..);
        let made = later.filter_map(|(_, rows)| {
            let organization = state.names.get(&rows.row.organization_id)?;
            make(organization, &rows.row)
        });
        made.take(count).collect()
    }

    pub(super) fn webhook_count(&self, organization: i64) -> usize {
        self.state.read().owned.get(&organization).map_or(0, BTreeSet::len)
    }

    pub(super) fn put_webhook(&self, rows: WebhookRows) {
        let mut state = self.state.write();
        self.put(&mut state, rows);
        self.publish(&state);
    }

    /// A webhook that is active again, and the part of what waits for it that is discarded.
    pub(super) fn put_resumed(&self, rows: WebhookRows, discard: Option<Discard>) {
        let mut state = self.state.write();
        if let Some(discard) = discard {
            state.discards.insert(rows.row.id, discard);
        }
        self.put(&mut state, rows);
        self.publish(&state);
    }

    /// The discard has ended: what is left of the backlog waits like anything else.
    pub(super) fn end_discard(&self, webhook: i64) {
        let mut state = self.state.write();
        if state.discards.remove(&webhook).is_some() {
            self.publish(&state);
        }
    }

    pub(super) fn remove_webhook(&self, id: WebhookId) {
        let mut state = self.state.write();
        state.remove_webhook(id.raw());
        self.publish(&state);
    }

    fn put(&self, state: &mut State, rows: WebhookRows) {
        match self.runtime(&rows) {
            Ok(runtime) => drop(state.runtimes.insert(rows.row.id, Arc::new(runtime))),
            Err(error) => {
                let webhook = WebhookId::from_raw(rows.row.id);
                tracing::error!(%webhook, error, "a stored webhook cannot be read; nothing is sent to it, and what it is owed is kept");
                state.runtimes.remove(&rows.row.id);
            }
        }
        state.put_rows(rows);
    }

    /// Puts the state in force for the engine.
    fn publish(&self, state: &State) {
        let mut by_organization: HashMap<i64, Vec<&Arc<Webhook>>> = HashMap::new();
        for webhook in state.runtimes.values() {
            by_organization
                .entry(webhook.organization.raw())
                .or_default()
                .push(webhook);
        }
        let organizations = state.organizations.values().map(|row| {
            let webhooks = by_organization.remove(&row.id).unwrap_or_default();
            let id = OrganizationId::from_raw(row.id);
            (
                row.name.clone(),
                Arc::new(Organization::new(id, row.name.clone(), webhooks.into_iter())),
            )
        });
        let organizations = organizations.collect();
        let unreadable = state.webhooks.keys().filter(|id| !state.runtimes.contains_key(id));
        self.catalogue.replace(Snapshot {
            organizations,
            unreadable: unreadable.copied().collect(),
            webhooks: state.runtimes.clone(),
            discards: state.discards.clone(),
        });
    }

    /// A webhook as the engine needs it.
    fn runtime(&self, rows: &WebhookRows) -> Result<Webhook, String> {
        let row = &rows.row;
        let events: Vec<String> = serde_json::from_str(&row.events).map_err(|error| error.to_string())?;
        let schedule = match &row.retry_delays_ms {
            None => Arc::clone(&self.schedule),
            Some(text) => {
                let delays: Vec<u64> = serde_json::from_str(text).map_err(|error| error.to_string())?;
                let delays = delays.into_iter().map(Duration::from_millis).collect();
                Arc::new(RetrySchedule::new(delays).map_err(|error| error.to_string())?)
            }
        };
        let filter = (!row.filter.is_empty()).then(|| WebhookFilter::compile(&row.filter));
        let filter = filter.transpose().map_err(|error| error.to_string())?;
        let keys = secrets::signing_keys(&self.key, row, &rows.secrets)
            .inspect_err(
                |error| tracing::error!(webhook = %WebhookId::from_raw(row.id), %error, "cannot open a signing secret"),
            )
            .ok();
        Ok(Webhook {
            id: WebhookId::from_raw(row.id),
            organization: OrganizationId::from_raw(row.organization_id),
            url: (!row.pull)
                .then(|| PayloadUrl::parse_stored(&row.payload_url))
                .transpose()
                .map_err(|error| error.to_string())?,
            subscription: Subscription::from_events(&events).map_err(|error| error.to_string())?,
            filter: filter.map(Arc::new),
            active: row.active,
            headers: secrets::open_headers(&self.key, row).map_err(|error| error.to_string())?,
            timeout: Duration::from_millis(row.timeout_ms.unsigned_abs()),
            schedule,
            rate: row.rate_limit,
            ordered: row.ordered,
            pauses: row.pauses,
            skip_verify: row.insecure_skip_verify,
            keys,
        })
    }
}
