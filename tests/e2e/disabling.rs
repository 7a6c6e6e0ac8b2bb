//! Failing webhooks, and which failures disable them.

use std::time::Duration;

use hookwright_delivery::clock;
use hookwright_proto::v1::{DeliveryState, ListDeliveriesRequest, RetrySchedule, Webhook};
use hookwright_testkit::{Receiver, Response, until};

use crate::support::webhook;

fn retried_hourly(receiver: &Receiver) -> Webhook {
    let hour = prost_types::Duration {
        seconds: 3_600,
        nanos: 0,
    };
    Webhook {
        retry_schedule: Some(RetrySchedule { delays: vec![hour] }),
        ..webhook(&receiver.url("/"), &["numbered"])
    }
}

async fn session(url: &str) -> tokio_postgres::Client {
    let (store, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    store
}

/// The time since when each webhook fails, in microseconds, and its number of failures.
async fn health(store: &tokio_postgres::Client) -> Vec<(i64, i32)> {
    let rows = store
        .query("SELECT failing_since, failures FROM webhook_health", &[])
        .await
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_nodes_old_failures_do_not_disable_a_webhook_that_another_serves_well() {
    let (mut first, mut other, database) =
        crate::cluster::two_nodes_with("5s", |server| server.arg("--disable-after", "2s")).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(|request| {
        let fails = request.json()["fails"] == true;
        Response::new(if fails { 500 } else { 200 })
    });
    first.register("numbered").await;
    let created = first.create_webhook(retried_hourly(&receiver)).await.unwrap();
    let in_state = |state: DeliveryState| ListDeliveriesRequest {
        webhook: created.name.clone(),
        event_type: "numbered".to_owned(),
        states: vec![state.into()],
        ..Default::default()
    };
    let retrying = in_state(DeliveryState::Retrying);
    for count in 1..=20 {
        first.publish("numbered", r#"{"fails":true}"#).await;
        first.deliveries_until(retrying.clone(), count).await;
    }
    let store = session(database.url()).await;
    let health = async || health(&store).await;
    let known = health().await;
    assert_eq!((known.len(), known[0].1), (1, 20));
    let since = known[0].0;
    until("the time at which it would be disabled", async || {
        let failing = clock::now_us() - since;
        if failing > 3_000_000 { Ok(()) } else { Err(failing) }
    })
    .await;
    for _ in 0..5 {
        other.publish_as("numbered", "{}").await;
    }
    first.deliveries_until(in_state(DeliveryState::Delivered), 5).await;
    first.publish("numbered", r#"{"fails":true}"#).await;
    first.deliveries_until(retrying.clone(), 21).await;
    // The first node has decided by the time these events are published.
    for _ in 0..50 {
        other.publish_as("numbered", "{}").await;
    }
    let found = first.get_webhook(&created.name).await;
    assert_eq!(found.active, Some(true), "{found:?}");
    assert!(
        health()
            .await
            .iter()
            .all(|(failing, failures)| *failing > since && *failures <= 1),
        "{:?}",
        health().await
    );

    // When it fails at both nodes, the sum of their failures disables it.
    let begun = std::time::Instant::now();
    until("the webhook to be disabled", async || {
        let found = first.get_webhook(&created.name).await;
        if found.active == Some(false) {
            return Ok(());
        }
        first.publish("numbered", r#"{"fails":true}"#).await;
        other.publish_as("numbered", r#"{"fails":true}"#).await;
        Err(format!("{found:?}"))
    })
    .await;
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "not before it has failed for long enough"
    );
}
