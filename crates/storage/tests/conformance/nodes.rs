//! Several nodes on one PostgreSQL.

use std::{collections::BTreeSet, time::Duration};

use hookwright_domain::id::IdGenerator;
use hookwright_storage::{
    Batch, CommitError, ConfigurationChange, DELIVERED, GOES_ON, Store, StoreError, StoreOptions,
    nodes::{NodeOptions, NodeReport, NodeState, Notice},
};
use hookwright_testkit::{PostgresCluster, TestDatabase, until};

use crate::support::{
    Fixture, NOW, ORGANIZATION, attempt, audit, organization, pending, session, until_blocked, with_request,
};

/// A lease that is too short to be in force at any check.
const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);
const LATER: i64 = i64::MAX / 2;

/// A database for several nodes.
pub(crate) struct Shared {
    database: TestDatabase,
}

impl Shared {
    pub(crate) async fn new() -> Self {
        let cluster = PostgresCluster::shared().await.unwrap();
        let database = cluster.create_database().await.unwrap();
        Store::migrate(&StoreOptions::new(database.url())).await.unwrap();
        Self { database }
    }

    pub(crate) fn url(&self) -> &str {
        self.database.url()
    }

    pub(crate) async fn join(&self, name: &str, lease: Duration) -> Store {
        let options = StoreOptions {
            node: NodeOptions {
                name: name.to_owned(),
                lease,
                ..NodeOptions::default()
            },
            ..StoreOptions::new(self.database.url())
        };
        Store::open(&options).await.unwrap()
    }
}

/// Fences a node whose lease is about to end.
pub(crate) async fn fence(by: &Store, node: &Store) {
    let victim = node.node();
    until("the node to be fenced", async || {
        let nodes = by.nodes().await.unwrap();
        let Some(row) = nodes.iter().find(|row| row.number == victim) else {
            // The node was lost, and everything that it owned has been adopted.
            return Ok(());
        };
        let fenced = row.state == NodeState::Lost || by.fence(victim, row.epoch).await.unwrap();
        if fenced { Ok(()) } else { Err(format!("{row:?}")) }
    })
    .await;
}

/// All pending deliveries at a node.
pub(crate) async fn waiting(store: &Store) -> BTreeSet<i64> {
    let mut found = BTreeSet::new();
    for (webhook, _) in store.pending_webhooks().await.unwrap() {
        let due = store.due(webhook, LATER, 10_000, usize::MAX).await.unwrap();
        found.extend(due.rows.iter().map(|row| row.pending.delivery_id));
    }
    found
}

async fn adopt_all(by: &Store, node: u16) -> usize {
    let mut deliveries = 0;
    loop {
        let step = by.adopt(node).await.unwrap();
        deliveries += step.deliveries;
        if step.done {
            return deliveries;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_node_has_a_number_and_a_name_that_comes_back_gets_its_own_again() {
    let shared = Shared::new().await;
    let a = shared.join("a", LONG).await;
    let b = shared.join("b", LONG).await;
    assert_eq!((a.node(), b.node()), (0, 1));
    let epoch = |store: &Store| {
        let (store, number) = (store.clone(), store.node());
        async move {
            let nodes = store.nodes().await.unwrap();
            nodes.iter().find(|row| row.number == number).unwrap().epoch
        }
    };
    let before = epoch(&a).await;
    drop(a);
    let again = shared.join("a", LONG).await;
    assert_eq!(again.node(), 0);
    assert_eq!(epoch(&again).await, before + 1);
    let c = shared.join("c", LONG).await;
    assert_eq!(c.node(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn f07_a_node_that_was_fenced_can_commit_nothing_and_joins_again() {
    let shared = Shared::new().await;
    let (a, b) = (shared.join("a", SHORT).await, shared.join("b", LONG).await);
    let ids = IdGenerator::new(a.node(), 0);
    let event = Fixture::event_by(&ids, &[1]);
    fence(&b, &a).await;
    let batch = Batch {
        events: vec![event.clone()],
        ..Batch::default()
    };
    let first = a.commit(&batch).await;
    assert!(first.is_err(), "its session was ended");
    let error = a.commit(&batch).await.err().unwrap();
    assert!(matches!(error, CommitError::Store(StoreError::LeaseLost)), "{error}");
    let error = a.beat(Some(&NodeReport::default())).await.err().unwrap();
    assert!(matches!(error, StoreError::LeaseLost), "{error}");
    assert_eq!(b.events_exist(&[event.event.id]).await.unwrap(), [0_i64; 0]);
    a.rejoin().await.unwrap();
    a.commit(&batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_lease_that_is_renewed_is_safe() {
    let shared = Shared::new().await;
    let (a, b) = (shared.join("a", LONG).await, shared.join("b", LONG).await);
    a.beat(Some(&NodeReport::default())).await.unwrap();
    let nodes = b.nodes().await.unwrap();
    assert!(!b.fence(a.node(), nodes[0].epoch).await.unwrap());
    a.commit(&Batch::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_deliveries_of_a_lost_node_are_adopted_whole_and_once() {
    let shared = Shared::new().await;
    let a = shared.join("a", SHORT).await;
    let (b, c) = (shared.join("b", LONG).await, shared.join("c", LONG).await);
    let ids = IdGenerator::new(a.node(), 0);
    let events: Vec<_> = (0..20).map(|_| Fixture::event_by(&ids, &[1, 2, 3])).collect();
    let lost = a.node();
    a.commit(&Batch {
        events: events.clone(),
        attempts: vec![attempt(&events[0], 0, 1, DELIVERED), attempt(&events[0], 1, 1, GOES_ON)],
        pend: vec![pending(&events[0], 1, NOW, 1)],
        ..Batch::default()
    })
    .await
    .unwrap();
    // An event of another node is between them, and stays that node's.
    let own = Fixture::event_by(&IdGenerator::new(b.node(), 0), &[1]);
    b.commit(&Batch {
        events: vec![own],
        ..Batch::default()
    })
    .await
    .unwrap();
    fence(&b, &a).await;
    let (by_b, by_c) = tokio::join!(adopt_all(&b, lost), adopt_all(&c, lost));
    assert!(
        by_b + by_c >= 59,
        "20 events for 3 webhooks each, minus one delivered: {by_b} and {by_c}"
    );
    let (of_b, of_c) = (waiting(&b).await, waiting(&c).await);
    assert_eq!(of_b.intersection(&of_c).count(), 0, "one owner each");
    assert_eq!(of_b.len() + of_c.len(), 59);
    let left = b.nodes().await.unwrap();
    assert!(
        left.iter().all(|row| row.number != lost),
        "its number is free: {left:?}"
    );
    let retry = of_b
        .union(&of_c)
        .find(|id| **id == crate::support::delivery(&events[0], 1));
    assert!(retry.is_some(), "the retry was adopted with its row");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_that_leaves_hands_over_at_once_and_a_node_that_joins_gets_its_share() {
    let shared = Shared::new().await;
    let (a, b) = (shared.join("a", LONG).await, shared.join("b", LONG).await);
    let ids = IdGenerator::new(a.node(), 0);
    let mut events: Vec<_> = (0..30).map(|_| Fixture::event_by(&ids, &[1])).collect();
    for event in &mut events {
        event.spilled = vec![0];
    }
    a.commit(&Batch {
        events: events.clone(),
        ..Batch::default()
    })
    .await
    .unwrap();
    let held = [crate::support::delivery(&events[29], 0)];
    assert_eq!(
        a.give(b.node(), 1, &held, 3).await.unwrap(),
        10,
        "a third of the deliveries"
    );
    assert!(!waiting(&b).await.contains(&held[0]), "deliveries in memory stay");
    let number = a.node();
    a.leave().await.unwrap();
    assert_eq!(adopt_all(&b, number).await, 20);
    assert_eq!(waiting(&b).await.len(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_exclusive_webhook_has_one_owner_until_that_is_lost() {
    let shared = Shared::new().await;
    let (a, b) = (shared.join("a", SHORT).await, shared.join("b", LONG).await);
    let ids = [IdGenerator::new(a.node(), 0), IdGenerator::new(b.node(), 0)];
    let publish = async |store: &Store| {
        let mut event = Fixture::event_by(&ids[usize::from(store.node())], &[1]);
        event.spilled = vec![0];
        let batch = Batch {
            events: vec![event],
            exclusive: vec![1],
            ..Batch::default()
        };
        store.commit(&batch).await.unwrap().elsewhere
    };
    assert_eq!(publish(&a).await, [0_i64; 0], "the first node that asks");
    a.beat(Some(&NodeReport::default())).await.unwrap();
    assert_eq!(publish(&b).await, [1], "another node sends it");
    assert_eq!(a.notices(LONG).await.unwrap(), [Notice::Nodes, Notice::Due(1)][1..]);
    assert_eq!((waiting(&a).await.len(), waiting(&b).await.len()), (2, 0));
    fence(&b, &a).await;
    assert_eq!(adopt_all(&b, a.node()).await, 2);
    assert_eq!(publish(&b).await, [0_i64; 0]);
    assert_eq!(waiting(&b).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_change_of_configuration_waits_for_every_node_or_fences_it() {
    let shared = Shared::new().await;
    let (a, b) = (shared.join("a", LONG).await, shared.join("b", LONG).await);
    let mut version = 0;
    let mut change = async |store: &Store, name: &str| {
        let change = store.change_configuration().await.unwrap();
        version += 1;
        let row = organization(ORGANIZATION + version, name);
        store.insert_organization(&row, &audit(version)).await.unwrap();
        change
    };
    let settle = async |store: Store, change: ConfigurationChange| {
        let version = store.changed_configuration();
        change.release().await?;
        store.configuration_in_force(version).await.map(|()| version)
    };
    let first = change(&a, "one").await;
    let settled = settle(a.clone(), first).await.unwrap();
    assert_eq!(settled, 1, "no change waits for a node that accepts no events yet");
    assert_eq!(b.accept_configuration().await.unwrap(), 1);
    let second = change(&a, "two").await;
    let second = tokio::spawn(settle(a.clone(), second));
    let beat = until("the change to be seen", async || {
        let beat = b.beat(None).await.unwrap().unwrap();
        if beat.configuration == 2 {
            Ok(beat)
        } else {
            Err(beat.configuration)
        }
    })
    .await;
    assert!(!second.is_finished(), "the other node has not confirmed");
    b.confirm_configuration(beat.configuration).await.unwrap();
    assert_eq!(second.await.unwrap().unwrap(), 2);
    let c = shared.join("c", SHORT).await;
    c.accept_configuration().await.unwrap();
    let third = change(&a, "three").await;
    b.confirm_configuration(3).await.unwrap();
    assert_eq!(
        settle(a.clone(), third).await.unwrap(),
        3,
        "the silent node was fenced instead"
    );
    assert!(c.commit(&Batch::default()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_returns_waits_for_the_adopters_of_its_deliveries() {
    let shared = Shared::new().await;
    let (a, b) = (shared.join("a", SHORT).await, shared.join("b", LONG).await);
    let number = a.node();
    fence(&b, &a).await;
    drop(a);
    // This lock is held like that of an adoption in progress.
    let adopting = session(shared.database.url()).await;
    let text = format!("BEGIN; SELECT 1 FROM nodes WHERE number = {number} FOR KEY SHARE");
    adopting.batch_execute(&text).await.unwrap();
    let joining = async {
        let again = shared.join("a", LONG).await;
        again.node()
    };
    let watching = async {
        until_blocked(&session(shared.database.url()).await).await;
        adopting.batch_execute("COMMIT").await.unwrap();
    };
    let (again, ()) = tokio::join!(joining, watching);
    assert_eq!(again, number);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_that_take_the_same_request_ids_in_crossed_order_both_succeed() {
    const REQUESTS: usize = 2_000;
    let shared = Shared::new().await;
    let lease = std::time::Duration::from_secs(60);
    let (first, second) = (shared.join("first", lease).await, shared.join("second", lease).await);
    let ids = [IdGenerator::new(first.node(), 0), IdGenerator::new(second.node(), 0)];
    for round in 0..4 {
        let batch = |ids: &IdGenerator, is_backwards: bool| {
            let mut requests: Vec<String> = (0..REQUESTS).map(|at| format!("{round}-{at:05}")).collect();
            if is_backwards {
                requests.reverse();
            }
            let events = requests
                .iter()
                .map(|request| with_request(Fixture::event_by(ids, &[]), request, 1));
            Batch {
                events: events.collect(),
                ..Batch::default()
            }
        };
        let batches = [batch(&ids[0], false), batch(&ids[1], true)];
        let (one, other) = tokio::join!(first.commit(&batches[0]), second.commit(&batches[1]));
        let repeats = one.unwrap().repeats.len() + other.unwrap().repeats.len();
        assert_eq!(repeats, REQUESTS, "each request id belongs to one event");
    }
}
