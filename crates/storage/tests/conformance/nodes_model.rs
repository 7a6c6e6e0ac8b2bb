//! Leases and adoption under random interleavings: nodes publish, deliver, freeze, are fenced, adopt and join again,
//! step by step, against the real database. In any order, every committed event is delivered by one owner, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hookwright_domain::id::IdGenerator;
use hookwright_storage::{Batch, CommitError, DELIVERED, GOES_ON, NewEvent, Store, StoreError};
use hookwright_testkit::until;
use proptest::prelude::*;

use crate::{
    nodes::{Shared, fence, waiting},
    support::{Fixture, NOW, NOW_MS, attempt, pending},
};

const NODES: usize = 3;
/// Every lease has ended at any check, so the test chooses which node is fenced, and when.
const LEASE: Duration = Duration::from_millis(1);
const WEBHOOKS: [i64; 2] = [11, 12];

#[derive(Clone, Debug)]
enum Step {
    /// A node publishes. With `spill`, the second delivery goes to the store at once.
    Publish { node: usize, spill: bool },
    /// A node delivers the delivery at this position in its memory.
    Deliver { node: usize, place: usize },
    /// An attempt at a node fails, and the delivery goes to the store.
    Retry { node: usize, place: usize },
    /// A node reads its pending deliveries from the store.
    Refill { node: usize },
    /// A node stores its watermark, if everything up to now is done or stored.
    Watermark { node: usize },
    /// One node fences another.
    Fence { by: usize, node: usize },
    /// A node makes one step of every adoption.
    Adopt { by: usize },
    /// A node is killed, and starts again.
    Restart { node: usize },
    /// A node gives half of its pending deliveries to another.
    Give { node: usize, to: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NODES;
    prop_oneof![
        4 => (node.clone(), any::<bool>()).prop_map(|(node, spill)| Step::Publish { node, spill }),
        4 => (node.clone(), 0..8_usize).prop_map(|(node, place)| Step::Deliver { node, place }),
        2 => (node.clone(), 0..8_usize).prop_map(|(node, place)| Step::Retry { node, place }),
        2 => node.clone().prop_map(|node| Step::Refill { node }),
        1 => node.clone().prop_map(|node| Step::Watermark { node }),
        2 => (node.clone(), node.clone()).prop_map(|(by, node)| Step::Fence { by, node }),
        4 => node.clone().prop_map(|by| Step::Adopt { by }),
        1 => node.clone().prop_map(|node| Step::Restart { node }),
        1 => (node.clone(), node).prop_map(|(node, to)| Step::Give { node, to }),
    ]
}

/// A delivery in a node's memory.
#[derive(Clone)]
struct Held {
    event: NewEvent,
    position: usize,
    attempts: i32,
    stored: bool,
}

struct Node {
    store: Store,
    ids: IdGenerator,
    memory: BTreeMap<i64, Held>,
}

struct World {
    shared: Shared,
    nodes: Vec<Node>,
    published: BTreeMap<i64, (NewEvent, usize)>,
    delivered: BTreeSet<i64>,
}

impl World {
    async fn new() -> Self {
        let shared = Shared::new().await;
        let mut nodes = Vec::new();
        for number in 0..NODES {
            let store = shared.join(&format!("n{number}"), LEASE).await;
            let ids = IdGenerator::new(store.node(), 0);
            nodes.push(Node {
                store,
                ids,
                memory: BTreeMap::new(),
            });
        }
        Self {
            shared,
            nodes,
            published: BTreeMap::new(),
            delivered: BTreeSet::new(),
        }
    }

    /// Commits. A node that learns that it was fenced clears its memory and joins again.
    async fn commit(&mut self, node: usize, batch: &Batch) -> bool {
        loop {
            match self.nodes[node].store.commit(batch).await {
                Ok(_) => return true,
                Err(CommitError::Store(StoreError::LeaseLost)) => {
                    self.nodes[node].store.rejoin().await.unwrap();
                    self.recover(node).await;
                    return false;
                }
                // The session was ended. The next commit shows whether the node was fenced.
                Err(error) => assert!(
                    error.to_string().contains("connection")
                        || error.to_string().contains("closed")
                        || error.to_string().contains("terminat"),
                    "{error}"
                ),
            }
        }
    }

    /// The recovery of a node that has started or joined again.
    async fn recover(&mut self, node: usize) {
        let me = &mut self.nodes[node];
        me.memory.clear();
        let floor = me.store.largest_id().await.unwrap();
        me.ids.move_to(me.store.node(), floor);
        let after = me.store.watermark().await.unwrap();
        let page = me.store.unfinished(after, i64::MAX - 1, 10_000).await.unwrap();
        for unfinished in page.events {
            for position in unfinished.positions {
                let id = hookwright_domain::id::EventId::from_raw(unfinished.event.id).delivery(position);
                let (event, _) = self.published[&id.raw()].clone();
                me.memory.insert(
                    id.raw(),
                    Held {
                        event,
                        position,
                        attempts: 0,
                        stored: false,
                    },
                );
            }
        }
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Publish { node, spill } => {
                let me = &self.nodes[node];
                let mut event = Fixture::event_by(&me.ids, &WEBHOOKS);
                event.spilled = if spill { vec![1] } else { Vec::new() };
                let batch = Batch {
                    events: vec![event.clone()],
                    ..Batch::default()
                };
                if self.commit(node, &batch).await {
                    for position in 0..WEBHOOKS.len() {
                        let id = crate::support::delivery(&event, position);
                        self.published.insert(id, (event.clone(), position));
                        if !event.spilled.contains(&position) {
                            let held = Held {
                                event: event.clone(),
                                position,
                                attempts: 0,
                                stored: false,
                            };
                            self.nodes[node].memory.insert(id, held);
                        }
                    }
                }
            }
            Step::Deliver { node, place } => self.attempt(node, place, true).await,
            Step::Retry { node, place } => self.attempt(node, place, false).await,
            Step::Refill { node } => self.refill(node).await,
            Step::Watermark { node } => {
                let me = &self.nodes[node];
                if me.memory.values().all(|held| held.stored) {
                    let batch = Batch {
                        watermark: Some(me.ids.next(NOW_MS)),
                        ..Batch::default()
                    };
                    self.commit(node, &batch).await;
                }
            }
            Step::Fence { by, node } if by != node => fence(&self.nodes[by].store, &self.nodes[node].store).await,
            Step::Fence { .. } => {}
            Step::Adopt { by } => self.adopt(by).await,
            Step::Restart { node } => {
                // Dropping the store ends its sessions.
                self.nodes[node].store = self.nodes[(node + 1) % NODES].store.clone();
                self.nodes[node].store = self.shared.join(&format!("n{node}"), LEASE).await;
                self.recover(node).await;
            }
            Step::Give { node, to } if to != node => {
                let held: Vec<i64> = self.nodes[node].memory.keys().copied().collect();
                let to = self.nodes[to].store.node();
                for webhook in WEBHOOKS {
                    match self.nodes[node].store.give(to, webhook, &held, 2).await {
                        Ok(_) | Err(StoreError::LeaseLost) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Step::Give { .. } => {}
        }
    }

    async fn attempt(&mut self, node: usize, place: usize, success: bool) {
        let Some((id, held)) = self.nodes[node]
            .memory
            .iter()
            .nth(place)
            .map(|(id, held)| (*id, held.clone()))
        else {
            return;
        };
        let number = held.attempts + 1;
        let state = if success { DELIVERED } else { GOES_ON };
        let mut batch = Batch {
            attempts: vec![attempt(&held.event, held.position, number, state)],
            ..Batch::default()
        };
        if success {
            batch.unpend.extend(held.stored.then_some(id));
        } else {
            batch.pend.push(pending(&held.event, held.position, NOW, number));
        }
        if self.commit(node, &batch).await {
            self.nodes[node].memory.remove(&id);
            if success {
                assert!(self.delivered.insert(id), "recorded as delivered by two owners");
            }
        }
    }

    async fn refill(&mut self, node: usize) {
        let me = &mut self.nodes[node];
        for webhook in WEBHOOKS {
            for row in me
                .store
                .due(webhook, i64::MAX / 2, 1_000, usize::MAX)
                .await
                .unwrap()
                .rows
            {
                let id = row.pending.delivery_id;
                let (event, position) = self.published[&id].clone();
                let held = Held {
                    event,
                    position,
                    attempts: row.pending.attempts,
                    stored: true,
                };
                me.memory.entry(id).or_insert(held);
            }
        }
    }

    async fn adopt(&mut self, by: usize) {
        let store = self.nodes[by].store.clone();
        for row in store.nodes().await.unwrap() {
            if row.state == hookwright_storage::nodes::NodeState::Lost && row.number != store.node() {
                // A node that was lost itself may not know it yet. It adopts nothing then.
                match store.adopt(row.number).await {
                    Ok(_) | Err(StoreError::LeaseLost) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// One node survives, takes over everything and delivers it.
    async fn drain(&mut self) {
        for node in 1..NODES {
            let (survivor, other) = (self.nodes[0].store.clone(), self.nodes[node].store.clone());
            fence(&survivor, &other).await;
        }
        // Ensures that the survivor is a member: it may have been fenced itself.
        self.commit(0, &Batch::default()).await;
        until("everything to be adopted", async || {
            let left = self.nodes[0].store.nodes().await.unwrap().len();
            self.adopt(0).await;
            if left > 1 { Err(left) } else { Ok(()) }
        })
        .await;
        self.refill(0).await;
        while !self.nodes[0].memory.is_empty() {
            self.attempt(0, 0, true).await;
        }
        assert_eq!(waiting(&self.nodes[0].store).await, BTreeSet::new());
        let published: BTreeSet<i64> = self.published.keys().copied().collect();
        assert_eq!(self.delivered, published, "every committed event was delivered");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_has_two_owners(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.run(step).await;
            }
            world.drain().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_that_was_lost_takes_nothing_from_another() {
    let mut world = World::new().await;
    for step in [
        Step::Publish { node: 0, spill: false },
        Step::Fence { by: 0, node: 1 },
        Step::Fence { by: 1, node: 0 },
        Step::Adopt { by: 0 },
        Step::Adopt { by: 1 },
    ] {
        world.run(step).await;
    }
    world.drain().await;
}
