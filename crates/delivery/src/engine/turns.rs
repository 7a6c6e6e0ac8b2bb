//! Turns: the permits of the global limit on attempts in flight, and the queues of lanes that are waiting for one.
//!
//! A lane's worker holds one turn. If none is free, the lane waits in a queue. A worker that has finished a delivery
//! while another lane waits gives its turn to the next one. So busy lanes take turns, and no lane can starve another.
//!
//! Receivers with a doubtful standing ([`super::standing`]) share a part of the turns, so that receivers that hang do not
//! delay good ones, whatever their number. A host has a part, too, and a lane never gets more turns than are left free,
//! except for its first two.
//!
//! | state | which lane gets a turn |
//! | --- | --- |
//! | free turns | every lane that asks, within the parts of its standing and its host |
//! | contended | the good lane that has waited longest; then the doubtful lane that has used the least time |
//! | no lease, or `hold` is set | none: all lanes wait |
//! | sending paused ([`super::faults`]) | one probe at a time |
//!
//! The queues hold wake handles, and do not depend on lanes. A handle whose lane was removed gets a turn like any
//! other, and the caller releases it.

mod state;

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

pub(super) use self::state::Account;
use self::state::{Limits, Rank, State};
use super::{
    faults::Faults,
    invariant::{Broken, Invariant},
    lease::Lease,
    standing::Standing,
};

/// How many turns a lane may hold however few are free.
const OWN_MIN: usize = 2;

/// The turns. `H` is the wake handle of a waiting lane.
pub(super) struct Turns<H> {
    limits: Limits,
    state: Mutex<State<H>>,
    lease: Arc<Lease>,
    /// No lane gets a turn.
    hold: bool,
    faults: Faults,
    /// Whether workers must pass their turn: they read it after each delivery. Kept in step with the state.
    pass: Pass,
    taken: AtomicUsize,
    all_free: Notify,
    freed: Notify,
    /// Notified when half of the turns are taken.
    scarce: Notify,
    hasher: RandomState,
}

/// Whether workers should pass their turn, by standing, and whether lanes wait for a host.
#[derive(Default)]
struct Pass {
    good: AtomicBool,
    /// Set whenever `good` is.
    doubtful: AtomicBool,
    hosts: AtomicBool,
}

/// A request of a lane.
pub(super) struct Ask {
    pub(super) account: Account,
    /// How many turns it holds.
    pub(super) held: usize,
    /// The time for which it has used turns.
    pub(super) used_us: i64,
    /// The expected duration of its next attempt.
    pub(super) expected_us: i64,
}

/// The answer to a lane.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has a turn.
    Taken,
    /// It waits in a queue until it is called.
    Queued(Ticket),
    /// It holds its share, and asks again when one of its attempts ends.
    Refused,
}

/// A lane's place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    rank: Rank,
    account: Account,
    used_us: i64,
}

impl Ticket {
    pub(super) fn account(&self) -> Account {
        self.account
    }

    /// The time that counts as used by a doubtful lane.
    pub(super) fn used_us(&self) -> Option<i64> {
        (self.account.standing == Standing::Doubtful).then_some(self.used_us)
    }
}

impl<H> Turns<H> {
    pub(super) fn new(limit: usize, lease: Arc<Lease>) -> Self {
        let limits = Limits::new(limit);
        Self {
            limits,
            lease,
            hold: false,
            faults: Faults::default(),
            state: Mutex::new(State::new(limits)),
            pass: Pass::default(),
            taken: AtomicUsize::new(0),
            all_free: Notify::new(),
            freed: Notify::new(),
            scarce: Notify::new(),
            hasher: RandomState::new(),
        }
    }

    /// The same, for a server that may be configured to send nothing.
    pub(super) fn hold(self, hold: bool) -> Self {
        Self { hold, ..self }
    }

    /// The key of a host and port in accounts.
    pub(super) fn host(&self, name: &str, port: u16) -> u64 {
        self.hasher.hash_one((name, port))
    }

    /// Takes a turn, or queues the lane's handle. A lane in a queue must not call this again before it was called.
    pub(super) fn take(&self, ask: &Ask, handle: impl FnOnce() -> H) -> Answer {
        let mut state = self.state.lock();
        let free = state.free();
        if ask.held >= OWN_MIN && ask.held > free {
            return Answer::Refused;
        }
        if self.may_send() && state.admits(ask.account) {
            state.add(ask.account, 1);
            self.publish(&state);
            return Answer::Taken;
        }
        if ask.held > 0 && ask.account.standing == Standing::Doubtful {
            // The outcome of its attempt decides how long it waits.
            return Answer::Refused;
        }
        let (rank, used_us) = state.rank(ask);
        state.enqueue((rank, used_us), handle(), ask.account);
        self.publish(&state);
        Answer::Queued(Ticket {
            rank,
            account: ask.account,
            used_us,
        })
    }

    /// Leaves the queue. Returns false if the lane was called already.
    pub(super) fn withdraw(&self, ticket: Ticket) -> bool {
        let mut state = self.state.lock();
        let withdrawn = state.withdraw(ticket.rank, ticket.account);
        self.publish(&state);
        self.notify_freed(&state);
        withdrawn
    }

    /// Moves turns to another account. Other lanes may get a turn then ([`Self::freed`]).
    pub(super) fn reassign(&self, turns: usize, from: Account, to: Account) {
        if turns == 0 || from == to {
            return;
        }
        let mut state = self.state.lock();
        state.remove(from, turns);
        state.add(to, turns);
        self.publish(&state);
        self.notify_freed(&state);
    }

    /// Notifies the caller of [`Self::freed`] if a lane waits although a turn is free.
    fn notify_freed(&self, state: &State<H>) {
        if state.may_call() {
            self.freed.notify_one();
        }
    }

    /// Waits until turns changed their account while lanes were waiting: the caller must call [`Self::resume`] until it
    /// returns nothing.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
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

    /// Gives a free turn to the lane that is next, if there are both. The caller must start a worker there.
    pub(super) fn resume(&self) -> Option<(H, Account)> {
        let mut state = self.state.lock();
        if !self.may_send() {
            return None;
        }
        let next = state.call();
        self.publish(&state);
        next
    }

    /// Whether any lane is waiting for a turn.
    pub(super) fn contended(&self) -> bool {
        self.pass.doubtful.load(Ordering::Relaxed) || self.pass.hosts.load(Ordering::Relaxed)
    }

    /// Whether another lane is waiting for a turn of this account, so that its worker should pass it.
    pub(super) fn should_pass(&self, account: Account) -> bool {
        let waiting = match account.standing {
            Standing::Good => &self.pass.good,
            Standing::Doubtful => &self.pass.doubtful,
        };
        waiting.load(Ordering::Relaxed)
            || self.pass.hosts.load(Ordering::Relaxed) && self.state.lock().host_waits(account.host)
    }

    /// Releases a turn. Returns the lane that is next, if one was waiting, with the account of its turn: the caller must
    /// start a worker there.
    pub(super) fn give(&self, account: Account) -> Option<(H, Account)> {
        let mut state = self.state.lock();
        state.remove(account, 1);
        let next = if self.may_send() { state.call() } else { None };
        self.publish(&state);
        if state.held() == 0 {
            self.all_free.notify_waiters();
        }
        // A released turn can make a lane of this host and a doubtful lane callable at once.
        if next.is_some() {
            self.notify_freed(&state);
        }
        next
    }

    /// Lets workers and observers see the state.
    fn publish(&self, state: &State<H>) {
        let pass = &self.pass;
        set(&pass.good, state.should_pass(Standing::Good));
        set(&pass.doubtful, state.should_pass(Standing::Doubtful));
        set(&pass.hosts, state.any_host_waits());
        let before = self.taken.swap(state.held(), Ordering::Relaxed);
        let half = self.limits.all / 2;
        if before < half && state.held() >= half {
            self.scarce.notify_one();
        }
    }

    /// Waits until half of the turns are taken.
    pub(super) async fn scarce(&self) {
        self.scarce.notified().await;
    }

    /// Whether half of the turns are taken.
    pub(super) fn are_scarce(&self) -> bool {
        self.taken() >= self.limits.all / 2
    }

    /// Whether lanes of this account wait on purpose: doubtful receivers hold their part.
    pub(super) fn waits_on_purpose(&self, account: Account) -> bool {
        account.standing == Standing::Doubtful && self.state.lock().doubtful_is_full(account.host)
    }

    /// Checks the invariants of the turns. `key` distinguishes handles of different lanes.
    pub(super) fn check(&self, key: impl Fn(&H) -> usize) -> Result<(), Broken> {
        let state = self.state.lock();
        state.check(key)?;
        let seen = [&self.pass.good, &self.pass.doubtful].map(|flag| flag.load(Ordering::Relaxed));
        let is = [Standing::Good, Standing::Doubtful].map(|standing| state.should_pass(standing));
        Invariant::TurnsAddUp.check(seen == is && self.taken() == state.held(), || {
            format!(
                "workers see {seen:?} and {}, not {is:?} and {}",
                self.taken(),
                state.held()
            )
        })
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

/// Sets a flag; usually it is set already, and no memory is written that other cores share.
fn set(flag: &AtomicBool, to: bool) {
    if flag.load(Ordering::Relaxed) != to {
        flag.store(to, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod crowds;
#[cfg(test)]
mod tests;
