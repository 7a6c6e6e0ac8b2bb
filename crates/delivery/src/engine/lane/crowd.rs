//! Tests of many lanes that share a memory which is too small for them, with a model of the store.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use hookwright_storage::StoredEvent;
use proptest::prelude::*;

use super::{
    super::{
        lease::Lease,
        memory::{DELIVERY_BYTES, EXEMPT_BYTES},
    },
    fixtures::{event, webhook},
    *,
};
use crate::catalogue::{Snapshot, Webhook};

const LANES: usize = 30;
const MEMORY: usize = 200_000;
/// The largest payload. All lanes that hold a large payload share it.
const PAYLOAD_MAX: usize = 100_000;
/// The limit on memory: the places, one payload that made memory full, and the exemption of each lane.
const MEMORY_MAX: usize = MEMORY + 9 * PAYLOAD_MAX + LANES * (EXEMPT_BYTES + 2 * DELIVERY_BYTES);

struct Crowd {
    lanes: Vec<Arc<Lane>>,
    catalogue: Arc<Catalogue>,
    /// Webhooks that the operator has paused.
    inactive: BTreeSet<usize>,
    memory: Arc<Memory>,
    turns: Arc<Turns<WakeHandle>>,
    room: Arc<RoomQueue<WakeHandle>>,
    /// The pending rows of each lane.
    rows: Vec<BTreeMap<i64, Arc<StoredEvent>>>,
    reading: BTreeMap<usize, Read>,
    /// Refills that are waiting for their permit. One refill reads at a time, which keeps the model's limit simple.
    asked: BTreeSet<usize>,
    working: Vec<(usize, Job)>,
    last: i64,
    delivered: usize,
}

impl Crowd {
    fn new() -> Self {
        let memory = Arc::new(Memory::new(MEMORY));
        let turns = Arc::new(Turns::new(100_000, Arc::new(Lease::new(false))));
        let catalogue = Arc::new(Catalogue::default());
        let shared = Shared::new(Arc::clone(&catalogue), Arc::clone(&memory), Arc::clone(&turns));
        let limits = LaneLimits {
            jobs: 100,
            bytes: MEMORY / 8,
            attempts: 4,
        };
        let room = Arc::clone(&shared.room);
        let lane = |lane| Arc::new(Lane::new(id(lane), limits, shared.clone(), Health::default()));
        let crowd = Self {
            lanes: (0..LANES).map(lane).collect(),
            catalogue,
            inactive: BTreeSet::new(),
            memory,
            turns,
            room,
            rows: vec![BTreeMap::new(); LANES],
            reading: BTreeMap::new(),
            asked: BTreeSet::new(),
            working: Vec::new(),
            last: 1_000,
            delivered: 0,
        };
        crowd.configure();
        crowd
    }

    /// Applies the configuration of active webhooks.
    fn configure(&self) {
        let before = self.catalogue.current();
        let configured = |lane: usize| {
            let webhook = Webhook {
                id: id(lane),
                ..webhook(!self.inactive.contains(&lane))
            };
            let known = before.webhooks.get(&id(lane).raw());
            let unchanged = known.filter(|known| known.active == webhook.active).cloned();
            (id(lane).raw(), unchanged.unwrap_or_else(|| Arc::new(webhook)))
        };
        self.catalogue.replace(Snapshot {
            webhooks: (0..LANES).map(configured).collect(),
            ..Snapshot::default()
        });
    }

    /// The operator pauses a webhook, or resumes it.
    fn switch(&mut self, lane: usize) {
        if !self.inactive.remove(&lane) {
            self.inactive.insert(lane);
        }
        self.configure();
        let actions = self.lanes[lane].look(0);
        self.act(lane, actions);
    }

    fn act(&mut self, lane: usize, actions: LaneActions) {
        for _ in 0..actions.workers {
            match self.lanes[lane].next(true, 0) {
                Some((job, _)) => self.working.push((lane, job)),
                None => assert!(self.turns.give(self.lanes[lane].release_turn()).is_none()),
            }
        }
        if actions.refill {
            assert!(self.asked.insert(lane), "one refill of a lane at a time");
        }
        for job in actions.park {
            self.rows[lane].insert(job.delivery, Arc::clone(&job.event));
            let actions = self.lanes[lane].settle(job.delivery, Some(0), 0);
            self.act(lane, actions);
        }
    }

    fn publish(&mut self, lane: usize, bytes: usize) {
        self.last += 2;
        let event = Arc::new(StoredEvent {
            payload: vec![b' '; bytes].into(),
            ..(*event(self.last)).clone()
        });
        let delivery = self.last + 1;
        let place = Place {
            delivery,
            event: self.last,
            organization: 1,
        };
        let weight = self.memory.weigh(self.last, bytes, 1);
        let actions = if self.lanes[lane].reserve(place, weight, 0) {
            let job = job(lane, delivery, &event);
            self.lanes[lane].enqueue(job, 0)
        } else {
            self.rows[lane].insert(delivery, event);
            self.lanes[lane].note_due(0, 0)
        };
        self.act(lane, actions);
    }

    /// A server starts with this delivery in the store.
    fn publish_to_store(&mut self, lane: usize, bytes: usize) {
        self.last += 2;
        let event = Arc::new(StoredEvent {
            payload: vec![b' '; bytes].into(),
            ..(*event(self.last)).clone()
        });
        self.rows[lane].insert(self.last + 1, event);
    }

    fn read(&mut self) {
        if !self.reading.is_empty() {
            return;
        }
        let Some(lane) = self.asked.pop_first() else { return };
        let plan = self.lanes[lane].plan_refill();
        let mut read = Read::default();
        let mut left = plan.bytes;
        for (delivery, event) in &self.rows[lane] {
            let size = event.payload.len();
            let fits = size <= left || (read.jobs.is_empty() && size <= plan.first_bytes);
            if !fits || read.jobs.len() == plan.rows {
                read.next_due = Some(0);
                read.too_large = read.jobs.is_empty();
                break;
            }
            left = left.saturating_sub(size);
            read.jobs.push(job(lane, *delivery, event));
        }
        self.reading.insert(lane, read);
    }

    fn refilled(&mut self) {
        if let Some((lane, read)) = self.reading.pop_first() {
            let actions = self.lanes[lane].refilled(read, 0);
            self.act(lane, actions);
        }
    }

    fn finish(&mut self, at: usize) {
        if self.working.is_empty() {
            return;
        }
        let (lane, job) = self.working.swap_remove(at % self.working.len());
        self.delivered += 1;
        self.rows[lane].remove(&job.delivery);
        let delivery = job.delivery;
        drop(job);
        let actions = self.lanes[lane].settle(delivery, None, 0);
        self.act(lane, actions);
        match self.lanes[lane].next(false, 0) {
            Some((job, _)) => self.working.push((lane, job)),
            None => assert!(self.turns.give(self.lanes[lane].release_turn()).is_none()),
        }
        let actions = self.lanes[lane].look(0);
        self.act(lane, actions);
    }

    /// The keeper, if it is woken, calls lanes that are waiting for a place.
    fn call(&mut self) {
        if self.room.freed().now_or_never().is_none() {
            return;
        }
        while let Some((lane, place)) = self.room.next() {
            let lane = lane.lane().unwrap();
            let at = usize::try_from(lane.webhook.raw()).unwrap();
            let actions = lane.called_for_room(place, 0);
            self.act(at, actions);
        }
    }

    fn check(&self) {
        let used = self.memory.used();
        assert!(used <= MEMORY_MAX, "{used} bytes are in memory");
        let own = self.lanes.iter().map(|lane| lane.state.lock().held.own_bytes());
        let counted = own.sum::<usize>() + self.memory.large_bytes();
        assert_eq!(used, counted, "bytes in memory add up");
        for lane in &self.lanes {
            lane.check().unwrap();
        }
        self.memory.check().unwrap();
        self.room.check(WakeHandle::key).unwrap();
        self.turns.check(WakeHandle::key).unwrap();
    }

    /// Continues everything until nothing changes any more.
    fn drain(&mut self) {
        for lane in self.inactive.clone() {
            self.switch(lane);
        }
        loop {
            let before = (self.delivered, self.asked.len(), self.reading.len());
            self.read();
            self.refilled();
            self.finish(0);
            self.call();
            self.check();
            let moving = self.working.len() + self.asked.len() + self.reading.len();
            if moving == 0 && before == (self.delivered, 0, 0) {
                return;
            }
        }
    }

    fn assert_at_rest(&self, published: usize) {
        let waiting: usize = self.rows.iter().map(BTreeMap::len).sum();
        assert_eq!((self.delivered, waiting), (published, 0), "no delivery is forgotten");
        assert_eq!((self.memory.used(), self.turns.taken()), (0, 0));
    }
}

fn id(lane: usize) -> WebhookId {
    WebhookId::from_raw(i64::try_from(lane).unwrap())
}

fn job(lane: usize, delivery: i64, event: &Arc<StoredEvent>) -> Job {
    Job {
        delivery,
        webhook: id(lane).raw(),
        event: Arc::clone(event),
        attempts: 0,
        ordering_key: None,
    }
}

#[test]
fn memory_is_bounded_after_a_restart_with_large_payloads_for_many_lanes() {
    let mut crowd = Crowd::new();
    for round in 0..3 {
        for lane in 0..LANES {
            // Every third lane has small deliveries.
            let bytes = if lane % 3 == round % 3 { 100 } else { PAYLOAD_MAX };
            crowd.publish_to_store(lane, bytes);
        }
    }
    for lane in 0..LANES {
        let actions = crowd.lanes[lane].note_due(0, 0);
        crowd.act(lane, actions);
    }
    // No receiver answers yet.
    while !(crowd.asked.is_empty() && crowd.reading.is_empty()) {
        crowd.read();
        crowd.refilled();
        crowd.call();
        crowd.check();
    }
    let small = |job: &Job| job.event.payload.len() == 100;
    let small = crowd.working.iter().filter(|(_, job)| small(job)).count();
    assert_eq!(small, LANES / 3, "other lanes' use of memory delays no small delivery");
    assert!(crowd.working.len() > small, "large deliveries are sent, too");
    // Two receivers hang, so that memory stays full. The other lanes must still take turns.
    let large = crowd
        .working
        .iter()
        .filter(|(_, job)| job.event.payload.len() == PAYLOAD_MAX);
    let hanging: Vec<i64> = large.map(|(_, job)| job.delivery).take(MEMORY / PAYLOAD_MAX).collect();
    while let Some(at) = crowd
        .working
        .iter()
        .position(|(_, job)| !hanging.contains(&job.delivery))
    {
        crowd.finish(at);
        crowd.call();
        while !(crowd.asked.is_empty() && crowd.reading.is_empty()) {
            crowd.read();
            crowd.refilled();
            crowd.call();
            crowd.check();
        }
        assert!(crowd.memory.used() >= MEMORY);
    }
    assert!(crowd.delivered >= 3 * (LANES - hanging.len()), "{}", crowd.delivered);
    crowd.drain();
    crowd.assert_at_rest(3 * LANES);
}

#[derive(Clone, Debug)]
enum Step {
    Publish(usize, usize),
    Read,
    Refilled,
    Finish(usize),
    Call,
    Switch(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![Just(100), Just(10_000), Just(30_000), Just(PAYLOAD_MAX)];
    let step = prop_oneof![
        6 => (0..LANES, bytes).prop_map(|(lane, bytes)| Step::Publish(lane, bytes)),
        4 => Just(Step::Read),
        4 => Just(Step::Refilled),
        4 => (0usize..100).prop_map(Step::Finish),
        3 => Just(Step::Call),
        1 => (0..LANES).prop_map(Step::Switch),
    ];
    proptest::collection::vec(step, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_lane_that_waits_for_room_is_forgotten(steps in steps()) {
        let mut crowd = Crowd::new();
        let mut published = 0;
        for step in steps {
            match step {
                Step::Publish(lane, bytes) => {
                    published += 1;
                    crowd.publish(lane, bytes);
                }
                Step::Read => crowd.read(),
                Step::Refilled => crowd.refilled(),
                Step::Finish(at) => crowd.finish(at),
                Step::Call => crowd.call(),
                Step::Switch(lane) => crowd.switch(lane),
            }
            crowd.check();
        }
        crowd.drain();
        crowd.assert_at_rest(published);
    }
}
