//! The selection of a replay within a step of events.

use hookwright_storage::{
    DeliveryFilter, StoredEvent,
    replays::{ReplayCandidate, ReplayRow},
};

use super::ReplaySpec;
use crate::app::{App, events::filter_matches};

/// The search of a replay.
pub(super) struct Selection {
    missed_by: Option<i64>,
    conditions: DeliveryFilter,
    /// Later events do not count.
    asked_at: i64,
}

/// The webhooks that an event is replayed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selected {
    /// The webhooks that accept it.
    pub(super) webhooks: Vec<i64>,
    /// Number of selected webhooks that accept nothing.
    pub(super) skipped: i64,
}

impl Selection {
    pub(super) fn new(row: &ReplayRow, spec: &ReplaySpec) -> Self {
        Self {
            missed_by: spec.webhook.filter(|_| spec.missed),
            conditions: spec.conditions(),
            asked_at: row.created_at,
        }
    }

    /// The webhooks of a replay of an event, before payloads are read.
    pub(super) fn select(&self, app: &App, candidate: &ReplayCandidate) -> Selected {
        let snapshot = app.registry.snapshot();
        let mut selected = Selected::default();
        let mut add = |webhook: i64| {
            if snapshot.webhooks.get(&webhook).is_some_and(|webhook| webhook.active) {
                selected.webhooks.push(webhook);
            } else {
                selected.skipped += 1;
            }
        };
        if let Some(webhook) = self.missed_by {
            let has_it = candidate.deliveries.iter().any(|record| record.webhook_id == webhook);
            let takes_it = snapshot
                .webhooks
                .get(&webhook)
                .is_none_or(|webhook| webhook.subscription.matches(&candidate.event_type));
            if !has_it && takes_it {
                add(webhook);
            }
        } else {
            candidate
                .deliveries
                .iter()
                .filter(|record| record.changed_at() <= self.asked_at && self.conditions.matches(record))
                .for_each(|record| add(record.webhook_id));
        }
        selected
    }

    /// Whether the payload must be read to find missed events.
    pub(super) fn reads_payload(&self, app: &App) -> bool {
        let Some(webhook) = self.missed_by else { return false };
        let snapshot = app.registry.snapshot();
        let webhook = snapshot.webhooks.get(&webhook);
        webhook.is_some_and(|webhook| webhook.filter.is_some())
    }

    /// Whether the webhook would receive an event that it missed, if it were published now.
    pub(super) fn would_be_sent(&self, app: &App, event: &StoredEvent) -> bool {
        let Some(webhook) = self.missed_by else { return true };
        let Some(filter) = app
            .registry
            .snapshot()
            .webhooks
            .get(&webhook)
            .and_then(|webhook| webhook.filter.clone())
        else {
            return true;
        };
        filter_matches(&filter, event, Some(&event.payload))
    }
}
