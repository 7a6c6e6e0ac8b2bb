//! The in-memory configuration: rows as stored, for answers, and the snapshot that the engine uses.

mod event_type;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use hookwright_delivery::catalogue::{Catalogue, Snapshot, Webhook};
use hookwright_domain::{
    filter::WebhookFilter,
    id::{OrganizationId, WebhookId},
    retry::RetrySchedule,
    subscription::Subscription,
    url::PayloadUrl,
};
use hookwright_storage::{
    CatalogueRows, ChangedRows, EventTypeRow, MasterKey, OrganizationRow, SecretRow, WebhookRow, operations::Discard,
};
use parking_lot::RwLock;

use self::state::State;
pub(super) use self::{
    event_type::{EventType, visible_to},
    state::WebhookRows,
};
use super::{Limits, secrets, texts::NamePrefix, webhook_name::WebhookName};

/// See the module.
pub(super) struct Registry {
    state: RwLock<State>,
    event_types: ArcSwap<BTreeMap<String, Arc<EventType>>>,
    catalogue: Arc<Catalogue>,
    key: Arc<MasterKey>,
    schedule: Arc<RetrySchedule>,
}

impl Registry {
    /// Loads the store's contents, and makes them effective.
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

    /// Replaces the effective configuration with the store's contents. Returns the new, changed and deleted webhooks.
    pub(super) fn replace(&self, rows: CatalogueRows) -> HashSet<i64> {
        self.replace_event_types(rows.event_types);
        let mut secrets: HashMap<i64, Vec<SecretRow>> = HashMap::new();
        for secret in rows.signing_secrets {
            secrets.entry(secret.webhook_id).or_default().push(secret);
        }
        let mut before = self.state.write();
        let mut changed = HashSet::new();
        let mut state = State::default();
        for row in rows.organizations {
            state.put_organization(row);
        }
        for row in rows.webhooks {
            let mut secrets = secrets.remove(&row.id).unwrap_or_default();
            secrets.sort_by_key(|secret| std::cmp::Reverse(secret.id));
            let rows = WebhookRows { row, secrets };
            // An unchanged webhook keeps its keys and its parsed form.
            let same = before.webhooks().get(&rows.row.id).filter(|old| **old == rows);
            match same.and_then(|_| before.snapshot.webhooks.get(&rows.row.id)) {
                Some(runtime) => state.put_webhook(rows, Some(Arc::clone(runtime))),
                None => {
                    changed.insert(rows.row.id);
                    self.put(&mut state, rows);
                }
            }
        }
        changed.extend(before.webhooks().keys().filter(|id| !state.webhooks().contains_key(id)));
        changed.extend(state.replace_discards(&rows.discards, &before.snapshot.discards));
        state.index_all();
        self.catalogue.replace(state.snapshot.clone());
        *before = state;
        changed
    }

    /// Puts rows in force that another node changed. Returns the webhooks that are new, changed or gone.
    pub(super) fn update(&self, rows: ChangedRows) -> HashSet<i64> {
        if let Some(event_types) = rows.event_types {
            self.replace_event_types(event_types);
        }
        let mut state = self.state.write();
        let mut changed = HashSet::new();
        let mut touched = BTreeSet::new();
        for (id, row) in rows.organizations {
            match row {
                Some(row) => {
                    state.put_organization(row);
                    touched.insert(id);
                }
                None => changed.extend(state.remove_organization(id)),
            }
        }
        for (id, rows) in rows.webhooks {
            changed.insert(id);
            match rows {
                Some((row, secrets)) => {
                    touched.insert(row.organization_id);
                    self.put(&mut state, WebhookRows { row, secrets });
                }
                None => touched.extend(state.remove_webhook(id)),
            }
        }
        let before = state.snapshot.discards.clone();
        changed.extend(state.replace_discards(&rows.discards, &before));
        for organization in touched {
            state.index(organization);
        }
        self.catalogue.replace(state.snapshot.clone());
        changed
    }

    fn replace_event_types(&self, rows: Vec<EventTypeRow>) {
        let known = self.event_types.load();
        let event_types = rows.into_iter().map(|row| {
            // An unchanged one keeps its compiled schema.
            let same = known.get(&row.name).filter(|known| known.row == row);
            let event_type = same.cloned().unwrap_or_else(|| Arc::new(EventType::new(row.clone())));
            (row.name, event_type)
        });
        self.event_types.store(Arc::new(event_types.collect()));
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
        self.state.read().organizations().get(name).cloned()
    }

    pub(super) fn organization_of_id(&self, id: i64) -> Option<OrganizationRow> {
        let state = self.state.read();
        state.organizations().get(state.name(id)?).cloned()
    }

    /// The name of an organization by its id.
    pub(super) fn organization_name(&self, id: i64) -> Option<String> {
        self.state.read().name(id).cloned()
    }

    /// Organizations with names after `after`, sorted, at most `count`.
    pub(super) fn organizations(&self, prefix: NamePrefix<'_>, after: &str, count: usize) -> Vec<OrganizationRow> {
        let state = self.state.read();
        let range = state.organizations().range::<str, _>(prefix.range(after));
        let listed = range.take_while(|(name, _)| prefix.begins(name));
        listed.take(count).map(|(_, row)| row.clone()).collect()
    }

    pub(super) fn put_organization(&self, row: OrganizationRow) {
        let mut state = self.state.write();
        let id = row.id;
        state.put_organization(row);
        self.publish(&mut state, id);
    }

    /// Removes an organization and its webhooks, and returns the webhooks' ids.
    pub(super) fn remove_organization(&self, row: &OrganizationRow) -> Vec<i64> {
        let mut state = self.state.write();
        let removed = state.remove_organization(row.id);
        self.catalogue.replace(state.snapshot.clone());
        removed
    }

    pub(super) fn webhook(&self, organization: i64, id: WebhookId) -> Option<WebhookRows> {
        self.state
            .read()
            .webhooks()
            .get(&id.raw())
            .filter(|rows| rows.row.organization_id == organization)
            .cloned()
    }

    pub(super) fn any_webhook(&self, id: WebhookId) -> Option<WebhookRows> {
        self.state.read().webhooks().get(&id.raw()).cloned()
    }

    /// A webhook's secrets, newest first.
    pub(super) fn secrets(&self, id: WebhookId) -> Vec<SecretRow> {
        let state = self.state.read();
        let rows = state.webhooks().get(&id.raw());
        rows.map(|rows| rows.secrets.clone()).unwrap_or_default()
    }

    /// An organization's webhooks with ids above `after`, oldest first, at most `count`.
    pub(super) fn webhooks(&self, organization: i64, after: i64, count: usize) -> Vec<WebhookRows> {
        let state = self.state.read();
        state.webhooks_of(organization, after).take(count).cloned().collect()
    }

    /// The payload URLs of an organization's webhooks, by id.
    pub(super) fn webhook_names(&self, organization: i64) -> Vec<WebhookName> {
        let state = self.state.read();
        let webhooks = state.webhooks_of(organization, i64::MIN);
        webhooks.map(|rows| WebhookName::of(&rows.row)).collect()
    }

    /// The results of a function for each webhook with an id above `after` and its organization's name, without `None`, at
    /// most `count`.
    pub(super) fn filter_webhooks<T>(
        &self,
        after: i64,
        count: usize,
        mut make: impl FnMut(&str, &WebhookRow) -> Option<T>,
    ) -> Vec<T> {
        let state = self.state.read();
        let later = state.webhooks().range(after.saturating_add(1)..);
        let made = later.filter_map(|(_, rows)| {
            let organization = state.name(rows.row.organization_id)?;
            make(organization, &rows.row)
        });
        made.take(count).collect()
    }

    pub(super) fn webhook_count(&self, organization: i64) -> usize {
        self.state.read().webhook_count(organization)
    }

    pub(super) fn put_webhook(&self, rows: WebhookRows) {
        self.put_resumed(rows, None);
    }

    /// A webhook that is active again, and the part of its backlog that is discarded.
    pub(super) fn put_resumed(&self, rows: WebhookRows, discard: Option<Discard>) {
        let mut state = self.state.write();
        let organization = rows.row.organization_id;
        if let Some(discard) = discard {
            state.snapshot.discards.insert(rows.row.id, discard);
        }
        self.put(&mut state, rows);
        self.publish(&mut state, organization);
    }

    /// The discard has ended: what is left of the backlog is delivered like anything else.
    pub(super) fn end_discard(&self, webhook: i64) {
        let mut state = self.state.write();
        if state.snapshot.discards.remove(&webhook).is_some() {
            self.catalogue.replace(state.snapshot.clone());
        }
    }

    pub(super) fn remove_webhook(&self, id: WebhookId) {
        let mut state = self.state.write();
        if let Some(organization) = state.remove_webhook(id.raw()) {
            self.publish(&mut state, organization);
        }
    }

    fn put(&self, state: &mut State, rows: WebhookRows) {
        let runtime = self.runtime(&rows).map(Arc::new);
        let runtime = runtime.inspect_err(|error| {
            let webhook = WebhookId::from_raw(rows.row.id);
            tracing::error!(%webhook, error, "a stored webhook cannot be read; nothing is sent to it, and its deliveries are kept");
        });
        state.put_webhook(rows, runtime.ok());
    }

    /// Puts a change to one organization in force for the engine.
    fn publish(&self, state: &mut State, organization: i64) {
        state.index(organization);
        self.catalogue.replace(state.snapshot.clone());
    }

    /// A webhook in the engine's form.
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
                |error| tracing::error!(webhook = %WebhookId::from_raw(row.id), %error, "cannot decrypt a signing secret"),
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
