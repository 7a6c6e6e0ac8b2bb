//! Refills: reading pending deliveries from the store into a lane's memory.
//!
//! ```text
//!  idle --(a delivery is due, and there is room)--> reading --(refilled)--> idle
//!   |                                                                       |
//!   +--> in the queue for a place  <--(empty, and nothing that is due fits)-+
//! ```
//!
//! One refill of a lane runs at a time. Events during a refill are noted ([`RefillNotes`]), because its query may or
//! may not have seen them. If a refill can take in nothing, it blocks the lane until a delivery leaves memory, or until
//! the lane has a place.

use std::sync::Arc;

use super::{
    super::memory::{self, EXEMPT_BYTES},
    Job, Lane, LaneActions, Place, State,
};

/// Events during a refill, which its query may or may not have seen.
#[derive(Default)]
pub(super) struct RefillNotes {
    pub(super) due: Option<i64>,
    pub(super) settled: Vec<i64>,
}

/// The limits of a refill.
pub(in super::super) struct RefillPlan {
    pub(in super::super) rows: usize,
    pub(in super::super) bytes: usize,
    /// The first delivery is read even if it exceeds `bytes`, up to this size.
    pub(in super::super) first_bytes: usize,
}

/// The result of a refill's query.
#[derive(Debug, Default)]
pub(in super::super) struct Read {
    pub(in super::super) jobs: Vec<Job>,
    /// When the first row that was not read is due.
    pub(in super::super) next_due: Option<i64>,
    /// Nothing was read, because the first delivery exceeds the plan.
    pub(in super::super) too_large: bool,
}

impl Lane {
    /// Whether to read due deliveries. An empty lane always reads: a small delivery, which it may always hold, or as
    /// many as fit. If nothing fitted, it takes a place first, or waits for one.
    pub(super) fn may_refill(self: &Arc<Self>, state: &mut State) -> bool {
        if !state.held.is_empty() {
            return !state.blocked
                && state.held.len() <= self.capacity(state) / 2
                && state.held.bytes() <= self.limits.bytes / 2
                && self.shared.memory.room() > 0;
        }
        if state.in_room_queue {
            return false;
        }
        if state.blocked {
            state.room = self.shared.room.take(|| self.wake_handle());
            state.in_room_queue = state.room.is_none();
            state.blocked = state.in_room_queue;
        }
        !state.blocked
    }

    /// The lane that waited gets a place. The place is released if the lane does not need it any more.
    pub(in super::super) fn called_for_room(self: &Arc<Self>, place: memory::Place, now: i64) -> LaneActions {
        let mut state = self.lock();
        (state.in_room_queue, state.blocked) = (false, false);
        let useful = state.mode.sending().is_some()
            && state.held.is_empty()
            && state.refill.is_none()
            && state.not_before <= now
            && state.next_due.is_some_and(|due| due <= now);
        if useful {
            state.room = Some(place);
        }
        self.actions(&mut state, now)
    }

    /// The limits of the next refill. Rows that are held already are read again, and then skipped.
    pub(in super::super) fn plan_refill(&self) -> RefillPlan {
        let state = self.state.lock();
        let stored = state.held.stored();
        let free = self.capacity(&state).saturating_sub(state.held.len()).max(1);
        let held_bytes = state.held.bytes();
        let lane_room = self.limits.bytes.saturating_sub(held_bytes);
        let has_room = !state.held.is_empty() || state.room.is_some() || self.shared.memory.room() > 0;
        RefillPlan {
            rows: stored + free,
            bytes: held_bytes + lane_room.min(self.shared.memory.room()).max(1),
            first_bytes: if has_room { usize::MAX } else { EXEMPT_BYTES },
        }
    }

    /// Takes in the result of a refill's query.
    pub(in super::super) fn refilled(self: &Arc<Self>, read: Read, now: i64) -> LaneActions {
        let mut state = self.lock();
        let notes = state.refill.take().unwrap_or_default();
        let (found_any, held_before) = (read.too_large || !read.jobs.is_empty(), state.held.len());
        if state.mode.sending().is_none() {
            state.room = None;
            // Rows that are still owed are read again when the webhook is active. The others were cancelled, or belong
            // to other nodes.
            return self.actions(&mut state, now);
        }
        let left_out = self.take_in(&mut state, read.jobs, &notes, now);
        let next_due = if left_out { Some(now) } else { read.next_due };
        state.next_due = match (next_due, notes.due) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        state.blocked = found_any && state.held.len() == held_before;
        if state.held.is_empty() || self.shared.memory.room() > 0 {
            state.room = None;
        }
        let mut actions = self.actions(&mut state, now);
        if let Some(due) = state.next_due.filter(|due| *due > now) {
            actions.wake_by(due);
        }
        actions
    }

    /// Takes in deliveries that are not held already, as many as fit. Returns whether some were skipped.
    fn take_in(&self, state: &mut State, jobs: Vec<Job>, notes: &RefillNotes, now: i64) -> bool {
        for mut job in jobs {
            if state.held.contains(job.delivery) || notes.settled.contains(&job.delivery) {
                continue;
            }
            if state.held.len() >= self.capacity(state).max(1) {
                return true;
            }
            let weight = self.shared.memory.weigh(job.event.id, job.event.payload.len(), 1);
            if !state.held.is_empty() && !self.shared.memory.has_room(weight.own) {
                // Other lanes have used the memory since this was planned.
                return true;
            }
            job.event = self.shared.memory.adopt(job.event);
            let place = Place {
                delivery: job.delivery,
                event: job.event.id,
                organization: job.event.organization_id,
            };
            state.held.insert(place, true, weight, now);
            state.ready.push_back(job);
        }
        false
    }

    /// Begins to give away a part of the pending deliveries in the store: nothing is read until [`Lane::refilled`].
    /// Returns the deliveries in memory, which stay; `None` if there is nothing to give, or if the lane is busy.
    pub(in super::super) fn begin_giving(&self, now: i64) -> Option<Vec<i64>> {
        let mut state = self.lock();
        let waits = state.next_due.is_some_and(|due| due <= now);
        if state.refill.is_some() || state.mode.sending().is_none() || state.exclusive || !waits {
            return None;
        }
        state.refill = Some(RefillNotes::default());
        Some(state.held.ids().collect())
    }
}
