//! The keeper of the watermark ([`super::watermark`]): writes pending rows for deliveries that have been in memory for
//! longer than [`UNSTORED_MAX_US`], and then raises the watermark.
//!
//! The order matters: it reads the last id that was handed off first, then the lanes. By then everything up to that id
//! is in a lane or done.

use std::{sync::Arc, time::Duration};

use hookwright_domain::id::IdGenerator;
use hookwright_storage::{PendingRow, Store, fault};

use super::{
    inbox::Inbox,
    lanes::Lanes,
    membership::Membership,
    record::Record,
    recorder::Recorder,
    watermark::{NewWatermark, Watermark},
};
use crate::clock;

/// How often the keeper runs while there is work. Without work it sleeps.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often an idle node raises its watermark, if there are other nodes.
const FORWARD: Duration = Duration::from_secs(10);
/// How long a delivery may be in memory without its own row.
const UNSTORED_MAX_US: i64 = 5_000_000;

/// The task of the keeper.
pub(super) struct WatermarkKeeper {
    pub(super) store: Store,
    pub(super) ids: Arc<IdGenerator>,
    pub(super) lanes: Lanes,
    pub(super) membership: Membership,
    pub(super) inbox: Arc<Inbox>,
    pub(super) recorder: Recorder,
    pub(super) watermark: Watermark,
}

impl WatermarkKeeper {
    /// Runs until the engine stops.
    pub(super) async fn run(self) {
        loop {
            if self.watermark.is_current() {
                let work = self.watermark.work();
                if self.store.lease().is_some() {
                    // Other nodes read from the watermark on when they take over, so an idle node's watermark advances
                    // with the time.
                    let _ = tokio::time::timeout(FORWARD, work).await;
                } else {
                    work.await;
                }
            }
            tokio::time::sleep(INTERVAL).await;
            if self.watermark.is_recovered() {
                self.note_unstored().await;
                self.move_up();
            }
        }
    }

    /// Writes pending rows for deliveries that have been in memory for long.
    async fn note_unstored(&self) {
        let now = clock::schedule_us();
        for lane in self.lanes.all() {
            for held in lane.take_unstored(now - UNSTORED_MAX_US) {
                fault::panic_if_planted("watermark-panic");
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

    fn move_up(&self) {
        let losses = self.membership.losses();
        if self.store.lease().is_some() {
            self.watermark.raise_to(self.ids.next(clock::reference_us() / 1_000));
        }
        let handed_off = self.watermark.last_handed_off();
        let lanes = self.lanes.all();
        let oldest = lanes.iter().filter_map(|lane| lane.oldest_unstored_event()).min();
        let oldest = oldest.filter(|_| !fault::is_planted("early-watermark"));
        let watermark = oldest.map_or(handed_off, |oldest| handed_off.min(oldest - 1));
        if watermark > self.watermark.saved() {
            // Queued behind every pending row that was noted above, so it becomes durable with or after them.
            let new = NewWatermark { losses, id: watermark };
            if self.inbox.watermark(new).is_ok() {
                self.watermark.save(watermark);
            }
        }
    }
}
