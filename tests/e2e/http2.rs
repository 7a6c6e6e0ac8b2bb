//! Receivers that speak HTTP/2.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use hookwright_proto::v1::{DeliveryState, ListDeliveriesRequest};
use hookwright_testkit::{Authority, Http2Answer, Http2Receiver, receiver::Gate, until};

use crate::support::{CLOCKING, Installation, On, webhook};

/// A server that trusts the authority, with a webhook of the receiver.
async fn start(authority: &Authority, receiver: &Http2Receiver) -> Installation {
    let file = authority.pem_file().display().to_string();
    let mut installation = Installation::start_with(On::Sqlite, |server| {
        server
            .arg("--extra-ca-file", &file)
            .arg("--retry-delay", "1h")
            .arg("--concurrent-attempts-per-webhook-max", "64")
    })
    .await;
    let hook = webhook(&receiver.url("/hook"), &["clocking"]);
    installation.create_webhook(hook).await.unwrap();
    installation
}

/// Waits until events are delivered, and checks that each took one attempt.
async fn delivered_at_once(installation: &mut Installation, count: usize) {
    let delivered = ListDeliveriesRequest {
        event_type: "clocking".to_owned(),
        states: vec![DeliveryState::Delivered.into()],
        ..Default::default()
    };
    let deliveries = installation.deliveries_until(delivered, count).await;
    let repeated: Vec<_> = deliveries
        .iter()
        .filter(|delivery| delivery.attempt_count != 1)
        .collect();
    assert!(repeated.is_empty(), "{repeated:?}");
}

#[tokio::test]
async fn x04_64_attempts_in_flight_share_one_connection() {
    const EVENTS: usize = 400;
    let (authority, gate) = (Authority::new(), Gate::new());
    let receiver = Http2Receiver::start(&authority).await;
    // The first answers let the limit of attempts in flight grow to its maximum of 64, as the receiver is distant.
    let (held, asked) = (gate.clone(), AtomicUsize::new(0));
    receiver.answer_with(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        ..300 => Http2Answer::StatusIn(Duration::from_millis(50), 200),
        _ => Http2Answer::StatusAfter(held.clone(), 200),
    });
    let mut installation = start(&authority, &receiver).await;
    installation.publish_batch("clocking", CLOCKING, EVENTS).await;
    until("64 streams", async || match receiver.streams_most() {
        64 => Ok(()),
        streams => Err(streams),
    })
    .await;
    assert_eq!(receiver.connections(), 1);
    gate.open();
    delivered_at_once(&mut installation, EVENTS).await;
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn x08_a_receiver_that_ends_connections_after_each_answer_fails_no_attempt() {
    const EVENTS: usize = 500;
    let authority = Authority::new();
    let receiver = Http2Receiver::start(&authority).await;
    receiver.answer_with(|_| Http2Answer::StatusThenGoAway(200, Duration::from_millis(2)));
    let mut installation = start(&authority, &receiver).await;
    installation.publish_batch("clocking", CLOCKING, EVENTS).await;
    delivered_at_once(&mut installation, EVENTS).await;
    let connections = receiver.connections();
    assert!(connections > 1, "the receiver ended connections");
    until("connections to end", async || match receiver.open_connections() {
        open @ ..=1 => Ok(open),
        open => Err(open),
    })
    .await;
}
