//! The places for deliveries that memory has no room for, and the line of lanes that wait for one.
//!
//! A lane with nothing in memory whose next delivery does not fit takes a place, or gets in line. There are [`PLACES_MAX`] places, so
//! that the excess is bounded however many lanes there are, and lanes take turns. A place counts until the lane's deliveries have
//! left memory, or until memory as a whole has room again. [`Inner::keep_memory`] calls the next lane whenever a place becomes
//! free.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    super::{Inner, lane::Lane},
    Memory,
};
use crate::clock;

/// How many lanes may hold a delivery for which there is no room.
const PLACES_MAX: usize = 8;

/// See the module.
#[derive(Default)]
pub(super) struct Line {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    /// Each lane stands here once: it does not ask again before it was called.
    waiting: VecDeque<Arc<Lane>>,
    taken: usize,
    /// How often memory had room again: places that were taken before do not count any more.
    round: u64,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Line")
            .field("waiting", &state.waiting.len())
            .field("taken", &state.taken)
            .finish_non_exhaustive()
    }
}

/// The right to hold a delivery for which there is no room. Dropping it calls the next lane.
#[derive(Debug)]
pub(in super::super) struct Place {
    memory: Weak<Memory>,
    round: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(memory) = self.memory.upgrade() else { return };
        let mut state = memory.line.state.lock();
        if state.round == self.round {
            state.taken -= 1;
            memory.line.freed.notify_one();
        }
    }
}

impl Line {
    /// Memory has room again: whatever holds a place fits now.
    pub(super) fn room_returned(&self) {
        let mut state = self.state.lock();
        state.round += 1;
        state.taken = 0;
        self.freed.notify_one();
    }
}

impl State {
    fn take(&mut self, memory: &Arc<Memory>) -> Option<Place> {
        let free = self.taken < PLACES_MAX;
        self.taken += usize::from(free);
        free.then(|| Place {
            memory: Arc::downgrade(memory),
            round: self.round,
        })
    }
}

impl Memory {
    /// Takes a place, or puts the lane in line.
    pub(in super::super) fn take_place(self: &Arc<Self>, lane: &Arc<Lane>) -> Option<Place> {
        let mut state = self.line.state.lock();
        let place = if state.waiting.is_empty() {
            state.take(self)
        } else {
            None
        };
        if place.is_none() {
            state.waiting.push_back(Arc::clone(lane));
        }
        place
    }

    /// Waits until a lane in line may have a place.
    pub(in super::super) async fn freed(&self) {
        self.line.freed.notified().await;
    }

    /// The lane that has waited longest, with its place, if one is free.
    pub(in super::super) fn next_in_line(self: &Arc<Self>) -> Option<(Arc<Lane>, Place)> {
        let mut state = self.line.state.lock();
        if state.waiting.is_empty() {
            return None;
        }
        let place = state.take(self)?;
        let lane = state.waiting.pop_front()?;
        drop(state);
        Some((lane, place))
    }
}

impl Inner {
    /// Calls lanes that wait for room in memory, until the engine stops.
    pub(in super::super) async fn keep_memory(self: Arc<Self>) {
        loop {
            self.memory.freed().await;
            while let Some((lane, place)) = self.memory.next_in_line() {
                let actions = lane.called_for_room(place, clock::schedule_us());
                self.act(&lane, actions);
            }
        }
    }
}
