//! The inspection of the engine's invariants ([`super::invariant`]), component by component.
//!
//! It checks each component under its own lock, while all of them work. The watermark is compared with the lanes only
//! if this node has not lost its lease meanwhile, because both begin again after a loss.

use std::sync::Arc;

use hookwright_storage::fault;

use super::{
    inbox::Inbox,
    invariant::{Broken, Invariant},
    lane::WakeHandle,
    lanes::Lanes,
    membership::Membership,
    memory::Memory,
    room::RoomQueue,
    turns::Turns,
    watermark::Watermark,
};
use crate::metrics::Metrics;

/// The components to inspect.
pub(super) struct Inspection {
    pub(super) lanes: Lanes,
    pub(super) memory: Arc<Memory>,
    pub(super) room: Arc<RoomQueue<WakeHandle>>,
    pub(super) turns: Arc<Turns<WakeHandle>>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) watermark: Watermark,
    pub(super) membership: Membership,
    pub(super) metrics: Arc<Metrics>,
}

impl Inspection {
    /// Inspects once. In a debug build a broken invariant panics.
    pub(super) fn look(&self) {
        let lanes = self.lanes.all();
        let of_lanes = lanes.iter().map(|lane| lane.check());
        let of_others = [
            self.memory.check(),
            self.room.check(WakeHandle::key),
            self.turns.check(WakeHandle::key),
            self.inbox.check(),
            self.check_watermark(),
        ];
        let broken: Vec<Broken> = of_lanes.chain(of_others).filter_map(Result::err).collect();
        for broken in &broken {
            self.metrics.invariant_broken();
            tracing::error!(%broken, "an invariant of the engine does not hold: this is a bug");
        }
        debug_assert!(broken.is_empty(), "{broken:?}");
    }

    /// Compares the stored watermark with memory.
    fn check_watermark(&self) -> Result<(), Broken> {
        let losses = self.membership.losses();
        if !self.membership.may_accept() || fault::is_planted("early-watermark") {
            return Ok(());
        }
        let stored = self.watermark.durable();
        let handed_off = self.watermark.last_handed_off();
        let lanes = self.lanes.all();
        let oldest = lanes.iter().filter_map(|lane| lane.oldest_unstored_event()).min();
        if self.membership.losses() != losses {
            return Ok(());
        }
        Invariant::WatermarkIsHandedOff.check(stored <= handed_off, || {
            format!("{stored} is stored, and {handed_off} was handed off")
        })?;
        let accounted_for = oldest.is_none_or(|oldest| stored < oldest);
        Invariant::WatermarkIsAccountedFor.check(accounted_for, || {
            format!("{stored} is stored, and the oldest event without a row is {oldest:?}")
        })
    }
}
