//! The sweep: every ten seconds it compares pending deliveries in the store with those that the lanes expect, and
//! repairs differences.
//!
//! Lanes are notified of every new pending delivery by the committer, by callers, or by other nodes. A notice of
//! another node may be lost, and so may one of our own because of a bug. Without the sweep such a delivery would wait
//! until the next restart.
//!
//! | state of a webhook | what follows |
//! | --- | --- |
//! | it has a pending delivery that its lane does not expect | it may be on its way to the lane: the next sweep compares |
//! | the same after two comparisons | repaired, counted and logged: on a single node there should never be one |
//! | a delivery is due, and the lane makes no attempt | the sweep looks at the lane |
//! | it was deleted, and has pending deliveries | it is queued to be cancelled ([`super::stragglers`]) |
//!
//! The sweep also inspects the engine's invariants each time ([`super::inspection`]).
//!
//! While the store does not answer, nothing is repaired. Without a lease, or on a server that sends nothing, the sweep
//! does nothing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hookwright_domain::id::{DeliveryId, WebhookId};
use hookwright_storage::{Store, StoreError};

use super::{inspection::Inspection, lanes::Lanes, lease::Lease, scheduler::Scheduler, stragglers::Stragglers};
use crate::{
    catalogue::{Catalogue, Target},
    clock,
    metrics::Metrics,
};

/// The interval of sweeps.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long a lane may have a due delivery and make no attempt before the sweep looks at it.
const STILL_US: i64 = 10_000_000;
/// For how many lanes one sweep compares single deliveries. The others follow in the next sweeps.
const COMPARED_MAX: usize = 100;

/// The findings of the sweep so far.
#[derive(Default)]
struct Seen {
    /// Webhooks with pending deliveries that their lanes do not expect, and when the first of them is due. It may be in
    /// memory, or on its way there.
    unexpected: HashMap<i64, i64>,
    /// The first pending delivery to a webhook that was neither expected nor in memory.
    missing: HashMap<i64, i64>,
    /// The last webhook whose deliveries were compared.
    compared: i64,
    /// The last deleted webhook that was queued for cancellation.
    cancelled: i64,
}

/// The sweep task.
pub(super) struct Sweep {
    pub(super) store: Store,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) lanes: Lanes,
    pub(super) scheduler: Scheduler,
    pub(super) stragglers: Stragglers,
    pub(super) lease: Arc<Lease>,
    pub(super) inspection: Inspection,
    pub(super) metrics: Arc<Metrics>,
    /// Whether this node sends nothing.
    pub(super) hold: bool,
}

impl Sweep {
    /// Sweeps until the engine stops.
    pub(super) async fn run(self) {
        let mut seen = Seen::default();
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.inspection.look();
            // This node sends nothing. Without a lease, other nodes send.
            if self.hold || !self.lease.holds() {
                seen = Seen::default();
                continue;
            }
            self.push_still_lanes();
            if let Err(error) = self.sweep(&mut seen).await {
                tracing::debug!(%error, "cannot look for pending deliveries in the store");
            }
            self.lanes.remove_finished();
        }
    }

    /// Sweeps once.
    async fn sweep(&self, seen: &mut Seen) -> Result<(), StoreError> {
        let mut unexpected = HashMap::new();
        let mut gone = Vec::new();
        for (webhook, due_at) in self.store.pending_webhooks().await? {
            if matches!(self.catalogue.target(webhook), Target::Gone) {
                gone.push(webhook);
            } else if self.catalogue.discard(webhook).is_none() && !self.expects(webhook, due_at) {
                unexpected.insert(webhook, due_at);
            }
        }
        self.cancel(gone, seen);
        let before = std::mem::replace(&mut seen.unexpected, unexpected);
        self.compare(&before, seen).await
    }

    /// Queues deleted webhooks, as many as the queue accepts. The others follow in the next sweeps.
    fn cancel(&self, mut gone: Vec<i64>, seen: &mut Seen) {
        gone.sort_unstable_by_key(|webhook| (*webhook <= seen.cancelled, *webhook));
        let queued = gone.into_iter().take_while(|webhook| self.stragglers.add(*webhook));
        if let Some(last) = queued.last() {
            seen.cancelled = last;
        }
    }

    /// Compares the pending deliveries of webhooks that were unexpected before and still are.
    async fn compare(&self, before: &HashMap<i64, i64>, seen: &mut Seen) -> Result<(), StoreError> {
        let unexpected = &seen.unexpected;
        seen.missing.retain(|webhook, _| unexpected.contains_key(webhook));
        let mut still: Vec<(i64, i64)> = unexpected
            .iter()
            .filter(|(webhook, due_at)| before.get(webhook) == Some(due_at))
            .map(|(webhook, due_at)| (*webhook, *due_at))
            .collect();
        let last = seen.compared;
        still.sort_unstable_by_key(|(webhook, _)| (*webhook <= last, *webhook));
        for (webhook, due_at) in still.into_iter().take(COMPARED_MAX) {
            seen.compared = webhook;
            match self.missing(webhook, due_at).await? {
                None => drop(seen.missing.remove(&webhook)),
                Some(delivery) if seen.missing.insert(webhook, delivery) == Some(delivery) => {
                    self.metrics.repaired();
                    let (webhook_id, delivery) = (WebhookId::from_raw(webhook), DeliveryId::from_raw(delivery));
                    tracing::warn!(
                        webhook = %webhook_id,
                        %delivery,
                        "a delivery waited in the store without its lane knowing: repaired"
                    );
                    self.scheduler.look_at_stored(webhook, due_at);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Whether the lane of a webhook expects a pending delivery that is due at `due_at`, which may be past.
    fn expects(&self, webhook: i64, due_at: i64) -> bool {
        let lane = self.lanes.find(webhook);
        match lane {
            Some(lane) => lane.expects(due_at, clock::schedule_us()),
            None => matches!(self.catalogue.target(webhook), Target::Paused(_) | Target::Fetched(_)),
        }
    }

    /// The first due delivery to a webhook that is neither expected by its lane nor in memory.
    async fn missing(&self, webhook: i64, due_at: i64) -> Result<Option<i64>, StoreError> {
        let lane = self.lanes.find(webhook);
        let (rows, until) = lane.as_ref().map_or((0, due_at), |lane| {
            lane.in_memory_until(due_at.max(clock::schedule_us()))
        });
        // One more than are in memory: if all of them are in memory, none is missing.
        let waiting = self.store.waiting_until(webhook, until, rows + 1).await?;
        Ok(match lane {
            Some(lane) if lane.expects(due_at, clock::schedule_us()) => None,
            Some(lane) => waiting.into_iter().find(|delivery| !lane.holds(*delivery)),
            None => waiting.into_iter().next(),
        })
    }

    /// Looks at lanes again that have due deliveries and make no attempts.
    fn push_still_lanes(&self) {
        let now = clock::schedule_us();
        for lane in self.lanes.all() {
            if lane.stalled_since(now).is_none_or(|since| since > now - STILL_US) {
                continue;
            }
            let actions = lane.look(now);
            if actions.workers > 0 || actions.refill {
                self.metrics.repaired();
                tracing::warn!(webhook = %lane.webhook, "deliveries were due, and nothing moved them: repaired");
            }
            self.scheduler.act(&lane, actions);
        }
    }
}
