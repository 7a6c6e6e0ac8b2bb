//! Tests of a lane with a model of the store, under random interleavings of publishers, workers, refills and the
//! operator.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    super::{lease::Lease, memory::DELIVERY_BYTES},
    fixtures::{SECOND, catalogue, configure, job, lane_with, webhook},
    *,
};

/// The destination of deliveries that a lane has returned.
#[derive(Clone, Copy, Debug)]
enum Handed {
    Parked,
    Cancelled,
}

/// A lane with its surroundings: the content of the store, the running workers, and the time.
pub(super) struct World {
    pub(super) lane: Arc<Lane>,
    pub(super) catalogue: Arc<Catalogue>,
    memory: Arc<Memory>,
    pub(super) turns: Arc<Turns<WakeHandle>>,
    pub(super) now: i64,
    last: i64,
    /// Pending deliveries in the store: their due times and attempts.
    pub(super) rows: BTreeMap<i64, (i64, u32)>,
    /// The deliveries that a refill has read and not given to the lane yet.
    pub(super) reading: Option<Read>,
    /// Committed events that have not been handed off yet.
    pub(super) committed: Vec<Job>,
    pub(super) working: Vec<Job>,
    /// Deliveries that the lane has returned, and that the committer has not recorded yet.
    recording: Vec<(Job, Handed)>,
    wakes: BTreeSet<i64>,
    pub(super) delivered: BTreeSet<i64>,
    cancelled: BTreeSet<i64>,
    /// The catalogue has changed, and the lane was not notified.
    untold: bool,
}

impl World {
    pub(super) fn new() -> Self {
        let memory = Arc::new(Memory::new(100_000));
        let turns = Arc::new(Turns::new(3, Arc::new(Lease::new(false))));
        let limits = LaneLimits {
            jobs: 6,
            bytes: 50_000,
            attempts: 4,
        };
        let catalogue = catalogue();
        Self {
            lane: lane_with(limits, &memory, &turns, &catalogue),
            catalogue,
            memory,
            turns,
            now: SECOND,
            last: 1_000,
            rows: BTreeMap::new(),
            reading: None,
            committed: Vec::new(),
            working: Vec::new(),
            recording: Vec::new(),
            wakes: BTreeSet::new(),
            delivered: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            untold: false,
        }
    }

    pub(super) fn act(&mut self, actions: LaneActions) {
        for _ in 0..actions.workers {
            self.start_worker();
        }
        if actions.refill {
            assert!(self.reading.is_none(), "one refill at a time");
            self.read();
        }
        self.wakes.extend(actions.wake_at);
        let parked = actions.park.into_iter().map(|job| (job, Handed::Parked));
        let cancelled = actions.cancel.into_iter().map(|job| (job, Handed::Cancelled));
        self.recording.extend(parked.chain(cancelled));
        if actions.cancel_stored {
            self.cancel_stored();
        }
    }

    fn cancel_stored(&mut self) {
        self.cancelled.extend(std::mem::take(&mut self.rows).into_keys());
    }

    fn is_gone(&self) -> bool {
        self.catalogue.current().webhooks.is_empty()
    }

    fn is_active(&self) -> bool {
        self.catalogue.current().webhooks.values().any(|webhook| webhook.active)
    }

    fn read(&mut self) {
        let plan = self.lane.plan_refill();
        let mut due: Vec<_> = self.rows.iter().filter(|(_, row)| row.0 <= self.now).collect();
        due.sort_by_key(|(delivery, row)| (row.0, **delivery));
        let more = due.len() > plan.rows;
        let jobs = due
            .into_iter()
            .take(plan.rows)
            .map(|(delivery, row)| job(*delivery, row.1));
        let jobs = jobs.collect();
        let later = self.rows.values().map(|row| row.0).filter(|due| *due > self.now).min();
        self.reading = Some(Read {
            jobs,
            next_due: if more { Some(self.now) } else { later },
            too_large: false,
        });
    }

    fn start_worker(&mut self) {
        match self.next(true) {
            Some(job) => self.working.push(job),
            None => self.pass_turn(),
        }
    }

    /// The next delivery for a worker, which is sent by the current catalogue.
    fn next(&mut self, first: bool) -> Option<Job> {
        let (job, webhook) = self.lane.next(first, self.now)?;
        let current = Arc::clone(&self.catalogue.current().webhooks[&7]);
        assert!(Arc::ptr_eq(&webhook, &current), "a worker got an old configuration");
        assert!(webhook.active, "nothing is sent to an inactive webhook");
        Some(job)
    }

    fn pass_turn(&mut self) {
        let mut account = self.lane.release_turn();
        while let Some((next, its)) = self.turns.give(account) {
            account = its;
            let next = next.lane().unwrap();
            if next.called(account, self.now) {
                self.start_worker();
                let actions = next.look(self.now);
                self.act(actions);
                break;
            }
        }
        let actions = self.lane.look(self.now);
        self.act(actions);
    }

    /// Reserves and commits. The hand-off comes later.
    pub(super) fn publish(&mut self) {
        self.last += 2;
        let place = Place {
            delivery: self.last,
            event: self.last - 1,
            organization: 1,
        };
        if self.lane.reserve(place, DELIVERY_BYTES + 2, self.now) {
            self.committed.push(job(self.last, 0));
        } else {
            self.rows.insert(self.last, (self.now, 0));
            let actions = self.lane.note_due(self.now, self.now);
            self.act(actions);
        }
    }

    pub(super) fn hand_off(&mut self) {
        if let Some(job) = self.committed.pop() {
            let actions = self.lane.enqueue(job, self.now);
            self.act(actions);
        }
    }

    fn refilled(&mut self) {
        if let Some(read) = self.reading.take() {
            let actions = self.lane.refilled(read, self.now);
            self.act(actions);
        }
    }

    /// The attempt of the worker at `index` ends, and its outcome is committed.
    pub(super) fn finish(&mut self, index: usize, success: bool) {
        if self.working.is_empty() {
            return;
        }
        let job = self.working.swap_remove(index % self.working.len());
        self.lane.attempted(success, Duration::from_millis(1), true, self.now);
        // Deleting a webhook removes its rows, whatever the lane knows about them.
        if !self.is_gone() {
            assert_eq!(
                self.lane.is_stored(job.delivery),
                self.rows.contains_key(&job.delivery),
                "the lane knows which rows there are"
            );
        }
        let retry = (!success).then_some(self.now + SECOND);
        match retry {
            Some(due) => drop(self.rows.insert(job.delivery, (due, job.attempts + 1))),
            None => self.deliver(job.delivery),
        }
        let actions = self.lane.settle(job.delivery, retry, self.now);
        self.act(actions);
        match self.next(false) {
            Some(next) if !self.lane.should_pass() => self.working.push(next),
            Some(next) => {
                // A worker that finds other lanes waiting makes this attempt, then leaves. Here it happens at once.
                self.deliver(next.delivery);
                let actions = self.lane.settle(next.delivery, None, self.now);
                self.act(actions);
                self.lane.leave();
                self.pass_turn();
            }
            None => self.pass_turn(),
        }
    }

    fn deliver(&mut self, delivery: i64) {
        self.rows.remove(&delivery);
        assert!(self.delivered.insert(delivery), "{delivery} is delivered once");
    }

    /// The committer takes one of the deliveries that the lane has returned.
    fn record(&mut self) {
        let Some((job, handed)) = self.recording.pop() else {
            return;
        };
        let due_at = match handed {
            Handed::Parked => {
                self.rows.insert(job.delivery, (self.now, job.attempts));
                Some(self.now)
            }
            Handed::Cancelled => {
                self.rows.remove(&job.delivery);
                self.cancelled.insert(job.delivery);
                None
            }
        };
        let actions = self.lane.settle(job.delivery, due_at, self.now);
        self.act(actions);
    }

    /// The operator changes the webhook. The lane is notified later.
    pub(super) fn switch(&mut self, active: bool) {
        if !self.is_gone() {
            configure(&self.catalogue, Some(webhook(active)));
            self.untold = true;
        }
    }

    /// The operator deletes the webhook and its pending deliveries. The lane is notified later.
    fn delete(&mut self) {
        self.cancel_stored();
        configure(&self.catalogue, None);
        self.untold = true;
    }

    fn tell(&mut self) {
        self.untold = false;
        let actions = self.lane.look(self.now);
        self.act(actions);
    }

    /// Checks that every delivery is in one place, and that the lane expects those that are only in the store.
    pub(super) fn check(&self) {
        self.lane.check().unwrap();
        self.turns.check(WakeHandle::key).unwrap();
        self.memory.check().unwrap();
        let state = self.lane.state.lock();
        let in_flight = state.workers - state.starting;
        assert_eq!(in_flight, self.working.len(), "each worker has one delivery");
        assert_eq!(self.turns.taken(), state.turns.held(), "the lane holds the turns");
        assert!(state.workers <= state.turns.held(), "each worker has a turn");
        assert_eq!(self.memory.used(), state.held.own_bytes(), "bytes in memory add up");
        let in_memory = self.committed.iter().chain(&state.ready).chain(&self.working);
        let mut in_memory: Vec<i64> = in_memory.map(|job| job.delivery).collect();
        in_memory.extend(self.recording.iter().map(|(job, _)| job.delivery));
        let mut places = in_memory.clone();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), in_memory.len(), "in two places at once: {in_memory:?}");
        let held: BTreeSet<i64> = state.held.ids().collect();
        assert_eq!(
            held,
            places.into_iter().collect(),
            "the held deliveries are those in memory"
        );
        for delivery in (1_002..=self.last).step_by(2) {
            let ended = self.delivered.contains(&delivery) || self.cancelled.contains(&delivery);
            let row = self.rows.get(&delivery);
            assert!(ended || held.contains(&delivery) || row.is_some(), "{delivery} is lost");
            let Some((due_at, _)) = row.filter(|_| !held.contains(&delivery)) else {
                continue;
            };
            let soon = self.now.max(*due_at);
            let expected = state.next_due.is_some_and(|due| due <= soon) || state.refill.is_some();
            assert!(
                expected || !self.is_active() || self.untold || state.reread,
                "{delivery} is in the store, and the lane does not expect it"
            );
        }
    }

    fn note_unstored(&mut self) {
        for place in self.lane.take_unstored(self.now) {
            if self.lane.is_noted(place.delivery) {
                self.rows.insert(place.delivery, (self.now, 0));
            }
        }
    }

    fn pass_time(&mut self) {
        self.now += SECOND / 2;
        while let Some(at) = self.wakes.first().copied().filter(|at| *at <= self.now) {
            self.wakes.remove(&at);
            let actions = self.lane.look(self.now);
            self.act(actions);
        }
    }

    /// Continues everything that has begun until nothing changes any more. A delivery that is not delivered then was
    /// forgotten.
    pub(super) fn drain(&mut self) {
        self.switch(true);
        self.tell();
        for _ in 0..10_000 {
            self.hand_off();
            self.refilled();
            self.finish(0, true);
            self.record();
            self.check();
            let moving = self.committed.len() + self.working.len() + self.recording.len();
            if moving == 0 && self.reading.is_none() {
                if self.wakes.is_empty() {
                    return;
                }
                self.pass_time();
            }
        }
        panic!("the lane does not become idle");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish,
    HandOff,
    Refilled,
    Finish(usize, bool),
    Record,
    Switch(bool),
    Tell,
    Note,
    Time,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Publish),
        5 => Just(Step::HandOff),
        3 => Just(Step::Refilled),
        6 => (0usize..4, any::<bool>()).prop_map(|(index, success)| Step::Finish(index, success)),
        3 => Just(Step::Record),
        3 => any::<bool>().prop_map(Step::Switch),
        3 => Just(Step::Tell),
        1 => Just(Step::Note),
        2 => Just(Step::Time),
    ];
    proptest::collection::vec(step, 0..200)
}

impl World {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Publish => self.publish(),
            Step::HandOff => self.hand_off(),
            Step::Refilled => self.refilled(),
            Step::Finish(index, success) => self.finish(*index, *success),
            Step::Record => self.record(),
            Step::Switch(active) => self.switch(*active),
            Step::Tell => self.tell(),
            Step::Note => self.note_unstored(),
            Step::Time => self.pass_time(),
        }
        self.check();
    }

    fn assert_at_rest(&self) {
        assert!(self.rows.is_empty());
        assert_eq!(self.memory.used(), 0);
        assert_eq!(self.turns.taken(), 0);
        assert_eq!(self.lane.held(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn x09_every_delivery_is_made_once_and_nothing_is_left(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.take(&step);
            prop_assert!(world.lane.held() <= 6, "memory is bounded");
        }
        world.drain();
        let published: BTreeSet<i64> = (1_002..=world.last).step_by(2).collect();
        prop_assert_eq!(&world.delivered, &published);
        world.assert_at_rest();
    }

    /// The webhook is deleted at some moment: every delivery ends, and the lane can be removed.
    #[test]
    fn every_delivery_of_a_deleted_webhook_ends(before in steps(), after in steps()) {
        let mut world = World::new();
        before.iter().for_each(|step| world.take(step));
        world.delete();
        after.iter().for_each(|step| world.take(step));
        world.drain();
        let ended: BTreeSet<i64> = world.delivered.union(&world.cancelled).copied().collect();
        let published: BTreeSet<i64> = (1_002..=world.last).step_by(2).collect();
        prop_assert_eq!(ended, published);
        world.assert_at_rest();
        prop_assert!(world.lane.is_finished());
    }
}
