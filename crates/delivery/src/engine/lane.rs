//! One webhook's deliveries inside this node: a bounded queue in memory, and notes of pending deliveries in the store.
//!
//! Deliveries that a lane cannot hold are only in the store (as rows in `pending_deliveries`), and are read in order
//! when the lane drains. While due deliveries are in the store, new ones are stored there too, so that the lane stays
//! roughly first in, first out.
//!
//! | module | subject |
//! | --- | --- |
//! | [`admission`] | which deliveries are admitted to memory |
//! | [`held`] | the deliveries in memory, and their size |
//! | [`refilling`] | reading deliveries from the store |
//! | [`turning`] | the turns of the workers, and the queue for them |
//! | [`working`] | workers, and when an attempt may begin |
//! | [`connections`] | idle connections |
//! | [`mode`] | whether deliveries are sent, wait or end |
//! | [`checking`] | invariants |
//!
//! A step of a lane returns [`LaneActions`], which its caller must carry out outside the lane's lock. A panic under the
//! lock fails the engine ([`super::watchdog`]). If a caller drops the actions, their deliveries are lost until the next
//! start.
//!
//! All times are those of the schedule clock ([`crate::clock`]).

mod admission;
mod checking;
mod connections;
mod held;
mod job;
mod mode;
mod refilling;
mod turning;
mod working;

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use hookwright_domain::id::WebhookId;
use hookwright_storage::stats::Tally;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::{
    connections::IdleConnections, held::HeldDeliveries, mode::Mode, refilling::RefillNotes, turning::LaneTurns,
};
pub(super) use self::{held::Place, job::Job, refilling::Read};
use super::{
    health::Health,
    limit::Limit,
    memory::{self, Memory},
    room::RoomQueue,
    standing::ReceiverRecord,
    turns::Turns,
};
use crate::{catalogue::Catalogue, descriptors::Descriptors};

/// The limits of every lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneLimits {
    pub(super) jobs: usize,
    pub(super) bytes: usize,
    pub(super) attempts: usize,
}

/// The components that all lanes of a node share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) memory: Arc<Memory>,
    pub(super) turns: Arc<Turns<WakeHandle>>,
    pub(super) room: Arc<RoomQueue<WakeHandle>>,
    pub(super) descriptors: Descriptors,
    /// Whether other nodes may use the same store.
    pub(super) several_nodes: bool,
    /// Nothing is sent: all deliveries stay in the store.
    pub(super) hold: bool,
}

impl Shared {
    /// For lanes that send, without other nodes on their store, and with any number of connections.
    pub(super) fn new(catalogue: Arc<Catalogue>, memory: Arc<Memory>, turns: Arc<Turns<WakeHandle>>) -> Self {
        Self {
            catalogue,
            room: Arc::new(RoomQueue::new(Arc::clone(&memory))),
            memory,
            turns,
            descriptors: Descriptors::unlimited(),
            several_nodes: false,
            hold: false,
        }
    }
}

/// A queue's reference to a lane, which does not keep the lane in memory.
#[derive(Clone)]
pub(super) struct WakeHandle(Weak<Lane>);

impl WakeHandle {
    /// The lane; `None` if it was removed meanwhile.
    pub(super) fn lane(&self) -> Option<Arc<Lane>> {
        self.0.upgrade()
    }

    /// Distinguishes it from the handles of other lanes.
    pub(super) fn key(&self) -> usize {
        self.0.as_ptr().addr()
    }
}

/// One webhook's deliveries inside this node.
pub(super) struct Lane {
    pub(super) webhook: WebhookId,
    limits: LaneLimits,
    shared: Shared,
    /// Notified when a delivery is stored as pending while nothing is sent.
    arrivals: Arc<Notify>,
    state: Mutex<State>,
}

struct State {
    ready: VecDeque<Job>,
    held: HeldDeliveries,
    workers: usize,
    /// Workers that have not requested their first delivery yet.
    starting: usize,
    turns: LaneTurns,
    /// The mode according to the catalogue snapshot of number `generation`.
    mode: Mode,
    generation: Option<u64>,
    /// Whether only one node may send to the webhook. Every delivery is then stored as pending for that node.
    exclusive: bool,
    /// Whether deliveries of a key are sent in order, one at a time. The store then keeps the order, and all of them
    /// are stored as pending.
    ordered: bool,
    /// The configuration has changed: pending deliveries in the store may be due although the lane has no note of them.
    reread: bool,
    limit: Limit,
    record: ReceiverRecord,
    idle: IdleConnections,
    /// When the first delivery that is only in the store is due.
    next_due: Option<i64>,
    refill: Option<RefillNotes>,
    /// The next due delivery did not fit. Reading it again is useless until a delivery leaves memory, or until the lane
    /// has a place.
    blocked: bool,
    /// The lane is in the queue for a place.
    in_room_queue: bool,
    /// The place for a delivery that does not fit into the memory of all lanes.
    room: Option<memory::Place>,
    /// Rate limit: no attempt may begin before this time.
    not_before: i64,
    /// A part of the operator's that attempts for this webhook need fails: no attempt may begin before this time.
    held_until: i64,
    /// Rate limit: microseconds between attempts, 0 without a limit.
    interval: i64,
    /// The host that turns are counted for.
    host: u64,
    health: Health,
    /// The counts since they were last taken, and their organization.
    tally: Option<Box<(i64, Tally)>>,
}

/// The work that a step of a lane leaves to its caller, outside the lane's lock. Dropping it loses deliveries.
#[derive(Debug, Default)]
#[must_use = "the lane has handed these deliveries and workers over: the caller must act on them"]
pub(super) struct LaneActions {
    /// Start this many workers; each has its turn already.
    pub(super) workers: usize,
    /// Read deliveries from the store.
    pub(super) refill: bool,
    /// Look at the lane again at this time.
    pub(super) wake_at: Option<i64>,
    /// Nothing is sent to the webhook for now: store these deliveries as pending.
    pub(super) park: Vec<Job>,
    /// The webhook was deleted: end these deliveries.
    pub(super) cancel: Vec<Job>,
    /// The webhook was deleted: end its pending deliveries in the store.
    pub(super) cancel_stored: bool,
}

impl LaneActions {
    /// Schedules a look at the lane for the time `at`, or earlier.
    fn wake_by(&mut self, at: i64) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

impl Lane {
    pub(super) fn new(webhook: WebhookId, limits: LaneLimits, shared: Shared, health: Health) -> Self {
        let held = HeldDeliveries::new(Arc::clone(&shared.memory));
        let idle = IdleConnections::new(shared.descriptors.clone());
        Self {
            webhook,
            limits,
            shared,
            arrivals: Arc::default(),
            state: Mutex::new(State {
                ready: VecDeque::new(),
                held,
                workers: 0,
                starting: 0,
                turns: LaneTurns::default(),
                mode: Mode::Waiting,
                generation: None,
                exclusive: false,
                ordered: false,
                reread: false,
                limit: Limit::new(limits.attempts),
                record: ReceiverRecord::default(),
                idle,
                next_due: None,
                refill: None,
                blocked: false,
                in_room_queue: false,
                room: None,
                not_before: 0,
                held_until: 0,
                interval: 0,
                host: 0,
                health,
                tally: None,
            }),
        }
    }

    fn wake_handle(self: &Arc<Self>) -> WakeHandle {
        WakeHandle(Arc::downgrade(self))
    }

    pub(super) fn is_exclusive(&self) -> bool {
        self.lock().exclusive
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.lock().ordered
    }

    /// Queues a delivery whose memory was reserved, and which is now durable.
    pub(super) fn enqueue(self: &Arc<Self>, job: Job, now: i64) -> LaneActions {
        let mut state = self.lock();
        state.ready.push_back(job);
        self.actions(&mut state, now)
    }

    /// Notes that a delivery is only in the store until `due_at`.
    pub(super) fn note_due(self: &Arc<Self>, due_at: i64, now: i64) -> LaneActions {
        let mut state = self.lock();
        match state.mode {
            Mode::Sending(_) => {}
            Mode::Waiting => self.arrivals.notify_waiters(),
            Mode::Gone | Mode::Abandoned => {
                return LaneActions {
                    cancel_stored: matches!(state.mode, Mode::Gone),
                    ..LaneActions::default()
                };
            }
        }
        let earlier = state.note_due(due_at);
        let mut actions = self.actions(&mut state, now);
        if earlier && due_at > now {
            actions.wake_by(due_at);
        }
        actions
    }

    /// Decides what the lane needs, for example because its time has come, or because its webhook was changed.
    pub(super) fn look(self: &Arc<Self>, now: i64) -> LaneActions {
        self.actions(&mut self.lock(), now)
    }

    /// Decides under the lock, and counts the workers that the caller must start.
    fn actions(self: &Arc<Self>, state: &mut State, now: i64) -> LaneActions {
        let mut actions = LaneActions::default();
        self.review(state, now);
        match state.mode {
            Mode::Sending(_) => {}
            Mode::Waiting => actions.park = state.ready.drain(..).collect(),
            Mode::Gone => actions.cancel = state.ready.drain(..).collect(),
            // Other nodes send them.
            Mode::Abandoned => state.ready.clear(),
        }
        if state.mode.sending().is_none() {
            return actions;
        }
        if std::mem::take(&mut state.reread) {
            state.note_due(now);
        }
        if state.begins_at() > now && !state.ready.is_empty() {
            actions.wake_by(state.begins_at());
        } else {
            actions.workers = self.take_turns(state);
        }
        let is_due = state.refill.is_none() && state.next_due.is_some_and(|due| due <= now);
        if is_due && state.blocked && state.held.is_empty() && state.not_before > now {
            // It would occupy a place without being sent.
            actions.wake_by(state.not_before);
        } else if is_due && self.may_refill(state) {
            state.refill = Some(RefillNotes::default());
            actions.refill = true;
        }
        actions
    }

    /// Adds to the statistics of an organization's webhook.
    pub(super) fn count(&self, organization: i64, count: impl FnOnce(&mut Tally)) {
        let mut state = self.state.lock();
        let tally = state
            .tally
            .get_or_insert_with(|| Box::new((organization, Tally::default())));
        count(&mut tally.1);
    }

    /// The counts since the last call.
    pub(super) fn take_tally(&self) -> Option<(i64, Tally)> {
        self.state.lock().tally.take().map(|tally| *tally)
    }

    /// Notified when a delivery is stored as pending while nothing is sent.
    pub(super) fn arrivals(&self) -> Arc<Notify> {
        Arc::clone(&self.arrivals)
    }

    /// Accesses the lane's health under its lock.
    pub(super) fn with_health<R>(&self, work: impl FnOnce(&mut Health) -> R) -> R {
        work(&mut self.state.lock().health)
    }

    /// Whether the store has a pending row for a delivery that is held.
    pub(super) fn is_stored(&self, delivery: i64) -> bool {
        self.state.lock().held.is_stored(delivery)
    }

    /// The outcome of a delivery is durable: it leaves memory. With `due_at`, it is pending in the store until that
    /// time.
    pub(super) fn settle(self: &Arc<Self>, delivery: i64, due_at: Option<i64>, now: i64) -> LaneActions {
        {
            let mut state = self.state.lock();
            state.release(delivery);
            if let Some(notes) = &mut state.refill {
                notes.settled.push(delivery);
            }
        }
        match due_at {
            Some(due_at) => self.note_due(due_at, now),
            None => self.look(now),
        }
    }

    /// Deliveries that have been in memory since before `since`, and whose only row is that of their event. They count
    /// as stored from here on: the caller writes their pending rows.
    pub(super) fn take_unstored(&self, since: i64) -> Vec<Place> {
        self.state.lock().held.take_unstored(since)
    }

    /// Whether the row that [`Lane::take_unstored`] requested is still needed: not if the delivery has left memory
    /// since.
    pub(super) fn is_noted(&self, delivery: i64) -> bool {
        self.state.lock().held.is_noted(delivery)
    }

    /// The oldest event with a delivery in memory that has no pending row.
    pub(super) fn oldest_unstored_event(&self) -> Option<i64> {
        self.state.lock().held.oldest_unstored_event()
    }

    /// Removes a delivery that was ended while it was queued here. An attempt in flight continues.
    pub(super) fn forget(&self, delivery: i64) {
        let mut state = self.state.lock();
        let before = state.ready.len();
        state.ready.retain(|job| job.delivery != delivery);
        if state.ready.len() < before {
            state.release(delivery);
        }
    }

    /// Clears the lane, because other nodes own its deliveries now. Attempts in flight may end, and are not recorded.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.mode = Mode::Abandoned;
        state.ready.clear();
        state.idle.clear();
        state.next_due = None;
        state.held.clear();
        state.room = None;
    }

    pub(super) fn is_abandoned(&self) -> bool {
        matches!(self.state.lock().mode, Mode::Abandoned)
    }

    /// Whether the webhook was deleted.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.lock().mode, Mode::Gone)
    }

    /// Whether nothing is left to do for a webhook that was deleted.
    pub(super) fn is_finished(&self) -> bool {
        let state = self.lock();
        matches!(state.mode, Mode::Gone) && state.held.is_empty() && state.workers == 0 && state.tally.is_none()
    }

    /// Since when a delivery is due that the webhook's limits would allow to be attempted, while no attempt is made.
    pub(super) fn stalled_since(&self, now: i64) -> Option<i64> {
        let state = self.lock();
        if state.mode.sending().is_none() || state.workers > 0 || state.begins_at() > now {
            return None;
        }
        if state.turns.waits_on_purpose(&self.shared.turns) {
            return None;
        }
        let waiting = state.next_due.filter(|due| *due <= now);
        let ready = state.ready.front().and_then(|job| state.held.since(job.delivery));
        waiting.into_iter().chain(ready).min()
    }

    /// Whether the lane has a note of a pending delivery in the store that is due at `due_at` or earlier. A lane whose
    /// mode is waiting needs none: it reads the store when its mode changes.
    pub(super) fn expects(&self, due_at: i64, now: i64) -> bool {
        let state = self.lock();
        match state.mode {
            Mode::Waiting | Mode::Abandoned => true,
            // Its pending deliveries must be cancelled.
            Mode::Gone => false,
            Mode::Sending(_) => {
                state.reread || state.refill.is_some() || state.next_due.is_some_and(|due| due <= due_at.max(now))
            }
        }
    }

    /// How many deliveries in memory have a pending row, and the time, at most `until`, up to which all due deliveries
    /// of the store should be among them.
    pub(super) fn in_memory_until(&self, until: i64) -> (usize, i64) {
        let state = self.lock();
        let rows = state.held.stored();
        (rows, state.next_due.map_or(until, |due| until.min(due - 1)))
    }

    /// Whether a delivery is in memory.
    pub(super) fn holds(&self, delivery: i64) -> bool {
        self.lock().held.contains(delivery)
    }

    /// How many deliveries are in memory.
    pub(super) fn held(&self) -> usize {
        self.state.lock().held.len()
    }
}

impl State {
    /// Notes that a delivery is only in the store until `due_at`. Returns whether that is earlier than all earlier
    /// notes.
    fn note_due(&mut self, due_at: i64) -> bool {
        if let Some(notes) = &mut self.refill {
            notes.due = Some(notes.due.map_or(due_at, |due| due.min(due_at)));
        }
        let earlier = self.next_due.is_none_or(|due| due_at < due);
        if earlier {
            self.next_due = Some(due_at);
        }
        earlier
    }

    /// Removes a delivery from memory, if it is there. A refill may then fit.
    fn release(&mut self, delivery: i64) {
        if self.held.release(delivery) {
            self.blocked = false;
            if self.held.is_empty() {
                self.room = None;
            }
        }
    }
}

#[cfg(test)]
mod crowd;
#[cfg(test)]
pub(super) mod fixtures;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
