//! Filters on attributes and payloads, and the explanation why an event was or was not sent to a webhook.

use std::collections::HashSet;

use hookwright_proto::v1::{
    DeliveryState, ExplainEventRequest, ExplanationReason, PublishEventRequest, PublishEventResponse,
    TestWebhookFilterRequest, TestWebhookFilterResponse, UpdateWebhookRequest, Webhook, WebhookExplanation,
    publish_event_request::Payload, test_webhook_filter_request::Sample,
};
use hookwright_testkit::Receiver;
use prost_types::FieldMask;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{Installation, On, event, on_both_stores, wait_for_events, webhook, without_pings};

const ORDER: &str = r#"{"order":{"id":"O-1","total":120.5,"lines":[{"sku":"a","count":1},{"sku":"b","count":9}]}}"#;

async fn start(on: On) -> Installation {
    let mut installation = Installation::start(on).await;
    installation.register("order").await;
    installation
}

async fn filtered(installation: &mut Installation, receiver: &Receiver, filter: &str) -> Result<Webhook, Status> {
    let wanted = Webhook {
        filter: filter.to_owned(),
        ..webhook(&receiver.url("/payload"), &["order"])
    };
    installation.create_webhook(wanted).await
}

async fn publish(installation: &mut Installation, region: &str, json: &str) -> PublishEventResponse {
    let request = PublishEventRequest {
        attributes: [("region".to_owned(), region.to_owned())].into(),
        ..event("order", json)
    };
    installation.try_publish(request).await.unwrap()
}

async fn explain(installation: &mut Installation, published: &PublishEventResponse) -> Vec<WebhookExplanation> {
    let request = ExplainEventRequest {
        name: published.event.clone(),
    };
    let response = installation.clients.events.explain_event(request).await.unwrap();
    response.into_inner().explanations
}

async fn test(
    installation: &mut Installation,
    filter: &str,
    sample: Option<Sample>,
) -> Result<TestWebhookFilterResponse, Status> {
    let request = TestWebhookFilterRequest {
        filter: filter.to_owned(),
        sample,
    };
    let response = installation.clients.webhooks.test_webhook_filter(request).await?;
    Ok(response.into_inner())
}

/// The events that arrived, without duplicates: a restart may repeat attempts that were in flight.
fn events(receiver: &Receiver) -> HashSet<String> {
    let requests = without_pings(&receiver.requests());
    requests
        .iter()
        .filter_map(|request| request.header("webhook-id").map(str::to_owned))
        .collect()
}

fn fault(status: &Status) -> (String, String) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let field = status
        .get_details_bad_request()
        .unwrap()
        .field_violations
        .remove(0)
        .field;
    (field, status.get_details_error_info().unwrap().reason)
}

on_both_stores! {
    async fn an_event_goes_only_where_the_filter_matches(on: On) {
        let mut installation = start(on).await;
        let (eu, big, all) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
        let created = filtered(&mut installation, &eu, "attributes.region == 'eu'").await.unwrap();
        assert_eq!(created.filter, "attributes.region == 'eu'");
        filtered(&mut installation, &big, "payload.order.lines.exists(line, line.count > 5)").await.unwrap();
        filtered(&mut installation, &all, "").await.unwrap();
        assert_eq!(publish(&mut installation, "eu", ORDER).await.delivery_count, 3);
        assert_eq!(publish(&mut installation, "us", ORDER).await.delivery_count, 2);
        assert_eq!(publish(&mut installation, "eu", r#"{"n":1}"#).await.delivery_count, 2);
        // The filter reads a payload of several megabytes.
        let large = format!(r#"{{"padding":"{}","order":{{"lines":[{{"count":6}}]}}}}"#, "x".repeat(2 << 20));
        assert_eq!(publish(&mut installation, "us", &large).await.delivery_count, 2);
        wait_for_events(&all, 4).await;
        wait_for_events(&eu, 2).await;
        wait_for_events(&big, 3).await;
        // The stored filter is in force, also after a restart.
        installation.restart().await;
        assert_eq!(publish(&mut installation, "us", r#"{"n":1}"#).await.delivery_count, 1);
        wait_for_events(&all, 5).await;
        assert_eq!((events(&eu).len(), events(&big).len()), (2, 3));
    }

    async fn a_filter_can_be_changed_and_taken_away(on: On) {
        let mut installation = start(on).await;
        let receiver = Receiver::start().await;
        let created = filtered(&mut installation, &receiver, "attributes.region == 'eu'").await.unwrap();
        assert_eq!(publish(&mut installation, "us", ORDER).await.delivery_count, 0);
        for (filter, expected) in [("attributes.region == 'us'", 1), ("false", 0), ("", 1)] {
            let request = UpdateWebhookRequest {
                webhook: Some(Webhook { name: created.name.clone(), filter: filter.to_owned(), ..Webhook::default() }),
                update_mask: Some(FieldMask { paths: vec!["filter".to_owned()] }),
            };
            let updated = installation.clients.webhooks.update_webhook(request).await.unwrap().into_inner();
            assert_eq!(updated.filter, filter);
            assert_eq!(publish(&mut installation, "us", ORDER).await.delivery_count, expected, "{filter}");
        }
    }

    async fn every_webhook_says_why_an_event_was_sent_or_not(on: On) {
        let mut installation = start(on).await;
        let receiver = Receiver::start().await;
        let plain = |events: &[&str]| webhook(&receiver.url("/payload"), events);
        let owed = installation.create_webhook(plain(&["order"])).await.unwrap();
        let other = installation.create_webhook(plain(&["clocking"])).await.unwrap();
        let off = Webhook { active: Some(false), ..plain(&["*"]) };
        let off = installation.create_webhook(off).await.unwrap();
        let asia = filtered(&mut installation, &receiver, "attributes.region == 'asia'").await.unwrap();
        let broken = filtered(&mut installation, &receiver, "payload.missing > 1").await.unwrap();
        let published = publish(&mut installation, "eu", ORDER).await;
        let later = installation.create_webhook(plain(&["order"])).await.unwrap();
        let request = UpdateWebhookRequest {
            webhook: Some(Webhook { name: off.name.clone(), active: Some(true), ..Webhook::default() }),
            update_mask: Some(FieldMask { paths: vec!["active".to_owned()] }),
        };
        let explanations = explain(&mut installation, &published).await;
        let reasons: Vec<_> = explanations.iter().map(|one| (one.webhook.clone(), one.reason())).collect();
        assert_eq!(reasons, [
            (owed.name, ExplanationReason::Owed),
            (other.name, ExplanationReason::NotSubscribed),
            (off.name, ExplanationReason::Inactive),
            (asia.name, ExplanationReason::Filtered),
            (broken.name, ExplanationReason::Filtered),
            (later.name, ExplanationReason::CreatedLater),
        ]);
        assert!(explanations[4].message.contains("No such key: missing"), "{}", explanations[4].message);
        assert!(explanations[..5].iter().all(|one| !one.changed_since));
        installation.delivered(&explanations[0].delivery).await;
        assert_eq!(explain(&mut installation, &published).await[0].delivery_state(), DeliveryState::Delivered);
        installation.clients.webhooks.update_webhook(request).await.unwrap();
        let changed = &explain(&mut installation, &published).await[2];
        assert_eq!((changed.reason(), changed.changed_since), (ExplanationReason::ChangedSince, true));
        let unknown = ExplainEventRequest { name: published.event.replace("acme", "nobody") };
        assert_eq!(installation.clients.events.explain_event(unknown).await.unwrap_err().code(), Code::NotFound);
    }

    async fn a_filter_can_be_tried_before_it_is_used(on: On) {
        let mut installation = start(on).await;
        let published = publish(&mut installation, "eu", ORDER).await;
        let of_event = || Some(Sample::Event(published.event.clone()));
        let matching = test(&mut installation, "attributes.region == 'eu' && payload.order.total > 100", of_event());
        assert_eq!(matching.await.unwrap(), TestWebhookFilterResponse { matches: true, error: String::new() });
        let broken = test(&mut installation, "payload.missing == 1", of_event()).await.unwrap();
        assert_eq!((broken.matches, broken.error.as_str()), (false, "No such key: missing"));
        let draft = |json: &str| Some(Sample::Draft(PublishEventRequest {
            event_type: "not.registered".to_owned(),
            payload: Some(Payload::Json(json.to_owned().into())),
            ..PublishEventRequest::default()
        }));
        let matching = test(&mut installation, "event_type == 'not.registered' && payload.n == 1", draft(r#"{"n":1}"#));
        assert!(matching.await.unwrap().matches);
        let refused = test(&mut installation, "payload.n == 1", draft("[1]")).await.unwrap_err();
        assert_eq!(fault(&refused), ("draft.json".to_owned(), "PAYLOAD_NOT_OBJECT".to_owned()));
        let refused = test(&mut installation, "payload.n ==", draft("{}")).await.unwrap_err();
        assert_eq!(fault(&refused), ("filter".to_owned(), "FILTER_SYNTAX".to_owned()));
        let refused = test(&mut installation, "true", None).await.unwrap_err();
        assert_eq!(fault(&refused), ("event".to_owned(), "FIELD_REQUIRED".to_owned()));
        // The same rules apply when a webhook is created.
        let receiver = Receiver::start().await;
        let refused = filtered(&mut installation, &receiver, "payload.a.matches('(a+)+')").await.unwrap_err();
        assert_eq!(fault(&refused), ("webhook.filter".to_owned(), "FILTER_UNKNOWN_FUNCTION".to_owned()));
        let bomb = "[".repeat(1_000);
        let refused = filtered(&mut installation, &receiver, &bomb).await.unwrap_err();
        assert_eq!(fault(&refused), ("webhook.filter".to_owned(), "FILTER_TOO_COSTLY".to_owned()));
    }
}
