//! Isolation of receivers: one bad receiver does not delay another. The tests check conditions, not times.

use hookwright_proto::v1::Webhook;
use hookwright_testkit::{Answer, Receiver};

use crate::support::{CLOCKING, Installation, On, on_both_stores, wait_for_events, webhook, without_pings};

on_both_stores! {
    async fn a_webhook_that_hangs_does_not_delay_another(on: On) {
        let mut installation = Installation::start(on).await;
        let (hanging, healthy) = (Receiver::start().await, Receiver::start().await);
        installation.webhook(&hanging, &["clocking"]).await;
        installation.webhook(&healthy, &["clocking"]).await;
        hanging.answer(Answer::Hang);
        for _ in 0..200 {
            installation.publish("clocking", CLOCKING).await;
        }
        // All 200 events reach the healthy receiver before the other one has responded once.
        wait_for_events(&healthy, 200).await;
        assert!(without_pings(&hanging.requests()).len() < 200, "few attempts at a time go to the hanging receiver");
    }
}

#[tokio::test]
async fn webhooks_take_turns_when_few_attempts_may_be_in_flight() {
    let settings = |server: hookwright_testkit::server::TestServerBuilder| {
        server
            .arg("--concurrent-attempts-max", "4")
            .arg("--concurrent-attempts-per-webhook-max", "2")
    };
    let mut installation = Installation::start_with(On::Sqlite, settings).await;
    let hanging = Receiver::start().await;
    let quick = Webhook {
        timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..webhook(&hanging.url("/"), &["clocking"])
    };
    installation.create_webhook(quick).await.unwrap();
    hanging.wait_for(1).await;
    let healthy = [
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    ];
    for receiver in &healthy {
        installation.webhook(receiver, &["clocking"]).await;
    }
    hanging.answer(Answer::Hang);
    for _ in 0..50 {
        installation.publish("clocking", CLOCKING).await;
    }
    for receiver in &healthy {
        wait_for_events(receiver, 50).await;
    }
    assert!(hanging.most_connections() <= 2, "the webhook's own limit is kept");
}

on_both_stores! {
    async fn x01_webhooks_that_hang_do_not_delay_the_others_whatever_their_number(on: On) {
        let settings = |server: hookwright_testkit::server::TestServerBuilder| server.arg("--concurrent-attempts-max", "32");
        let mut installation = Installation::start_with(on, settings).await;
        let (hanging, healthy) = (Receiver::start().await, Receiver::start().await);
        hanging.answer(Answer::Hang);
        for number in 0..60 {
            let hangs = Webhook {
                timeout: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
                ..webhook(&hanging.url(&format!("/{number}")), &["clocking"])
            };
            installation.create_webhook(hangs).await.unwrap();
        }
        installation.webhook(&healthy, &["clocking"]).await;
        // Each event is one attempt more for each webhook that hangs. The healthy one's turns do not wait for a timeout.
        for number in 1..=100 {
            installation.publish("clocking", CLOCKING).await;
            wait_for_events(&healthy, number).await;
        }
        assert!(hanging.most_connections() <= 16, "half of the attempts in flight");
    }
}
