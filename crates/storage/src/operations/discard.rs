//! A backlog that is being discarded.

use super::row::OperationRow;
use crate::clock;

/// A backlog that is being discarded: until that is done nothing of it is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discard {
    /// Deliveries up to this id belong to it.
    pub through: i64,
    /// What comes to wait after it began is due at or after this time.
    pub since: i64,
}

/// How far apart the schedule clocks of nodes may be for [`Discard::since`], in microseconds.
const CLOCKS_APART_US: i64 = 600_000_000;

impl Discard {
    /// Of deliveries up to an id, begun now.
    pub fn begin(through: i64) -> Self {
        Self::new(through, clock::schedule_us())
    }

    /// That of an operation.
    pub fn of(row: &OperationRow) -> Self {
        Self::new(row.through, row.begun_at)
    }

    fn new(through: i64, begun_at: i64) -> Self {
        Self {
            through,
            since: begun_at - CLOCKS_APART_US,
        }
    }

    /// From which due time on to look at `now`: everything, where the clock is behind the beginning of the discard.
    pub(crate) fn due_from(self, now: i64) -> i64 {
        if now < self.since { i64::MIN } else { self.since }
    }
}
