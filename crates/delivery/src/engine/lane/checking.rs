//! Checks of a lane's invariants ([`super::super::invariant`]).

use std::collections::HashSet;

use super::{
    super::invariant::{Broken, Invariant},
    Lane,
};

impl Lane {
    /// Checks the invariants.
    pub(in super::super) fn check(&self) -> Result<(), Broken> {
        let state = self.state.lock();
        state.held.check()?;
        let ready: HashSet<i64> = state.ready.iter().map(|job| job.delivery).collect();
        let not_held = ready.iter().find(|delivery| !state.held.contains(**delivery));
        Invariant::ReadyIsHeldOnce.check(not_held.is_none() && ready.len() == state.ready.len(), || {
            format!(
                "{}: {} are ready, {} of them different, {not_held:?} not held",
                self.webhook,
                state.ready.len(),
                ready.len()
            )
        })?;
        Invariant::WorkersAddUp.check(state.starting <= state.workers, || {
            format!(
                "{}: {} of {} workers start",
                self.webhook, state.starting, state.workers
            )
        })?;
        let place_is_used = state.room.is_none() || state.refill.is_some() || !state.held.is_empty();
        Invariant::PlaceIsUsed.check(place_is_used, || format!("{}: nothing is held or read", self.webhook))
    }
}
