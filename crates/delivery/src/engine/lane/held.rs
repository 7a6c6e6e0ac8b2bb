//! The deliveries that a lane holds in memory, and their size.
//!
//! A delivery is held from the reservation of its memory, before its commit, until the commit of its outcome is done. A
//! refill must therefore not take in a delivery that is held.
//!
//! | state | rows that show after a crash that the delivery is owed |
//! | --- | --- |
//! | unstored | only the row of its event |
//! | noted | the same, until the committer has written the requested pending row |
//! | stored | its pending row |

use std::{collections::HashMap, sync::Arc};

use super::super::{
    invariant::{Broken, Invariant},
    memory::{Memory, Weight},
};

/// The delivery that a reservation in memory is for.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Place {
    pub(in super::super) delivery: i64,
    pub(in super::super) event: i64,
    pub(in super::super) organization: i64,
}

/// The state of a delivery in memory.
struct Held {
    place: Place,
    /// Whether the store has a pending row for it, or will have.
    stored: bool,
    /// Whether the committer has been asked to write that row.
    noted: bool,
    since: i64,
    weight: Weight,
}

/// The deliveries that a lane holds.
pub(super) struct HeldDeliveries {
    memory: Arc<Memory>,
    deliveries: HashMap<i64, Held>,
    /// Their bytes against the limit of their lane.
    bytes: usize,
    /// Their bytes against the limit of all lanes, without large payloads.
    own: usize,
}

impl HeldDeliveries {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self {
            memory,
            deliveries: HashMap::new(),
            bytes: 0,
            own: 0,
        }
    }

    /// Adds a delivery that is not held yet. `stored` is true if the store has a pending row for it.
    pub(super) fn insert(&mut self, place: Place, stored: bool, weight: Weight, since: i64) {
        let (bytes, own) = (weight.lane, weight.own);
        let held = Held {
            place,
            stored,
            noted: false,
            since,
            weight,
        };
        self.memory.add(own);
        self.bytes += bytes;
        self.own += own;
        let before = self.deliveries.insert(place.delivery, held);
        debug_assert!(before.is_none(), "{place:?} is held already");
        self.count_down(before.as_ref());
    }

    /// Removes a delivery. Returns whether it was held.
    pub(super) fn release(&mut self, delivery: i64) -> bool {
        let held = self.deliveries.remove(&delivery);
        self.count_down(held.as_ref());
        held.is_some()
    }

    fn count_down(&mut self, held: Option<&Held>) {
        if let Some(held) = held {
            self.bytes -= held.weight.lane;
            self.own -= held.weight.own;
            self.memory.remove(held.weight.own);
        }
    }

    /// Removes all deliveries.
    pub(super) fn clear(&mut self) {
        self.memory.remove(self.own);
        (self.bytes, self.own) = (0, 0);
        self.deliveries.clear();
    }

    /// Checks that the counted bytes are the sum over the deliveries.
    pub(super) fn check(&self) -> Result<(), Broken> {
        let weights = self.deliveries.values().map(|held| &held.weight);
        let (bytes, own) = weights.fold((0, 0), |(bytes, own), weight| (bytes + weight.lane, own + weight.own));
        Invariant::LaneBytesAddUp.check((bytes, own) == (self.bytes, self.own), || {
            format!(
                "{bytes} and {own} bytes are held, {} and {} are counted",
                self.bytes, self.own
            )
        })
    }

    /// The deliveries' bytes against the limit of all lanes, without large payloads.
    #[cfg(test)]
    pub(super) fn own_bytes(&self) -> usize {
        self.own
    }

    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// The deliveries' bytes against the limit of their lane.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn contains(&self, delivery: i64) -> bool {
        self.deliveries.contains_key(&delivery)
    }

    /// The ids of all of them, in no particular order.
    pub(super) fn ids(&self) -> impl Iterator<Item = i64> {
        self.deliveries.keys().copied()
    }

    /// Since when a delivery is held.
    pub(super) fn since(&self, delivery: i64) -> Option<i64> {
        self.deliveries.get(&delivery).map(|held| held.since)
    }

    /// Whether a delivery is held and has a pending row.
    pub(super) fn is_stored(&self, delivery: i64) -> bool {
        self.deliveries.get(&delivery).is_some_and(|held| held.stored)
    }

    /// Whether a delivery is held and the committer was asked for its row.
    pub(super) fn is_noted(&self, delivery: i64) -> bool {
        self.deliveries.get(&delivery).is_some_and(|held| held.noted)
    }

    /// How many have a pending row.
    pub(super) fn stored(&self) -> usize {
        self.deliveries.values().filter(|held| held.stored).count()
    }

    /// Takes those that have been held since before `since` without a pending row. They count as stored from here on.
    pub(super) fn take_unstored(&mut self, since: i64) -> Vec<Place> {
        let mut taken = Vec::new();
        for held in self.deliveries.values_mut() {
            if !held.stored && held.since < since {
                held.stored = true;
                held.noted = true;
                taken.push(held.place);
            }
        }
        taken
    }

    /// The oldest event with a delivery that has no pending row.
    pub(super) fn oldest_unstored_event(&self) -> Option<i64> {
        let unstored = self.deliveries.values().filter(|held| !held.stored);
        unstored.map(|held| held.place.event).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(delivery: i64) -> Place {
        Place {
            delivery,
            event: delivery - 1,
            organization: 1,
        }
    }

    #[test]
    fn bytes_add_up_and_the_check_sees_where_they_do_not() {
        let memory = Arc::new(Memory::new(1_000));
        let mut held = HeldDeliveries::new(Arc::clone(&memory));
        held.insert(place(1), false, 10.into(), 0);
        held.insert(place(3), true, 20.into(), 0);
        assert_eq!((held.bytes(), memory.used()), (30, 30));
        held.check().unwrap();
        assert!(held.release(1) && !held.release(1));
        assert_eq!((held.bytes(), memory.used()), (20, 20));
        held.check().unwrap();
        held.bytes += 1;
        assert_eq!(held.check().unwrap_err().invariant, Invariant::LaneBytesAddUp);
        held.clear();
        held.check().unwrap();
        assert_eq!(memory.used(), 0);
    }
}
