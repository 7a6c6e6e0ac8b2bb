//! Nodes whose clocks differ, or whose database's clock is set: leases, fences and adoption.

use std::collections::{HashMap, HashSet};

use hookwright_proto::v1::{
    BatchPublishEventsRequest, DeleteWebhookRequest, ListNodesRequest, ListOperationsRequest, Node, OperationState,
    PublishEventRequest, node,
};
use hookwright_testkit::{Receiver, Response, TestServer, receiver::Gate, server::TestServerBuilder, until};

use super::{DAY, HOUR, Kinds, PlantedClock};
use crate::{
    cluster::{two_nodes_dying, two_nodes_with},
    support::{ACME, CLOCKING, Clients, Installation, On, builder, event, id_of, wait_for_events, webhook},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x10_nodes_whose_clocks_differ_share_their_work() {
    const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let clock = PlantedClock::of_machine();
    clock.set(HOUR);
    let (wrong, database) = builder(On::Postgres).await;
    let database = database.unwrap();
    let settings = |server: TestServerBuilder| {
        server
            .env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY)
            .arg("--node-lease", "1s")
    };
    let wrong = settings(clock.in_place(wrong)).start().await.unwrap();
    let token = wrong.token().unwrap();
    let mut ahead = Installation::of(wrong).await;
    ahead.create_organization("acme").await;
    ahead.register("other").await;
    let right = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .allow("127.0.0.0/8")
        .postgres(database.url());
    let right = settings(right).start().await.unwrap();
    let mut clients = Clients::connect(right.grpc_address(), &token).await;
    let kinds = Kinds::install(&mut ahead).await;
    ahead.continues(&kinds).await;
    for receiver in [&kinds.plain, &kinds.ordered, &kinds.limited] {
        receiver.respond(503);
    }
    // The node that is an hour ahead leaves all kinds of work to the other node.
    let left = ahead.publish_some().await;
    ahead.server.kill9().await.unwrap();
    for receiver in [&kinds.plain, &kinds.ordered, &kinds.limited] {
        receiver.respond(200);
    }
    kinds.have(&mut clients, &left).await;
    let later = clients
        .events
        .publish_event(PublishEventRequest {
            ordering_key: "key".to_owned(),
            ..event("clocking", CLOCKING)
        })
        .await
        .unwrap()
        .into_inner();
    kinds.have(&mut clients, &[id_of(&later.event).to_owned()]).await;
}

/// How many times a node renews its lease within one lease period.
const BEATS_PER_LEASE: usize = 5;

impl Installation {
    async fn nodes(&mut self) -> Vec<Node> {
        let listed = self.clients.nodes.list_nodes(ListNodesRequest::default()).await;
        listed.unwrap().into_inner().nodes
    }

    /// Waits until a node renews its lease.
    async fn beat_of(&mut self, name: &str) {
        let mut seen = HashSet::new();
        until("the node to renew its lease", async || {
            let nodes = self.nodes().await;
            let node = nodes.iter().find(|node| node.name == name).unwrap();
            seen.insert(format!("{:?}", node.heartbeat_time));
            if seen.len() > 1 { Ok(()) } else { Err("not yet") }
        })
        .await;
    }

    /// Waits until each node has renewed its lease this many times.
    async fn beats(&mut self, count: usize) {
        let mut seen: HashMap<String, HashSet<String>> = HashMap::new();
        until("the nodes to renew their leases", async || {
            for node in self.nodes().await {
                seen.entry(node.name)
                    .or_default()
                    .insert(format!("{:?}", node.heartbeat_time));
            }
            if seen.values().all(|beats| beats.len() > count) {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
    }
}

/// The nodes and their epochs, which a node must keep.
fn epochs(nodes: &[Node]) -> Vec<(String, i64, node::State)> {
    let epoch = |node: &Node| (node.name.clone(), node.epoch, node.state());
    nodes.iter().map(epoch).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x10_no_node_is_fenced_because_the_clock_of_the_database_was_set() {
    let clock = PlantedClock::new("HOOKWRIGHT_DATABASE_CLOCK_FILE");
    let (mut first, mut other, _database) = two_nodes_with("3s", |server| clock.in_place(server)).await;
    let receiver = Receiver::start().await;
    first.webhook(&receiver, &["clocking"]).await;
    first.register("plain").await;
    first.beats(1).await;
    let before = epochs(&first.nodes().await);
    assert_eq!(before.len(), 2);
    for (round, ahead) in [-HOUR, DAY, 0].into_iter().enumerate() {
        // Configuration changes make all nodes renew their leases at the same moment. The pause gives this node a
        // different rhythm.
        other.server.freeze().unwrap();
        first.beat_of("nodes/0").await;
        other.server.thaw().unwrap();
        first.beats(1).await;
        clock.set(ahead);
        // Waits for several lease periods, measured by the heartbeats of both nodes.
        first.beats(2 * BEATS_PER_LEASE).await;
        assert_eq!(
            epochs(&first.nodes().await),
            before,
            "the database's clock is {ahead} s ahead"
        );
        // A configuration change waits for the other node, which is still running.
        let hook = webhook(&receiver.url("/"), &["plain"]);
        first.create_webhook(hook).await.unwrap();
        receiver.forget_requests();
        other.publish_as("plain", "{}").await;
        wait_for_events(&receiver, round + 1).await;
    }
}

/// Checks that the other node takes over from a node that died before the clock was set. The dead node leaves a
/// backlog, a running operation, and a lease with an end by the earlier clock.
async fn assert_adopted_after(ahead: i64) {
    const MANY: usize = 3_000;
    let clock = PlantedClock::new("HOOKWRIGHT_DATABASE_CLOCK_FILE");
    let first = |server: TestServerBuilder| clock.in_place(server);
    let (mut first, mut dying, _database) = two_nodes_dying("2s", first, "operation:2").await;
    let receiver = Receiver::start().await;
    first.register("plain").await;
    let hook = first.webhook(&receiver, &["clocking"]).await;
    let gate = Gate::new();
    receiver.answer(Response::new(200).after(&gate));
    let batch = BatchPublishEventsRequest {
        organization: ACME.to_owned(),
        requests: vec![event("clocking", CLOCKING); 500],
    };
    for _ in 0..MANY / 500 {
        dying.clients.events.batch_publish_events(batch.clone()).await.unwrap();
    }
    let request = DeleteWebhookRequest { name: hook.name };
    // The node may exit before its response has arrived.
    drop(dying.clients.webhooks.delete_webhook(request).await);
    dying.server.wait().await.unwrap();
    clock.set(ahead);
    gate.open();
    receiver.answer(200);
    // A configuration change waits for every node that is not known to be lost.
    first.webhook(&receiver, &["plain"]).await;
    until("the lost node to be gone", async || {
        let nodes = first.nodes().await;
        if nodes.len() == 1 {
            Ok(())
        } else {
            Err(format!("{nodes:?}"))
        }
    })
    .await;
    until("the other node to finish the operation", async || {
        let list = first
            .clients
            .operations
            .list_operations(ListOperationsRequest::default());
        let operations = list.await.unwrap().into_inner().operations;
        if operations.len() == 1 && operations[0].state() == OperationState::Succeeded {
            Ok(())
        } else {
            Err(format!("{operations:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x10_a_node_that_dies_before_the_clock_of_the_database_is_set_back_is_adopted() {
    assert_adopted_after(-HOUR).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x10_a_node_that_dies_before_the_clock_of_the_database_is_set_forward_is_adopted() {
    assert_adopted_after(DAY).await;
}
