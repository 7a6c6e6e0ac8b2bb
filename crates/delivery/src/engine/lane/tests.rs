//! A lane against a model of the store, under random interleavings of publishers, workers, refills and the operator.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hookwright_domain::{id::OrganizationId, retry::RetrySchedule, subscription::Subscription, url::PayloadUrl};
use proptest::prelude::*;

use super::{
    super::{lease::Lease, memory::DELIVERY_BYTES},
    *,
};
use crate::catalogue::Snapshot;

const SECOND: i64 = 1_000_000;

pub(in super::super) fn event(id: i64) -> Arc<StoredEvent> {
    Arc::new(StoredEvent {
        id,
        organization_id: 1,
        event_type: "clocking".to_owned(),
        payload: Bytes::from_static(b"{}"),
        webhooks: Arc::from([7]),
        occurred_at: 0,
        attributes: None,
        trace: None,
        tracestate: None,
        ordering_key: None,
        replay_of: None,
    })
}

pub(super) fn webhook(active: bool) -> Webhook {
    Webhook {
        id: WebhookId::from_raw(7),
        organization: OrganizationId::from_raw(1),
        url: Some(PayloadUrl::parse("https://receiver.example/hook").unwrap()),
        subscription: Subscription::from_events(&["clocking".to_owned()]).unwrap(),
        filter: None,
        active,
        headers: Vec::new(),
        timeout: Duration::from_secs(1),
        schedule: Arc::new(RetrySchedule::new(vec![Duration::from_secs(1)]).unwrap()),
        rate: None,
        ordered: false,
        pauses: false,
        skip_verify: false,
        keys: None,
    }
}

/// Puts the webhook in force; `None` when it is deleted.
fn configure(catalogue: &Catalogue, webhook: Option<Webhook>) {
    catalogue.replace(Snapshot {
        webhooks: webhook.map(|webhook| (7, Arc::new(webhook))).into_iter().collect(),
        ..Snapshot::default()
    });
}

/// A catalogue with one active webhook, of the id 7.
pub(in super::super) fn catalogue() -> Arc<Catalogue> {
    let catalogue = Arc::new(Catalogue::default());
    configure(&catalogue, Some(webhook(true)));
    catalogue
}

fn lane_with(
    limits: LaneLimits,
    memory: &Arc<Memory>,
    turns: &Arc<Turns<WakeHandle>>,
    catalogue: &Arc<Catalogue>,
) -> Arc<Lane> {
    let shared = Shared::new(Arc::clone(catalogue), Arc::clone(memory), Arc::clone(turns));
    Arc::new(Lane::new(WebhookId::from_raw(7), limits, shared, Health::default()))
}

fn job(delivery: i64, attempts: u32) -> Job {
    Job {
        delivery,
        webhook: 7,
        event: event(delivery - 1),
        attempts,
        ordering_key: None,
    }
}

/// What becomes of deliveries that a lane has handed back.
#[derive(Clone, Copy, Debug)]
enum Handed {
    Parked,
    Cancelled,
}

/// A lane with its surroundings: what the store holds, which workers run, what time it is.
struct World {
    lane: Arc<Lane>,
    catalogue: Arc<Catalogue>,
    memory: Arc<Memory>,
    turns: Arc<Turns<WakeHandle>>,
    now: i64,
    last: i64,
    /// Deliveries that wait in the store: when they are due, and attempts made.
    rows: BTreeMap<i64, (i64, u32)>,
    /// What a refill has read and not given to the lane yet.
    reading: Option<Read>,
    /// Committed events whose hand-off is still to come.
    committed: Vec<Job>,
    working: Vec<Job>,
    /// Deliveries that the lane has handed back, on their way to the committer.
    recording: Vec<(Job, Handed)>,
    wakes: BTreeSet<i64>,
    delivered: BTreeSet<i64>,
    cancelled: BTreeSet<i64>,
    /// The catalogue has changed, and the lane has not been told.
    untold: bool,
}

impl World {
    fn new() -> Self {
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

    fn act(&mut self, actions: LaneActions) {
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

    /// The next delivery for a worker, which goes where the catalogue leads at this moment.
    fn next(&mut self, first: bool) -> Option<Job> {
        let (job, webhook) = self.lane.next(first, self.now)?;
        let current = Arc::clone(&self.catalogue.current().webhooks[&7]);
        assert!(Arc::ptr_eq(&webhook, &current), "a worker got an old configuration");
        assert!(webhook.active, "nothing is sent to an inactive webhook");
        Some(job)
    }

    fn pass_turn(&mut self) {
        while let Some(next) = self.turns.give() {
            let next = next.lane().unwrap();
            if next.called(self.now) {
                self.start_worker();
                let actions = next.look(self.now);
                self.act(actions);
                break;
            }
        }
        let actions = self.lane.look(self.now);
        self.act(actions);
    }

    /// Reserves and commits; the hand-off comes later.
    fn publish(&mut self) {
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

    fn hand_off(&mut self) {
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
    fn finish(&mut self, index: usize, success: bool) {
        if self.working.is_empty() {
            return;
        }
        let job = self.working.swap_remove(index % self.working.len());
        self.lane.attempted(success, Duration::from_millis(1));
        // Deleting a webhook removes its rows, whatever the lane knows of them.
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
            Some(next) if !self.turns.contended() => self.working.push(next),
            Some(next) => {
                // As a worker that finds others waiting: it does this one, then leaves. Here it is done at once.
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

    /// The committer takes one of the deliveries that the lane has handed back.
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

    /// The operator changes the webhook. The lane is told later.
    fn switch(&mut self, active: bool) {
        if !self.is_gone() {
            configure(&self.catalogue, Some(webhook(active)));
            self.untold = true;
        }
    }

    /// The operator deletes the webhook, and with it what waits in the store. The lane is told later.
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

    /// Every delivery is in one place, and what waits in the store alone is expected by the lane.
    fn check(&self) {
        let state = self.lane.state.lock();
        let in_memory = self.committed.iter().chain(&state.ready).chain(&self.working);
        let mut in_memory: Vec<i64> = in_memory.map(|job| job.delivery).collect();
        in_memory.extend(self.recording.iter().map(|(job, _)| job.delivery));
        let mut places = in_memory.clone();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), in_memory.len(), "in two places at once: {in_memory:?}");
        let held: BTreeSet<i64> = state.held.keys().copied().collect();
        assert_eq!(held, places.into_iter().collect(), "held is what is in memory");
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
                "{delivery} waits in the store, and the lane does not know"
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

    /// Everything that was set in motion goes on until nothing moves: what then is not delivered was forgotten.
    fn drain(&mut self) {
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
        panic!("the lane does not come to rest");
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

    /// The webhook is deleted at some moment: whatever is owed ends, and the lane can be removed.
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

#[test]
fn a_row_that_was_asked_for_is_not_written_after_the_outcome() {
    let mut world = World::new();
    world.publish();
    world.hand_off();
    let taken = world.lane.take_unstored(world.now + 1);
    assert_eq!(taken.len(), 1);
    assert!(world.lane.is_noted(taken[0].delivery));
    let actions = world.lane.settle(taken[0].delivery, None, world.now);
    world.act(actions);
    assert!(
        !world.lane.is_noted(taken[0].delivery),
        "it would be delivered again after a restart"
    );
}

#[test]
fn a_deleted_webhook_leaves_nothing_behind() {
    let mut world = World::new();
    for _ in 0..3 {
        world.publish();
    }
    let late = world.committed.pop().unwrap();
    configure(&world.catalogue, None);
    let actions = world.lane.look(world.now);
    assert_eq!(actions.cancel.len(), 0, "nothing was handed off yet");
    let actions = world.lane.enqueue(late, world.now);
    assert_eq!(actions.cancel.len(), 1, "a delivery that comes late ends");
    assert!(
        world.lane.note_due(world.now, world.now).cancel_stored,
        "so does one that went to the store"
    );
    assert!(!world.lane.reserve(
        Place {
            delivery: 9,
            event: 8,
            organization: 1
        },
        DELIVERY_BYTES + 2,
        world.now
    ));
}

#[test]
fn a_stalled_lane_says_since_when_and_a_slow_webhook_is_no_stall() {
    let lease = Arc::new(Lease::new(true));
    let turns = Arc::new(Turns::new(3, Arc::clone(&lease)));
    let limits = LaneLimits {
        jobs: 10,
        bytes: 1 << 20,
        attempts: 2,
    };
    let memory = Arc::new(Memory::new(1 << 20));
    let lane = lane_with(limits, &memory, &turns, &catalogue());
    assert_eq!(lane.stalled_since(SECOND), None);
    let place = Place {
        delivery: 1,
        event: 0,
        organization: 1,
    };
    assert!(lane.reserve(place, 10_usize, SECOND));
    let job = Job {
        delivery: 1,
        webhook: 7,
        event: event(0),
        attempts: 0,
        ordering_key: None,
    };
    // The lease has not begun: the delivery waits in line.
    assert_eq!(lane.enqueue(job, SECOND).workers, 0);
    assert_eq!(lane.stalled_since(3 * SECOND), Some(SECOND));
    lease.renewed(crate::clock::boot_us(), Duration::from_secs(3600));
    let resumed = turns.resume();
    assert!(resumed.unwrap().lane().unwrap().called(3 * SECOND));
    assert_eq!(
        lane.stalled_since(3 * SECOND),
        None,
        "an attempt is made, however long it takes"
    );
    assert!(lane.next(true, 3 * SECOND).is_some());
    lease.lost();
    assert!(lane.next(false, 3 * SECOND).is_none(), "nothing begins without a lease");
}

/// A delivery that was recovered goes into the store because there is no room. Its row is durable before the lane hears of it, and a
/// refill reads the row in between: taken in then, it would be sent from there, and once more after the news.
#[test]
fn a_row_that_is_read_before_the_news_of_it_is_not_taken_in() {
    let mut world = World::new();
    let place = Place {
        delivery: 2_001,
        event: 2_000,
        organization: 1,
    };
    world.lane.keep_until_settled(place, DELIVERY_BYTES + 2, world.now);
    // Something else that is due has the lane read the store, which has the row already.
    world.rows.insert(2_001, (world.now, 0));
    world.rows.insert(3_001, (world.now, 0));
    let lane = Arc::clone(&world.lane);
    let actions = lane.note_due(world.now, world.now);
    world.act(actions);
    let read = world.reading.take().unwrap();
    assert!(read.jobs.iter().any(|job| job.delivery == 2_001), "the row is read");
    let actions = lane.refilled(read, world.now);
    world.act(actions);
    assert_eq!(world.working.len(), 1, "the other one");
    assert!(
        world.working.iter().all(|job| job.delivery != 2_001),
        "{:?}",
        world.working
    );
    // Now the news: it waits in the store alone, and is read from there.
    let actions = lane.settle(2_001, Some(world.now), world.now);
    world.act(actions);
    let read = world.reading.take().unwrap();
    assert!(read.jobs.iter().any(|job| job.delivery == 2_001), "it is not forgotten");
}

#[test]
fn x09_a_lane_that_was_paused_and_resumed_unnoticed_goes_on() {
    let mut world = World::new();
    for _ in 0..3 {
        world.publish();
        world.hand_off();
    }
    assert!(!world.working.is_empty());
    // Off and on again before anybody looks: a worker's next step sees the webhook as it is now.
    world.switch(false);
    world.switch(true);
    world.finish(0, true);
    assert!(!world.working.is_empty(), "the worker goes on");
    world.check();
    world.drain();
    assert_eq!(world.delivered.len(), 3);
}

#[test]
fn a_rate_that_is_raised_or_removed_holds_up_nothing() {
    let world = World::new();
    let rated = |rate| Some(Webhook { rate, ..webhook(true) });
    let begins = |now: i64| {
        let lane = &world.lane;
        let place = Place {
            delivery: 2_001,
            event: 2_000,
            organization: 1,
        };
        assert!(lane.reserve(place, DELIVERY_BYTES + 2, now));
        let actions = lane.enqueue(job(2_001, 0), now);
        for _ in 0..actions.workers {
            assert!(lane.next(true, now).is_some());
            lane.leave();
            world.turns.give();
        }
        lane.forget(2_001);
        let settled = lane.settle(2_001, None, now);
        assert_eq!(settled.workers, 0);
        actions.workers == 1
    };
    let change = |rate, now: i64| {
        configure(&world.catalogue, rated(rate));
        let actions = world.lane.look(now);
        assert!(
            actions.refill,
            "what waits in the store may be due by the new configuration"
        );
        assert_eq!(world.lane.refilled(Read::default(), now).workers, 0);
    };
    let now = 1_000 * SECOND;
    assert_eq!(world.lane.look(now).workers, 0);
    change(Some(0.01), now);
    // After a rest one attempt may come early.
    assert!(begins(now) && begins(now));
    assert!(!begins(now + SECOND), "the next one has to wait for 100 seconds");
    let now = now + 2 * SECOND;
    change(Some(1.0), now);
    assert!(begins(now) && begins(now), "one a second");
    assert!(!begins(now));
    change(None, now);
    assert!(begins(now) && begins(now) && begins(now), "as many as come");
}
