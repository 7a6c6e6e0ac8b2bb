//! Subscriptions: which webhooks get an event.

use hookwright_proto::v1::{DeleteWebhookRequest, PingWebhookRequest, UpdateWebhookRequest, Webhook};
use hookwright_testkit::Receiver;
use prost_types::FieldMask;

use crate::support::{CLOCKING, Installation, On, id_of, on_both_stores, wait_for_events, webhook, without_pings};

fn update(webhook: Webhook, paths: &[&str]) -> UpdateWebhookRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    UpdateWebhookRequest {
        webhook: Some(webhook),
        update_mask: Some(FieldMask { paths }),
    }
}

on_both_stores! {
    async fn the_wildcard_replaces_all_others_and_matches_what_comes_later(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let created = installation.webhook(&receiver, &["clocking", "*"]).await;
        assert_eq!(created.events, ["*"]);
        installation.register("registered.later").await;
        installation.publish("registered.later", r#"{"n":1}"#).await;
        let request = wait_for_events(&receiver, 1).await.remove(0);
        assert_eq!(request.header("TT-Hook-Event"), Some("registered.later"));
    }

    async fn only_subscribed_and_active_webhooks_receive(on: On) {
        let mut installation = Installation::start(on).await;
        let (clocking, checksheet, inactive) =
            (Receiver::start().await, Receiver::start().await, Receiver::start().await);
        installation.webhook(&clocking, &["clocking"]).await;
        installation.webhook(&checksheet, &["checksheet"]).await;
        let off = Webhook { active: Some(false), ..webhook(&inactive.url("/"), &["*"]) };
        installation.create_webhook(off).await.unwrap();
        let published = installation.publish("clocking", CLOCKING).await;
        assert_eq!(published.delivery_count, 1);
        installation.publish("checksheet", r#"{"action":"created","checksheet":{"id":"C"}}"#).await;
        wait_for_events(&clocking, 1).await;
        wait_for_events(&checksheet, 1).await;
        let types = |receiver: &Receiver| -> Vec<String> {
            let requests = without_pings(&receiver.requests());
            requests.iter().map(|request| request.header("TT-Hook-Event").unwrap().to_owned()).collect()
        };
        assert_eq!(types(&clocking), ["clocking"]);
        assert_eq!(types(&checksheet), ["checksheet"]);
        assert_eq!(inactive.request_count(), 0, "an inactive webhook gets nothing, not even its ping");
    }

    async fn pings_are_sent_on_create_on_update_and_when_asked_for(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let created = installation.webhook(&receiver, &["clocking"]).await;
        let ping = receiver.wait_for(1).await.remove(0);
        let (id, url) = (id_of(&created.name), receiver.url("/payload"));
        let body = |action: &str, events: &str| {
            format!(r#"{{"action":"{action}","hook":{{"id":"{id}","payloadUrl":"{url}","active":true,"events":[{events}]}}}}"#)
        };
        assert_eq!(ping.body, body("created", r#""clocking""#).as_bytes());
        assert_eq!(ping.header("TT-Hook-Event"), Some("ping"));

        let wanted = Webhook { events: vec!["clocking".into(), "checksheet".into(), "clocking".into()], ..created.clone() };
        let updated = installation.clients.webhooks.update_webhook(update(wanted, &["events"])).await.unwrap().into_inner();
        assert_eq!(updated.events, ["checksheet", "clocking"], "sorted, without duplicates");
        assert_ne!(updated.etag, created.etag);
        let ping = receiver.wait_for(2).await.remove(1);
        assert_eq!(ping.body, body("updated", r#""checksheet","clocking""#).as_bytes());

        let asked = PingWebhookRequest { name: created.name.clone(), wait: true };
        let delivery = installation.clients.webhooks.ping_webhook(asked).await.unwrap().into_inner().delivery.unwrap();
        assert_eq!(delivery.last_response_status, 200);
        assert_eq!(delivery.attempt_count, 1);
        receiver.wait_for(3).await;

        let stale = Webhook { active: Some(false), etag: created.etag.clone(), ..updated };
        let refused = installation.clients.webhooks.update_webhook(update(stale.clone(), &["active"])).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Aborted);
        let off = Webhook { etag: String::new(), ..stale };
        installation.clients.webhooks.update_webhook(update(off, &["active"])).await.unwrap();
        let asked = PingWebhookRequest { name: created.name.clone(), wait: true };
        let refused = installation.clients.webhooks.ping_webhook(asked).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert_eq!(installation.publish("clocking", CLOCKING).await.delivery_count, 0);
        assert_eq!(receiver.request_count(), 3, "an update to inactive sends no ping");
    }

    async fn a_change_holds_for_every_event_after_the_call(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let created = installation.webhook(&receiver, &["clocking"]).await;
        for round in 0..10 {
            let (events, count) = if round % 2 == 0 { ("checksheet", 0) } else { ("clocking", 1) };
            let wanted = Webhook { name: created.name.clone(), events: vec![events.to_owned()], ..Webhook::default() };
            installation.clients.webhooks.update_webhook(update(wanted, &["events"])).await.unwrap();
            assert_eq!(installation.publish("clocking", CLOCKING).await.delivery_count, count, "round {round}");
        }
        let request = DeleteWebhookRequest { name: created.name };
        installation.clients.webhooks.delete_webhook(request).await.unwrap();
        assert_eq!(installation.publish("clocking", CLOCKING).await.delivery_count, 0);
    }
}
