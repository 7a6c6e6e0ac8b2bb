//! The connections that lanes keep for later attempts, in the order of their last use.
//!
//! A connection is kept while it is idle. A shared one is kept while it is in use, too ([`Keep::is_in_use`]), and cannot be
//! evicted then.
//!
//! A lane holds its kept connections as [`Idle`] values, and takes the most recently used one without any shared lock. The
//! queue holds weak references to the same slots. A slot whose connection was taken stays in the queue as an empty entry
//! until it reaches the head, or until empty entries are more than half of the queue.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

/// The number of empty entries that are always acceptable.
const EMPTY_MIN: usize = 64;

/// A connection that a lane can keep.
pub(crate) trait Keep: Send + 'static {
    /// Whether attempts use it while it is kept.
    fn is_in_use(&self) -> bool;

    /// Whether it has a descriptor that closing it releases: not if the receiver has ended it.
    fn is_open(&self) -> bool;
}

/// A connection that a lane keeps, unless it was evicted.
pub(crate) struct Idle<C>(Arc<Slot<C>>);

impl<C> Idle<C> {
    /// The connection; `None` if it was evicted.
    pub(crate) fn take(&self) -> Option<C> {
        self.0.take()
    }

    /// A handle of the connection that `share` returns, if the connection is there.
    pub(crate) fn share(&self, share: impl FnOnce(&C) -> Option<C>) -> Option<C> {
        self.0.connection.lock().as_ref().and_then(share)
    }

    /// Whether the connection is there and fulfils a condition.
    pub(crate) fn is(&self, condition: impl FnOnce(&C) -> bool) -> bool {
        self.0.connection.lock().as_ref().is_some_and(condition)
    }
}

struct Slot<C> {
    connection: Mutex<Option<C>>,
    /// The number of slots that have a connection.
    full: Arc<AtomicUsize>,
}

impl<C> Slot<C> {
    fn take(&self) -> Option<C> {
        let taken = self.connection.lock().take();
        if taken.is_some() {
            self.full.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }
}

impl<C> Drop for Slot<C> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// A slot, whatever its connection is.
trait Evict: Send + Sync {
    /// Closes the connection, unless it is in use.
    fn evict(&self) -> Evicted;
}

/// The result for one slot.
#[derive(PartialEq, Eq)]
enum Evicted {
    /// The connection is closed.
    Closed,
    /// The connection is in use.
    InUse,
    /// There is none any more.
    Empty,
}

impl<C: Keep> Evict for Slot<C> {
    fn evict(&self) -> Evicted {
        let idle = {
            let mut connection = self.connection.lock();
            if connection.as_ref().is_some_and(Keep::is_in_use) {
                return Evicted::InUse;
            }
            connection.take()
        };
        // It is closed after the slot was unlocked.
        match idle {
            Some(connection) => {
                self.full.fetch_sub(1, Ordering::Relaxed);
                if connection.is_open() {
                    Evicted::Closed
                } else {
                    Evicted::Empty
                }
            }
            None => Evicted::Empty,
        }
    }
}

/// The kept connections of all lanes, least recently used first.
#[derive(Default)]
pub(super) struct Queue {
    entries: Mutex<VecDeque<Weak<dyn Evict>>>,
    full: Arc<AtomicUsize>,
}

impl Queue {
    /// Adds a connection if it is in use or may be idle, which is decided under the queue's lock. Otherwise closes it.
    pub(super) fn push<C: Keep>(&self, connection: C, may_be_idle: impl FnOnce() -> bool) -> Option<Idle<C>> {
        let slot = Arc::new(Slot {
            connection: Mutex::new(Some(connection)),
            full: Arc::clone(&self.full),
        });
        let full = self.full.fetch_add(1, Ordering::Relaxed) + 1;
        let entry: Weak<Slot<C>> = Arc::downgrade(&slot);
        let mut entries = self.entries.lock();
        if !may_be_idle() && !slot.connection.lock().as_ref().is_some_and(Keep::is_in_use) {
            // The connection is closed after the queue was unlocked, because its permit may go to another attempt.
            drop(entries);
            return None;
        }
        entries.push_back(entry);
        if entries.len() > 2 * full + EMPTY_MIN {
            entries.retain(|entry| entry.strong_count() > 0);
        }
        drop(entries);
        Some(Idle(slot))
    }

    /// Closes up to `count` idle connections. Returns how many were closed.
    pub(super) fn evict(&self, count: usize) -> usize {
        let mut evicted = 0;
        let mut unseen = self.entries.lock().len();
        while evicted < count && unseen > 0 {
            unseen -= 1;
            let Some(oldest) = self.entries.lock().pop_front() else {
                break;
            };
            match oldest.upgrade().map_or(Evicted::Empty, |slot| slot.evict()) {
                Evicted::Closed => evicted += 1,
                Evicted::InUse => self.entries.lock().push_back(oldest),
                Evicted::Empty => {}
            }
        }
        evicted
    }

    /// How many connections are kept.
    pub(super) fn len(&self) -> usize {
        self.full.load(Ordering::Relaxed)
    }

    /// How many entries there are, with the empty ones.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.entries.lock().len()
    }
}
