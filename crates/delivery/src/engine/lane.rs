//! A lane: one webhook's deliveries inside this node.
//!
//! A lane holds a bounded number of deliveries. What it cannot hold waits in the store alone (a row in
//! `pending_deliveries`) and is read back in order when the lane drains. While anything that is due waits in the store, new
//! deliveries are sent there too, so that the lane stays roughly first in, first out.
//!
//! Every delivery in memory is in `held` from the moment its place is reserved (before the commit) until the commit that
//! holds its outcome is done. `held` therefore says which rows of the store must not be read back a second time.
//!
//! Whether a lane sends, waits or ends its deliveries is derived from the catalogue under the lane's lock ([`mode`]): there is
//! no second record of it that could disagree. A worker gets its delivery and the webhook to send it to in one step.
//!
//! All times are those of the schedule clock ([`crate::clock`]).

mod mode;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use hookwright_domain::id::WebhookId;
use hookwright_storage::{StoredEvent, stats::Tally};
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::mode::Mode;
use super::{
    health::Health,
    limit::Limit,
    memory::{self, EXEMPT_BYTES, Memory, Weight},
    room::RoomQueue,
    turns::Turns,
};
use crate::{
    catalogue::{Catalogue, Webhook},
    sender::Connection,
};

/// How many idle connections a lane keeps.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// How many deliveries a lane may hold for each attempt that it may have under way.
const JOBS_PER_ATTEMPT: usize = 32;
/// And no more than it will have sent in this time, in microseconds.
const SOON_US: usize = 2_000_000;
/// How long an attempt is taken to last before there was one.
const ATTEMPT_US: usize = 20_000;

/// A delivery in memory.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) delivery: i64,
    pub(super) webhook: i64,
    pub(super) event: Arc<StoredEvent>,
    /// Attempts made so far.
    pub(super) attempts: u32,
    /// The key of an ordered delivery.
    pub(super) ordering_key: Option<String>,
}

/// Which delivery a place in memory is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) delivery: i64,
    pub(super) event: i64,
    pub(super) organization: i64,
}

/// What is known of a delivery in memory.
#[derive(Clone, Debug)]
struct Held {
    place: Place,
    /// Whether the store has a pending row for it, or will have. Without one, only the event row tells after a crash that
    /// it is owed.
    stored: bool,
    /// Whether the committer has been asked to write that row.
    noted: bool,
    since: i64,
    /// What it counts against the memory limits.
    weight: Weight,
}

/// The bounds of every lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneLimits {
    pub(super) jobs: usize,
    pub(super) bytes: usize,
    pub(super) attempts: usize,
}

/// What all lanes of a node use.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) memory: Arc<Memory>,
    pub(super) turns: Arc<Turns<WakeHandle>>,
    pub(super) room: Arc<RoomQueue<WakeHandle>>,
    /// Whether other nodes may use the same store.
    pub(super) several_nodes: bool,
    /// Nothing is sent: all deliveries wait in the store.
    pub(super) hold: bool,
}

impl Shared {
    /// Of lanes that send, alone on their store.
    pub(super) fn new(catalogue: Arc<Catalogue>, memory: Arc<Memory>, turns: Arc<Turns<WakeHandle>>) -> Self {
        Self {
            catalogue,
            room: Arc::new(RoomQueue::new(Arc::clone(&memory))),
            memory,
            turns,
            several_nodes: false,
            hold: false,
        }
    }
}

/// What queues hold of a lane: enough to call it, and not what keeps it in memory.
#[derive(Clone)]
pub(super) struct WakeHandle(Weak<Lane>);

impl WakeHandle {
    /// The lane to call; `None` when it was removed meanwhile.
    pub(super) fn lane(&self) -> Option<Arc<Lane>> {
        self.0.upgrade()
    }
}

/// See the module.
pub(super) struct Lane {
    pub(super) webhook: WebhookId,
    limits: LaneLimits,
    shared: Shared,
    /// Told when something comes to wait in the store while nothing is sent.
    arrivals: Arc<Notify>,
    state: Mutex<State>,
}

struct State {
    ready: VecDeque<Job>,
    held: HashMap<i64, Held>,
    bytes: usize,
    /// Of those, what the lane's deliveries count against the limit of all lanes, beside large payloads.
    own: usize,
    workers: usize,
    /// Workers that have not asked for their first delivery yet.
    starting: usize,
    in_line: bool,
    /// What becomes of deliveries, by the snapshot of the catalogue that `generation` names.
    mode: Mode,
    generation: Option<u64>,
    /// Whether one node alone may send to the webhook: then every delivery waits in the store, for that node.
    exclusive: bool,
    /// Whether deliveries go one after another, by their key: then the store keeps the order, and all of them wait there.
    ordered: bool,
    /// The configuration has changed: what waits in the store may be due although the lane was not told.
    reread: bool,
    limit: Limit,
    /// How long an attempt lasts: a moving average, in microseconds.
    attempt_us: usize,
    idle: Vec<Connection>,
    /// When the earliest delivery that waits in the store alone is due.
    next_due: Option<i64>,
    refill: Option<RefillNotes>,
    /// The next delivery that is due did not fit. Until one leaves memory, or the lane has a place, reading it again is useless.
    blocked: bool,
    /// The lane waits to be called for room in memory.
    in_room_line: bool,
    /// For a delivery that the memory of all lanes has no room for.
    room: Option<memory::Place>,
    /// Rate limit: no attempt may begin before this time.
    not_before: i64,
    /// A part of the operator's fails that attempts for this webhook need: none may begin before this time.
    held_until: i64,
    /// Rate limit: microseconds between attempts, 0 without a limit.
    interval: i64,
    health: Health,
    /// What was counted since it was last taken, and for which organization.
    tally: Option<Box<(i64, Tally)>>,
}

/// What happens while a refill reads the store, and which its reading may or may not have seen.
#[derive(Default)]
struct RefillNotes {
    due: Option<i64>,
    settled: Vec<i64>,
}

/// What a lane wants done next; the engine does it outside the lane's lock. Dropping it loses deliveries.
#[derive(Debug, Default)]
#[must_use = "the lane has handed these deliveries and workers over: the caller must act on them"]
pub(super) struct LaneActions {
    /// Start this many workers; each has its turn already.
    pub(super) workers: usize,
    /// Read back from the store.
    pub(super) refill: bool,
    /// Look at the lane again at this time.
    pub(super) wake_at: Option<i64>,
    /// Nothing is sent to the webhook for now: put these deliveries back into the store.
    pub(super) park: Vec<Job>,
    /// The webhook is gone: end these deliveries.
    pub(super) cancel: Vec<Job>,
    /// The webhook is gone: end what waits in the store for it.
    pub(super) cancel_stored: bool,
}

/// What to read back.
pub(super) struct RefillPlan {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// The first delivery is read even if it exceeds `bytes`, up to this size.
    pub(super) first_bytes: usize,
}

/// What a refill has read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) jobs: Vec<Job>,
    /// When the earliest row that was not read is due.
    pub(super) next_due: Option<i64>,
    /// Nothing was read, because the first delivery is larger than was planned for.
    pub(super) too_large: bool,
}

impl Lane {
    pub(super) fn new(webhook: WebhookId, limits: LaneLimits, shared: Shared, health: Health) -> Self {
        Self {
            webhook,
            limits,
            shared,
            arrivals: Arc::default(),
            state: Mutex::new(State {
                ready: VecDeque::new(),
                held: HashMap::new(),
                bytes: 0,
                own: 0,
                workers: 0,
                starting: 0,
                in_line: false,
                mode: Mode::Waiting,
                generation: None,
                exclusive: false,
                ordered: false,
                reread: false,
                limit: Limit::new(limits.attempts),
                attempt_us: ATTEMPT_US,
                idle: Vec::new(),
                next_due: None,
                refill: None,
                blocked: false,
                in_room_line: false,
                room: None,
                not_before: 0,
                held_until: 0,
                interval: 0,
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

    /// Reserves a place for a delivery that is about to be committed. False: it must wait in the store.
    pub(super) fn reserve(&self, place: Place, weight: impl Into<Weight>, now: i64) -> bool {
        let weight = weight.into();
        let mut state = self.lock();
        let backlog = state.next_due.is_some_and(|due| due <= now) || state.refill.is_some();
        let in_store = backlog || state.reread || state.exclusive || state.ordered;
        if in_store || state.mode.sending().is_none() || !self.fits(&state, &weight) {
            return false;
        }
        self.hold(&mut state, place, false, weight, now);
        true
    }

    /// Keeps a delivery that goes into the store for want of room: between its commit and the news of it, a refill may read the
    /// row, and must not take it in.
    pub(super) fn keep_until_settled(&self, place: Place, weight: impl Into<Weight>, now: i64) {
        let mut state = self.lock();
        // The record of a lane that was abandoned is dropped: nothing would ever settle it.
        if !matches!(state.mode, Mode::Abandoned) {
            self.hold(&mut state, place, false, weight.into(), now);
        }
    }

    fn hold(&self, state: &mut State, place: Place, stored: bool, weight: Weight, now: i64) {
        self.shared.memory.add(weight.own);
        state.hold(place, stored, weight, now);
    }

    /// Whether a new delivery may come into memory. An empty lane may always hold a small one, so that no lane can be starved by
    /// the memory that others use. A larger one waits in the store, and for a place ([`memory::Place`]).
    fn fits(&self, state: &State, weight: &Weight) -> bool {
        let has_room = || self.shared.memory.has_room(weight.lane);
        if state.held.is_empty() {
            return weight.is_exempt() || has_room();
        }
        state.held.len() < self.capacity(state) && state.bytes + weight.lane <= self.limits.bytes && has_room()
    }

    /// How many deliveries the lane may hold: as many as it will soon have sent at the pace that its webhook keeps. One that
    /// fails, or is slow, has its backlog in the store and not in memory.
    fn capacity(&self, state: &State) -> usize {
        let attempts = state.limit.get();
        let soon = attempts.saturating_mul(SOON_US / state.attempt_us.max(1));
        soon.min(attempts * JOBS_PER_ATTEMPT)
            .max(JOBS_PER_ATTEMPT / 2)
            .min(self.limits.jobs)
    }

    /// Gives a reserved place back: the delivery was not committed.
    pub(super) fn unreserve(&self, delivery: i64) {
        let held = self.state.lock().release(delivery);
        if let Some(held) = held {
            self.shared.memory.remove(held.weight.own);
        }
    }

    /// Puts a delivery whose place was reserved, and which is now durable, in the queue.
    pub(super) fn enqueue(self: &Arc<Self>, job: Job, now: i64) -> LaneActions {
        let mut state = self.lock();
        state.ready.push_back(job);
        self.actions(&mut state, now)
    }

    /// Notes that a delivery waits in the store alone until `due_at`.
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
            actions.wake_at = Some(actions.wake_at.map_or(due_at, |at| at.min(due_at)));
        }
        actions
    }

    /// Asks the lane what it wants, for example because its time has come, or its webhook was changed.
    pub(super) fn look(self: &Arc<Self>, now: i64) -> LaneActions {
        self.actions(&mut self.lock(), now)
    }

    /// Decides under the lock; counts the workers that the caller must start.
    fn actions(self: &Arc<Self>, state: &mut State, now: i64) -> LaneActions {
        let mut actions = LaneActions::default();
        match state.mode {
            Mode::Sending(_) => {}
            Mode::Waiting => actions.park = state.ready.drain(..).collect(),
            Mode::Gone => actions.cancel = state.ready.drain(..).collect(),
            // They are others' to send.
            Mode::Abandoned => state.ready.clear(),
        }
        if state.mode.sending().is_none() {
            return actions;
        }
        if std::mem::take(&mut state.reread) {
            state.note_due(now);
        }
        if state.begins_at() > now && !state.ready.is_empty() {
            actions.wake_at = Some(state.begins_at());
        } else {
            actions.workers = self.take_turns(state);
        }
        let is_due = state.refill.is_none() && state.next_due.is_some_and(|due| due <= now);
        if is_due && state.blocked && state.held.is_empty() && state.not_before > now {
            // It would take a place and not be sent.
            actions.wake_at = Some(actions.wake_at.map_or(state.not_before, |at| at.min(state.not_before)));
        } else if is_due && self.may_refill(state) {
            state.refill = Some(RefillNotes::default());
            actions.refill = true;
        }
        actions
    }

    /// Whether to read what is due. An empty lane reads in any case: a small delivery, which it may always hold, or what there is
    /// room for. Where that was too little, it takes a place first, or gets in line.
    fn may_refill(self: &Arc<Self>, state: &mut State) -> bool {
        if !state.held.is_empty() {
            return !state.blocked
                && state.held.len() <= self.capacity(state) / 2
                && state.bytes <= self.limits.bytes / 2
                && self.shared.memory.room() > 0;
        }
        if state.in_room_line {
            return false;
        }
        if state.blocked {
            state.room = self.shared.room.take(|| self.wake_handle());
            state.in_room_line = state.room.is_none();
            state.blocked = state.in_room_line;
        }
        !state.blocked
    }

    /// The lane that waited for room has a place. It is given back if there is no use for it any more.
    pub(super) fn called_for_room(self: &Arc<Self>, place: memory::Place, now: i64) -> LaneActions {
        let mut state = self.lock();
        (state.in_room_line, state.blocked) = (false, false);
        let useful = state.mode.sending().is_some()
            && state.held.is_empty()
            && state.refill.is_none()
            && state.not_before <= now
            && state.next_due.is_some_and(|due| due <= now);
        if useful {
            state.room = Some(place);
        }
        self.actions(&mut state, now)
    }

    /// Takes a turn for each delivery that could be attempted now. Without a free turn the lane gets in line, once. This
    /// happens under the lane's lock, so that the lane cannot be called before it knows that it stands in line.
    fn take_turns(self: &Arc<Self>, state: &mut State) -> usize {
        let free = state.limit.get().saturating_sub(state.workers);
        let wanted = free.min(state.ready.len().saturating_sub(state.starting));
        let mut taken = 0;
        while taken < wanted && !state.in_line {
            if self.shared.turns.take(|| self.wake_handle()) {
                taken += 1;
            } else {
                state.in_line = true;
            }
        }
        state.workers += taken;
        state.starting += taken;
        taken
    }

    /// The lane's turn has come. True: start a worker, which is counted. False: there is nothing to do.
    pub(super) fn called(&self, now: i64) -> bool {
        let mut state = self.lock();
        state.in_line = false;
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

    /// The next delivery for a worker and the webhook to send it to, as it is configured at this moment; `first` if the
    /// worker had none before. `None`: the worker must end; it is no longer counted.
    pub(super) fn next(&self, first: bool, now: i64) -> Option<(Job, Arc<Webhook>)> {
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

    /// Whether deliveries are sent by this configuration of the webhook.
    pub(super) fn sends_by(&self, webhook: &Arc<Webhook>) -> bool {
        let state = self.lock();
        state.mode.sending().is_some_and(|now| Arc::ptr_eq(now, webhook))
    }

    /// No attempt begins before a time, unless the webhook is configured anew.
    pub(super) fn hold_until(&self, until: i64) {
        let mut state = self.lock();
        state.held_until = state.held_until.max(until);
    }

    /// A worker ends although it could go on, to give its turn to another lane.
    pub(super) fn leave(&self) {
        self.state.lock().workers -= 1;
    }

    pub(super) fn take_connection(&self) -> Option<Connection> {
        self.lock().idle.pop()
    }

    pub(super) fn keep_connection(&self, connection: Connection) {
        let mut state = self.lock();
        if state.idle.len() < IDLE_CONNECTIONS_MAX && state.mode.is_served_by(&connection) {
            state.idle.push(connection);
        }
    }

    /// Closes connections that have been idle for long. Returns whether some are left.
    pub(super) fn close_idle(&self) -> bool {
        let mut state = self.state.lock();
        state.idle.retain(Connection::is_fresh);
        !state.idle.is_empty()
    }

    /// Takes the result of an attempt into account.
    pub(super) fn attempted(&self, success: bool, took: Duration) {
        let mut state = self.state.lock();
        let took = usize::try_from(took.as_micros()).unwrap_or(usize::MAX).min(SOON_US);
        state.attempt_us = (state.attempt_us * 7 + took) / 8;
        if success {
            state.limit.succeeded();
        } else {
            state.limit.failed();
        }
    }

    /// Counts for the statistics of an organization's webhook.
    pub(super) fn count(&self, organization: i64, count: impl FnOnce(&mut Tally)) {
        let mut state = self.state.lock();
        let tally = state
            .tally
            .get_or_insert_with(|| Box::new((organization, Tally::default())));
        count(&mut tally.1);
    }

    /// What was counted since the last call.
    pub(super) fn take_tally(&self) -> Option<(i64, Tally)> {
        self.state.lock().tally.take().map(|tally| *tally)
    }

    /// Told when something comes to wait in the store while nothing is sent.
    pub(super) fn arrivals(&self) -> Arc<Notify> {
        Arc::clone(&self.arrivals)
    }

    /// Works on the lane's health under its lock.
    pub(super) fn with_health<R>(&self, work: impl FnOnce(&mut Health) -> R) -> R {
        work(&mut self.state.lock().health)
    }

    /// Whether the store has a pending row for a delivery that is held.
    pub(super) fn is_stored(&self, delivery: i64) -> bool {
        self.state.lock().held.get(&delivery).is_some_and(|held| held.stored)
    }

    /// The outcome of a delivery is durable: it leaves memory, and may wait in the store until `due_at`.
    pub(super) fn settle(self: &Arc<Self>, delivery: i64, due_at: Option<i64>, now: i64) -> LaneActions {
        {
            let mut state = self.state.lock();
            if let Some(held) = state.release(delivery) {
                self.shared.memory.remove(held.weight.own);
            }
            if let Some(notes) = &mut state.refill {
                notes.settled.push(delivery);
            }
        }
        match due_at {
            Some(due_at) => self.note_due(due_at, now),
            None => self.look(now),
        }
    }

    /// How much a refill may read: rows that are held already are read again, and then left out.
    pub(super) fn plan_refill(&self) -> RefillPlan {
        let state = self.state.lock();
        let stored = state.held.values().filter(|held| held.stored).count();
        let free = self.capacity(&state).saturating_sub(state.held.len()).max(1);
        let bytes = state.bytes
            + self
                .limits
                .bytes
                .saturating_sub(state.bytes)
                .min(self.shared.memory.room())
                .max(1);
        let has_room = !state.held.is_empty() || state.room.is_some() || self.shared.memory.room() > 0;
        RefillPlan {
            rows: stored + free,
            bytes,
            first_bytes: if has_room { usize::MAX } else { EXEMPT_BYTES },
        }
    }

    /// Takes in what a refill has read.
    pub(super) fn refilled(self: &Arc<Self>, read: Read, now: i64) -> LaneActions {
        let Read {
            jobs,
            mut next_due,
            too_large,
        } = read;
        let mut state = self.lock();
        let notes = state.refill.take().unwrap_or_default();
        let (found_any, held_before) = (too_large || !jobs.is_empty(), state.held.len());
        if state.mode.sending().is_none() {
            state.room = None;
            // Rows that are still owed are read again when the webhook is active; the others were cancelled, or are others' own.
            return self.actions(&mut state, now);
        }
        for mut job in jobs {
            if state.held.contains_key(&job.delivery) || notes.settled.contains(&job.delivery) {
                continue;
            }
            if state.held.len() >= self.capacity(&state).max(1) {
                next_due = Some(now);
                break;
            }
            let weight = self.shared.memory.weigh(job.event.id, job.event.payload.len(), 1);
            if !state.held.is_empty() && !self.shared.memory.has_room(weight.own) {
                // Others have taken the room since this was planned.
                next_due = Some(now);
                break;
            }
            job.event = self.shared.memory.adopt(job.event);
            let place = Place {
                delivery: job.delivery,
                event: job.event.id,
                organization: job.event.organization_id,
            };
            self.hold(&mut state, place, true, weight, now);
            state.ready.push_back(job);
        }
        state.next_due = match (next_due, notes.due) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        state.blocked = found_any && state.held.len() == held_before;
        if state.held.is_empty() || self.shared.memory.room() > 0 {
            state.room = None;
        }
        let mut actions = self.actions(&mut state, now);
        if let Some(due) = state.next_due.filter(|due| *due > now) {
            actions.wake_at = Some(actions.wake_at.map_or(due, |at| at.min(due)));
        }
        actions
    }

    /// Deliveries that have been in memory since before `since` with nothing in the store but their event. They are
    /// counted as stored from here on: the caller writes their pending rows.
    pub(super) fn take_unstored(&self, since: i64) -> Vec<Place> {
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        for held in state.held.values_mut() {
            if !held.stored && held.since < since {
                held.stored = true;
                held.noted = true;
                taken.push(held.place);
            }
        }
        taken
    }

    /// Whether the row that [`Lane::take_unstored`] asked for is still needed: not if the delivery has left memory since.
    pub(super) fn is_noted(&self, delivery: i64) -> bool {
        self.state.lock().held.get(&delivery).is_some_and(|held| held.noted)
    }

    /// The oldest event of which a delivery in memory has no pending row.
    pub(super) fn oldest_unstored_event(&self) -> Option<i64> {
        self.state
            .lock()
            .held
            .values()
            .filter(|held| !held.stored)
            .map(|held| held.place.event)
            .min()
    }

    /// Forgets a delivery that was ended while it waits here. One that is under way goes on.
    pub(super) fn forget(&self, delivery: i64) {
        let mut state = self.state.lock();
        let before = state.ready.len();
        state.ready.retain(|job| job.delivery != delivery);
        if state.ready.len() < before
            && let Some(held) = state.release(delivery)
        {
            self.shared.memory.remove(held.weight.own);
        }
    }

    /// Forgets everything, because other nodes own it now. What is under way may end, and is not recorded.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.mode = Mode::Abandoned;
        state.ready.clear();
        state.idle.clear();
        state.next_due = None;
        self.shared.memory.remove(state.own);
        (state.bytes, state.own) = (0, 0);
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

    /// Since when something is due that the webhook's limits would allow to be attempted, while nothing is attempted.
    pub(super) fn stalled_since(&self, now: i64) -> Option<i64> {
        let state = self.lock();
        if state.mode.sending().is_none() || state.workers > 0 || state.begins_at() > now {
            return None;
        }
        let waiting = state.next_due.filter(|due| *due <= now);
        let ready = state
            .ready
            .front()
            .and_then(|job| state.held.get(&job.delivery))
            .map(|held| held.since);
        waiting.into_iter().chain(ready).min()
    }

    /// Whether the lane has in mind that something waits in the store that is due at `due_at` or earlier. A lane whose
    /// deliveries wait has no need to: it reads the store when that changes.
    pub(super) fn expects(&self, due_at: i64, now: i64) -> bool {
        let state = self.lock();
        match state.mode {
            Mode::Waiting | Mode::Abandoned => true,
            // What waits for it is to be cancelled.
            Mode::Gone => false,
            Mode::Sending(_) => {
                state.reread || state.refill.is_some() || state.next_due.is_some_and(|due| due <= due_at.max(now))
            }
        }
    }

    /// How many deliveries in memory have a pending row, and until when everything that is due in the store should be among
    /// them: `until` at most.
    pub(super) fn in_memory_until(&self, until: i64) -> (usize, i64) {
        let state = self.lock();
        let rows = state.held.values().filter(|held| held.stored).count();
        (rows, state.next_due.map_or(until, |due| until.min(due - 1)))
    }

    /// Whether a delivery is in memory.
    pub(super) fn holds(&self, delivery: i64) -> bool {
        self.lock().held.contains_key(&delivery)
    }

    /// Begins to give a part of what waits in the store away: nothing is read back until [`Lane::refilled`]. Returns the
    /// deliveries in memory, which stay; `None` when there is nothing to give, or this is not the moment.
    pub(super) fn begin_giving(&self, now: i64) -> Option<Vec<i64>> {
        let mut state = self.lock();
        let waits = state.next_due.is_some_and(|due| due <= now);
        if state.refill.is_some() || state.mode.sending().is_none() || state.exclusive || !waits {
            return None;
        }
        state.refill = Some(RefillNotes::default());
        Some(state.held.keys().copied().collect())
    }

    /// How many deliveries are in memory.
    pub(super) fn held(&self) -> usize {
        self.state.lock().held.len()
    }
}

impl State {
    /// No attempt may begin before this time.
    fn begins_at(&self) -> i64 {
        self.not_before.max(self.held_until)
    }

    /// Something waits in the store alone until `due_at`. Returns whether that is earlier than all the lane had in mind.
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

    fn hold(&mut self, place: Place, stored: bool, weight: Weight, since: i64) {
        let (bytes, own) = (weight.lane, weight.own);
        let held = Held {
            place,
            stored,
            noted: false,
            since,
            weight,
        };
        if self.held.insert(place.delivery, held).is_none() {
            self.bytes += bytes;
            self.own += own;
        }
    }

    fn release(&mut self, delivery: i64) -> Option<Held> {
        let held = self.held.remove(&delivery)?;
        self.bytes -= held.weight.lane;
        self.own -= held.weight.own;
        self.blocked = false;
        if self.held.is_empty() {
            self.room = None;
        }
        Some(held)
    }
}

#[cfg(test)]
mod crowd;
#[cfg(test)]
pub(super) mod tests;
