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

use super::{super::health::micros, Job, Lane, State};
use crate::{catalogue::Webhook, sender::Connection};

impl Lane {
    /// The next delivery for a worker, and the current configuration of its webhook; `first` if the worker had none
    /// before. `None` means that the worker must end; it is no longer counted.
    pub(in super::super) fn next(&self, first: bool, now: i64) -> Option<(Job, Arc<Webhook>)> {
        let mut state = self.lock();
        state.starting -= usize::from(first);
        if !first || state.in_flight() == 1 {
            state.record.progressed(now);
        }
        let may_run = state.workers <= state.limit.get() && state.begins_at() <= now && !state.ready.is_empty();
        let sending = state.mode.sending().filter(|_| may_run).map(Arc::clone);
        let next = match sending.filter(|_| self.shared.turns.begin()) {
            Some(webhook) => state.ready.pop_front().map(|job| (job, webhook)),
            None => None,
        };
        if next.is_none() {
            state.workers -= 1;
            return None;
        }
        let expected_us = state.record.average_us();
        state.turns.used(expected_us);
        if state.interval > 0 {
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

    /// Records the result of an attempt that has just ended. `is_exact` is false if its end may have waited for this server.
    pub(in super::super) fn attempted(&self, success: bool, took: Duration, is_exact: bool, now: i64) {
        let mut state = self.state.lock();
        let took_us = micros(took);
        let expected_us = state.record.average_us();
        state.turns.used(took_us - expected_us);
        state.record.attempted(success, took_us, now);
        if success {
            state.limit.succeeded(took_us, is_exact);
        } else {
            state.limit.failed();
        }
    }

    /// An idle connection to the receiver, or a handle of a shared one, if there is one.
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

    /// Whether connections are kept, which must be closed when they have been idle for too long.
    pub(in super::super) fn keeps_connections(&self) -> bool {
        !self.state.lock().idle.is_empty()
    }

    /// Closes connections that have been idle for too long. Returns whether some are left.
    pub(in super::super) fn close_idle(&self) -> bool {
        self.state.lock().idle.close_idle()
    }
}

impl State {
    /// The attempts in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.workers - self.starting
    }

    /// The time before which no attempt may begin.
    pub(super) fn begins_at(&self) -> i64 {
        self.not_before.max(self.held_until)
    }
}
