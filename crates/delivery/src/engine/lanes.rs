//! The registry of this node's lanes: one for each webhook that has had work here.
//!
//! | event | what happens to a lane |
//! | --- | --- |
//! | first use | it is created, with the webhook's health in the store at the start |
//! | its webhook was deleted, and it has no deliveries in memory | the sweep removes it |
//! | this node has lost its lease | all lanes are abandoned and removed: other nodes own what they held |
//!
//! Memory grows with the number of webhooks that have had work. An empty lane takes a few hundred bytes.

use std::{collections::HashMap, sync::Arc};

use hookwright_domain::id::WebhookId;
use parking_lot::{Mutex, RwLock};

use super::{
    health::Health,
    lane::{Lane, LaneLimits, Shared},
};

/// The maximum number of deliveries in a lane's memory.
const JOBS_MAX: usize = 2_048;
/// The largest part of the payload memory for one lane, as a divisor.
const MEMORY_DIVISOR: usize = 8;

/// A handle to the registry. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lanes(Arc<Registry>);

struct Registry {
    by_webhook: RwLock<HashMap<i64, Arc<Lane>>>,
    limits: LaneLimits,
    /// The components that the lanes share.
    shared: Shared,
    /// The health of failing webhooks in the store at the start, until their lanes are created.
    known_health: Mutex<HashMap<i64, Health>>,
}

impl Lanes {
    /// `attempts_max`: attempts in flight of each lane.
    pub(super) fn new(
        memory_bytes_max: usize,
        attempts_max: usize,
        shared: Shared,
        known_health: HashMap<i64, Health>,
    ) -> Self {
        Self(Arc::new(Registry {
            by_webhook: RwLock::default(),
            limits: LaneLimits {
                jobs: JOBS_MAX,
                bytes: memory_bytes_max / MEMORY_DIVISOR,
                attempts: attempts_max,
            },
            shared,
            known_health: Mutex::new(known_health),
        }))
    }

    /// The lane of a webhook, which is created on first use.
    pub(super) fn get(&self, webhook: i64) -> Arc<Lane> {
        if let Some(lane) = self.0.by_webhook.read().get(&webhook) {
            return Arc::clone(lane);
        }
        let mut lanes = self.0.by_webhook.write();
        let lane = lanes.entry(webhook).or_insert_with(|| {
            let health = self.0.known_health.lock().remove(&webhook).unwrap_or_default();
            let id = WebhookId::from_raw(webhook);
            Arc::new(Lane::new(id, self.0.limits, self.0.shared.clone(), health))
        });
        Arc::clone(lane)
    }

    /// The lane of a webhook, if there is one.
    pub(super) fn find(&self, webhook: i64) -> Option<Arc<Lane>> {
        self.0.by_webhook.read().get(&webhook).cloned()
    }

    /// All lanes.
    pub(super) fn all(&self) -> Vec<Arc<Lane>> {
        self.0.by_webhook.read().values().cloned().collect()
    }

    /// Removes a delivery from memory that was ended in the store.
    pub(super) fn forget(&self, webhook: i64, delivery: i64) {
        if let Some(lane) = self.find(webhook) {
            lane.forget(delivery);
        }
    }

    /// Clears the memory, because it does not belong to this node any more.
    pub(super) fn abandon_all(&self) {
        for lane in std::mem::take(&mut *self.0.by_webhook.write()).into_values() {
            lane.abandon();
        }
    }

    /// Removes the lanes of deleted webhooks that have no deliveries in memory.
    pub(super) fn remove_finished(&self) {
        let lanes = self.0.by_webhook.read();
        let finished = lanes.values().filter(|lane| lane.is_finished());
        let finished: Vec<i64> = finished.map(|lane| lane.webhook.raw()).collect();
        drop(lanes);
        if finished.is_empty() {
            return;
        }
        let mut lanes = self.0.by_webhook.write();
        for webhook in finished {
            // A caller with a reference to the lane may be about to add a delivery.
            let unused = |lane: &Arc<Lane>| Arc::strong_count(lane) == 1 && lane.is_finished();
            if lanes.get(&webhook).is_some_and(unused) {
                lanes.remove(&webhook);
            }
        }
    }
}
