//! The memory count: the bytes of payloads and outcomes in memory, over all lanes, with a soft limit.
//!
//! A small payload counts for each delivery with its share. A large one counts once, as long as any delivery of its
//! event is held, and is in memory once: lanes that read the same event from the store share the first copy.
//!
//! | state | what happens |
//! | --- | --- |
//! | up to half of the limit | nothing |
//! | above half | publishers are delayed for a moment ([`Memory::ease`]) |
//! | full | new deliveries are stored as pending; an empty lane may hold a small one, or a large one with a place ([`Place`]) |
//!
//! The excess over the limit is bounded, too: for small deliveries by the number of lanes, for large ones by the number
//! of [`mod@places`].

mod places;

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hookwright_storage::StoredEvent;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(super) use self::places::Place;
use self::places::Places;
use super::invariant::{Broken, Invariant};

/// The size from which a payload is large.
const LARGE_BYTES: usize = 64 << 10;
/// The bytes that a delivery counts in addition to its payload.
pub(super) const DELIVERY_BYTES: usize = 384;
/// The largest payload that an empty lane may always hold.
pub(super) const EXEMPT_BYTES: usize = 4 << 10;

/// A shared count with a soft limit. Lanes check it before they take more.
///
/// A lane holds no more than it can soon send. So if much memory is used, the machine is slow, not a webhook.
/// Publishers are then delayed for a moment, because a delivery that does not fit costs a row in the store and a read.
#[derive(Debug)]
pub(super) struct Memory {
    used: AtomicUsize,
    max: usize,
    eased: Notify,
    /// The large payloads in memory, by event.
    large: Mutex<HashMap<i64, Large>>,
    places: Places,
}

#[derive(Debug, Default)]
struct Large {
    event: Weak<StoredEvent>,
    counted: Weak<Counted>,
}

/// A large payload that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    memory: Arc<Memory>,
    event: i64,
    bytes: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.memory.remove(self.bytes);
        let mut large = self.memory.large.lock();
        // Another delivery of the event may have been added meanwhile.
        if large
            .get(&self.event)
            .is_some_and(|known| known.counted.strong_count() == 0)
        {
            large.remove(&self.event);
        }
    }
}

/// The bytes that a delivery counts.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    /// Against the limit of its lane: its share of the payload, and its own bytes.
    pub(super) lane: usize,
    /// Against the limit of all lanes, without the payload that it shares.
    pub(super) own: usize,
    /// Keeps a large payload counted.
    pub(super) _payload: Option<Arc<Counted>>,
}

impl Weight {
    /// Whether it is so small that an empty lane may always hold it.
    pub(super) fn is_exempt(&self) -> bool {
        self._payload.is_none() && self.lane <= EXEMPT_BYTES + DELIVERY_BYTES
    }
}

impl From<usize> for Weight {
    fn from(bytes: usize) -> Self {
        Self {
            lane: bytes,
            own: bytes,
            _payload: None,
        }
    }
}

/// How long a publisher is delayed at most.
const HELD_BACK_MAX: Duration = Duration::from_secs(1);

impl Memory {
    pub(super) fn new(max: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            max,
            eased: Notify::new(),
            large: Mutex::default(),
            places: Places::default(),
        }
    }

    /// The bytes that each delivery of an event counts, if the payload is shared among `shared_by` deliveries.
    pub(super) fn weigh(self: &Arc<Self>, event: i64, payload_bytes: usize, shared_by: usize) -> Weight {
        let lane = payload_bytes / shared_by.max(1) + DELIVERY_BYTES;
        if payload_bytes < LARGE_BYTES {
            return lane.into();
        }
        Weight {
            lane,
            own: DELIVERY_BYTES,
            _payload: Some(self.count(event, payload_bytes)),
        }
    }

    fn count(self: &Arc<Self>, event: i64, bytes: usize) -> Arc<Counted> {
        let mut large = self.large.lock();
        let known = large.entry(event).or_default();
        if let Some(counted) = known.counted.upgrade() {
            return counted;
        }
        let counted = Arc::new(Counted {
            memory: Arc::clone(self),
            event,
            bytes,
        });
        known.counted = Arc::downgrade(&counted);
        self.add(bytes);
        counted
    }

    /// The copy of a weighed event that other lanes hold already, if there is one. Otherwise this one, for other lanes
    /// to share.
    pub(super) fn adopt(&self, event: Arc<StoredEvent>) -> Arc<StoredEvent> {
        if event.payload.len() < LARGE_BYTES {
            return event;
        }
        let mut large = self.large.lock();
        let Some(known) = large.get_mut(&event.id) else {
            return event;
        };
        known.event.upgrade().unwrap_or_else(|| {
            known.event = Arc::downgrade(&event);
            event
        })
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.used() + bytes <= self.max
    }

    pub(super) fn room(&self) -> usize {
        self.max.saturating_sub(self.used())
    }

    pub(super) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes until the returned value is dropped.
    pub(super) fn load(self: &Arc<Self>, bytes: usize) -> Load {
        self.add(bytes);
        Load {
            memory: Arc::clone(self),
            bytes,
        }
    }

    pub(super) fn remove(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        let after = before - bytes;
        if before > self.tight() && after <= self.tight() {
            self.eased.notify_waiters();
        }
        if before >= self.max && after < self.max {
            self.places.room_returned();
        }
    }

    /// The number of bytes above which publishers are delayed.
    fn tight(&self) -> usize {
        self.max / 2
    }

    /// Waits while memory is tight, for a limited time.
    pub(super) async fn ease(&self) {
        if self.used() <= self.tight() {
            return;
        }
        let eased = self.eased.notified();
        tokio::pin!(eased);
        eased.as_mut().enable();
        if self.used() > self.tight() {
            let _ = tokio::time::timeout(HELD_BACK_MAX, eased).await;
        }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Checks the invariants of the count.
    pub(super) fn check(&self) -> Result<(), Broken> {
        let used = self.used();
        // Below zero it would have wrapped around.
        Invariant::MemoryIsCounted.check(isize::try_from(used).is_ok(), || format!("{used} bytes are counted"))?;
        self.places.check()
    }

    /// The bytes of large payloads.
    #[cfg(test)]
    pub(super) fn large_bytes(&self) -> usize {
        let counted = |large: &Large| large.counted.upgrade().map_or(0, |counted| counted.bytes);
        self.large.lock().values().map(counted).sum()
    }
}

/// Bytes that count against the limit until this is dropped.
pub(super) struct Load {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.memory.remove(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bytes: usize) -> StoredEvent {
        StoredEvent {
            payload: vec![b' '; bytes].into(),
            webhooks: Arc::from([1, 2]),
            ..(*crate::engine::lane::fixtures::event(7)).clone()
        }
    }

    #[test]
    fn a_large_payload_that_many_lanes_read_back_is_held_and_counted_once() {
        let memory = Arc::new(Memory::new(1 << 30));
        let mut lanes = Vec::new();
        for _ in 0..50 {
            let weight = memory.weigh(7, 5 << 20, 1);
            let shared = memory.adopt(Arc::new(event(5 << 20)));
            memory.add(weight.own);
            lanes.push((shared, weight));
        }
        assert!(lanes.iter().all(|(event, _)| Arc::ptr_eq(event, &lanes[0].0)));
        assert_eq!(memory.used(), (5 << 20) + 50 * DELIVERY_BYTES);
        for (_, weight) in lanes.drain(1..) {
            memory.remove(weight.own);
        }
        assert_eq!(
            memory.used(),
            (5 << 20) + DELIVERY_BYTES,
            "one lane still holds all of it"
        );
        memory.remove(DELIVERY_BYTES);
        lanes.clear();
        assert_eq!((memory.used(), memory.large.lock().len()), (0, 0), "nothing is left");
    }

    #[test]
    fn a_small_payload_counts_with_its_share() {
        let memory = Arc::new(Memory::new(1 << 30));
        let weight = memory.weigh(7, 1_000, 10);
        assert_eq!((weight.lane, weight.own), (100 + DELIVERY_BYTES, 100 + DELIVERY_BYTES));
        assert!(weight._payload.is_none());
    }
}
