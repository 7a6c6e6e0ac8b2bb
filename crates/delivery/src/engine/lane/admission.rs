//! The admission of deliveries to a lane's memory.
//!
//! The committer reserves memory for a delivery before it commits the event. A delivery without a reservation is stored
//! as pending. That happens if the lane sends nothing, if it has a backlog in the store already (so that the lane stays
//! roughly first in, first out), and if memory is full. An empty lane may always hold a small delivery, so that other
//! lanes' use of memory cannot starve it.

use super::{super::memory::Weight, Lane, Place, State, mode::Mode};

/// How many deliveries a lane of a doubtful receiver may hold for each attempt that it may have in flight.
const JOBS_PER_ATTEMPT: usize = 32;
/// The second limit on a lane: the deliveries that it can send within this time, in microseconds.
pub(super) const SOON_US: usize = 2_000_000;

impl Lane {
    /// Reserves memory for a delivery that is about to be committed. Returns false if it must be stored as pending.
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

    /// Keeps a delivery that is being stored as pending because memory is full. A refill may read its row between its
    /// commit and the lane's notice of it, and must not take it in then.
    pub(in super::super) fn keep_until_settled(&self, place: Place, weight: impl Into<Weight>, now: i64) {
        let mut state = self.lock();
        // The record of an abandoned lane is dropped, so nothing would ever settle the delivery.
        if !matches!(state.mode, Mode::Abandoned) {
            state.held.insert(place, false, weight.into(), now);
        }
    }

    /// Releases a reservation: the delivery was not committed.
    pub(in super::super) fn unreserve(&self, delivery: i64) {
        self.state.lock().release(delivery);
    }

    /// Whether a new delivery may be admitted to memory. A delivery that is too large for an empty lane's exemption is
    /// stored as pending, and waits for a place ([`super::super::memory::Place`]).
    fn fits(&self, state: &State, weight: &Weight) -> bool {
        let has_room = || self.shared.memory.has_room(weight.lane);
        if state.held.is_empty() {
            return weight.is_exempt() || has_room();
        }
        state.held.len() < self.capacity(state) && state.held.bytes() + weight.lane <= self.limits.bytes && has_room()
    }

    /// How many deliveries the lane may hold: as many as it can soon send at its webhook's current speed. The backlog
    /// of a failing or slow webhook is in the store, not in memory.
    pub(super) fn capacity(&self, state: &State) -> usize {
        let attempts = state.limit.get();
        let average_us = usize::try_from(state.record.average_us()).unwrap_or(usize::MAX);
        let soon = attempts.saturating_mul(SOON_US / average_us.clamp(1, SOON_US));
        let most = if state.turns.are_of_doubtful() {
            attempts * JOBS_PER_ATTEMPT
        } else {
            self.limits.jobs
        };
        soon.min(most).max(JOBS_PER_ATTEMPT / 2).min(self.limits.jobs)
    }
}
