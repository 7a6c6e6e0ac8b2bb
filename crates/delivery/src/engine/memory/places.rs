//! Places: permits to hold a delivery that does not fit into memory.
//!
//! There are [`PLACES_MAX`] places, so that the excess is bounded for any number of lanes. A place counts until the
//! lane's deliveries have left memory, or until memory as a whole is below its limit again. Then a new round begins, in
//! which all places are free, and those of earlier rounds do not count any more.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    super::invariant::{Broken, Invariant},
    Memory,
};

/// How many lanes may hold a delivery that does not fit.
const PLACES_MAX: usize = 8;

/// The places.
#[derive(Debug, Default)]
pub(super) struct Places {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// How often memory was below its limit again. Places that were taken earlier do not count any more.
    round: u64,
}

/// The permit to hold a delivery that does not fit. Dropping it calls the next lane.
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
    /// Checks that no more places are taken than exist.
    pub(super) fn check(&self) -> Result<(), Broken> {
        let taken = self.state.lock().taken;
        Invariant::PlacesAreBounded.check(taken <= PLACES_MAX, || {
            format!("{taken} of {PLACES_MAX} places are taken")
        })
    }

    /// Memory is below its limit again, so every delivery with a place fits now.
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
