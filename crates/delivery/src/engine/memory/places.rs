//! Places: permits to hold a delivery that memory has no room for.
//!
//! There are [`PLACES_MAX`] places, so that the excess is bounded however many lanes there are. A place counts until the lane's
//! deliveries have left memory, or until memory as a whole has room again: then a new round begins, in which all places are
//! free, and those of earlier rounds count no more.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    super::invariant::{Broken, Invariant},
    Memory,
};

/// How many lanes may hold a delivery for which there is no room.
const PLACES_MAX: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Places {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// How often memory had room again: places that were taken before do not count any more.
    round: u64,
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
        let mut state = memory.places.state.lock();
        if state.round == self.round {
            state.taken -= 1;
            memory.places.freed.notify_one();
        }
    }
}

impl Places {
    /// Checks that no more places are taken than there are.
    pub(super) fn check(&self) -> Result<(), Broken> {
        let taken = self.state.lock().taken;
        Invariant::PlacesAreBounded.check(taken <= PLACES_MAX, || {
            format!("{taken} of {PLACES_MAX} places are taken")
        })
    }

    /// Memory has room again: whatever holds a place fits now.
    pub(super) fn room_returned(&self) {
        let mut state = self.state.lock();
        state.round += 1;
        state.taken = 0;
        self.freed.notify_one();
    }
}

impl Memory {
    /// Takes a place, if one is free.
    pub(in super::super) fn take_place(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.places.state.lock();
        let free = state.taken < PLACES_MAX;
        state.taken += usize::from(free);
        free.then(|| Place {
            memory: Arc::downgrade(self),
            round: state.round,
        })
    }

    /// Waits until a place may be free.
    pub(in super::super) async fn place_freed(&self) {
        self.places.freed.notified().await;
    }
}
