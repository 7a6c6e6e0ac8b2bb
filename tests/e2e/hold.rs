//! A server that is configured to send nothing, for a copy of a production database.

use hookwright_proto::v1::{
    DeliveryMode, DeliveryState, ListNodesRequest, PullDeliveriesRequest, RetrySchedule, Webhook, node::State,
};
use hookwright_testkit::{Receiver, TestServer, until};
use tonic::Code;

use crate::{
    access::get,
    support::{CLOCKING, Clients, Installation, On, builder, id_of, on_both_stores, wait_for_events, webhook},
};

const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// Waits until a server has had an overdue delivery for two seconds.
async fn something_is_overdue(server: &TestServer) {
    let address = server.http_address().to_owned();
    until("an overdue delivery", async || {
        let text = get(&address, "/metrics").await;
        let line = text
            .lines()
            .find(|line| line.starts_with("hookwright_oldest_due_seconds "));
        match line.and_then(|line| line.rsplit(' ').next()?.parse::<i64>().ok()) {
            Some(seconds) if seconds >= 2 => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
}

on_both_stores! {
    async fn b16_a_copy_sends_nothing_until_it_is_started_without_hold(on: On) {
        let data = tempfile::tempdir().unwrap();
        let (server, database) = builder(on).await;
        let server = server.data_directory(data.path()).start().await.unwrap();
        let mut installation = Installation::of(server).await;
        installation.create_organization("acme").await;
        let receiver = Receiver::start().await;
        let retried = Webhook {
            retry_schedule: Some(RetrySchedule { delays: vec![prost_types::Duration { seconds: 1, nanos: 0 }; 60] }),
            ..webhook(&receiver.url("/"), &["clocking"])
        };
        installation.create_webhook(retried).await.unwrap();
        receiver.wait_for(1).await;
        receiver.respond(503);
        let retrying = installation.publish("clocking", CLOCKING).await.event;
        wait_for_events(&receiver, 1).await;
        installation.server.terminate().await.unwrap();

        let again = |hold: bool| {
            let server = TestServer::builder(env!("CARGO_BIN_EXE_hookwright")).allow("127.0.0.0/8");
            let server = database.iter().fold(server, |server, database| server.postgres(database.url()));
            let server = server.data_directory(data.path());
            if hold { server.flag("--hold") } else { server }
        };
        let mut held = Installation::of(again(true).start().await.unwrap()).await;
        receiver.respond(200);
        receiver.forget_requests();
        let accepted = held.publish("clocking", CLOCKING).await;
        assert_eq!(accepted.delivery_count, 1);
        let pinged = Receiver::start().await;
        held.create_webhook(webhook(&pinged.url("/"), &["clocking"])).await.unwrap();
        let fetched = Webhook { delivery_mode: DeliveryMode::Pull.into(), ..webhook("", &["clocking"]) };
        let fetched = held.create_webhook(fetched).await.unwrap().name;
        let request = PullDeliveriesRequest { webhook: fetched, ..PullDeliveriesRequest::default() };
        let refused = held.clients.pull.pull_deliveries(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("hold"), "{refused}");
        something_is_overdue(&held.server).await;
        let ready = get(held.server.http_address(), "/readyz").await;
        assert!(ready.contains("200 OK") && ready.contains("hold is set"), "{ready}");
        assert!(get(held.server.http_address(), "/metrics").await.contains("hookwright_hold 1\n"));
        assert!(held.server.stderr().contains("hold is set"));
        let waiting = held.deliveries(Default::default()).await;
        let done = waiting.iter().filter(|one| one.state() == DeliveryState::Delivered).count();
        assert_eq!(done, 1, "only the first ping is delivered: {waiting:#?}");
        assert_eq!((receiver.request_count(), pinged.request_count()), (0, 0), "nothing was sent");
        held.server.terminate().await.unwrap();

        let released = again(false).start().await.unwrap();
        let came = wait_for_events(&receiver, 2).await;
        let ids: Vec<_> = came.iter().filter_map(|request| request.header("webhook-id")).collect();
        assert!(ids.contains(&id_of(&retrying)) && ids.contains(&id_of(&accepted.event)), "{ids:?}");
        pinged.wait_for(1).await;
        let ready = get(released.http_address(), "/readyz").await;
        assert!(!ready.contains("hold"), "{ready}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b16_a_node_that_holds_is_given_nothing_and_takes_nothing_over() {
    let (server, database) = builder(On::Postgres).await;
    let database = database.unwrap();
    let server = server
        .env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY)
        .arg("--node-lease", "1s")
        .start()
        .await
        .unwrap();
    let token = server.token().unwrap();
    let mut serving = Installation::of(server).await;
    serving.create_organization("acme").await;
    let receiver = Receiver::start().await;
    serving.webhook(&receiver, &["clocking"]).await;
    receiver.respond(503);
    let mut published = Vec::new();
    for _ in 0..20 {
        published.push(id_of(&serving.publish("clocking", CLOCKING).await.event).to_owned());
    }
    let held = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .allow("127.0.0.0/8")
        .postgres(database.url())
        .env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY)
        .arg("--node-lease", "1s")
        .arg("--node-name", "held")
        .flag("--hold")
        .start()
        .await
        .unwrap();
    let mut clients = Clients::connect(held.grpc_address(), &token).await;
    // The other node is lost for a while, and no node takes over from it.
    serving.server.kill9().await.unwrap();
    until("the server to notice that the node is silent", async || {
        let nodes = clients
            .nodes
            .list_nodes(ListNodesRequest::default())
            .await
            .unwrap()
            .into_inner()
            .nodes;
        let held = nodes.iter().find(|node| node.display_name == "held").unwrap();
        assert_eq!(held.state(), State::Draining);
        assert_eq!(held.deliveries_waiting, 0, "no work was assigned to it: {nodes:#?}");
        if nodes
            .iter()
            .any(|node| node.state() == State::Silent || node.state() == State::Lost)
        {
            Ok(())
        } else {
            Err(format!("{nodes:#?}"))
        }
    })
    .await;
    receiver.respond(200);
    serving.restart().await;
    receiver
        .wait_until(|requests| {
            let came = |id: &String| {
                requests
                    .iter()
                    .any(|one| one.header("webhook-id") == Some(id) && one.header("TT-Hook-Event") == Some("clocking"))
            };
            published.iter().all(came)
        })
        .await;
}
