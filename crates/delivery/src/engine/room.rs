//! Queue of lanes that wait for a place in memory.
//!
//! A lane with nothing in memory whose next delivery does not fit takes a place ([`Place`]), or waits here: lanes take turns.
//! The scheduler calls the next lane whenever a place becomes free. The queue holds wake handles and knows nothing of lanes. A
//! place that was given to a lane which has no use for it is dropped, which frees it for the next one.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use super::{
    invariant::{Broken, queued_once},
    memory::{Memory, Place},
};

/// See the module. `H` is the wake handle of a lane that waits.
pub(super) struct RoomQueue<H> {
    memory: Arc<Memory>,
    /// Each lane waits here once: it does not ask again before it was called.
    waiting: Mutex<VecDeque<H>>,
}

impl<H> RoomQueue<H> {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self {
            memory,
            waiting: Mutex::default(),
        }
    }

    /// Takes a place, or queues the lane's handle. A lane must not ask again before it was called.
    pub(super) fn take(&self, handle: impl FnOnce() -> H) -> Option<Place> {
        // The queue is locked before the place is tried: the keeper of a place that is freed later finds the handle here.
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

    /// Waits until a lane in the queue may have a place.
    pub(super) async fn freed(&self) {
        self.memory.place_freed().await;
    }

    /// Checks what must hold at any moment. `key` tells handles of different lanes apart.
    pub(super) fn check(&self, key: impl Fn(&H) -> usize) -> Result<(), Broken> {
        let waiting: Vec<usize> = self.waiting.lock().iter().map(key).collect();
        queued_once(waiting)
    }

    /// The handle that has waited longest, with its place, if one is free.
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
