//! Admission of publish calls into a commit: ids, reservations in memory, and pending rows for the other deliveries.
//!
//! | state of a delivery | what its event's row says |
//! | --- | --- |
//! | reserved: its lane has reserved memory for it | nothing; it is handed to the lane after the commit |
//! | spilled: there is no memory for it | it gets a pending row in the same commit |
//!
//! A failed commit releases the reservations ([`super::intake`]).

use std::sync::Arc;

use hookwright_domain::id::{EventId, FANOUT_MAX, time_us};
use hookwright_storage::{NewEvent, StoredEvent, fault};

use super::{
    super::{
        command::{Draft, PublishError},
        inbox::PublishCall,
        lane::Place,
        membership::LEASE_LOST,
    },
    Committer,
    answers::{Pending, Reply},
    intake::Intake,
};
use crate::clock;

impl Committer {
    /// Assigns ids and memory to the events of the publish calls.
    pub(super) fn admit(&self, calls: Vec<PublishCall>, now: i64) -> (Vec<Intake>, Vec<NewEvent>, Vec<Reply>) {
        let published_at = clock::reference_us();
        let losses = self.handles.membership.losses();
        let mut intakes = Vec::new();
        let mut new_events = Vec::new();
        let mut replies = Vec::with_capacity(calls.len());
        for PublishCall {
            drafts,
            reply: sender,
            losses: losses_before,
            ..
        } in calls
        {
            // In a call of several parts, no event is stored after one that its publisher has to repeat. Nor is an
            // event stored whose webhooks were matched by a configuration that may have changed while this node was
            // lost.
            let is_outdated = losses_before != losses;
            let outdated = || is_outdated.then_some(PublishError::Unavailable(LEASE_LOST));
            if let Some(error) = sender.failed().or_else(outdated) {
                sender.send(drafts.iter().map(|_| Err(error.clone())).collect());
                continue;
            }
            let mut results = Vec::with_capacity(drafts.len());
            for draft in drafts {
                if draft.webhooks.len() > FANOUT_MAX {
                    results.push(Pending::Refused(PublishError::FanOut(draft.webhooks.len(), FANOUT_MAX)));
                    continue;
                }
                results.push(Pending::Event(intakes.len()));
                let (intake, new_event) = self.admit_one(draft, now, published_at);
                intakes.push(intake);
                new_events.push(new_event);
            }
            replies.push(Reply { results, sender });
        }
        (intakes, new_events, replies)
    }

    fn admit_one(&self, draft: Draft, now: i64, published_at: i64) -> (Intake, NewEvent) {
        let id = self.handles.ids.reserve(1 + draft.webhooks.len(), published_at / 1_000);
        let mut spilled = Vec::new();
        let mut ordered = Vec::new();
        let mut lanes = Vec::with_capacity(draft.webhooks.len());
        let weight = self.handles.memory.weigh(id, draft.payload.len(), draft.webhooks.len());
        for (position, webhook) in draft.webhooks.iter().enumerate() {
            let lane = self.handles.lanes.get(*webhook);
            let delivery = EventId::from_raw(id).delivery(position).raw();
            let place = Place {
                delivery,
                event: id,
                organization: draft.organization.raw(),
            };
            if !lane.reserve(place, weight.clone(), now) {
                spilled.push(position);
                if lane.is_ordered() {
                    ordered.push(position);
                }
            }
            lanes.push(lane);
        }
        let event = self.handles.memory.adopt(Arc::new(StoredEvent {
            id,
            organization_id: draft.organization.raw(),
            event_type: draft.event_type,
            payload: draft.payload,
            webhooks: draft.webhooks,
            occurred_at: draft.occurred_at.unwrap_or(published_at),
            attributes: draft.attributes,
            trace: draft.trace,
            tracestate: draft.tracestate,
            ordering_key: draft.ordering_key,
            replay_of: draft.replay_of,
        }));
        let new_event = NewEvent {
            event: Arc::clone(&event),
            request: draft.request,
            spilled: spilled.clone(),
            ordered,
            due_at: if fault::is_planted("wall-clock-due") {
                time_us(id)
            } else {
                now
            },
        };
        (Intake { event, lanes, spilled }, new_event)
    }
}
