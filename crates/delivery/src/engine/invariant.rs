//! Invariants of the engine, by name.
//!
//! Each component checks its own in one function, `check`, under its own lock: what it sees is of one moment. Tests check after
//! every step, and the committer after every commit in a debug build. The sweep checks every ten seconds ([`super::inspection`]): in a debug build a broken invariant is a panic, which
//! fails the engine; else it is counted (`invariants_broken`), and logged as a bug.

use std::fmt;

/// What must hold at any moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invariant {
    /// What a lane counts against its limits is the sum over the deliveries that it holds.
    LaneBytesAddUp,
    /// A delivery that is ready is held by its lane, and is ready once.
    ReadyIsHeldOnce,
    /// Workers that have not asked for a delivery yet are among a lane's workers; the others have one delivery each.
    WorkersAddUp,
    /// A lane with a place in memory holds a delivery, or reads one back.
    PlaceIsUsed,
    /// No more bytes leave memory than came into it.
    MemoryIsCounted,
    /// No more places are taken than there are.
    PlacesAreBounded,
    /// Free turns and turns that are taken add up to the limit, and the length that workers read is that of the queue.
    TurnsAddUp,
    /// A lane waits at most once in a queue.
    QueuedOnce,
    /// Size and bytes of the inbox are the sums over what waits in it, and so are its permits.
    InboxAddsUp,
    /// While it is unclear whether events were stored, the watermark does not move with the time.
    UnclearEventsHoldWatermark,
    /// The watermark that is stored is at most the last event that was handed off.
    WatermarkIsHandedOff,
    /// The watermark that is stored is below the oldest event with a delivery in memory that has no row.
    WatermarkIsAccountedFor,
}

/// An invariant that does not hold.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) invariant: Invariant,
    /// What was found in place of it.
    pub(super) found: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.found)
    }
}

impl Invariant {
    /// Checks it: `found` says what is there where it does not hold.
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
