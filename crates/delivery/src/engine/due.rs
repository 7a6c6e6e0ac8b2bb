//! Correction of due times that are impossible, as an older version or another program may have left them.
//!
//! A first attempt waits no longer than this server allows ([`WAIT_MAX_US`]), and a retry no longer than its webhook's
//! schedule or a receiver can request. Later due times are corrected when a lane finds them, a limited number at a
//! time. While the store does not answer they stay unchanged, and the next check retries.

use std::sync::Arc;

use hookwright_domain::{id::WebhookId, retry};
use hookwright_storage::{JUMP_MIN_US, LatestDue, Refill, Store};

use crate::{
    catalogue::{Catalogue, Target},
    clock,
    metrics::Metrics,
};

/// The longest delay of a first attempt on this server, after a fault of the operator's or a panic. The delays
/// themselves are compared with it where they are set.
pub(super) const WAIT_MAX_US: i64 = 60_000_000;

/// A handle to the correction. Cheap to clone.
#[derive(Clone)]
pub(super) struct DueTimes {
    store: Store,
    catalogue: Arc<Catalogue>,
    metrics: Arc<Metrics>,
}

/// The latest possible due time of a first attempt. The clocks of nodes differ slightly.
fn latest_first(now: i64) -> i64 {
    now.saturating_add(WAIT_MAX_US + JUMP_MIN_US)
}

impl DueTimes {
    pub(super) fn new(store: Store, catalogue: Arc<Catalogue>, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            catalogue,
            metrics,
        }
    }

    /// The latest possible due time of a webhook's deliveries.
    fn latest_due(&self, webhook: i64, now: i64) -> i64 {
        let delay = match self.catalogue.target(webhook) {
            Target::Active(webhook) | Target::Fetched(webhook) => webhook.schedule.delay_max(),
            Target::Paused(_) | Target::Gone => retry::DELAY_MAX,
        };
        now.saturating_add(i64::try_from(delay.as_micros()).unwrap_or(i64::MAX))
    }

    /// Whether the next due time that a refill found is impossible.
    pub(super) fn is_wrong(&self, webhook: i64, refill: &Refill, now: i64) -> bool {
        let Some(due) = refill.next_due else { return false };
        due > self.latest_due(webhook, now) || (refill.next_is_first && due > latest_first(now))
    }

    /// Whether a webhook's first due time is later than possible.
    pub(super) fn is_beyond(&self, webhook: i64, due_at: i64, now: i64) -> bool {
        due_at > self.latest_due(webhook, now)
    }

    /// Corrects some due times of a webhook. Returns whether some deliveries may be due now.
    pub(super) async fn correct(&self, webhook: i64, now: i64) -> bool {
        let id = WebhookId::from_raw(webhook);
        let latest = LatestDue {
            first: latest_first(now),
            any: self.latest_due(webhook, now),
        };
        match self.store.correct_due(webhook, now, latest).await {
            Ok(0) => false,
            Ok(corrected) => {
                self.metrics.corrected(corrected);
                tracing::warn!(webhook = %id, deliveries = corrected, "corrected due times that were later than possible");
                true
            }
            Err(error) => {
                tracing::warn!(webhook = %id, %error, "cannot correct due times that are later than possible");
                false
            }
        }
    }

    /// Corrects the due times of a webhook until none is impossible.
    pub(super) async fn correct_all(&self, webhook: i64) {
        while self.correct(webhook, clock::schedule_us()).await {}
    }
}
