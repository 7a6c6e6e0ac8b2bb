//! The workers of a lane: how many run, which delivery each gets next, and when an attempt may begin.
//!
//! | count | meaning |
//! | --- | --- |
//! | `workers` | workers that have a turn |
//! | `starting` | those of them that have not requested their first delivery yet |
//!
//! In one step under the lane's lock, a worker gets a delivery and the current configuration of its webhook. The limit
//! of attempts in flight ([`super::super::limit`]) shrinks while the webhook fails.

use std::{sync::Arc, time::Duration};

use super::{Job, Lane, State, admission::SOON_US};
use crate::{catalogue::Webhook, sender::Connection};

impl Lane {
    /// Takes a turn for each delivery that could be attempted now. If no turn is free, the lane enters the queue, once.
    /// This happens under the lane's lock, so that the lane is not called before it has recorded that it waits.
    pub(super) fn take_turns(self: &Arc<Self>, state: &mut State) -> usize {
        let free = state.limit.get().saturating_sub(state.workers);
        let wanted = free.min(state.ready.len().saturating_sub(state.starting));
        let mut taken = 0;
        while taken < wanted && !state.in_turn_queue {
            if self.shared.turns.take(|| self.wake_handle()) {
                taken += 1;
            } else {
                state.in_turn_queue = true;
            }
        }
        state.workers += taken;
        state.starting += taken;
        taken
    }

    /// The lane gets a turn. Returns true if the caller must start a worker, which is counted already, and false if
    /// there is nothing to do.
    pub(in super::super) fn called(&self, now: i64) -> bool {
        let mut state = self.lock();
        state.in_turn_queue = false;
        let useful = state.mode.sending().is_some()
            && state.begins_at() <= now
            && !state.ready.is_empty()
            && state.workers < state.limit.get();
        if useful {
            state.workers += 1;
            state.starting += 1;
        }
        useful
    }

    /// The next delivery for a worker, and the current configuration of its webhook; `first` if the worker had none
    /// before. `None` means that the worker must end; it is no longer counted.
    pub(in super::super) fn next(&self, first: bool, now: i64) -> Option<(Job, Arc<Webhook>)> {
        let mut state = self.lock();
        state.starting -= usize::from(first);
        let may_run = state.workers <= state.limit.get() && state.begins_at() <= now && !state.ready.is_empty();
        let sending = state.mode.sending().filter(|_| may_run).map(Arc::clone);
        let next = match sending.filter(|_| self.shared.turns.begin()) {
            Some(webhook) => state.ready.pop_front().map(|job| (job, webhook)),
            None => None,
        };
        if next.is_none() {
            state.workers -= 1;
        } else if state.interval > 0 {
            state.not_before = state.not_before.max(now - state.interval) + state.interval;
        }
        next
    }

    /// Whether deliveries are sent with this configuration of the webhook.
    pub(in super::super) fn sends_by(&self, webhook: &Arc<Webhook>) -> bool {
        let state = self.lock();
        state.mode.sending().is_some_and(|now| Arc::ptr_eq(now, webhook))
    }

    /// Allows no attempt before a time, unless the webhook is reconfigured.
    pub(in super::super) fn hold_until(&self, until: i64) {
        let mut state = self.lock();
        state.held_until = state.held_until.max(until);
    }

    /// Ends a worker that could continue, so that another lane gets its turn.
    pub(in super::super) fn leave(&self) {
        self.state.lock().workers -= 1;
    }

    /// Records the result of an attempt.
    pub(in super::super) fn attempted(&self, success: bool, took: Duration) {
        let mut state = self.state.lock();
        let took = usize::try_from(took.as_micros()).unwrap_or(usize::MAX).min(SOON_US);
        state.attempt_us = (state.attempt_us * 7 + took) / 8;
        if success {
            state.limit.succeeded();
        } else {
            state.limit.failed();
        }
    }

    /// An idle connection to the receiver, if there is one.
    pub(in super::super) fn take_connection(&self) -> Option<Connection> {
        self.lock().idle.take()
    }

    /// Keeps a connection for the next worker, if it leads to the current receiver.
    pub(in super::super) fn keep_connection(&self, connection: Connection) {
        let mut state = self.lock();
        if state.mode.is_served_by(&connection) {
            state.idle.keep(connection);
        }
    }

    /// Closes connections that have been idle for too long. Returns whether some are left.
    pub(in super::super) fn close_idle(&self) -> bool {
        self.state.lock().idle.close_idle()
    }
}

impl State {
    /// The time before which no attempt may begin.
    pub(super) fn begins_at(&self) -> i64 {
        self.not_before.max(self.held_until)
    }
}
