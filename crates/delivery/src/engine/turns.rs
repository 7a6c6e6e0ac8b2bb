//! Turns: the permits of the global limit on attempts in flight, and the queue of lanes that are waiting for one.
//!
//! A lane's worker holds one turn. If none is free, the lane waits in the queue. A worker that has finished a delivery
//! while another lane waits gives its turn to the head of the queue. So busy lanes take turns, and no lane can starve
//! another.
//!
//! | state | which lane gets a turn |
//! | --- | --- |
//! | free turns | every lane that asks |
//! | contended | the head of the queue, when a worker releases its turn |
//! | no lease, or `hold` is set | none: all lanes wait in the queue |
//! | sending paused ([`super::faults`]) | one probe at a time |
//!
//! The queue holds wake handles, and does not depend on lanes. A handle whose lane was removed gets a turn like any
//! other, and the caller releases it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    faults::Faults,
    invariant::{Broken, Invariant, queued_once},
    lease::Lease,
};

/// The turns. `H` is the wake handle of a waiting lane.
pub(super) struct Turns<H> {
    limit: usize,
    state: Mutex<State<H>>,
    lease: Arc<Lease>,
    /// No lane gets a turn.
    hold: bool,
    faults: Faults,
    contended: AtomicBool,
    taken: AtomicUsize,
    all_free: Notify,
}

struct State<H> {
    free: usize,
    /// Each lane is here at most once: it does not request a turn again before it was called.
    waiting: VecDeque<H>,
}

impl<H> Turns<H> {
    pub(super) fn new(limit: usize, lease: Arc<Lease>) -> Self {
        Self {
            limit,
            lease,
            hold: false,
            faults: Faults::default(),
            state: Mutex::new(State {
                free: limit,
                waiting: VecDeque::new(),
            }),
            contended: AtomicBool::new(false),
            taken: AtomicUsize::new(0),
            all_free: Notify::new(),
        }
    }

    /// The same, for a server that may be configured to send nothing.
    pub(super) fn hold(self, hold: bool) -> Self {
        Self { hold, ..self }
    }

    /// Takes a turn, or queues the lane's handle and returns false. A lane must not call this again before it was
    /// called.
    pub(super) fn take(&self, handle: impl FnOnce() -> H) -> bool {
        let mut state = self.state.lock();
        if state.free > 0 && self.may_send() {
            state.free -= 1;
            self.taken.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        state.waiting.push_back(handle());
        self.contended.store(true, Ordering::Relaxed);
        false
    }

    /// Whether this node may send at all.
    fn may_send(&self) -> bool {
        !self.hold && self.lease.holds() && self.faults.may_send()
    }

    /// Takes the permission to begin one attempt. It is refused while the lease has ended; while sending is paused,
    /// only probes get it.
    pub(super) fn begin(&self) -> bool {
        !self.hold && self.lease.holds() && self.faults.begin()
    }

    /// The faults that keep all lanes from sending.
    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Gives a free turn to the lane that has waited longest, if there are both. The caller must start a worker there.
    pub(super) fn resume(&self) -> Option<H> {
        let mut state = self.state.lock();
        if state.free == 0 || !self.may_send() {
            return None;
        }
        let next = state.waiting.pop_front()?;
        state.free -= 1;
        self.taken.fetch_add(1, Ordering::Relaxed);
        if state.waiting.is_empty() {
            self.contended.store(false, Ordering::Relaxed);
        }
        Some(next)
    }

    /// Whether a lane is waiting, so that a worker should pass its turn.
    pub(super) fn contended(&self) -> bool {
        self.contended.load(Ordering::Relaxed)
    }

    /// Releases a turn. Returns the lane that it now belongs to, if one was waiting: the caller must start a worker
    /// there.
    pub(super) fn give(&self) -> Option<H> {
        let mut state = self.state.lock();
        let next = if self.may_send() {
            state.waiting.pop_front()
        } else {
            None
        };
        if state.waiting.is_empty() {
            self.contended.store(false, Ordering::Relaxed);
        }
        if next.is_none() {
            state.free += 1;
            if self.taken.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.all_free.notify_waiters();
            }
        }
        next
    }

    /// Checks the invariants of the turns. `key` distinguishes handles of different lanes.
    pub(super) fn check(&self, key: impl Fn(&H) -> usize) -> Result<(), Broken> {
        let state = self.state.lock();
        let (free, taken, contended) = (state.free, self.taken(), self.contended());
        let waiting: Vec<usize> = state.waiting.iter().map(key).collect();
        drop(state);
        let adds_up = free + taken == self.limit && contended != waiting.is_empty();
        Invariant::TurnsAddUp.check(adds_up, || {
            let (limit, waiting) = (self.limit, waiting.len());
            format!("{free} free, {taken} taken, limit {limit}; {waiting} lanes wait, contended: {contended}")
        })?;
        queued_once(waiting)
    }

    /// How many turns are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Waits until no turn is taken.
    pub(super) async fn wait_until_free(&self) {
        loop {
            let notified = self.all_free.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.taken() == 0 {
                return;
            }
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(limit: usize) -> Turns<usize> {
        Turns::new(limit, Arc::new(Lease::new(false)))
    }

    #[test]
    fn a_turn_that_is_given_back_belongs_to_the_lane_that_has_waited_longest() {
        let turns = turns(1);
        assert!(turns.take(|| 1));
        assert!(!turns.take(|| 2) && !turns.take(|| 3) && turns.contended());
        assert_eq!((turns.give(), turns.give()), (Some(2), Some(3)));
        assert_eq!((turns.taken(), turns.contended()), (1, false));
        assert_eq!((turns.give(), turns.taken()), (None, 0));
        turns.check(|handle| *handle).unwrap();
    }

    #[test]
    fn the_check_sees_a_turn_that_was_lost_and_a_lane_that_waits_twice() {
        let turns = turns(2);
        let broken = || turns.check(|handle| *handle).unwrap_err().invariant;
        turns.state.lock().free -= 1;
        assert_eq!(broken(), Invariant::TurnsAddUp);
        turns.state.lock().free += 1;
        assert!(turns.take(|| 7) && turns.take(|| 7));
        assert!(!turns.take(|| 7) && !turns.take(|| 7));
        assert_eq!(broken(), Invariant::QueuedOnce);
    }
}
