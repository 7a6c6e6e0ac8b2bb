//! Admission of deliveries into a lane's memory.
//!
//! The committer reserves a place before it commits an event. A delivery without a place waits in the store. That is so where the
//! lane sends nothing, where a backlog waits in the store already (the lane stays roughly first in, first out), and where there
//! is no room. An empty lane may always hold a small delivery, so that no lane can be starved by the memory that others use.

use super::{super::memory::Weight, Lane, Place, State, mode::Mode};

/// How many deliveries a lane may hold for each attempt that it may have in flight.
const JOBS_PER_ATTEMPT: usize = 32;
/// And no more than it will have sent in this time, in microseconds.
pub(super) const SOON_US: usize = 2_000_000;

impl Lane {
    /// Reserves a place for a delivery that is about to be committed. False: it must wait in the store.
    pub(in super::super) fn reserve(&self, place: Place, weight: impl Into<Weight>, now: i64) -> bool {
        let weight = weight.into();
        let mut state = self.lock();
        let backlog = state.next_due.is_some_and(|due| due <= now) || state.refill.is_some();
        let in_store = backlog || state.reread || state.exclusive || state.ordered;
        if in_store || state.mode.sending().is_none() || !self.fits(&state, &weight) {
            return false;
        }
        state.held.insert(place, false, weight, now);
        true
    }

    /// Keeps a delivery that goes into the store for want of room: between its commit and the news of it, a refill may read the
    /// row, and must not take it in.
    pub(in super::super) fn keep_until_settled(&self, place: Place, weight: impl Into<Weight>, now: i64) {
        let mut state = self.lock();
        // The record of a lane that was abandoned is dropped: nothing would ever settle it.
        if !matches!(state.mode, Mode::Abandoned) {
            state.held.insert(place, false, weight.into(), now);
        }
    }

    /// Gives a reserved place back: the delivery was not committed.
    pub(in super::super) fn unreserve(&self, delivery: i64) {
        self.state.lock().release(delivery);
    }

    /// Whether a new delivery may come into memory. One that is larger than an empty lane may always hold waits in the store, and
    /// for a place ([`super::super::memory::Place`]).
    fn fits(&self, state: &State, weight: &Weight) -> bool {
        let has_room = || self.shared.memory.has_room(weight.lane);
        if state.held.is_empty() {
            return weight.is_exempt() || has_room();
        }
        state.held.len() < self.capacity(state) && state.held.bytes() + weight.lane <= self.limits.bytes && has_room()
    }

    /// How many deliveries the lane may hold: as many as it will soon have sent at the pace that its webhook keeps. One that
    /// fails, or is slow, has its backlog in the store and not in memory.
    pub(super) fn capacity(&self, state: &State) -> usize {
        let attempts = state.limit.get();
        let soon = attempts.saturating_mul(SOON_US / state.attempt_us.max(1));
        soon.min(attempts * JOBS_PER_ATTEMPT)
            .max(JOBS_PER_ATTEMPT / 2)
            .min(self.limits.jobs)
    }
}
