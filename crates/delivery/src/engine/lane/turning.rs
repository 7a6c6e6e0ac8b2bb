//! The turns of a lane's workers ([`super::super::turns`]), and its place in the queue for them.
//!
//! All turns of a lane are held in one account, which follows from the webhook's host and the receiver's standing. Each
//! step of a lane reviews it. A turn stays with the lane until its worker's task releases it, a moment after the worker has
//! ended.

use std::sync::Arc;

use super::{
    super::{
        standing::Standing,
        turns::{Account, Answer, Ask, Ticket, Turns},
    },
    Lane, State, WakeHandle,
};

/// The turns of a lane.
#[derive(Default)]
pub(super) struct LaneTurns {
    held: usize,
    /// The account in which they are held.
    account: Account,
    /// The place in the queue, until the lane is called.
    ticket: Option<Ticket>,
    /// The time for which turns were used, in microseconds: an estimate for attempts in flight.
    used_us: i64,
}

impl LaneTurns {
    /// Corrects the time that attempts have used.
    pub(super) fn used(&mut self, more_us: i64) {
        self.used_us = self.used_us.saturating_add(more_us);
    }

    /// Whether the receiver is doubtful.
    pub(super) fn are_of_doubtful(&self) -> bool {
        self.account.standing == Standing::Doubtful
    }

    /// Whether the lane waits because doubtful receivers hold their part of the turns.
    pub(super) fn waits_on_purpose(&self, turns: &Turns<WakeHandle>) -> bool {
        self.ticket
            .is_some_and(|ticket| turns.waits_on_purpose(ticket.account()))
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

impl Lane {
    /// Takes a turn for each delivery that could be attempted now. If no turn is free, the lane enters the queue, once.
    /// This happens under the lane's lock, so that the lane is not called before it has recorded that it waits.
    pub(super) fn take_turns(self: &Arc<Self>, state: &mut State) -> usize {
        let free = state.limit.get().saturating_sub(state.workers);
        let wanted = free.min(state.ready.len().saturating_sub(state.starting));
        let mut taken = 0;
        while taken < wanted && state.turns.ticket.is_none() {
            let turns = &state.turns;
            let ask = Ask {
                account: turns.account,
                held: turns.held,
                used_us: turns.used_us,
                expected_us: state.record.average_us(),
            };
            match self.shared.turns.take(&ask, || self.wake_handle()) {
                Answer::Taken => {
                    taken += 1;
                    state.turns.held += 1;
                }
                Answer::Queued(ticket) => {
                    state.turns.used_us = ticket.used_us().unwrap_or(state.turns.used_us);
                    state.turns.ticket = Some(ticket);
                }
                Answer::Refused => break,
            }
        }
        state.workers += taken;
        state.starting += taken;
        taken
    }

    /// The lane gets a turn, which is held in `account`. Returns true if the caller must start a worker, which is counted
    /// already, and false if there is nothing to do: the caller keeps the turn.
    pub(in super::super) fn called(&self, account: Account, now: i64) -> bool {
        let mut state = self.lock();
        state.turns.ticket = None;
        let useful = state.mode.sending().is_some()
            && state.begins_at() <= now
            && !state.ready.is_empty()
            && state.workers < state.limit.get();
        if useful {
            state.workers += 1;
            state.starting += 1;
            state.turns.held += 1;
            self.shared.turns.reassign(1, account, state.turns.account);
        }
        useful
    }

    /// A worker's task has ended: the lane no longer holds its turn, which the caller passes. Returns its account.
    pub(in super::super) fn release_turn(&self) -> Account {
        let mut state = self.state.lock();
        debug_assert!(state.turns.held > 0, "{}: no turn is held", self.webhook);
        state.turns.held = state.turns.held.saturating_sub(1);
        state.turns.account
    }

    /// Whether another lane waits for the turn of a worker that has finished a delivery.
    pub(in super::super) fn should_pass(&self) -> bool {
        let account = self.state.lock().turns.account;
        self.shared.turns.should_pass(account)
    }

    /// Moves the turns to the account that follows from the receiver's current standing and host.
    pub(super) fn review(&self, state: &mut State, now: i64) {
        let account = Account {
            standing: state.record.standing(state.in_flight(), now),
            host: state.host,
        };
        if account == state.turns.account {
            return;
        }
        // The lane asks again from its new account, unless it was called already.
        if let Some(ticket) = state.turns.ticket
            && self.shared.turns.withdraw(ticket)
        {
            state.turns.ticket = None;
        }
        if account.standing != state.turns.account.standing {
            // Doubtful receivers share the time that they use while they are doubtful.
            state.turns.used_us = 0;
        }
        let before = std::mem::replace(&mut state.turns.account, account);
        self.shared.turns.reassign(state.turns.held, before, account);
    }
}
