//! A lane against a model of the store, under random interleavings of publishers, workers, refills and the operator.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::{super::lease::Lease, *};

const SECOND: i64 = 1_000_000;

fn event(id: i64) -> Arc<StoredEvent> {
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

fn job(delivery: i64, attempts: u32) -> Job {
    Job {
        delivery,
        webhook: 7,
        event: event(delivery - 1),
        attempts,
        ordering_key: None,
    }
}

/// A lane with its surroundings: what the store holds, which workers run, what time it is.
struct World {
    lane: Arc<Lane>,
    memory: Arc<Memory>,
    turns: Arc<Turns>,
    now: i64,
    last: i64,
    /// Deliveries that wait in the store: when they are due, and attempts made.
    rows: BTreeMap<i64, (i64, u32)>,
    /// What a refill has read and not given to the lane yet.
    reading: Option<(Vec<Job>, Option<i64>)>,
    /// Committed events whose hand-off is still to come.
    committed: Vec<Job>,
    working: Vec<Job>,
    wakes: BTreeSet<i64>,
    delivered: Vec<i64>,
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
        let lane = Lane::new(
            WebhookId::from_raw(7),
            limits,
            Arc::clone(&memory),
            Arc::clone(&turns),
            Health::default(),
        );
        Self {
            lane: Arc::new(lane),
            memory,
            turns,
            now: SECOND,
            last: 1_000,
            rows: BTreeMap::new(),
            reading: None,
            committed: Vec::new(),
            working: Vec::new(),
            wakes: BTreeSet::new(),
            delivered: Vec::new(),
        }
    }

    fn act(&mut self, wants: Wants) {
        for _ in 0..wants.workers {
            self.start_worker();
        }
        if wants.refill {
            assert!(self.reading.is_none(), "one refill at a time");
            self.read();
        }
        self.wakes.extend(wants.wake_at);
        assert!(
            wants.cancel.is_empty() && !wants.cancel_stored,
            "the webhook is not gone"
        );
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
        self.reading = Some((jobs, if more { Some(self.now) } else { later }));
    }

    fn start_worker(&mut self) {
        match self.lane.next(true, None, self.now) {
            Some(job) => self.working.push(job),
            None => self.pass_turn(),
        }
    }

    fn pass_turn(&mut self) {
        while let Some(next) = self.turns.give() {
            if next.called(self.now) {
                self.start_worker();
                let wants = next.look(self.now);
                self.act(wants);
                break;
            }
        }
        let wants = self.lane.look(self.now);
        self.act(wants);
    }

    /// Reserves and commits; the hand-off comes later.
    fn publish(&mut self) {
        self.last += 2;
        let place = Place {
            delivery: self.last,
            event: self.last - 1,
            organization: 1,
        };
        if self.lane.reserve(place, memory_of(2, 1), self.now) {
            self.committed.push(job(self.last, 0));
        } else {
            self.rows.insert(self.last, (self.now, 0));
            let wants = self.lane.note_due(self.now, self.now);
            self.act(wants);
        }
    }

    fn hand_off(&mut self) {
        if let Some(job) = self.committed.pop() {
            let wants = self.lane.enqueue(job, self.now);
            self.act(wants);
        }
    }

    fn refilled(&mut self) {
        if let Some((jobs, next_due)) = self.reading.take() {
            let wants = self.lane.refilled(jobs, next_due, self.now);
            self.act(wants);
        }
    }

    /// The attempt of the worker at `index` ends, and its outcome is committed.
    fn finish(&mut self, index: usize, success: bool) {
        if self.working.is_empty() {
            return;
        }
        let job = self.working.swap_remove(index % self.working.len());
        self.lane.attempted(success, Duration::from_millis(1));
        let stored = self.lane.is_stored(job.delivery);
        assert_eq!(
            stored,
            self.rows.contains_key(&job.delivery),
            "the lane knows which rows there are"
        );
        let retry = (!success).then_some(self.now + SECOND);
        match retry {
            Some(due) => drop(self.rows.insert(job.delivery, (due, job.attempts + 1))),
            None => {
                self.rows.remove(&job.delivery);
                self.delivered.push(job.delivery);
            }
        }
        let wants = self.lane.settle(job.delivery, retry, self.now);
        self.act(wants);
        match self.lane.next(false, None, self.now) {
            Some(next) if !self.turns.contended() => self.working.push(next),
            Some(next) => {
                // As a worker that finds others waiting: it does this one, then leaves. Here it is done at once.
                self.rows.remove(&next.delivery);
                self.delivered.push(next.delivery);
                let wants = self.lane.settle(next.delivery, None, self.now);
                self.act(wants);
                self.lane.leave();
                self.pass_turn();
            }
            None => self.pass_turn(),
        }
    }

    fn pause(&mut self) {
        for job in self.lane.pause() {
            self.rows.insert(job.delivery, (self.now, job.attempts));
            let wants = self.lane.settle(job.delivery, Some(self.now), self.now);
            self.act(wants);
        }
    }

    fn resume(&mut self) {
        let wants = self.lane.resume(self.now);
        self.act(wants);
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
            let wants = self.lane.look(self.now);
            self.act(wants);
        }
    }

    /// Everything that was set in motion goes on until nothing moves: what then is not delivered was forgotten.
    fn drain(&mut self) {
        self.resume();
        for _ in 0..10_000 {
            self.hand_off();
            self.refilled();
            self.finish(0, true);
            if self.committed.is_empty() && self.working.is_empty() && self.reading.is_none() {
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
    Pause,
    Resume,
    Note,
    Time,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Publish),
        5 => Just(Step::HandOff),
        3 => Just(Step::Refilled),
        6 => (0usize..4, any::<bool>()).prop_map(|(index, success)| Step::Finish(index, success)),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        1 => Just(Step::Note),
        2 => Just(Step::Time),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_delivery_is_made_once_and_nothing_is_left(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Publish => world.publish(),
                Step::HandOff => world.hand_off(),
                Step::Refilled => world.refilled(),
                Step::Finish(index, success) => world.finish(index, success),
                Step::Pause => world.pause(),
                Step::Resume => world.resume(),
                Step::Note => world.note_unstored(),
                Step::Time => world.pass_time(),
            }
            prop_assert!(world.lane.held() <= 6, "memory is bounded");
        }
        world.drain();
        let published: Vec<i64> = (1_002..=world.last).step_by(2).collect();
        world.delivered.sort_unstable();
        prop_assert_eq!(&world.delivered, &published);
        prop_assert!(world.rows.is_empty());
        prop_assert_eq!(world.memory.used(), 0);
        prop_assert_eq!(world.turns.taken(), 0);
        prop_assert_eq!(world.lane.held(), 0);
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
    world.lane.settle(taken[0].delivery, None, world.now);
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
    let wants = world.lane.close(world.now);
    assert_eq!(wants.cancel.len(), 0, "nothing was handed off yet");
    let wants = world.lane.enqueue(late, world.now);
    assert_eq!(wants.cancel.len(), 1, "a delivery that comes late ends");
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
        memory_of(2, 1),
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
    let lane = Arc::new(Lane::new(
        WebhookId::from_raw(7),
        limits,
        memory,
        turns,
        Health::default(),
    ));
    assert_eq!(lane.stalled_since(SECOND), None);
    let place = Place {
        delivery: 1,
        event: 0,
        organization: 1,
    };
    assert!(lane.reserve(place, 10, SECOND));
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
    lease.renewed(std::time::Instant::now(), Duration::from_secs(3600));
    let resumed = lane.turns.resume();
    assert!(resumed.is_some_and(|lane| lane.called(3 * SECOND)));
    assert_eq!(
        lane.stalled_since(3 * SECOND),
        None,
        "an attempt is made, however long it takes"
    );
    assert!(lane.next(true, None, 3 * SECOND).is_some());
    lease.lost();
    assert!(
        lane.next(false, None, 3 * SECOND).is_none(),
        "nothing begins without a lease"
    );
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
    world.lane.keep_until_settled(place, memory_of(2, 1), world.now);
    // Something else that is due has the lane read the store, which has the row already.
    world.rows.insert(2_001, (world.now, 0));
    world.rows.insert(3_001, (world.now, 0));
    let lane = Arc::clone(&world.lane);
    let wants = lane.note_due(world.now, world.now);
    world.act(wants);
    let (jobs, next_due) = world.reading.take().unwrap();
    assert!(jobs.iter().any(|job| job.delivery == 2_001), "the row is read");
    let wants = lane.refilled(jobs, next_due, world.now);
    world.act(wants);
    assert_eq!(world.working.len(), 1, "the other one");
    assert!(
        world.working.iter().all(|job| job.delivery != 2_001),
        "{:?}",
        world.working
    );
    // Now the news: it waits in the store alone, and is read from there.
    let wants = lane.settle(2_001, Some(world.now), world.now);
    world.act(wants);
    let (jobs, _) = world.reading.take().unwrap();
    assert!(jobs.iter().any(|job| job.delivery == 2_001), "it is not forgotten");
}
