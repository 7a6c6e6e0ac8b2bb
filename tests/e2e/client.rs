//! The Rust client against a server that stops and starts again.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use hookwright_client::{
    Client, ClientBuilder, Error,
    v1::{
        CreateOrganizationRequest, DeliveryMode, DeliveryState, ListEventsRequest, ListOrganizationsRequest,
        PublishEventRequest, WatchDeliveriesRequest, Webhook,
    },
};
use hookwright_testkit::{Authority, DEADLINE, Proxy, Receiver};
use tokio::time::timeout;
use tonic::Code;

use crate::support::{ACME, CLOCKING, Installation, On, event, on_both_stores};

fn builder(installation: &Installation, address: &str) -> ClientBuilder {
    Client::builder(format!("http://{address}")).token(installation.server.token().unwrap())
}

/// An event whose number is visible in lists.
pub(crate) fn numbered(n: usize) -> PublishEventRequest {
    PublishEventRequest {
        attributes: HashMap::from([("n".to_owned(), n.to_string())]),
        ..event("clocking", CLOCKING)
    }
}

/// The numbers of all stored events, oldest first.
pub(crate) async fn numbers(installation: &Installation) -> Vec<usize> {
    let mut numbers = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListEventsRequest {
            parent: ACME.to_owned(),
            page_size: 1_000,
            page_token,
            ..ListEventsRequest::default()
        };
        let mut events = installation.clients.events.clone();
        let page = events.list_events(request).await.unwrap().into_inner();
        numbers.extend(
            page.events
                .iter()
                .map(|event| event.attributes["n"].parse::<usize>().unwrap()),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            numbers.reverse();
            return numbers;
        }
    }
}

/// Asserts that every number below `count` is there exactly once.
pub(crate) fn assert_each_once(mut numbers: Vec<usize>, count: usize) {
    numbers.sort_unstable();
    let missing: Vec<usize> = (0..count).filter(|n| numbers.binary_search(n).is_err()).collect();
    assert_eq!(missing, [0; 0], "missing numbers");
    assert_eq!(numbers.len(), count, "some events were stored more than once");
}

on_both_stores! {
    async fn a_publisher_loses_and_repeats_nothing(on: On) {
        const COUNT: usize = 6_000;
        let mut installation = Installation::start(on).await;
        let proxy = Proxy::start(installation.server.grpc_address().to_owned()).await.unwrap();
        let client = builder(&installation, &proxy.address().to_string()).connect().unwrap();
        let publisher = client.publisher().events_max(500).start();
        for n in 0..COUNT {
            publisher.send(numbered(n)).await;
            match n {
                // Hundreds of events are in flight at each of these.
                2_000 | 4_500 => {
                    installation.server.kill9().await.unwrap();
                    installation.restart().await;
                    proxy.lead_to(installation.server.grpc_address());
                }
                _ if n % 700 == 699 => proxy.cut(),
                _ => {}
            }
        }
        timeout(DEADLINE, publisher.close()).await.unwrap().unwrap();
        assert_each_once(numbers(&installation).await, COUNT);
    }

    async fn a_watch_resumes_at_its_position(on: On) {
        const COUNT: usize = 400;
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        let proxy = Proxy::start(installation.server.grpc_address().to_owned()).await.unwrap();
        let client = builder(&installation, &proxy.address().to_string()).connect().unwrap();
        let request = WatchDeliveriesRequest {
            parent: ACME.to_owned(),
            event_type: "clocking".to_owned(),
            states: vec![DeliveryState::Delivered.into()],
            ..WatchDeliveriesRequest::default()
        };
        let mut watch = client.watch_deliveries(request.clone()).await.unwrap();
        let publishing = client.clone();
        let publisher = publishing.publisher().events_max(10).start();
        let mut expected = HashSet::new();
        let mut seen = HashSet::new();
        for n in 0..COUNT {
            let published = publisher.publish(numbered(n)).await;
            if n % 50 == 20 {
                expected.insert(published.await.unwrap().event);
                proxy.cut();
            } else {
                let published = published.await.unwrap();
                expected.insert(published.event);
            }
            match n {
                150 => {
                    installation.server.kill9().await.unwrap();
                    installation.restart().await;
                    proxy.lead_to(installation.server.grpc_address());
                }
                // Another process would resume like this.
                300 => {
                    let resume_token = watch.resume_token().to_owned();
                    assert!(!resume_token.is_empty());
                    let request = WatchDeliveriesRequest { resume_token, ..request.clone() };
                    watch = client.watch_deliveries(request).await.unwrap();
                }
                _ => {}
            }
            while let Ok(changed) = timeout(Duration::ZERO, watch.next()).await {
                seen.extend(changed.unwrap().into_iter().map(|delivery| delivery.event));
            }
        }
        while seen.len() < COUNT {
            let changed = timeout(DEADLINE, watch.next()).await;
            let changed = changed.unwrap_or_else(|_| panic!("only {} of {COUNT} were seen", seen.len())).unwrap();
            seen.extend(changed.into_iter().map(|delivery| delivery.event));
        }
        assert_eq!(seen, expected);
    }

    async fn a_puller_handles_each_delivery(on: On) {
        const COUNT: usize = 60;
        let mut installation = Installation::start(on).await;
        let webhook = Webhook {
            events: vec!["clocking".to_owned()],
            delivery_mode: DeliveryMode::Pull.into(),
            ..Webhook::default()
        };
        let webhook = installation.create_webhook(webhook).await.unwrap();
        let client = builder(&installation, installation.server.grpc_address()).connect().unwrap();
        let events = (0..COUNT).map(numbered).collect();
        let published = client.publish_batch(events).await.unwrap();
        let expected: HashSet<String> = published.into_iter().map(|result| result.unwrap().event).collect();
        #[expect(clippy::disallowed_methods, reason = "a test with a few events")]
        let (handled, mut handling) = tokio::sync::mpsc::unbounded_channel();
        let puller = client
            .puller(&webhook.name)
            .deliveries_max(25)
            .ack_timeout(Duration::from_secs(1))
            .build();
        let pulling = tokio::spawn(async move {
            puller
                .run(move |delivery| {
                    let handled = handled.clone();
                    async move {
                        if delivery.event_type != "clocking" {
                            return true;
                        }
                        // Every third delivery is not acknowledged at first, and is handed out again.
                        let done = !delivery.delivery.ends_with(['0', '3', '6']) || delivery.attempt > 1;
                        if done {
                            handled.send((delivery.event, delivery.delivery)).unwrap();
                        }
                        done
                    }
                })
                .await
        });
        let mut events = HashSet::new();
        let mut deliveries = Vec::new();
        while events.len() < COUNT {
            let (event, delivery) = timeout(DEADLINE, handling.recv()).await.unwrap().unwrap();
            assert!(events.insert(event), "{delivery} was acknowledged and handed out again");
            deliveries.push(delivery);
        }
        assert_eq!(events, expected);
        for delivery in deliveries {
            installation.delivered(&delivery).await;
        }
        pulling.abort();
    }
}

#[tokio::test]
async fn refused_events_say_why_and_delay_nothing() {
    let installation = Installation::start(On::Sqlite).await;
    let client = builder(&installation, installation.server.grpc_address())
        .connect()
        .unwrap();

    let publisher = client.publisher().start();
    let good = publisher.publish(numbered(0)).await;
    let bad = publisher.publish(event("clocking", "[]")).await;
    let unknown = publisher.publish(event("clockin", CLOCKING)).await;
    let good_too = publisher.publish(numbered(1)).await;
    assert_eq!(publisher.flush().await.unwrap_err().code(), Code::InvalidArgument);
    publisher.flush().await.unwrap();
    assert!(!good.await.unwrap().repeated_request && !good_too.await.unwrap().repeated_request);
    let bad: Error = bad.await.unwrap_err();
    assert_eq!(
        (bad.code(), bad.field_violations()[0].field.as_str()),
        (Code::InvalidArgument, "json")
    );
    assert!(!bad.is_transient() && bad.reason().is_some(), "{bad:?}");
    assert_eq!(unknown.await.unwrap_err().code(), Code::NotFound);

    let single = client.publish(event("clocking", "[]")).await.unwrap_err();
    assert_eq!(single.field_violations()[0].field, "json");
    assert!(!single.field_violations()[0].reason.is_empty(), "{single:?}");
    let batch = client
        .publish_batch(vec![numbered(2), event("clocking", "[]")])
        .await
        .unwrap();
    assert!(batch[0].is_ok() && batch[1].is_err());
    let none = client.publish_batch(Vec::new()).await.unwrap_err();
    assert_eq!(
        (none.code(), none.reason()),
        (Code::InvalidArgument, Some("BATCH_SIZE"))
    );
    assert_each_once(numbers(&installation).await, 3);
}

#[tokio::test]
async fn an_invalid_token_fails_waiting_calls_and_nothing_hangs() {
    let installation = Installation::start(On::Sqlite).await;
    let client = Client::builder(format!("http://{}", installation.server.grpc_address()))
        .token("hw_wrong")
        .connect()
        .unwrap();
    let publisher = client.publisher().start();
    for n in 0..2 {
        let receipt = timeout(DEADLINE, publisher.publish(numbered(n)).await).await.unwrap();
        assert_eq!(receipt.unwrap_err().code(), Code::Unauthenticated);
    }
    assert_eq!(publisher.close().await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn safe_calls_are_repeated_until_the_server_is_back() {
    let mut installation = Installation::start(On::Sqlite).await;
    let proxy = Proxy::start("127.0.0.1:1".to_owned()).await.unwrap();
    let client = builder(&installation, &proxy.address().to_string()).connect().unwrap();

    // Calls that change something are not retried: their caller must decide.
    let request = CreateOrganizationRequest {
        organization_id: "globex".to_owned(),
        organization: None,
    };
    let refused = client.organizations().create_organization(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");

    let reading = client.clone();
    let list = tokio::spawn(async move {
        let list = ListOrganizationsRequest::default();
        reading.organizations().list_organizations(list).await
    });
    let publishing = client.clone();
    let publish = tokio::spawn(async move { publishing.publish(numbered(0)).await });
    let publishing = client.clone();
    let batch = tokio::spawn(async move { publishing.publish_batch(vec![numbered(1), numbered(2)]).await });
    proxy.wait_for_connections(4).await;
    installation.restart().await;
    proxy.lead_to(installation.server.grpc_address());
    let list = list.await.unwrap().unwrap().into_inner();
    assert_eq!(list.organizations.len(), 1);
    publish.await.unwrap().unwrap();
    assert_eq!(batch.await.unwrap().unwrap().len(), 2);
    assert_each_once(numbers(&installation).await, 3);
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_gets_no_answer() {
    let installation = Installation::start(On::Sqlite).await;
    let proxy = Proxy::start(installation.server.grpc_address().to_owned())
        .await
        .unwrap();
    proxy.set(hookwright_testkit::proxy::Mode::Hold);
    let client = builder(&installation, &proxy.address().to_string())
        .timeout(Duration::from_millis(300))
        .connect()
        .unwrap();
    let mut organizations = client.organizations();
    let list = organizations.list_organizations(ListOrganizationsRequest::default());
    let late = timeout(DEADLINE, list).await.unwrap().unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
    let publisher = client.publisher().give_up_after(Duration::from_millis(300)).start();
    let receipt = publisher.publish(numbered(0)).await;
    let given_up = timeout(DEADLINE, receipt).await.unwrap().unwrap_err();
    assert!(
        matches!(given_up.code(), Code::Unavailable | Code::DeadlineExceeded),
        "{given_up}"
    );
}

#[tokio::test]
async fn tls_trusts_who_it_is_told_to_trust() {
    let authority = Authority::new();
    let identity = authority.certificate(&["127.0.0.1"]);
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = identity.files(directory.path());
    let (builder, _) = crate::support::builder(On::Sqlite).await;
    let server = builder
        .arg("--tls-certificate", &certificate)
        .arg("--tls-private-key", &key)
        .start()
        .await
        .unwrap();
    let token = file("token", &format!("{}\n", server.token().unwrap()));
    let client = || Client::builder(format!("https://{}", server.grpc_address())).token_file(&token);
    let list = async |client: Client| {
        let list = ListOrganizationsRequest::default();
        client.organizations().list_organizations(list).await.map(drop)
    };
    list(client().ca_file(authority.pem_file()).connect().unwrap())
        .await
        .unwrap();
    let alone = client().system_roots(false).ca_certificate(authority.pem());
    list(alone.connect().unwrap()).await.unwrap();
    let refused = list(client().no_retry().connect().unwrap()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("certificate"), "{refused}");
}
