//! Changes of a webhook's configuration while deliveries are in flight.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use hookwright_proto::v1::{
    DeliveryState, ErrorClass, ListDeliveriesRequest, Ordering, PublishEventRequest, UpdateWebhookRequest, Webhook,
};
use hookwright_testkit::{Authority, Receiver, RecordedRequest, TestServerBuilder};

use crate::{
    cluster::{two_nodes, two_nodes_with},
    support::{
        ACME, CLOCKING, Clients, Installation, On, event, on_both_stores, wait_for_events, webhook, without_pings,
    },
};

/// Events published at each node before and after a change.
const EVENTS: usize = 8;

/// Changes one field of a webhook.
async fn update(clients: &mut Clients, webhook: Webhook, field: &str) {
    let request = UpdateWebhookRequest {
        webhook: Some(webhook),
        update_mask: Some(prost_types::FieldMask {
            paths: vec![field.to_owned()],
        }),
    };
    clients.webhooks.update_webhook(request).await.unwrap();
}

/// Publishes to every node and returns the events of the deliveries.
async fn publish(nodes: &mut [Clients]) -> Vec<String> {
    let mut events = Vec::new();
    for node in nodes {
        for _ in 0..EVENTS {
            let published = node.events.publish_event(event("clocking", CLOCKING)).await.unwrap();
            events.push(published.into_inner().event);
        }
    }
    events
}

/// Moves a webhook back and forth between two receivers, both with idle connections. The nodes are `first` and
/// `others`.
async fn requests_follow_the_url(mut first: Installation, others: Vec<Clients>) {
    let receivers = [Receiver::start().await, Receiver::start().await];
    let hook = first.webhook(&receivers[0], &["clocking"]).await;
    let mut nodes = vec![first.clients.clone()];
    nodes.extend(others);
    for round in 0..6 {
        let (old, new) = (&receivers[round % 2], &receivers[(round + 1) % 2]);
        let events = publish(&mut nodes).await.len();
        wait_for_events(old, events).await;
        assert!(
            old.open_connections() > 0,
            "round {round}: the connections are kept alive"
        );
        let moved = Webhook {
            name: hook.name.clone(),
            payload_url: new.url("/payload"),
            ..Webhook::default()
        };
        update(&mut nodes[0], moved, "payload_url").await;
        let before = old.request_count();
        publish(&mut nodes).await;
        let requests = new.wait_until(|requests| requests.len() > events).await;
        assert!(
            requests
                .iter()
                .any(|request| request.header("TT-Hook-Event") == Some("ping")),
            "round {round}: the ping goes to the new receiver"
        );
        assert_eq!(
            without_pings(&requests).len(),
            events,
            "round {round}: all events go to the new receiver"
        );
        let host = new.address().to_string();
        assert!(
            requests
                .iter()
                .all(|request| request.header("Host") == Some(host.as_str()))
        );
        assert_eq!(
            old.request_count(),
            before,
            "round {round}: a request went to the old receiver"
        );
        receivers.iter().for_each(Receiver::forget_requests);
    }
}

/// Enables TLS verification for a receiver whose certificate no trusted authority signed. The nodes are `first` and
/// `others`.
async fn no_unverified_connection_is_used_again(mut first: Installation, others: Vec<Clients>) {
    let receiver = Receiver::start_tls(Authority::new().certificate(&["127.0.0.1"]).server_config()).await;
    let unverified = Webhook {
        insecure_skip_tls_verify: true,
        ..webhook(&receiver.url("/payload"), &["clocking"])
    };
    let hook = first.create_webhook(unverified).await.unwrap();
    let mut nodes = vec![first.clients.clone()];
    nodes.extend(others);
    let events = publish(&mut nodes).await.len();
    receiver.wait_for(events + 1).await;
    let verified = Webhook {
        name: hook.name.clone(),
        ..Webhook::default()
    };
    update(&mut nodes[0], verified, "insecure_skip_tls_verify").await;
    let before = receiver.request_count();
    publish(&mut nodes).await;
    let refused = ListDeliveriesRequest {
        parent: ACME.to_owned(),
        states: vec![DeliveryState::Retrying.into()],
        ..ListDeliveriesRequest::default()
    };
    let refused = first.deliveries_until(refused, events + 1).await;
    for delivery in refused {
        assert_eq!(delivery.last_error_class(), ErrorClass::TlsUntrusted, "{delivery:?}");
    }
    assert_eq!(
        receiver.request_count(),
        before,
        "a request went over an unverified connection"
    );
}

fn insecure(server: TestServerBuilder) -> TestServerBuilder {
    server.flag("--allow-insecure-tls")
}

on_both_stores! {
    async fn x07_requests_go_to_the_new_receiver_once_the_update_returns(on: On) {
        requests_follow_the_url(Installation::start(on).await, Vec::new()).await;
    }

    async fn x07_an_unverified_connection_is_not_used_once_verification_is_on(on: On) {
        no_unverified_connection_is_used_again(Installation::start_with(on, insecure).await, Vec::new()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x07_requests_of_two_nodes_go_to_the_new_receiver_once_the_update_returns() {
    let (first, other, _database) = two_nodes("5s").await;
    requests_follow_the_url(first, vec![other.clients.clone()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x07_an_unverified_connection_of_two_nodes_is_not_used_once_verification_is_on() {
    let (first, other, _database) = two_nodes_with("5s", insecure).await;
    no_unverified_connection_is_used_again(first, vec![other.clients.clone()]).await;
}

/// Publishes to an ordered webhook until it is stopped. Returns how many deliveries of each key are owed: while the
/// webhook is inactive, events add none.
async fn publish_steps(mut clients: Clients, key: String, stop: Arc<AtomicBool>) -> (String, Vec<u64>) {
    let mut owed = Vec::new();
    for number in 0.. {
        if stop.load(Relaxed) {
            break;
        }
        let request = PublishEventRequest {
            ordering_key: key.clone(),
            ..event("step", &format!(r#"{{"key":"{key}","number":{number}}}"#))
        };
        let published = clients.events.publish_event(request).await.unwrap().into_inner();
        if published.delivery_count == 1 {
            owed.push(number);
        }
    }
    (key, owed)
}

/// The numbers of each key in the order of arrival.
fn arrived(requests: &[RecordedRequest]) -> BTreeMap<String, Vec<u64>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for request in without_pings(requests) {
        let body = request.json();
        let key = body["key"].as_str().unwrap().to_owned();
        found.entry(key).or_default().push(body["number"].as_u64().unwrap());
    }
    found
}

on_both_stores! {
    async fn x09_an_ordered_webhook_switched_off_and_on_under_load_delivers_everything_in_order(on: On) {
        let mut installation = Installation::start(on).await;
        installation.register("step").await;
        let receiver = Receiver::start().await;
        let ordered = Webhook { ordering: Ordering::Ordered.into(), ..webhook(&receiver.url("/payload"), &["step"]) };
        let hook = installation.create_webhook(ordered).await.unwrap();
        receiver.wait_for(1).await;
        let stop = Arc::new(AtomicBool::new(false));
        let publishers: Vec<_> = (0..8)
            .map(|key| tokio::spawn(publish_steps(installation.clients.clone(), format!("k{key}"), Arc::clone(&stop))))
            .collect();
        for round in 1..=10 {
            // Each round runs under load: requests have arrived since the previous round.
            receiver.wait_until(|requests| requests.len() > round * 20).await;
            for active in [false, true] {
                let switched = Webhook { name: hook.name.clone(), active: Some(active), ..Webhook::default() };
                update(&mut installation.clients, switched, "active").await;
                // The case needs this pause: it lets workers see that the webhook is inactive.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        stop.store(true, Relaxed);
        let mut owed = BTreeMap::new();
        for publisher in publishers {
            let (key, numbers) = publisher.await.unwrap();
            owed.insert(key, numbers);
        }
        let count = owed.values().map(Vec::len).sum::<usize>();
        let requests = receiver.wait_until(|requests| without_pings(requests).len() >= count).await;
        assert_eq!(arrived(&requests), owed);
    }
}
