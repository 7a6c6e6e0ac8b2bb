//! Batches, streams and request ids.

use std::collections::HashSet;

use hookwright_proto::v1::{
    BatchPublishEventsRequest, GetEventRequest, ListEventsRequest, PublishEventRequest, PublishStreamRequest,
    publish_result,
};
use hookwright_testkit::Receiver;
use tonic::Code;

use crate::support::{ACME, CLOCKING, Installation, On, event, on_both_stores, wait_for_events, without_pings};

fn with_request_id(id: &str, json: &str) -> PublishEventRequest {
    PublishEventRequest {
        request_id: id.to_owned(),
        ..event("clocking", json)
    }
}

on_both_stores! {
    async fn p06_a_request_id_publishes_once(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let mut events = installation.clients.events.clone();
                tokio::spawn(async move { events.publish_event(with_request_id("r-1", CLOCKING)).await.unwrap().into_inner() })
            })
            .collect();
        let mut responses = Vec::new();
        for caller in callers {
            responses.push(caller.await.unwrap());
        }
        let events: HashSet<_> = responses.iter().map(|response| response.event.clone()).collect();
        assert_eq!(events.len(), 1, "50 callers, one event");
        assert_eq!(responses.iter().filter(|response| !response.repeated_request).count(), 1);
        assert!(responses.iter().all(|response| response.delivery_count == 1));

        let other = CLOCKING.replace("created", "deleted");
        let conflict = installation.try_publish(with_request_id("r-1", &other)).await.unwrap_err();
        assert_eq!(conflict.code(), Code::AlreadyExists);

        installation.server.kill9().await.unwrap();
        installation.restart().await;
        let repeated = installation.try_publish(with_request_id("r-1", CLOCKING)).await.unwrap();
        assert!(repeated.repeated_request && events.contains(&repeated.event), "after a restart too");
        let marker = installation.publish("clocking", CLOCKING).await;
        receiver
            .wait_until(|requests| {
                requests.iter().any(|request| request.header("webhook-id") == Some(crate::support::id_of(&marker.event)))
            })
            .await;
        let ids: HashSet<_> = without_pings(&receiver.requests())
            .iter()
            .map(|request| request.header("webhook-id").unwrap().to_owned())
            .collect();
        assert_eq!(ids.len(), 2, "the repeated event and the marker");
    }

    async fn p05_one_bad_event_does_not_hold_back_the_good_ones(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        let requests = vec![event("clocking", CLOCKING), event("clocking", "[]"), event("clockin", CLOCKING), event("clocking", CLOCKING)];
        let batch = BatchPublishEventsRequest { organization: ACME.to_owned(), requests };
        let results = installation.clients.events.batch_publish_events(batch).await.unwrap().into_inner().results;
        let codes: Vec<i32> = results
            .iter()
            .map(|result| match result.result.as_ref().unwrap() {
                publish_result::Result::Published(_) => 0,
                publish_result::Result::Error(error) => error.code,
            })
            .collect();
        assert_eq!(codes, [0, Code::InvalidArgument as i32, Code::NotFound as i32, 0]);
        let Some(publish_result::Result::Error(error)) = &results[1].result else { unreachable!() };
        assert_eq!(error.field_violations[0].field, "json");
        wait_for_events(&receiver, 2).await;
    }

    async fn a_stream_acknowledges_each_event_and_survives_bad_ones(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        let requests: Vec<_> = (1..=1_000u64)
            .map(|sequence| {
                let json = if sequence % 100 == 0 { "not json" } else { CLOCKING };
                PublishStreamRequest { sequence, event: Some(event("clocking", json)) }
            })
            .collect();
        let stream = installation.clients.events.publish_stream(tokio_stream::iter(requests)).await.unwrap();
        let mut stream = stream.into_inner();
        let (mut good, mut bad) = (HashSet::new(), HashSet::new());
        while let Some(response) = stream.message().await.unwrap() {
            for ack in response.acks {
                match ack.result.unwrap().result.unwrap() {
                    publish_result::Result::Published(_) => assert!(good.insert(ack.sequence)),
                    publish_result::Result::Error(_) => assert!(bad.insert(ack.sequence)),
                }
            }
        }
        assert_eq!(good.len(), 990);
        assert_eq!(bad, (1..=10).map(|n| n * 100).collect());
        wait_for_events(&receiver, 990).await;
    }

    async fn events_are_listed_newest_first_in_pages(on: On) {
        let mut installation = Installation::start(on).await;
        let mut published = Vec::new();
        for _ in 0..7 {
            published.push(installation.publish("clocking", CLOCKING).await.event);
        }
        published.reverse();
        let mut listed = Vec::new();
        let mut page_token = String::new();
        loop {
            let request =
                ListEventsRequest { parent: ACME.to_owned(), page_size: 3, page_token, ..Default::default() };
            let page = installation.clients.events.list_events(request).await.unwrap().into_inner();
            assert!(page.events.len() <= 3 && page.events.iter().all(|event| event.json.is_empty()));
            listed.extend(page.events.into_iter().map(|event| event.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(listed, published);
        let request = GetEventRequest { name: published[0].clone() };
        let event = installation.clients.events.get_event(request).await.unwrap().into_inner();
        assert_eq!(event.json, CLOCKING);
        assert_eq!((event.payload_bytes, event.delivery_count), (142, 0));
    }
}

#[tokio::test]
async fn p05_batches_of_none_and_of_too_many_are_refused() {
    let mut installation = Installation::start(On::Sqlite).await;
    for count in [0, 1_001] {
        let requests = vec![event("clocking", CLOCKING); count];
        let batch = BatchPublishEventsRequest {
            organization: ACME.to_owned(),
            requests,
        };
        let refused = installation
            .clients
            .events
            .batch_publish_events(batch)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{count}");
    }
    let huge = format!(r#"{{"x":"{}"}}"#, "x".repeat(5 << 20));
    let batch = BatchPublishEventsRequest {
        organization: ACME.to_owned(),
        requests: vec![event("clocking", &huge); 8],
    };
    let refused = installation
        .clients
        .events
        .batch_publish_events(batch)
        .await
        .unwrap_err();
    assert!(
        matches!(refused.code(), Code::ResourceExhausted | Code::OutOfRange),
        "{refused:?}"
    );
}
