//! The mode of a lane: whether its deliveries are sent, wait or end. It is derived from the catalogue under the lane's
//! lock.
//!
//! | mode | webhook | deliveries in memory |
//! | --- | --- | --- |
//! | sending | active, with a URL | are sent |
//! | waiting | inactive, pulled, or on a server that sends nothing | are returned to the store |
//! | gone | deleted | end |
//! | abandoned | any: the lease was lost | are dropped, because other nodes own them; final |
//!
//! Every step of a lane takes the lock by [`Lane::lock`], which compares the catalogue's generation with the one that
//! the lane has applied. A lane therefore never uses an older configuration than any of its earlier steps. There is no
//! second record of the mode that could disagree. A notice of a configuration change is needed only to wake an idle
//! lane.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::{Lane, State};
use crate::{
    catalogue::{Target, Webhook},
    sender::Connection,
};

/// The mode of a lane.
pub(super) enum Mode {
    /// They are sent to the webhook with its current configuration.
    Sending(Arc<Webhook>),
    /// They wait in the store, because the webhook is inactive, its receiver pulls them, or this server sends nothing.
    Waiting,
    /// The webhook was deleted: they end.
    Gone,
    /// Other nodes own them, whatever the catalogue says.
    Abandoned,
}

impl Mode {
    /// The webhook, if its deliveries are sent.
    pub(super) fn sending(&self) -> Option<&Arc<Webhook>> {
        match self {
            Self::Sending(webhook) => Some(webhook),
            Self::Waiting | Self::Gone | Self::Abandoned => None,
        }
    }

    /// Whether a connection leads to the current receiver.
    pub(super) fn is_served_by(&self, connection: &Connection) -> bool {
        let webhook = self.sending();
        webhook.is_some_and(|webhook| {
            let url = webhook.url.as_ref();
            url.is_some_and(|url| connection.serves(url, webhook.skip_verify))
        })
    }
}

impl Lane {
    /// Locks the state and applies a changed catalogue: one atomic load if nothing has changed.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        let generation = self.shared.catalogue.generation();
        if state.generation != Some(generation) {
            let is_new = state.generation.replace(generation).is_none();
            if !matches!(state.mode, Mode::Abandoned) {
                self.follow(&mut state);
            }
            // The caller that made a new lane tells it about pending deliveries.
            state.reread &= !is_new;
        }
        state
    }

    /// Applies the configuration. Ready deliveries stay ready until the next actions, which move them.
    fn follow(&self, state: &mut State) {
        let (mode, webhook) = match self.shared.catalogue.target(self.webhook.raw()) {
            Target::Active(webhook) if self.shared.hold => (Mode::Waiting, Some(webhook)),
            Target::Active(webhook) => {
                if state.mode.sending().is_some_and(|now| Arc::ptr_eq(now, &webhook)) {
                    return;
                }
                state.reread = true;
                // The new configuration may have fixed the fault.
                state.held_until = 0;
                (Mode::Sending(Arc::clone(&webhook)), Some(webhook))
            }
            Target::Fetched(webhook) => (Mode::Waiting, Some(webhook)),
            Target::Paused(webhook) => (Mode::Waiting, webhook),
            Target::Gone => {
                state.next_due = None;
                (Mode::Gone, None)
            }
        };
        if let Some(webhook) = webhook {
            state.ordered = webhook.ordered;
            // Only one node enforces a rate.
            state.exclusive = self.shared.several_nodes && webhook.rate.is_some();
            state.set_rate(webhook.rate);
            state.host = webhook
                .url
                .as_ref()
                .map_or(0, |url| self.shared.turns.host(url.host(), url.port()));
        }
        state.idle.retain(|connection| mode.is_served_by(connection));
        state.mode = mode;
    }
}

impl State {
    /// Delays the next attempt by the new rate's interval after the last one.
    fn set_rate(&mut self, rate: Option<f64>) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a rate is at least 0.01: at most 10^8 microseconds"
        )]
        let interval = rate.map_or(0, |rate| (1e6 / rate) as i64);
        if interval != self.interval {
            self.not_before = if interval == 0 || self.interval == 0 {
                0
            } else {
                self.not_before - self.interval + interval
            };
            self.interval = interval;
        }
    }
}
