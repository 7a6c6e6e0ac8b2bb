//! How lists walk what is stored: in stretches, newest first, with a bounded amount of work for each call.

use crate::records::EventFilter;

impl EventFilter {
    /// How many events to look at together first, for a page of so many.
    pub(crate) fn stretch(&self, size: usize) -> i64 {
        if self.is_selective() {
            STRETCH
        } else {
            i64::try_from(size + 1).unwrap_or(i64::MAX)
        }
    }
}

/// How many events the first look at the store takes in.
pub(crate) const STRETCH: i64 = 200;
/// How many events one look takes in at most.
const STRETCH_MAX: i64 = 2_000;

/// How many events the next look takes in: where the first ones hold little of what is looked for, fewer and larger looks find
/// it sooner. A look has a price of its own, above all where the store is made of many partitions.
pub(crate) fn next_stretch(last: i64) -> i64 {
    (last * 2).clamp(STRETCH, STRETCH_MAX)
}

/// Leaves what lies within a range whose lower end was not asked of the store, and tells whether there may be more of it: whether
/// the stretch is full, and ends within the range.
///
/// The store is not asked for two reasons. Rows come newest first, and few below the range are read. And PostgreSQL takes a range
/// with two ends, when it plans for values that it does not know, for a narrow one: it then walks the ids of all
/// organizations instead of the index of one.
pub(crate) fn cut<T>(rows: &mut Vec<T>, stretch: i64, is_within: impl Fn(&T) -> bool) -> bool {
    let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) == stretch;
    let ends_within = rows.last().is_some_and(&is_within);
    rows.retain(is_within);
    full && ends_within
}

/// How much one call does: so many events looked at, or a third as many deliveries looked up.
const WORK_MAX: usize = 6_000;
/// What it takes to look a delivery up, where looking at an event takes 1. Measured on both stores with ten million deliveries.
const LOOKING_UP: usize = 3;

/// What a call has done so far.
#[derive(Default)]
pub(crate) struct Work(usize);

impl Work {
    pub(crate) fn looked_at(&mut self, events: usize) {
        self.0 += events;
    }

    pub(crate) fn looked_up(&mut self, deliveries: usize) {
        self.0 += deliveries * LOOKING_UP;
    }

    /// Whether the next page should go on with it.
    pub(crate) fn is_enough(&self) -> bool {
        self.0 >= WORK_MAX
    }
}
