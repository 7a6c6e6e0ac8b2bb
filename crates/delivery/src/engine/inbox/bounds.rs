//! The limits of a commit, and the size of events compared with them.

use std::ops::{Add, Sub};

use super::{super::command::Draft, UNIT, UNITS_MAX};

/// The limits of one commit. A single event may exceed the rows, and a single event or record the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Bounds {
    pub(in super::super) events: usize,
    pub(in super::super) event_bytes: usize,
    /// Rows of events and of deliveries that may have to be stored as pending. 20,000 rows took 0.5 s on SQLite and 0.3
    /// s on PostgreSQL in an unoptimised build on two busy cores. That is a twentieth of the time limit of a commit,
    /// which leaves time for a slow disk.
    pub(in super::super) event_rows: usize,
    pub(in super::super) records: usize,
    pub(in super::super) record_bytes: usize,
}

impl Bounds {
    pub(in super::super) const MAX: Self = Self {
        events: 2_000,
        event_bytes: 16 << 20,
        event_rows: 20_000,
        records: 4_000,
        record_bytes: 8 << 20,
    };
}

/// The size of events in a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) rows: usize,
}

impl Size {
    pub(super) fn of(draft: &Draft) -> Self {
        Self {
            events: 1,
            bytes: draft.payload.len(),
            rows: draft.rows(),
        }
    }

    pub(super) fn fits(self, bounds: Bounds) -> bool {
        self.events <= bounds.events && self.bytes <= bounds.event_bytes && self.rows <= bounds.event_rows
    }

    /// The units that this size occupies in the queue of calls, including the lists of webhooks.
    pub(super) fn units(self) -> usize {
        (self.events + (self.bytes + self.rows * size_of::<i64>()) / UNIT).min(UNITS_MAX)
    }
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            bytes: self.bytes + other.bytes,
            rows: self.rows + other.rows,
        }
    }
}

impl Sub for Size {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            events: self.events - other.events,
            bytes: self.bytes - other.bytes,
            rows: self.rows - other.rows,
        }
    }
}
