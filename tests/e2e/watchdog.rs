//! Planted bugs in the engine: the server reports each of them, and loses nothing.

use hookwright_proto::v1::{DeleteWebhookRequest, Ordering, ReplayDeliveriesRequest, ReplaySelection, Webhook};
use hookwright_testkit::{Receiver, Response, receiver::Gate, until};
use tonic::Code;

use crate::support::{
    ACME, CLOCKING, Installation, On, event, on_both_stores, wait_for_events, webhook, without_pings,
};

async fn with_plant(on: On, plant: &str) -> (Installation, Receiver) {
    let installation = Installation::start_with(on, |server| server.env("HOOKWRIGHT_PLANT", plant)).await;
    (installation, Receiver::start().await)
}

/// The status of `/readyz`; `None` if the server does not listen any more.
async fn readiness(address: &str) -> Option<u16> {
    let answer = hookwright_testkit::http::request(address, "GET", "/readyz", &[], b"").await;
    answer.ok().map(|answer| answer.status)
}

/// Asserts that the server has exited with a failure and reported the cause.
async fn assert_failed(installation: &mut Installation, part: &str) {
    let status = installation.server.wait().await.unwrap();
    let stderr = installation.server.stderr();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("the {part} failed")), "{stderr}");
}

on_both_stores! {
    async fn a_panic_of_the_committer_ends_the_process_with_a_failure(on: On) {
        let (mut installation, receiver) = with_plant(on, "committer-panic").await;
        installation.webhook(&receiver, &["clocking"]).await;
        let address = installation.server.http_address().to_owned();
        assert_eq!(readiness(&address).await, Some(200));
        let refused = installation.try_publish(event("clocking", CLOCKING)).await.err().unwrap();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert_failed(&mut installation, "committer").await;
        assert!(without_pings(&receiver.requests()).is_empty(), "an unacknowledged event was sent");
    }

    async fn a_panic_of_another_part_fails_readiness_and_what_is_in_flight_is_recorded(on: On) {
        let (mut installation, receiver) = with_plant(on, "watermark-panic").await;
        installation.webhook(&receiver, &["clocking"]).await;
        let gate = Gate::new();
        receiver.answer(Response::new(200).after(&gate));
        let address = installation.server.http_address().to_owned();
        installation.publish("clocking", CLOCKING).await;
        until("readiness to fail", async || match readiness(&address).await {
            Some(200) => Err("ready"),
            _ => Ok(()),
        })
        .await;
        wait_for_events(&receiver, 1).await;
        assert!(installation.server.is_running(), "the server waits for the attempt in flight");
        gate.open();
        assert_failed(&mut installation, "watermark keeper").await;
    }

    async fn a_panic_of_a_listener_ends_the_process_with_a_failure(on: On) {
        for part in ["gRPC listener", "HTTP listener"] {
            let (mut installation, _) = with_plant(on, "listener-panic").await;
            let address = match part {
                "gRPC listener" => installation.server.grpc_address(),
                _ => installation.server.http_address(),
            };
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.99:0".parse().unwrap()).unwrap();
            let _connection = socket.connect(address.parse().unwrap()).await.unwrap();
            assert_failed(&mut installation, part).await;
        }
    }

    async fn a_panic_of_an_operation_ends_the_process_with_a_failure(on: On) {
        let (mut installation, receiver) = with_plant(on, "operation-panic").await;
        let webhook = installation.webhook(&receiver, &["clocking"]).await;
        let gate = Gate::new();
        receiver.answer(Response::new(200).after(&gate));
        // More deliveries than the lane holds in memory and the call processes itself together.
        installation.publish_batch("clocking", CLOCKING, 5_000).await;
        let request = DeleteWebhookRequest { name: webhook.name };
        let deleted = installation.clients.webhooks.delete_webhook(request).await.unwrap();
        assert!(deleted.metadata().contains_key("hookwright-operation"));
        gate.open();
        assert_failed(&mut installation, "runner of operations").await;
    }

    async fn a_panic_of_a_replay_ends_the_process_with_a_failure(on: On) {
        let (mut installation, receiver) = with_plant(on, "replay-panic").await;
        installation.webhook(&receiver, &["clocking"]).await;
        installation.publish("clocking", CLOCKING).await;
        wait_for_events(&receiver, 1).await;
        let request = ReplayDeliveriesRequest {
            parent: ACME.to_owned(),
            selection: ReplaySelection::Made.into(),
            ..ReplayDeliveriesRequest::default()
        };
        installation.clients.replays.replay_deliveries(request).await.unwrap();
        assert_failed(&mut installation, "runner of replays").await;
    }

    async fn a_delivery_that_its_lane_was_not_told_of_is_found_by_the_sweep(on: On) {
        let (mut installation, receiver) = with_plant(on, "lost-notice").await;
        let ordered = Webhook {
            ordering: Ordering::Ordered.into(),
            ..webhook(&receiver.url("/payload"), &["clocking"])
        };
        installation.create_webhook(ordered).await.unwrap();
        receiver.wait_for(1).await;
        for _ in 0..3 {
            installation.publish("clocking", CLOCKING).await;
        }
        wait_for_events(&receiver, 3).await;
        let metrics = crate::access::get(installation.server.http_address(), "/metrics").await;
        assert!(metrics.contains("hookwright_sweep_repairs_total 1\n"), "{metrics}");
    }
}
