//! Clients that receive 4 MiB, the default of gRPC clients.

use std::collections::HashMap;

use hookwright_proto::v1::{
    CreateWebhookRequest, DeliveryMode, GetEventRequest, ListAttemptsRequest, ListWebhooksRequest,
    PullDeliveriesRequest, Webhook, event_service_client::EventServiceClient, pull_service_client::PullServiceClient,
    webhook_service_client::WebhookServiceClient,
};
use hookwright_testkit::{DEADLINE, Receiver};
use tonic::{Code, Request};

use crate::support::{ACME, Installation, On, SECRET, channel, event, on_both_stores, webhook};

/// A request with the installation's token.
fn authorized<T>(installation: &Installation, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {}", installation.server.token().unwrap());
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    request
}

fn payload(bytes: usize) -> String {
    format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes))
}

on_both_stores! {
    async fn b09_a_stock_client_pulls_600_kb_deliveries_without_losing_one(on: On) {
        let mut installation = Installation::start(on).await;
        installation.register("plain").await;
        let request = Webhook {
            delivery_mode: DeliveryMode::Pull.into(),
            events: vec!["plain".to_owned()],
            signing_secret: SECRET.to_owned(),
            ..Webhook::default()
        };
        let hook = installation.create_webhook(request).await.unwrap().name;
        for _ in 0..10 {
            installation.publish("plain", &payload(600_000)).await;
        }
        // Ten of these payloads are far above the limit of such a client.
        let mut stock = PullServiceClient::new(channel(installation.server.grpc_address()).await);
        let mut pulled = Vec::new();
        while pulled.len() < 11 {
            let request = PullDeliveriesRequest {
                webhook: hook.clone(),
                max_deliveries: 10,
                ..PullDeliveriesRequest::default()
            };
            let response = stock.pull_deliveries(authorized(&installation, request)).await.unwrap().into_inner();
            assert!(!response.deliveries.is_empty(), "deliveries that were not returned are not leased");
            assert!(response.deliveries.iter().all(|one| one.attempt == 1), "no delivery is returned twice");
            pulled.extend(response.deliveries);
        }
        let mut events: Vec<_> = pulled.iter().map(|one| one.event.clone()).collect();
        events.sort_unstable();
        events.dedup();
        assert_eq!(events.len(), 11, "ten events, and the ping");
        // A delivery that is larger than the response is returned alone, for clients that receive as much.
        installation.publish("plain", &payload(5_000_000)).await;
        installation.publish("plain", &payload(10)).await;
        let request = PullDeliveriesRequest {
            webhook: hook.clone(),
            max_deliveries: 10,
            ..PullDeliveriesRequest::default()
        };
        let large = installation.clients.pull.pull_deliveries(request.clone()).await.unwrap().into_inner();
        assert_eq!(large.deliveries.len(), 1);
        assert_eq!(large.deliveries[0].body.len(), payload(5_000_000).len());
        let asked = PullDeliveriesRequest { response_bytes_max: 16 << 20, ..request.clone() };
        assert_eq!(installation.clients.pull.pull_deliveries(asked).await.unwrap().into_inner().deliveries.len(), 1);
        let asked = PullDeliveriesRequest { response_bytes_max: (16 << 20) + 1, ..request };
        let status = installation.clients.pull.pull_deliveries(asked).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn b09_a_stock_client_lists_webhooks_with_large_headers() {
    let mut installation = Installation::start(On::Sqlite).await;
    installation.register("plain").await;
    let headers: HashMap<String, String> = (0..32)
        .map(|index| (format!("X-Large-{index}"), "v".repeat(2_000)))
        .collect();
    const COUNT: usize = 80;
    for index in 0..COUNT {
        let request = CreateWebhookRequest {
            parent: ACME.to_owned(),
            webhook: Some(Webhook {
                headers: headers.clone(),
                active: Some(false),
                ..webhook(&format!("http://127.0.0.1:4567/{index}"), &["plain"])
            }),
        };
        installation.clients.webhooks.create_webhook(request).await.unwrap();
    }
    let mut stock = WebhookServiceClient::new(channel(installation.server.grpc_address()).await);
    let (mut names, mut pages, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let request = ListWebhooksRequest {
            parent: ACME.to_owned(),
            page_size: 1_000,
            page_token,
        };
        let page = stock
            .list_webhooks(authorized(&installation, request))
            .await
            .unwrap()
            .into_inner();
        names.extend(page.webhooks.into_iter().map(|webhook| webhook.name));
        pages += 1;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    names.dedup();
    assert!(names.len() == COUNT && pages > 1, "{} in {pages} pages", names.len());
}

#[tokio::test]
async fn b09_an_event_above_4_mib_is_there_for_clients_that_receive_as_much() {
    let mut installation = Installation::start(On::Sqlite).await;
    installation.register("plain").await;
    let name = installation.publish("plain", &payload(5_000_000)).await.event;
    let channel = channel(installation.server.grpc_address()).await;
    let mut stock = EventServiceClient::new(channel.clone());
    let request = || authorized(&installation, GetEventRequest { name: name.clone() });
    let refused = stock.get_event(request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "the client reports it");
    let mut large = EventServiceClient::new(channel).max_decoding_message_size(8 << 20);
    let event = large.get_event(request()).await.unwrap().into_inner();
    assert_eq!(event.json.len(), payload(5_000_000).len());
}

#[tokio::test]
async fn attempts_come_in_pages() {
    let mut installation = Installation::start_with(On::Sqlite, |builder| builder.arg("--retry-delay", "1s,1s")).await;
    installation.register("plain").await;
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| 500);
    let request = webhook(&receiver.url("/"), &["plain"]);
    let hook = installation.create_webhook(request).await.unwrap().name;
    installation.try_publish(event("plain", "{}")).await.unwrap();
    let failed = hookwright_proto::v1::ListDeliveriesRequest {
        webhook: hook,
        event_type: "plain".to_owned(),
        states: vec![hookwright_proto::v1::DeliveryState::Failed.into()],
        ..Default::default()
    };
    let delivery = tokio::time::timeout(DEADLINE, installation.deliveries_until(failed, 1))
        .await
        .unwrap()
        .remove(0);
    assert_eq!(delivery.attempt_count, 3);
    let mut request = ListAttemptsRequest {
        parent: delivery.name,
        page_size: 2,
        ..ListAttemptsRequest::default()
    };
    let mut numbers = Vec::new();
    for expected in [2, 1] {
        let page = installation
            .clients
            .deliveries
            .list_attempts(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(page.attempts.len(), expected);
        numbers.extend(page.attempts.iter().map(|attempt| attempt.number));
        request.page_token = page.next_page_token;
    }
    assert_eq!((numbers, request.page_token.as_str()), (vec![1, 2, 3], ""));
    for wrong in [
        ListAttemptsRequest {
            page_size: -1,
            ..request.clone()
        },
        ListAttemptsRequest {
            page_token: "x".to_owned(),
            ..request
        },
    ] {
        let status = installation.clients.deliveries.list_attempts(wrong).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}
