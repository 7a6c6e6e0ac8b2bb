//! An event during its commit, and its deliveries afterwards.

use std::sync::Arc;

use hookwright_domain::id::EventId;
use hookwright_storage::StoredEvent;

use super::super::{
    command::Published,
    lane::{Job, Lane},
};

/// An event during its commit.
pub(super) struct Intake {
    pub(super) event: Arc<StoredEvent>,
    pub(super) lanes: Vec<Arc<Lane>>,
    /// The positions of its deliveries that are stored as pending, in order.
    pub(super) spilled: Vec<usize>,
}

/// A durable delivery for its lane: in memory, or only in the store.
pub(super) struct HandOver {
    pub(super) lane: Arc<Lane>,
    pub(super) job: Option<Job>,
}

impl Intake {
    pub(super) fn into_jobs(self) -> impl Iterator<Item = HandOver> {
        let Self { event, lanes, spilled } = self;
        lanes.into_iter().enumerate().map(move |(position, lane)| {
            let job = spilled.binary_search(&position).is_err().then(|| Job {
                delivery: EventId::from_raw(event.id).delivery(position).raw(),
                webhook: lane.webhook.raw(),
                event: Arc::clone(&event),
                attempts: 0,
                ordering_key: None,
            });
            HandOver { lane, job }
        })
    }

    pub(super) fn published(&self) -> Published {
        Published {
            event: EventId::from_raw(self.event.id),
            delivery_count: self.lanes.len(),
            repeated: false,
        }
    }

    /// The event was not stored: releases the reserved memory.
    pub(super) fn withdraw(self) {
        for (position, lane) in self.lanes.iter().enumerate() {
            if self.spilled.binary_search(&position).is_err() {
                let delivery = EventId::from_raw(self.event.id).delivery(position).raw();
                lane.unreserve(delivery);
            }
        }
    }
}

/// The webhooks of these events that only one node may send to. Their deliveries are always stored as pending first.
pub(super) fn exclusive(intakes: &[Intake]) -> Vec<i64> {
    let mut webhooks = Vec::new();
    for intake in intakes {
        let lanes = intake.spilled.iter().map(|position| &intake.lanes[*position]);
        webhooks.extend(lanes.filter(|lane| lane.is_exclusive()).map(|lane| lane.webhook.raw()));
    }
    webhooks
}
