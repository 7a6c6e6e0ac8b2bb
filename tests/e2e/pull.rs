//! Deliveries that receivers pull.

use hookwright_proto::v1::{
    AcknowledgeDeliveriesRequest, BatchPublishEventsRequest, DeliveryMode, DeliveryState, ExtendDeliveriesRequest,
    ListAttemptsRequest, ListDeliveriesRequest, Ordering, PublishEventRequest, PublishEventResponse, PublishResult,
    PullDeliveriesRequest, PulledDelivery, Webhook, publish_result,
};
use hookwright_testkit::{DEADLINE, until};
use prost_types::Duration as ProtoDuration;
use tonic::{Code, Status};

use crate::support::{ACME, CLOCKING, Installation, On, SECRET, event, id_of, on_both_stores};

fn fetched(events: &[&str]) -> Webhook {
    Webhook {
        delivery_mode: DeliveryMode::Pull.into(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        signing_secret: SECRET.to_owned(),
        ..Webhook::default()
    }
}

fn seconds(seconds: i64) -> Option<ProtoDuration> {
    Some(ProtoDuration { seconds, nanos: 0 })
}

fn header<'a>(delivery: &'a PulledDelivery, name: &str) -> &'a str {
    let found = delivery.headers.iter().find(|header| header.name == name);
    &found
        .unwrap_or_else(|| panic!("{name} is not among {:?}", delivery.headers))
        .value
}

impl Installation {
    async fn pull(&mut self, webhook: &str, max: i32) -> Result<Vec<PulledDelivery>, Status> {
        let request = PullDeliveriesRequest {
            webhook: webhook.to_owned(),
            max_deliveries: max,
            ..PullDeliveriesRequest::default()
        };
        Ok(self
            .clients
            .pull
            .pull_deliveries(request)
            .await?
            .into_inner()
            .deliveries)
    }

    /// Publishes events with one call.
    async fn publish_all(&mut self, requests: Vec<PublishEventRequest>) -> Vec<PublishEventResponse> {
        let batch = BatchPublishEventsRequest {
            organization: ACME.to_owned(),
            requests,
        };
        let response = self.clients.events.batch_publish_events(batch).await.unwrap();
        let published = |result: PublishResult| match result.result {
            Some(publish_result::Result::Published(event)) => event,
            other => panic!("{other:?}"),
        };
        response.into_inner().results.into_iter().map(published).collect()
    }

    /// Acknowledges deliveries, and returns the acknowledgement ids that were stale.
    async fn acknowledge(&mut self, webhook: &str, deliveries: &[PulledDelivery]) -> Vec<String> {
        let request = AcknowledgeDeliveriesRequest {
            webhook: webhook.to_owned(),
            ack_ids: deliveries.iter().map(|one| one.ack_id.clone()).collect(),
        };
        let acknowledged = self.clients.pull.acknowledge_deliveries(request).await.unwrap();
        acknowledged.into_inner().stale_ack_ids
    }

    async fn extend(&mut self, webhook: &str, delivery: &PulledDelivery, timeout: i64) -> Vec<String> {
        let request = ExtendDeliveriesRequest {
            webhook: webhook.to_owned(),
            ack_ids: vec![delivery.ack_id.clone()],
            ack_timeout: seconds(timeout),
        };
        self.clients
            .pull
            .extend_deliveries(request)
            .await
            .unwrap()
            .into_inner()
            .stale_ack_ids
    }

    /// A webhook whose ping has been pulled.
    async fn pulled_webhook(&mut self, webhook: Webhook) -> String {
        let name = self.create_webhook(webhook).await.unwrap().name;
        let pings = self.pull(&name, 10).await.unwrap();
        assert_eq!(
            pings.iter().map(|ping| ping.event_type.as_str()).collect::<Vec<_>>(),
            ["ping"]
        );
        assert_eq!(self.acknowledge(&name, &pings).await, [""; 0]);
        name
    }
}

on_both_stores! {
    async fn a_batch_of_more_rows_than_a_commit_may_write_is_published_in_parts(on: On) {
        const EVENTS: usize = 1_000;
        const WEBHOOKS: usize = 100;
        let mut installation = Installation::start(on).await;
        installation.register("plain").await;
        let mut webhooks = Vec::new();
        for _ in 0..WEBHOOKS {
            webhooks.push(installation.create_webhook(fetched(&["plain"])).await.unwrap().name);
        }
        let requests: Vec<PublishEventRequest> = (0..EVENTS)
            .map(|n| PublishEventRequest {
                request_id: format!("request-{n}"),
                ..event("plain", &format!(r#"{{"n":{n}}}"#))
            })
            .collect();
        let before = installation.metric("hookwright_commits_total").await;
        let first = installation.publish_all(requests.clone()).await;
        let commits = installation.metric("hookwright_commits_total").await - before;
        assert!(commits >= 5.0, "{EVENTS} events to {WEBHOOKS} webhooks in {commits} commits");
        assert!(first.iter().all(|event| event.delivery_count == 100 && !event.repeated_request));
        // A repeat returns the same events in the order of the requests.
        let again = installation.publish_all(requests).await;
        let names = |events: &[PublishEventResponse]| events.iter().map(|event| event.event.clone()).collect::<Vec<_>>();
        assert_eq!(names(&again), names(&first));
        assert!(names(&first).is_sorted() && again.iter().all(|event| event.repeated_request));
        for webhook in [&webhooks[0], &webhooks[WEBHOOKS - 1]] {
            let mut pulled = Vec::new();
            while let some = installation.pull(webhook, 1_000).await.unwrap()
                && !some.is_empty()
            {
                pulled.extend(some.into_iter().filter(|one| one.event_type == "plain"));
            }
            assert_eq!(pulled.len(), EVENTS, "every event is pending for every webhook");
        }
    }

    async fn pending_deliveries_are_pulled_as_posted_and_acknowledged(on: On) {
        let mut installation = Installation::start(on).await;
        let hook = installation.pulled_webhook(fetched(&["clocking"])).await;
        assert_eq!(installation.pull(&hook, 10).await.unwrap(), []);
        let published = installation.publish("clocking", CLOCKING).await;
        installation.publish("clocking", CLOCKING).await;
        let first = installation.pull(&hook, 1).await.unwrap().remove(0);
        assert_eq!((first.event.as_str(), first.event_type.as_str(), first.attempt), (published.event.as_str(), "clocking", 1));
        assert_eq!(first.body, CLOCKING.as_bytes());
        assert_eq!(header(&first, "TT-Hook-Event"), "clocking");
        assert_eq!(header(&first, "TT-Hook-Delivery"), id_of(&first.delivery));
        assert_eq!(header(&first, "webhook-id"), id_of(&published.event));
        assert!(header(&first, "webhook-signature").starts_with("v1,"));
        assert_eq!(header(&first, "Content-Type"), "application/json");
        let second = installation.pull(&hook, 10).await.unwrap();
        assert_eq!(second.len(), 1, "the first delivery is leased");
        assert_eq!(installation.acknowledge(&hook, std::slice::from_ref(&first)).await, [""; 0]);
        assert_eq!(installation.delivered(&first.delivery).await.attempt_count, 1);
        assert_eq!(installation.acknowledge(&hook, std::slice::from_ref(&first)).await, [first.ack_id.as_str()], "once");
        // Leases and pending deliveries survive a restart.
        installation.restart().await;
        assert_eq!(installation.pull(&hook, 10).await.unwrap(), []);
        assert_eq!(installation.extend(&hook, &second[0], 0).await, [""; 0], "released");
        let again = installation.pull(&hook, 10).await.unwrap().remove(0);
        assert_eq!((again.delivery.as_str(), again.attempt), (second[0].delivery.as_str(), 2));
        assert_eq!(installation.acknowledge(&hook, &second).await, [second[0].ack_id.clone()], "the first lease has \
                                                                                                ended");
        assert_eq!(installation.acknowledge(&hook, std::slice::from_ref(&again)).await, [""; 0]);
        let parent = again.delivery.clone();
        let attempts = installation.clients.deliveries.list_attempts(ListAttemptsRequest { parent, ..ListAttemptsRequest::default() }).await.unwrap();
        assert_eq!(attempts.into_inner().attempts.len(), 2);
    }

    async fn a_delivery_that_is_not_acknowledged_in_time_is_handed_out_again(on: On) {
        let mut installation = Installation::start(on).await;
        let hook = installation.pulled_webhook(fetched(&["clocking"])).await;
        installation.publish("clocking", CLOCKING).await;
        let request = PullDeliveriesRequest {
            webhook: hook.clone(),
            ack_timeout: seconds(1),
            wait: seconds(10),
            ..PullDeliveriesRequest::default()
        };
        let first = installation.clients.pull.pull_deliveries(request.clone()).await.unwrap().into_inner();
        // The second call waits until the first lease expires.
        let second = installation.clients.pull.pull_deliveries(request).await.unwrap().into_inner();
        assert_eq!(second.deliveries[0].delivery, first.deliveries[0].delivery);
        assert_eq!(second.deliveries[0].attempt, 2);
        let until = second.deliveries[0].ack_deadline.unwrap();
        assert!(until.seconds > first.deliveries[0].ack_deadline.unwrap().seconds);
        assert_eq!(installation.extend(&hook, &second.deliveries[0], 600).await, [""; 0]);
        assert_eq!(installation.pull(&hook, 10).await.unwrap(), []);
    }

    async fn a_call_that_waits_hears_of_what_arrives(on: On) {
        let mut installation = Installation::start(on).await;
        let hook = installation.pulled_webhook(fetched(&["*"])).await;
        let request = PullDeliveriesRequest { webhook: hook, wait: seconds(50), ..Default::default() };
        let mut pull = installation.clients.pull.clone();
        let waiting = tokio::spawn(async move { pull.pull_deliveries(request).await });
        let published = installation.publish("clocking", CLOCKING).await;
        let pulled = tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap().unwrap().into_inner();
        assert_eq!(pulled.deliveries[0].event, published.event);
    }

    async fn a_waiting_call_is_answered_when_the_server_stops(on: On) {
        let mut installation = Installation::start(on).await;
        let hook = installation.pulled_webhook(fetched(&["checksheet"])).await;
        let request = PullDeliveriesRequest { webhook: hook, wait: seconds(50), ..Default::default() };
        let mut pull = installation.clients.pull.clone();
        let waiting = tokio::spawn(async move { pull.pull_deliveries(request).await });
        tokio::task::yield_now().await;
        // The server has received the call when it has answered a later call on the same connection.
        installation.publish("clocking", CLOCKING).await;
        assert!(installation.server.terminate().await.unwrap().success());
        let answer = tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap().unwrap();
        assert_eq!(answer.into_inner().deliveries, []);
    }

    async fn ordered_deliveries_are_fetched_one_of_a_key_at_a_time(on: On) {
        let mut installation = Installation::start(on).await;
        let ordered = Webhook { ordering: Ordering::Ordered.into(), ..fetched(&["clocking"]) };
        let hook = installation.pulled_webhook(ordered).await;
        let mut events = Vec::new();
        for key in ["a", "a", "b"] {
            let keyed = PublishEventRequest { ordering_key: key.to_owned(), ..event("clocking", CLOCKING) };
            events.push(installation.try_publish(keyed).await.unwrap().event);
        }
        let names = |pulled: &[PulledDelivery]| pulled.iter().map(|one| one.event.clone()).collect::<Vec<_>>();
        let first = installation.pull(&hook, 10).await.unwrap();
        assert_eq!(names(&first), [events[0].clone(), events[2].clone()]);
        assert_eq!(installation.acknowledge(&hook, &first).await, [""; 0]);
        assert_eq!(names(&installation.pull(&hook, 10).await.unwrap()), [events[1].clone()]);
    }

    async fn pulls_that_are_refused_say_why(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = hookwright_testkit::Receiver::start().await;
        let pushed = installation.webhook(&receiver, &["clocking"]).await.name;
        let refused = installation.pull(&pushed, 1).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("DELIVERY_MODE_PULL"), "{}", refused.message());
        let hook = installation.pulled_webhook(fetched(&["clocking"])).await;
        for (max, timeout, wait, field) in [(-1, 60, 0, "max_deliveries"), (1, 0, 0, "ack_timeout"), (1, 60, 51, "wait")] {
            let request = PullDeliveriesRequest {
                webhook: hook.clone(),
                max_deliveries: max,
                ack_timeout: seconds(timeout),
                wait: seconds(wait),
                response_bytes_max: 0,
            };
            let refused = installation.clients.pull.pull_deliveries(request).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
            assert!(refused.message().starts_with(field), "{}", refused.message());
        }
        let nonsense = AcknowledgeDeliveriesRequest { webhook: hook, ack_ids: vec!["nonsense".to_owned()] };
        let refused = installation.clients.pull.acknowledge_deliveries(nonsense).await.unwrap_err();
        assert!(refused.message().contains("ack_ids[0]"), "{}", refused.message());
        let posted = Webhook { payload_url: receiver.url("/x"), requests_per_second: Some(1.0), ..fetched(&["*"]) };
        let refused = installation.create_webhook(posted).await.unwrap_err();
        assert!(refused.message().contains("payload_url") && refused.message().contains("1 more"), "{}", refused.message());
    }

    async fn nothing_is_lost_when_the_server_is_killed_while_deliveries_are_fetched(on: On) {
        let mut installation = Installation::start(on).await;
        let hook = installation.pulled_webhook(fetched(&["clocking"])).await;
        let mut expected = Vec::new();
        for _ in 0..40 {
            expected.push(installation.publish("clocking", CLOCKING).await.event);
        }
        let acknowledged = installation.pull(&hook, 10).await.unwrap();
        installation.acknowledge(&hook, &acknowledged).await;
        let leased = installation.pull(&hook, 10).await.unwrap();
        installation.server.kill9().await.unwrap();
        installation.restart().await;
        for delivery in &leased {
            installation.extend(&hook, delivery, 0).await;
        }
        let rest = installation.pull(&hook, 100).await.unwrap();
        installation.acknowledge(&hook, &rest).await;
        let mut got: Vec<_> = acknowledged.into_iter().chain(rest).map(|one| one.event).collect();
        got.sort();
        assert_eq!(got, expected, "each delivery was acknowledged exactly once");
        let delivered = ListDeliveriesRequest {
            states: vec![DeliveryState::Delivered.into()],
            event_type: "clocking".to_owned(),
            parent: ACME.to_owned(),
            ..Default::default()
        };
        assert_eq!(installation.deliveries(delivered).await.len(), 40);
    }
}

#[tokio::test]
async fn a_metric_shows_the_oldest_expired_event_also_while_a_delivery_keeps_it() {
    const METRIC: &str = "hookwright_retention_oldest_expired_seconds";
    let mut installation = Installation::start_with(On::Sqlite, |server| server.arg("--retention", "1s")).await;
    let hook = installation.pulled_webhook(fetched(&["clocking"])).await;
    installation.publish("clocking", CLOCKING).await;
    until("the event to outlive its retention", async || {
        let seconds = installation.metric(METRIC).await;
        if seconds >= 1.0 { Ok(()) } else { Err(seconds) }
    })
    .await;
    let pulled = installation.pull(&hook, 10).await.unwrap();
    assert_eq!(installation.acknowledge(&hook, &pulled).await, [""; 0]);
    until("the event to be removed", async || {
        let seconds = installation.metric(METRIC).await;
        if seconds == 0.0 { Ok(()) } else { Err(seconds) }
    })
    .await;
}
