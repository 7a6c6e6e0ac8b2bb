//! The consequences of an attempt, and its record.

use hookwright_proto::v1::{
    DeleteWebhookRequest, DeliveryState, DisabledReason, ErrorClass, GetWebhookRequest, ListAttemptsRequest,
    ListDeliveriesRequest, Webhook,
};
use hookwright_testkit::{Receiver, Response, receiver::Gate, until};

use crate::support::{ACME, CLOCKING, Installation, On, on_both_stores, wait_for_events, webhook};

async fn only_delivery(installation: &mut Installation, event: &str) -> String {
    let request = ListDeliveriesRequest {
        parent: ACME.to_owned(),
        event: event.to_owned(),
        ..Default::default()
    };
    let mut page = installation
        .clients
        .deliveries
        .list_deliveries(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.deliveries.len(), 1);
    page.deliveries.remove(0).name
}

on_both_stores! {
    async fn every_attempt_is_recorded(on: On) {
        let mut installation = Installation::start_with(on, |server| server.arg("--retry-delay", "1s")).await;
        let receiver = Receiver::start().await;
        let own = [("X-Api-Key".to_owned(), "very-secret".to_owned())].into();
        let wanted = Webhook { headers: own, ..webhook(&receiver.url("/hook"), &["clocking"]) };
        installation.create_webhook(wanted).await.unwrap();
        receiver.wait_for(1).await;
        receiver.answer_in_turn([
            Response::new(500).header("X-Reason", "broken").body("it is broken"),
            Response::new(200).body("thanks"),
        ]);
        let published = installation.publish("clocking", CLOCKING).await;
        let name = only_delivery(&mut installation, &published.event).await;
        let delivery = installation.delivered(&name).await;
        assert_eq!(delivery.attempt_count, 2);
        assert_eq!(delivery.event_type, "clocking");
        assert_eq!(delivery.last_response_status, 200);

        let request = ListAttemptsRequest {
            parent: name,
            ..ListAttemptsRequest::default()
        };
        let attempts = installation.clients.deliveries.list_attempts(request).await.unwrap().into_inner().attempts;
        assert_eq!(attempts.len(), 2);
        let first = &attempts[0];
        assert_eq!(first.number, 1);
        assert_eq!(first.response_status, 500);
        assert_eq!(first.error_class(), ErrorClass::Status);
        assert_eq!(first.response_body, &b"it is broken"[..]);
        assert_eq!(first.url, receiver.url("/hook"));
        assert_eq!(first.remote_address, receiver.address().to_string());
        let header = |headers: &[hookwright_proto::v1::Header], name: &str| {
            headers.iter().find(|header| header.name == name).map(|header| header.value.clone())
        };
        assert_eq!(header(&first.response_headers, "x-reason").as_deref(), Some("broken"));
        assert_eq!(header(&first.request_headers, "TT-Hook-Event").as_deref(), Some("clocking"));
        for secret in ["X-Api-Key", "TT-Hook-Signature", "TT-Hook-Signature-256", "webhook-signature"] {
            assert_eq!(header(&first.request_headers, secret).as_deref(), Some("(redacted)"), "{secret}");
        }
        assert!(first.duration.is_some() && first.phases.as_ref().unwrap().wait.is_some());
        assert_eq!(attempts[1].error_class(), ErrorClass::Unspecified);
        assert_eq!(attempts[1].response_body, &b"thanks"[..]);
    }

    async fn r14_gone_ends_the_delivery_and_disables_the_webhook(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let created = installation.webhook(&receiver, &["clocking"]).await;
        receiver.respond(410);
        let published = installation.publish("clocking", CLOCKING).await;
        let name = only_delivery(&mut installation, &published.event).await;
        let delivery = installation.delivery_until(&name, |delivery| delivery.state() == DeliveryState::Failed).await;
        assert_eq!(delivery.last_error_class(), ErrorClass::Gone);
        let disabled = until("the webhook to be disabled", async || {
            let request = GetWebhookRequest { name: created.name.clone() };
            let webhook = installation.clients.webhooks.get_webhook(request).await.unwrap().into_inner();
            if webhook.active == Some(false) { Ok(webhook) } else { Err(format!("{webhook:?}")) }
        })
        .await;
        assert_eq!(disabled.disabled_reason(), DisabledReason::Gone);
        assert!(disabled.disable_time.is_some());
        assert_eq!(disabled.signing_secret, "", "a get never returns the secret");
        assert_eq!(installation.publish("clocking", CLOCKING).await.delivery_count, 0);
    }

    async fn deleting_a_webhook_ends_its_delivery_in_flight(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let created = installation.webhook(&receiver, &["clocking"]).await;
        let gate = Gate::default();
        receiver.answer(Response::new(500).after(&gate));
        let published = installation.publish("clocking", CLOCKING).await;
        wait_for_events(&receiver, 1).await;
        let name = only_delivery(&mut installation, &published.event).await;
        let request = DeleteWebhookRequest { name: created.name };
        installation.clients.webhooks.delete_webhook(request).await.unwrap();
        gate.open();
        let delivery = installation.delivery_until(&name, |delivery| delivery.state() == DeliveryState::Cancelled).await;
        assert_eq!(delivery.attempt_count, 1, "the attempt in flight is recorded, and no other follows");
        installation.restart().await;
        let delivery = installation.delivery_until(&name, |delivery| delivery.attempt_count == 1).await;
        assert_eq!(delivery.state(), DeliveryState::Cancelled);
    }

    async fn a_delivery_fails_when_its_retries_are_used_up(on: On) {
        let mut installation = Installation::start_with(on, |server| server.arg("--retry-delay", "1s")).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        receiver.respond(404);
        let published = installation.publish("clocking", CLOCKING).await;
        wait_for_events(&receiver, 2).await;
        let name = only_delivery(&mut installation, &published.event).await;
        let delivery = installation.delivery_until(&name, |delivery| delivery.state() == DeliveryState::Failed).await;
        assert_eq!(delivery.attempt_count, 2);
        assert_eq!(delivery.last_response_status, 404);
    }
}

#[tokio::test]
async fn r15_retry_after_moves_the_next_attempt_later() {
    let mut installation = Installation::start_with(On::Sqlite, |server| server.arg("--retry-delay", "1s")).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    receiver.answer(Response::new(503).header("Retry-After", "3600"));
    let published = installation.publish("clocking", CLOCKING).await;
    let name = only_delivery(&mut installation, &published.event).await;
    let delivery = installation
        .delivery_until(&name, |delivery| delivery.state() == DeliveryState::Retrying)
        .await;
    let wait = delivery.next_attempt_time.unwrap().seconds - delivery.last_attempt_time.unwrap().seconds;
    assert!((3_590..=3_610).contains(&wait), "an hour, not a second: {wait}");
}

#[tokio::test]
async fn s27_r13_redirects_are_not_followed() {
    let mut installation = Installation::start(On::Sqlite).await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    installation.webhook(&receiver, &["clocking"]).await;
    receiver.answer(Response::new(302).header("Location", elsewhere.url("/")));
    let published = installation.publish("clocking", CLOCKING).await;
    let name = only_delivery(&mut installation, &published.event).await;
    let delivery = installation
        .delivery_until(&name, |delivery| delivery.state() == DeliveryState::Retrying)
        .await;
    assert_eq!(delivery.last_error_class(), ErrorClass::Redirect);
    assert_eq!(elsewhere.request_count(), 0);
}
