//! Queued publish calls. A call that is too large for one commit is divided; an event never is.

use std::ops::Add as _;

use tokio::sync::oneshot;

use super::{
    super::{
        command::{Draft, PublishResults},
        reply::Reply,
    },
    bounds::{Bounds, Size},
};

/// A queued publish call, the rest of one, or a part that goes into a commit.
pub(in super::super) struct PublishCall {
    pub(in super::super) drafts: Vec<Draft>,
    pub(in super::super) reply: Reply,
    /// How often the lease had been lost when the call arrived.
    pub(in super::super) losses: u64,
    pub(super) size: Size,
    pub(super) units: usize,
}

impl PublishCall {
    pub(super) fn new(drafts: Vec<Draft>, losses: u64, reply: oneshot::Sender<PublishResults>) -> Self {
        let size = drafts.iter().map(Size::of).fold(Size::default(), Size::add);
        Self {
            drafts,
            reply: Reply::Whole(reply),
            losses,
            size,
            units: size.units(),
        }
    }

    /// Divides a call that is too large for a commit into the largest part that fits, with at least one event, and the
    /// rest. Each event stays undivided.
    pub(super) fn divide(mut self, bounds: Bounds) -> (Self, Option<Self>) {
        let mut size = Size::default();
        let mut count = 0;
        for draft in &self.drafts {
            let with = size + Size::of(draft);
            if count > 0 && !with.fits(bounds) {
                break;
            }
            size = with;
            count += 1;
        }
        if count == self.drafts.len() {
            return (self, None);
        }
        let rest = self.drafts.split_off(count);
        let units = size.units().min(self.units);
        let (reply, rest_reply) = self.reply.divide(count + rest.len());
        let rest = Self {
            drafts: rest,
            reply: rest_reply,
            losses: self.losses,
            size: self.size - size,
            units: self.units - units,
        };
        let part = Self {
            drafts: self.drafts,
            reply,
            losses: self.losses,
            size,
            units,
        };
        (part, Some(rest))
    }
}
