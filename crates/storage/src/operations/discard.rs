//! A backlog that is being discarded.

use super::row::OperationRow;
use crate::clock;

/// A backlog that is being discarded. None of its deliveries is read into memory until that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discard {
    /// Deliveries up to this id belong to it.
    pub through: i64,
    /// Deliveries that become pending after it began are due at or after this time.
    pub since: i64,
}

/// How far the schedule clocks of nodes may differ for [`Discard::since`], in microseconds.
const CLOCKS_APART_US: i64 = 600_000_000;

impl Discard {
    /// A discard of deliveries up to an id that begins now.
    pub fn begin(through: i64) -> Self {
        Self::new(through, clock::schedule_us())
    }

    /// The discard of an operation.
    pub fn of(row: &OperationRow) -> Self {
        Self::new(row.through, row.begun_at)
    }

    fn new(through: i64, begun_at: i64) -> Self {
        Self {
            through,
            since: begun_at - CLOCKS_APART_US,
        }
    }

    /// The due time from which to read at the time `now`. Everything is read if the clock is behind the beginning of
    /// the discard.
    pub(crate) fn due_from(self, now: i64) -> i64 {
        if now < self.since { i64::MIN } else { self.since }
    }
}
