//! Several servers on one PostgreSQL database.

use std::collections::HashSet;

use hookwright_proto::v1::{DeleteWebhookRequest, UpdateWebhookRequest, Webhook};
use hookwright_testkit::{
    Receiver, Response, TestDatabase, TestServer, receiver::Gate, server::TestServerBuilder, until,
};

use crate::support::{
    CLOCKING, Clients, Installation, On, builder, event, id_of, wait_for_events, webhook, without_pings,
};

/// All nodes of an installation share it.
const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// A node besides the first one, with its clients.
pub(crate) struct Node {
    pub(crate) server: TestServer,
    pub(crate) clients: Clients,
}

impl Node {
    async fn start(
        database: &str,
        token: &str,
        lease: &str,
        settings: impl Fn(TestServerBuilder) -> TestServerBuilder,
    ) -> Self {
        let server = settings(TestServer::builder(env!("CARGO_BIN_EXE_hookwright")))
            .allow("127.0.0.0/8")
            .postgres(database)
            .env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY)
            .arg("--node-lease", lease)
            .arg("--retry-delay", "1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s")
            .start()
            .await
            .unwrap();
        let clients = Clients::connect(server.grpc_address(), token).await;
        Self { server, clients }
    }

    /// Publishes an event of a type.
    pub(crate) async fn publish_as(&mut self, event_type: &str, json: &str) {
        self.clients
            .events
            .publish_event(event(event_type, json))
            .await
            .unwrap();
    }

    async fn publish(&mut self) -> Result<String, tonic::Status> {
        let published = self.clients.events.publish_event(event("clocking", CLOCKING)).await?;
        Ok(id_of(&published.into_inner().event).to_owned())
    }
}

/// An installation of two nodes: the first, and another one.
pub(crate) async fn two_nodes(lease: &str) -> (Installation, Node, TestDatabase) {
    two_nodes_with(lease, |server| server).await
}

/// Starts two nodes with settings that both have.
pub(crate) async fn two_nodes_with(
    lease: &str,
    settings: impl Fn(TestServerBuilder) -> TestServerBuilder,
) -> (Installation, Node, TestDatabase) {
    two_nodes_dying(lease, settings, "").await
}

/// Starts two nodes, of which the second one dies at a failpoint.
pub(crate) async fn two_nodes_dying(
    lease: &str,
    settings: impl Fn(TestServerBuilder) -> TestServerBuilder,
    failpoint: &str,
) -> (Installation, Node, TestDatabase) {
    let (builder, database) = builder(On::Postgres).await;
    let database = database.unwrap();
    let server = settings(builder)
        .env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY)
        .arg("--node-lease", lease)
        .arg("--retry-delay", "1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s")
        .start()
        .await
        .unwrap();
    let token = server.token().unwrap();
    let mut installation = Installation::of(server).await;
    installation.create_organization("acme").await;
    let dying = |server: TestServerBuilder| settings(server).env("HOOKWRIGHT_FAILPOINT", failpoint);
    let other = Node::start(database.url(), &token, lease, dying).await;
    (installation, other, database)
}

/// Publishes events on the second node whose attempts stay in flight there.
async fn publish_and_hold(other: &mut Node, receiver: &Receiver, count: usize) -> (HashSet<String>, Gate) {
    let gate = Gate::new();
    receiver.answer(Response::new(200).after(&gate));
    let mut published = HashSet::new();
    for _ in 0..count {
        published.insert(other.publish().await.unwrap());
    }
    (published, gate)
}

async fn wait_for_all(receiver: &Receiver, published: &HashSet<String>) {
    receiver
        .wait_until(|requests| {
            let arrived: HashSet<&str> = requests
                .iter()
                .filter_map(|request| request.header("webhook-id"))
                .collect();
            published.iter().all(|id| arrived.contains(id.as_str()))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_made_on_one_node_is_in_force_on_the_other_when_the_call_returns() {
    let (mut first, mut other, _database) = two_nodes("5s").await;
    let receiver = Receiver::start().await;
    for round in 1..=5 {
        let hook = first.webhook(&receiver, &["clocking"]).await;
        receiver.forget_requests();
        other.publish().await.unwrap();
        assert_eq!(wait_for_events(&receiver, 1).await.len(), 1, "round {round}");
        let mask = |path: &str| {
            Some(prost_types::FieldMask {
                paths: vec![path.to_owned()],
            })
        };
        let update = UpdateWebhookRequest {
            webhook: Some(Webhook {
                name: hook.name.clone(),
                events: vec!["checksheet".to_owned()],
                ..Webhook::default()
            }),
            update_mask: mask("events"),
        };
        first.clients.webhooks.update_webhook(update).await.unwrap();
        let event = other
            .clients
            .events
            .publish_event(event("clocking", CLOCKING))
            .await
            .unwrap();
        assert_eq!(event.into_inner().delivery_count, 0, "round {round}: still subscribed");
        let delete = DeleteWebhookRequest { name: hook.name };
        // Both nodes apply a change that either of them made.
        other.clients.webhooks.delete_webhook(delete.clone()).await.unwrap();
        let gone = first.clients.webhooks.delete_webhook(delete).await.err().unwrap();
        assert_eq!(gone.code(), tonic::Code::NotFound);
        receiver.forget_requests();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_made_on_both_nodes_at_once_take_turns() {
    let (mut first, mut other, _database) = two_nodes("5s").await;
    let receiver = Receiver::start().await;
    let create = |mut clients: Clients| {
        let url = receiver.url("/payload");
        async move {
            for _ in 0..10 {
                let request = hookwright_proto::v1::CreateWebhookRequest {
                    parent: crate::support::ACME.to_owned(),
                    webhook: Some(webhook(&url, &["clocking"])),
                };
                clients.webhooks.create_webhook(request).await.unwrap();
            }
        }
    };
    tokio::join!(create(first.clients.clone()), create(other.clients.clone()));
    for clients in [&mut first.clients, &mut other.clients] {
        let published = clients.events.publish_event(event("clocking", CLOCKING)).await.unwrap();
        assert_eq!(published.into_inner().delivery_count, 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_deliveries_in_the_memory_of_a_killed_node_are_delivered_by_the_other() {
    let (mut first, mut other, _database) = two_nodes("3s").await;
    let receiver = Receiver::start().await;
    first.webhook(&receiver, &["clocking"]).await;
    let (published, gate) = publish_and_hold(&mut other, &receiver, 40).await;
    other.server.kill9().await.unwrap();
    receiver.answer(200);
    gate.open();
    receiver.forget_requests();
    wait_for_all(&receiver, &published).await;
    let adopted = first.metric("hookwright_deliveries_adopted_total").await;
    assert!(adopted >= 40.0, "{adopted} deliveries were counted as adopted");
    until("adoption to end", async || {
        let running = first.metric("hookwright_adoption_running").await;
        if running == 0.0 { Ok(()) } else { Err(running) }
    })
    .await;
}

/// Waits until this many deliveries have been delivered.
async fn all_delivered(installation: &mut Installation, count: usize) {
    let request = hookwright_proto::v1::ListDeliveriesRequest {
        parent: crate::support::ACME.to_owned(),
        states: vec![hookwright_proto::v1::DeliveryState::Delivered.into()],
        ..Default::default()
    };
    until("all events to be delivered", async || {
        let listed = installation
            .clients
            .deliveries
            .list_deliveries(request.clone())
            .await
            .unwrap();
        let deliveries = listed.into_inner().deliveries;
        let delivered = deliveries.iter().filter(|one| one.event_type == "clocking").count();
        if delivered == count { Ok(()) } else { Err(delivered) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_a_node_that_is_stopped_hands_over_at_once() {
    // The lease is too long for the test to wait for its end.
    let (mut first, mut other, _database) = two_nodes("5m").await;
    let receiver = Receiver::start().await;
    first.webhook(&receiver, &["clocking"]).await;
    receiver.respond(503);
    let mut published = HashSet::new();
    for _ in 0..20 {
        published.insert(other.publish().await.unwrap());
    }
    wait_for_events(&receiver, 1).await;
    receiver.respond(200);
    other.server.terminate().await.unwrap();
    all_delivered(&mut first, published.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f07_a_frozen_node_is_taken_over_and_comes_back_as_another() {
    let (mut first, mut other, _database) = two_nodes("3s").await;
    let receiver = Receiver::start().await;
    first.webhook(&receiver, &["clocking"]).await;
    let (published, gate) = publish_and_hold(&mut other, &receiver, 40).await;
    other.server.freeze().unwrap();
    receiver.answer(200);
    gate.open();
    // The frozen node may have sent some of these requests. The check is that the first node has delivered every event.
    all_delivered(&mut first, published.len()).await;
    receiver.forget_requests();
    other.server.thaw().unwrap();
    // The node notices that its lease has ended, joins again, and serves.
    let again = until("the node to be back", async || {
        let published = other.publish().await;
        published.inspect_err(|status| assert_eq!(status.code(), tonic::Code::Unavailable, "{status}"))
    })
    .await;
    wait_for_all(&receiver, &HashSet::from([again])).await;
    // An attempt that was in flight when the node froze may end there. It begins no other attempt.
    let repeated = without_pings(&receiver.requests())
        .iter()
        .filter(|request| published.contains(request.header("webhook-id").unwrap()))
        .count();
    assert_eq!(repeated, 0, "the frozen node sent deliveries that it no longer owned");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_kept_over_both_nodes() {
    let (mut first, mut other, _database) = two_nodes("5s").await;
    let receiver = Receiver::start().await;
    let limited = Webhook {
        requests_per_second: Some(20.0),
        ..webhook(&receiver.url("/payload"), &["clocking"])
    };
    first.create_webhook(limited).await.unwrap();
    receiver.wait_for(1).await;
    let mut published = HashSet::new();
    for _ in 0..10 {
        published.insert(other.publish().await.unwrap());
        published.insert(id_of(&first.publish("clocking", CLOCKING).await.event).to_owned());
    }
    wait_for_all(&receiver, &published).await;
    let requests = without_pings(&receiver.requests());
    assert_eq!(requests.len(), 20, "each once");
    let span = requests.last().unwrap().at - requests[0].at;
    assert!(
        span >= std::time::Duration::from_millis(800),
        "20 at 20 a second take 19 intervals, minus some jitter: {span:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_shown_with_what_they_own() {
    let (mut first, mut other, _database) = two_nodes("5s").await;
    let receiver = Receiver::start().await;
    first.webhook(&receiver, &["clocking"]).await;
    let (_, gate) = publish_and_hold(&mut other, &receiver, 5).await;
    let address = first.server.grpc_address().to_owned();
    let nodes = async |clients: &mut Clients| {
        let request = hookwright_proto::v1::ListNodesRequest::default();
        clients.nodes.list_nodes(request).await.unwrap().into_inner().nodes
    };
    let held = until("5 deliveries at the other node", async || {
        let listed = nodes(&mut first.clients).await;
        if listed.len() == 2 && listed[1].deliveries_in_memory == 5 {
            Ok(listed)
        } else {
            Err(format!("{listed:#?}"))
        }
    })
    .await;
    assert_eq!((held[0].name.as_str(), held[1].name.as_str()), ("nodes/0", "nodes/1"));
    assert!(held[0].answering && !held[1].answering);
    assert_eq!(held[0].grpc_address, address);
    assert_ne!(held[1].lease_expire_time, held[1].heartbeat_time);
    gate.open();
    other.server.terminate().await.unwrap();
    until("the other node to be gone", async || {
        let listed = nodes(&mut first.clients).await;
        if listed.len() == 1 {
            Ok(())
        } else {
            Err(format!("{listed:#?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_a_node_that_cannot_reach_its_store_says_so_and_comes_back() {
    let cluster = hookwright_testkit::PostgresCluster::start().await.unwrap();
    let database = cluster.create_database().await.unwrap();
    let server = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .allow("127.0.0.0/8")
        .postgres(database.url())
        .arg("--node-lease", "3s")
        .start()
        .await
        .unwrap();
    let mut installation = Installation::of(server).await;
    installation.create_organization("acme").await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    let address = installation.server.http_address().to_owned();
    let ready_is = async |expected: bool| {
        until("the expected readiness", async || {
            let answer = crate::access::get(&address, "/readyz").await;
            if answer.contains("200 OK") == expected {
                Ok(())
            } else {
                Err(answer)
            }
        })
        .await;
    };
    ready_is(true).await;
    cluster
        .stop(hookwright_testkit::postgres::StopMode::Immediate)
        .await
        .unwrap();
    ready_is(false).await;
    let refused = installation
        .try_publish(event("clocking", CLOCKING))
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    cluster.resume().await.unwrap();
    ready_is(true).await;
    receiver.forget_requests();
    let published = until("the server to accept an event", async || {
        installation.try_publish(event("clocking", CLOCKING)).await
    })
    .await;
    wait_for_all(&receiver, &HashSet::from([id_of(&published.event).to_owned()])).await;
}
