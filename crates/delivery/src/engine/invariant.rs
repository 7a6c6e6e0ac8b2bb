//! The invariants of the engine, by name.
//!
//! Each component checks its own invariants in one function, `check`, under its own lock, so that it sees one
//! consistent state. Tests check after every step, and in a debug build the committer checks after every commit. The
//! sweep checks every ten seconds ([`super::inspection`]). In a debug build a broken invariant is a panic, which fails
//! the engine. Otherwise it is counted (`invariants_broken`), and logged as a bug.

use std::fmt;

/// A condition that must always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invariant {
    /// The bytes that a lane counts against its limits are the sum over its deliveries.
    LaneBytesAddUp,
    /// A delivery that is ready is held by its lane, and is ready once.
    ReadyIsHeldOnce,
    /// Workers that have not requested a delivery yet are among a lane's workers. The others have one delivery each.
    WorkersAddUp,
    /// A lane with a place in memory holds a delivery, or is reading one.
    PlaceIsUsed,
    /// No more bytes leave memory than were added to it.
    MemoryIsCounted,
    /// No more places are taken than there are.
    PlacesAreBounded,
    /// Free turns and turns that are taken add up to the limit, and the length that workers read is that of the queue.
    TurnsAddUp,
    /// A lane is in a queue at most once.
    QueuedOnce,
    /// The size and bytes of the inbox are the sums over its content, and its permits match.
    InboxAddsUp,
    /// While it is unclear whether events were stored, the watermark does not advance with the time.
    UnclearEventsHoldWatermark,
    /// The stored watermark is at most the last event that was handed off.
    WatermarkIsHandedOff,
    /// The stored watermark is below the oldest event with a delivery in memory that has no row.
    WatermarkIsAccountedFor,
}

/// A broken invariant.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) invariant: Invariant,
    /// The state that was found instead.
    pub(super) found: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.found)
    }
}

impl Invariant {
    /// Checks the invariant. `found` describes the state if it does not hold.
    pub(super) fn check(self, holds: bool, found: impl FnOnce() -> String) -> Result<(), Broken> {
        if holds {
            return Ok(());
        }
        Err(Broken {
            invariant: self,
            found: found(),
        })
    }
}

/// Checks that each key occurs once.
pub(super) fn queued_once(mut keys: Vec<usize>) -> Result<(), Broken> {
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    Invariant::QueuedOnce.check(keys.len() == all, || {
        format!("{} lanes in a queue of {all}", keys.len())
    })
}
