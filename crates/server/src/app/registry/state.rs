//! The rows of organizations and webhooks, and the snapshot that the engine reads, kept in step.
//!
//! A change touches the entries of one organization; everything else in the snapshot is shared with the previous one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use hookwright_delivery::catalogue::{Organization, Snapshot, Webhook};
use hookwright_domain::id::OrganizationId;
use hookwright_storage::{
    OrganizationRow, SecretRow, WebhookRow,
    operations::{Discard, OperationRow},
};

/// A webhook's rows.
#[derive(Clone, PartialEq)]
pub(in crate::app) struct WebhookRows {
    /// The webhook as stored.
    pub row: WebhookRow,
    /// Its secrets, newest first.
    pub secrets: Vec<SecretRow>,
}

/// See the module.
#[derive(Default)]
pub(super) struct State {
    organizations: BTreeMap<String, OrganizationRow>,
    /// The names of organizations by id.
    names: HashMap<i64, String>,
    webhooks: BTreeMap<i64, WebhookRows>,
    /// The webhooks of each organization that has some.
    owned: HashMap<i64, BTreeSet<i64>>,
    /// The same as the engine needs it, with the backlogs that are being discarded.
    pub(super) snapshot: Snapshot,
}

impl State {
    pub(super) fn organizations(&self) -> &BTreeMap<String, OrganizationRow> {
        &self.organizations
    }

    pub(super) fn webhooks(&self) -> &BTreeMap<i64, WebhookRows> {
        &self.webhooks
    }

    pub(super) fn name(&self, organization: i64) -> Option<&String> {
        self.names.get(&organization)
    }

    pub(super) fn webhook_count(&self, organization: i64) -> usize {
        self.owned.get(&organization).map_or(0, BTreeSet::len)
    }

    /// An organization's webhooks with ids above `after`, oldest first.
    pub(super) fn webhooks_of(&self, organization: i64, after: i64) -> impl Iterator<Item = &WebhookRows> {
        let owned = self.owned.get(&organization);
        let later = owned
            .into_iter()
            .flat_map(move |owned| owned.range(after.saturating_add(1)..));
        later.filter_map(|id| self.webhooks.get(id))
    }

    /// Sets an organization's row. Callers [`index`](Self::index) it afterwards.
    pub(super) fn put_organization(&mut self, row: OrganizationRow) {
        self.names.insert(row.id, row.name.clone());
        self.organizations.insert(row.name.clone(), row);
    }

    /// Removes an organization and its webhooks, and returns the webhooks' ids.
    pub(super) fn remove_organization(&mut self, id: i64) -> Vec<i64> {
        if let Some(name) = self.names.remove(&id) {
            self.organizations.remove(&name);
            self.snapshot.organizations.remove(&name);
        }
        let removed: Vec<i64> = self.owned.remove(&id).into_iter().flatten().collect();
        for webhook in &removed {
            self.remove_webhook(*webhook);
        }
        removed
    }

    /// Sets a webhook's rows, and what the engine makes of them: `None` where they cannot be read. Callers [`index`](Self::index) its
    /// organization afterwards.
    pub(super) fn put_webhook(&mut self, rows: WebhookRows, runtime: Option<Arc<Webhook>>) {
        let id = rows.row.id;
        match runtime {
            Some(runtime) => {
                self.snapshot.webhooks.insert(id, runtime);
                self.snapshot.unreadable.remove(&id);
            }
            None => {
                self.snapshot.webhooks.remove(&id);
                self.snapshot.unreadable.insert(id);
            }
        }
        self.owned.entry(rows.row.organization_id).or_default().insert(id);
        self.webhooks.insert(id, rows);
    }

    /// Removes a webhook, and returns its organization, which callers [`index`](Self::index) afterwards.
    pub(super) fn remove_webhook(&mut self, id: i64) -> Option<i64> {
        self.snapshot.webhooks.remove(&id);
        self.snapshot.unreadable.remove(&id);
        self.snapshot.discards.remove(&id);
        let rows = self.webhooks.remove(&id)?;
        let organization = rows.row.organization_id;
        if let Some(owned) = self.owned.get_mut(&organization) {
            owned.remove(&id);
        }
        Some(organization)
    }

    /// Sets the backlogs that are being discarded. Returns the webhooks for which that differs from `before`.
    pub(super) fn replace_discards(&mut self, rows: &[OperationRow], before: &HashMap<i64, Discard>) -> HashSet<i64> {
        let discards = rows.iter().filter_map(|row| Some((row.webhook_id?, Discard::of(row))));
        self.snapshot.discards = discards.collect();
        let now = &self.snapshot.discards;
        let differs = |id: &&i64| before.get(id) != now.get(id);
        before.keys().chain(now.keys()).filter(differs).copied().collect()
    }

    /// Indexes an organization's webhooks by what they subscribe to.
    pub(super) fn index(&mut self, organization: i64) {
        let Some(name) = self.names.get(&organization) else {
            return;
        };
        let owned = self.owned.get(&organization).into_iter().flatten();
        let webhooks = owned.filter_map(|id| self.snapshot.webhooks.get(id));
        let indexed = Organization::new(OrganizationId::from_raw(organization), name.clone(), webhooks);
        self.snapshot.organizations.insert(name.clone(), Arc::new(indexed));
    }

    /// Indexes every organization.
    pub(super) fn index_all(&mut self) {
        let ids: Vec<i64> = self.names.keys().copied().collect();
        for id in ids {
            self.index(id);
        }
    }
}
