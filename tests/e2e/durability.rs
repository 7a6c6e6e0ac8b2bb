//! Durability: an acknowledged event is stored, and a stored event is delivered.

use std::collections::{HashMap, HashSet};

use hookwright_proto::v1::{
    BatchPublishEventsRequest, Delivery, DeliveryState, ListDeliveriesRequest, PublishEventRequest, PublishResult,
    RetrySchedule, Webhook, publish_result,
};
use hookwright_testkit::{Answer, Receiver, receiver::Gate};

use crate::support::{
    ACME, CLOCKING, Installation, On, event, id_of, on_both_stores, wait_for_events, webhook, without_pings,
};

const MANY: usize = 10_000;

/// Publishes events with one call, and returns their ids.
async fn publish_batch(installation: &mut Installation, requests: Vec<PublishEventRequest>) -> HashSet<String> {
    let batch = BatchPublishEventsRequest {
        organization: ACME.to_owned(),
        requests,
    };
    let response = installation.clients.events.batch_publish_events(batch).await.unwrap();
    let id = |result: PublishResult| match result.result {
        Some(publish_result::Result::Published(event)) => id_of(&event.event).to_owned(),
        other => panic!("{other:?}"),
    };
    response.into_inner().results.into_iter().map(id).collect()
}

/// Asserts that the receiver got every published event exactly once.
async fn assert_each_arrived_once(receiver: &Receiver, published: &HashSet<String>) {
    let requests = wait_for_events(receiver, published.len()).await;
    let mut arrived: HashMap<&str, usize> = HashMap::new();
    for request in &requests {
        *arrived.entry(request.header("webhook-id").unwrap()).or_default() += 1;
    }
    let places = |id: &str| -> Vec<usize> {
        let found = requests
            .iter()
            .enumerate()
            .filter(|(_, request)| request.header("webhook-id") == Some(id));
        found.map(|(place, _)| place).collect()
    };
    let twice = arrived
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|(id, _)| (*id, places(id)));
    assert_eq!(
        twice.collect::<Vec<_>>(),
        [],
        "events that arrived more than once, with the positions of their requests"
    );
    let arrived: HashSet<String> = arrived.into_keys().map(str::to_owned).collect();
    assert_eq!(arrived.symmetric_difference(published).count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b07_a_start_of_sqlite_takes_as_long_as_it_takes_and_says_what_it_is_at() {
    // A slow migration, followed by a slow opening of the file: both exceed the limit for a query.
    let installation =
        Installation::start_with(On::Sqlite, |server| server.env("HOOKWRIGHT_PLANT", "slow-start")).await;
    let log = installation.server.stderr();
    for said in [
        "still running after 10 s: migration 2026-11-23-000000_initial",
        "created the schema (",
        "still running after 10 s: opening the file",
    ] {
        assert!(log.contains(said), "`{said}` is not in {log}");
    }
}

on_both_stores! {
    async fn a_new_schema_has_one_line_in_the_log(on: On) {
        let installation = Installation::start(on).await;
        let log = installation.server.stderr();
        assert_eq!(log.matches("created the schema (").count(), 1, "{log}");
        assert!(!log.contains("running migration") && !log.contains("migration done"), "{log}");
    }

    async fn f01_a_server_that_dies_at_its_migration_starts_afterwards(on: On) {
        let directory = tempfile::tempdir().unwrap();
        let (builder, _database) = crate::support::builder(on).await;
        let builder = builder.data_directory(directory.path().join("data"));
        for point in ["migration:1", "migration:2"] {
            let exited = builder.clone().env("HOOKWRIGHT_FAILPOINT", point).start_to_fail().await.unwrap();
            assert!(!exited.status.success(), "{point}: {}", exited.stderr);
        }
        let mut installation = Installation::of(builder.start().await.unwrap()).await;
        installation.create_organization("acme").await;
    }

    async fn an_acknowledged_event_survives_sigkill(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        // The receiver delays its responses, so that no event is delivered before the kill.
        let gate = Gate::new();
        receiver.answer(hookwright_testkit::Response::new(200).after(&gate));
        let mut published = HashSet::new();
        for _ in 0..50 {
            published.insert(id_of(&installation.publish("clocking", CLOCKING).await.event).to_owned());
        }
        installation.server.kill9().await.unwrap();
        gate.open();
        receiver.answer(200);
        receiver.forget_requests();
        installation.restart().await;
        let all = published.clone();
        receiver
            .wait_until(|requests| {
                let arrived: HashSet<&str> =
                    requests.iter().filter_map(|request| request.header("webhook-id")).collect();
                all.iter().all(|id| arrived.contains(id.as_str()))
            })
            .await;
    }

    async fn a_delivery_that_failed_before_a_kill_is_retried_after_it(on: On) {
        let mut installation = Installation::start_with(on, |server| server.arg("--retry-delay", "3s,3s,3s")).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        receiver.respond(503);
        let published = installation.publish("clocking", CLOCKING).await;
        // Until the outcome is durable, the store lists the event as undelivered.
        let of_event = ListDeliveriesRequest { event: published.event.clone(), ..ListDeliveriesRequest::default() };
        let delivery = installation.deliveries_until(of_event, 1).await.remove(0);
        let retries = |delivery: &Delivery| delivery.state() == DeliveryState::Retrying;
        installation.delivery_until(&delivery.name, retries).await;
        installation.server.kill9().await.unwrap();
        receiver.respond(200);
        receiver.forget_requests();
        installation.restart().await;
        let request = wait_for_events(&receiver, 1).await.remove(0);
        assert_eq!(request.header("webhook-id"), Some(id_of(&published.event)));
    }

    async fn an_attempt_in_flight_for_long_survives_a_kill(on: On) {
        let second = prost_types::Duration { seconds: 1, nanos: 0 };
        let mut installation = Installation::start(on).await;
        let (hanging, failing) = (Receiver::start().await, Receiver::start().await);
        installation.register("held").await;
        installation.register("counted").await;
        let patient = Webhook {
            timeout: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
            ..webhook(&hanging.url("/payload"), &["held"])
        };
        installation.create_webhook(patient).await.unwrap();
        hanging.wait_for(1).await;
        let impatient = Webhook {
            retry_schedule: Some(RetrySchedule { delays: vec![second; 20] }),
            ..webhook(&failing.url("/payload"), &["counted"])
        };
        installation.create_webhook(impatient).await.unwrap();
        failing.wait_for(1).await;
        hanging.answer(Answer::Hang);
        failing.respond(503);
        let held = installation.publish("held", "{}").await;
        wait_for_events(&hanging, 1).await;
        // The other webhook fails once a second. By the tenth attempt the watermark has passed the hanging event, so a
        // row must record its delivery.
        installation.publish("counted", "{}").await;
        wait_for_events(&failing, 10).await;
        installation.server.kill9().await.unwrap();
        hanging.respond(200);
        failing.respond(200);
        hanging.forget_requests();
        installation.restart().await;
        let request = wait_for_events(&hanging, 1).await.remove(0);
        assert_eq!(request.header("webhook-id"), Some(id_of(&held.event)));
    }

    async fn sigterm_under_load_loses_nothing(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.register("plain").await;
        installation.webhook(&receiver, &["plain"]).await;
        let mut published = HashSet::new();
        for round in 0..20 {
            let requests = (0..50).map(|n| event("plain", &format!(r#"{{"round":{round},"n":{n}}}"#))).collect();
            published.extend(publish_batch(&mut installation, requests).await);
        }
        let status = installation.server.terminate().await.unwrap();
        assert!(status.success(), "{status}\n{}", installation.server.stderr());
        installation.restart().await;
        assert_each_arrived_once(&receiver, &published).await;
    }
}

mod ten_thousand {
    use super::*;

    on_both_stores! {
        async fn in_batches(on: On) {
            let mut installation = Installation::start(on).await;
            let receiver = Receiver::start().await;
            installation.register("plain").await;
            installation.webhook(&receiver, &["plain"]).await;
            let mut published = HashSet::new();
            for first in (0..MANY).step_by(1_000) {
                let requests =
                    (first..first + 1_000).map(|n| event("plain", &format!(r#"{{"n":{n}}}"#))).collect();
                published.extend(publish_batch(&mut installation, requests).await);
            }
            assert_eq!(published.len(), MANY);
            assert_each_arrived_once(&receiver, &published).await;
        }

        async fn from_64_callers(on: On) {
            let mut installation = Installation::start(on).await;
            let receiver = Receiver::start().await;
            installation.register("plain").await;
            installation.webhook(&receiver, &["plain"]).await;
            let callers = (0..64).map(|caller| {
                let mut events = installation.clients.events.clone();
                tokio::spawn(async move {
                    let mut published = Vec::new();
                    for n in (caller..MANY).step_by(64) {
                        let request = event("plain", &format!(r#"{{"n":{n}}}"#));
                        let response = events.publish_event(request).await.unwrap().into_inner();
                        published.push(id_of(&response.event).to_owned());
                    }
                    published
                })
            });
            let callers: Vec<_> = callers.collect();
            let mut published = HashSet::new();
            for caller in callers {
                published.extend(caller.await.unwrap());
            }
            assert_eq!(published.len(), MANY);
            assert_each_arrived_once(&receiver, &published).await;
        }
    }
}

on_both_stores! {
    async fn a_full_lane_spills_to_the_store_and_delivers_everything(on: On) {
        const EVENTS: usize = 500;
        let mut installation = Installation::start_with(on, |server| server.arg("--memory-bytes-max", "64KiB")).await;
        let receiver = Receiver::start().await;
        installation.register("plain").await;
        installation.webhook(&receiver, &["plain"]).await;
        let gate = Gate::new();
        receiver.answer(hookwright_testkit::Response::new(200).after(&gate));
        // One call publishes all events, so that the test ends before the timeout of the hanging attempts.
        let payload = |n| format!(r#"{{"n":{n},"filler":"{}"}}"#, "x".repeat(500));
        let requests = (0..EVENTS).map(|n| event("plain", &payload(n))).collect();
        let published = publish_batch(&mut installation, requests).await;
        // No receiver has responded: a delivery that is not in memory is only in the store.
        let in_memory = installation.metric("hookwright_deliveries_in_memory").await;
        assert!(
            (1.0..200.0).contains(&in_memory),
            "{in_memory} of {EVENTS} deliveries are in memory, whose limit is 64 KiB"
        );
        gate.open();
        receiver.answer(Answer::from(200));
        assert_each_arrived_once(&receiver, &published).await;
        assert_eq!(without_pings(&receiver.requests()).len(), EVENTS);
    }
}

#[tokio::test]
async fn f04_a_second_server_on_the_same_file_is_refused() {
    let installation = Installation::start(On::Sqlite).await;
    let (builder, _) = crate::support::builder(On::Sqlite).await;
    let exited = builder
        .data_directory(installation.server.data_directory())
        .start_to_fail()
        .await
        .unwrap();
    assert!(!exited.status.success());
    assert!(exited.stderr.contains("another"), "{}", exited.stderr);
}
