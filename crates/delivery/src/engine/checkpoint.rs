//! The checkpoint: an event id below which nothing in the store is owed without a row that says so.
//!
//! While all goes well a delivery leaves no row before its outcome: after a crash, what is owed is found by reading the
//! events above the checkpoint and leaving out what has a row. To keep that stretch short the keeper writes pending rows
//! for deliveries that have been in memory for longer than [`UNSTORED_MAX_US`], and then moves the checkpoint up.
//!
//! The order matters: first the last id that was handed off is read, then the lanes. Everything up to that id is in a lane
//! or done by then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use hookwright_storage::{PendingRow, fault};
use tokio::sync::Notify;

use super::{Inner, inbox::NewCheckpoint, record::Record};
use crate::clock;

/// How often the keeper looks while there is work. Without work it sleeps until there is.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often an idle node moves its checkpoint, where there are others.
const FORWARD: Duration = Duration::from_secs(10);
/// How long a delivery may be in memory without a row of its own.
const UNSTORED_MAX_US: i64 = 5_000_000;

/// What the keeper knows of the committer's progress.
#[derive(Default)]
pub(super) struct Checkpoint {
    handed_off: AtomicI64,
    saved: AtomicI64,
    /// What the store has: `saved` may be on its way there.
    durable: AtomicI64,
    recovered: AtomicBool,
    /// The committer has given ids to events that are not in their lanes yet.
    committing: AtomicBool,
    work: Notify,
}

impl Checkpoint {
    /// The state at start: nothing above `saved` is known to be done.
    pub(super) fn start(&self, saved: i64) {
        self.recovered.store(false, Ordering::Release);
        self.saved.store(saved, Ordering::Release);
        self.durable.store(saved, Ordering::Release);
        self.handed_off.store(saved, Ordering::Release);
    }

    /// The committer is about to give ids to events, or all that it gave are handed off.
    pub(super) fn set_committing(&self, committing: bool) {
        self.committing.store(committing, Ordering::SeqCst);
    }

    /// The event `id` is in its lanes, or in the store as pending.
    pub(super) fn handed_off(&self, id: i64) {
        if self.handed_off.fetch_max(id, Ordering::AcqRel) == self.saved.load(Ordering::Acquire) {
            self.work.notify_one();
        }
    }

    /// The committer has stored a checkpoint.
    pub(super) fn stored(&self, checkpoint: i64) {
        self.durable.store(checkpoint, Ordering::Release);
    }

    /// The checkpoint that the store has: storing it again changes nothing.
    pub(super) fn durable(&self) -> i64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Everything that a former run left unfinished is in its lanes, up to the event `last`.
    pub(super) fn recovered(&self, last: i64) {
        self.handed_off.fetch_max(last, Ordering::AcqRel);
        self.recovered.store(true, Ordering::Release);
        self.work.notify_one();
    }
}

impl Inner {
    /// Keeps the checkpoint until the engine stops.
    pub(super) async fn keep_checkpoint(self: Arc<Self>) {
        loop {
            if self.is_checkpoint_current() {
                let work = self.checkpoint.work.notified();
                if self.store.lease().is_some() {
                    // Others read from here on when they take over: an idle node's checkpoint moves with the time.
                    let _ = tokio::time::timeout(FORWARD, work).await;
                } else {
                    work.await;
                }
            }
            tokio::time::sleep(INTERVAL).await;
            if self.checkpoint.recovered.load(Ordering::Acquire) {
                self.note_unstored().await;
                self.move_checkpoint().await;
            }
        }
    }

    fn is_checkpoint_current(&self) -> bool {
        self.checkpoint.handed_off.load(Ordering::Acquire) == self.checkpoint.saved.load(Ordering::Acquire)
    }

    /// Writes pending rows for deliveries that have been in memory for long.
    async fn note_unstored(&self) {
        let now = clock::schedule_us();
        for lane in self.lanes.all() {
            for held in lane.take_unstored(now - UNSTORED_MAX_US) {
                fault::panic_if_planted("checkpoint-panic");
                let row = PendingRow {
                    delivery_id: held.delivery,
                    event_id: held.event,
                    organization_id: held.organization,
                    webhook_id: lane.webhook.raw(),
                    due_at: now,
                    attempts: 0,
                    ordering_key: None,
                };
                self.recorder.record(Record::noted(&lane, row)).await;
            }
        }
    }

    async fn move_checkpoint(&self) {
        let losses = self.membership.losses();
        let fresh = self.store.lease().map(|_| self.ids.next(clock::reference_us() / 1_000));
        let idle = !self.checkpoint.committing.load(Ordering::SeqCst);
        // Ids that are given from now on are above the fresh one.
        if let Some(fresh) = fresh.filter(|_| idle) {
            self.checkpoint.handed_off.fetch_max(fresh, Ordering::AcqRel);
        }
        let handed_off = self.checkpoint.handed_off.load(Ordering::Acquire);
        let oldest = self
            .lanes
            .all()
            .iter()
            .filter_map(|lane| lane.oldest_unstored_event())
            .min();
        let oldest = oldest.filter(|_| !fault::is_planted("early-checkpoint"));
        let checkpoint = oldest.map_or(handed_off, |oldest| handed_off.min(oldest - 1));
        if checkpoint > self.checkpoint.saved.load(Ordering::Acquire) {
            // Queued behind every pending row that was noted above, so it is durable with or after them.
            let new = NewCheckpoint { losses, id: checkpoint };
            if self.inbox.checkpoint(new).is_ok() {
                self.checkpoint.saved.store(checkpoint, Ordering::Release);
            }
        }
    }
}
