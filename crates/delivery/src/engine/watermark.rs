//! The watermark: an event id at or below which everything in the store is accounted for.
//!
//! Normally a delivery has no row before its outcome. After a crash, owed deliveries are found by reading the events
//! above the watermark and skipping deliveries with a row. [`super::watermark_keeper`] keeps that range short: it
//! writes pending rows for deliveries that have been in memory for long, and then raises the watermark.
//!
//! | id | meaning |
//! | --- | --- |
//! | `handed_off` | the last event that is in its lanes, or in the store as pending |
//! | `saved` | the watermark that was queued for a commit; at most `handed_off` |
//! | `durable` | the watermark that the store has; at most `saved` |
//!
//! | state | what happens |
//! | --- | --- |
//! | recovering | the watermark does not move: unfinished work of a previous run is not in its lanes yet |
//! | recovered | the watermark follows `handed_off`, but stays below the oldest event with a delivery that has no row |
//! | the lease was lost | recovering again, from what the store has; a watermark from before the loss is not stored |
//!
//! While commits fail the watermark does not move, and recovery after a crash takes longer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use tokio::sync::Notify;

/// A watermark to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NewWatermark {
    /// How often this node had lost its lease when it computed the watermark from its memory. After another loss its
    /// memory is empty.
    pub(super) losses: u64,
    pub(super) id: i64,
}

/// A handle to the watermark. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Watermark(Arc<State>);

#[derive(Default)]
struct State {
    handed_off: AtomicI64,
    saved: AtomicI64,
    durable: AtomicI64,
    recovered: AtomicBool,
    /// The committer has assigned ids to events that are not in their lanes yet.
    committing: AtomicBool,
    work: Notify,
}

impl Watermark {
    /// The state at start: nothing above `saved` is known to be done.
    pub(super) fn start(&self, saved: i64) {
        self.0.recovered.store(false, Ordering::Release);
        self.0.saved.store(saved, Ordering::Release);
        self.0.durable.store(saved, Ordering::Release);
        self.0.handed_off.store(saved, Ordering::Release);
    }

    /// Records that the committer is about to assign ids to events, or that all of these events are handed off.
    pub(super) fn set_committing(&self, committing: bool) {
        self.0.committing.store(committing, Ordering::SeqCst);
    }

    /// Whether the committer has assigned ids to events that are not handed off.
    pub(super) fn is_committing(&self) -> bool {
        self.0.committing.load(Ordering::SeqCst)
    }

    /// Records that the event `id` is in its lanes, or in the store as pending.
    pub(super) fn handed_off(&self, id: i64) {
        if self.0.handed_off.fetch_max(id, Ordering::AcqRel) == self.0.saved.load(Ordering::Acquire) {
            self.0.work.notify_one();
        }
    }

    /// Records that the committer has stored a watermark.
    pub(super) fn stored(&self, watermark: i64) {
        self.0.durable.store(watermark, Ordering::Release);
    }

    /// The stored watermark: storing it again changes nothing.
    pub(super) fn durable(&self) -> i64 {
        self.0.durable.load(Ordering::Acquire)
    }

    /// Records that all unfinished work of a previous run is in its lanes, up to the event `last`.
    pub(super) fn recovered(&self, last: i64) {
        self.0.handed_off.fetch_max(last, Ordering::AcqRel);
        self.0.recovered.store(true, Ordering::Release);
        self.0.work.notify_one();
    }

    /// Whether all unfinished work of a previous run is in its lanes.
    pub(super) fn is_recovered(&self) -> bool {
        self.0.recovered.load(Ordering::Acquire)
    }

    /// Whether there is no reason to raise it.
    pub(super) fn is_current(&self) -> bool {
        self.last_handed_off() == self.saved()
    }

    /// Waits until there is a reason to raise it.
    pub(super) async fn work(&self) {
        self.0.work.notified().await;
    }

    /// The last event that was handed off.
    pub(super) fn last_handed_off(&self) -> i64 {
        self.0.handed_off.load(Ordering::Acquire)
    }

    /// `fresh` is a new id. Later ids are above it, so while no event is on its way to its lanes, everything up to it
    /// counts as handed off.
    pub(super) fn raise_to(&self, fresh: i64) {
        if !self.is_committing() {
            self.0.handed_off.fetch_max(fresh, Ordering::AcqRel);
        }
    }

    /// The watermark that was queued for a commit.
    pub(super) fn saved(&self) -> i64 {
        self.0.saved.load(Ordering::Acquire)
    }

    /// Records that a watermark was queued for a commit.
    pub(super) fn save(&self, watermark: i64) {
        self.0.saved.store(watermark, Ordering::Release);
    }
}
