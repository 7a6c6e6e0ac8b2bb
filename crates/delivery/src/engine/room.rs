//! The queue of lanes that are waiting for a place in memory.
//!
//! A lane with an empty memory whose next delivery does not fit takes a place ([`Place`]), or waits here: lanes take
//! turns. The scheduler calls the next lane whenever a place becomes free. The queue holds wake handles, and does not
//! depend on lanes. If a lane does not need its place any more, dropping it frees it for the next lane.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use super::{
    invariant::{Broken, queued_once},
    memory::{Memory, Place},
};

/// The queue for places. `H` is the wake handle of a waiting lane.
pub(super) struct RoomQueue<H> {
    memory: Arc<Memory>,
    /// Each lane is here at most once: it does not request a place again before it was called.
    waiting: Mutex<VecDeque<H>>,
}

impl<H> RoomQueue<H> {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self {
            memory,
            waiting: Mutex::default(),
        }
    }

    /// Takes a place, or queues the lane's handle. A lane must not call this again before it was called.
    pub(super) fn take(&self, handle: impl FnOnce() -> H) -> Option<Place> {
        // The queue is locked before the place is tried, so that the task that handles a later freed place finds the
        // handle here.
        let mut waiting = self.waiting.lock();
        let place = if waiting.is_empty() {
            self.memory.take_place()
        } else {
            None
        };
        if place.is_none() {
            waiting.push_back(handle());
        }
        place
    }

    /// Waits until a lane in the queue may get a place.
    pub(super) async fn freed(&self) {
        self.memory.place_freed().await;
    }

    /// Checks the invariants of the queue. `key` distinguishes handles of different lanes.
    pub(super) fn check(&self, key: impl Fn(&H) -> usize) -> Result<(), Broken> {
        let waiting: Vec<usize> = self.waiting.lock().iter().map(key).collect();
        queued_once(waiting)
    }

    /// The handle that has waited longest, with a place, if one is free.
    pub(super) fn next(&self) -> Option<(H, Place)> {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            return None;
        }
        let place = self.memory.take_place()?;
        waiting.pop_front().map(|handle| (handle, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_dropped_is_for_the_lane_that_has_waited_longest() {
        let room = RoomQueue::new(Arc::new(Memory::new(1_000)));
        let mut places: Vec<Place> = (0..100).map_while(|handle| room.take(|| handle)).collect();
        let first = places.len();
        assert!(first < 100 && room.take(|| 200).is_none());
        room.check(|handle| *handle).unwrap();
        assert!(room.next().is_none(), "all places are taken");
        places.clear();
        let called: Vec<usize> = std::iter::from_fn(|| room.next())
            .map(|(handle, _place)| handle)
            .collect();
        assert_eq!(called, [first, 200]);
    }
}
