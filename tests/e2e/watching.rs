//! Streams of changed deliveries, and statistics.

use std::collections::BTreeMap;

use hookwright_proto::v1::{
    Delivery, DeliveryState, DeliveryStats, QueryDeliveryStatsRequest, ResumeWebhookRequest, SkipDeliveryRequest,
    StatsPeriod, UpdateWebhookRequest, WatchDeliveriesRequest, WatchDeliveriesResponse, Webhook,
};
use hookwright_testkit::{DEADLINE, Receiver, Response};
use prost_types::FieldMask;
use tonic::{Code, Streaming};

use crate::support::{ACME, CLOCKING, Installation, On, on_both_stores, wait_for_events};

/// A stream of deliveries, and its position.
struct Watch {
    stream: Streaming<WatchDeliveriesResponse>,
    resume_token: String,
    seen: BTreeMap<String, Delivery>,
}

impl Watch {
    async fn start(installation: &Installation, request: WatchDeliveriesRequest) -> Self {
        let request = WatchDeliveriesRequest {
            parent: ACME.to_owned(),
            ..request
        };
        let mut deliveries = installation.clients.deliveries.clone();
        let mut watch = Self {
            stream: deliveries.watch_deliveries(request).await.unwrap().into_inner(),
            resume_token: String::new(),
            seen: BTreeMap::new(),
        };
        assert_eq!(
            watch.next().await,
            0,
            "the first response holds the position of the stream's beginning"
        );
        watch
    }

    /// Receives the next response, and returns its number of deliveries.
    async fn next(&mut self) -> usize {
        let message = tokio::time::timeout(DEADLINE, self.stream.message()).await.unwrap();
        let response = message.unwrap().expect("the stream continues");
        let count = response.deliveries.len();
        self.resume_token = response.resume_token;
        for delivery in response.deliveries {
            self.seen.insert(delivery.name.clone(), delivery);
        }
        count
    }

    async fn until(&mut self, expected: impl Fn(&BTreeMap<String, Delivery>) -> bool) {
        let begun = std::time::Instant::now();
        while !expected(&self.seen) {
            assert!(
                begun.elapsed() < DEADLINE,
                "only these deliveries were reported: {:#?}",
                self.seen
            );
            self.next().await;
        }
    }
}

fn count_in(seen: &BTreeMap<String, Delivery>, state: DeliveryState) -> usize {
    seen.values().filter(|delivery| delivery.state() == state).count()
}

impl Installation {
    async fn stats(&mut self, name: &str, period: StatsPeriod) -> (Vec<DeliveryStats>, DeliveryStats) {
        let request = QueryDeliveryStatsRequest {
            name: name.to_owned(),
            period: period.into(),
            ..QueryDeliveryStatsRequest::default()
        };
        let stats = self
            .clients
            .deliveries
            .query_delivery_stats(request)
            .await
            .unwrap()
            .into_inner();
        (stats.periods, stats.total.unwrap())
    }
}

/// A watch without pings: the time at which a ping's outcome is stored is irrelevant here.
fn of_clocking(resume_token: &str) -> WatchDeliveriesRequest {
    WatchDeliveriesRequest {
        event_type: "clocking".to_owned(),
        resume_token: resume_token.to_owned(),
        ..WatchDeliveriesRequest::default()
    }
}

on_both_stores! {
    async fn deliveries_are_told_as_they_change(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let hook = installation.webhook(&receiver, &["clocking"]).await;
        installation.create_organization("other").await;
        let mut watch = Watch::start(&installation, of_clocking("")).await;
        let of_failures = WatchDeliveriesRequest {
            states: vec![DeliveryState::Retrying.into(), DeliveryState::Cancelled.into()],
            webhook: hook.name.clone(),
            event_type: "clocking".to_owned(),
            ..WatchDeliveriesRequest::default()
        };
        let mut failures = Watch::start(&installation, of_failures).await;
        let elsewhere = WatchDeliveriesRequest { parent: "organizations/other".to_owned(), ..Default::default() };
        let mut elsewhere = installation.clients.deliveries.watch_deliveries(elsewhere).await.unwrap().into_inner();
        let event = installation.publish("clocking", CLOCKING).await.event;
        watch.until(|seen| count_in(seen, DeliveryState::Delivered) == 1).await;
        assert_eq!(watch.seen.values().next().unwrap().event, event);
        receiver.answer_in_turn([Response::new(500)]);
        installation.publish("clocking", CLOCKING).await;
        watch.until(|seen| count_in(seen, DeliveryState::Retrying) == 1).await;
        failures.until(|seen| seen.len() == 1).await;
        let name = failures.seen.keys().next().unwrap().clone();
        installation.clients.deliveries.skip_delivery(SkipDeliveryRequest { name }).await.unwrap();
        watch.until(|seen| count_in(seen, DeliveryState::Cancelled) == 1).await;
        failures.until(|seen| count_in(seen, DeliveryState::Cancelled) == 1).await;
        assert_eq!(failures.seen.len(), 1, "a delivered delivery is not among the failures");
        for _ in 0..2 {
            let quiet = tokio::time::timeout(DEADLINE, elsewhere.message()).await.unwrap().unwrap().unwrap();
            assert_eq!(quiet.deliveries, [], "another organization sees only that its stream is alive");
        }
    }

    async fn a_watch_resumes_at_its_position_after_a_kill(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        let mut watch = Watch::start(&installation, of_clocking("")).await;
        for _ in 0..20 {
            installation.publish("clocking", CLOCKING).await;
        }
        watch.until(|seen| count_in(seen, DeliveryState::Delivered) >= 5).await;
        let (mut seen, resume_token) = (watch.seen, watch.resume_token);
        installation.server.kill9().await.unwrap();
        receiver.forget_requests();
        installation.restart().await;
        for _ in 0..20 {
            installation.publish("clocking", CLOCKING).await;
        }
        let mut again = Watch::start(&installation, of_clocking(&resume_token)).await;
        again.seen.append(&mut seen);
        again.until(|seen| count_in(seen, DeliveryState::Delivered) == 40).await;
        for resume_token in ["nonsense", &again.resume_token[1..]] {
            let request = WatchDeliveriesRequest {
                parent: ACME.to_owned(),
                resume_token: resume_token.to_owned(),
                ..Default::default()
            };
            let refused = installation.clients.deliveries.watch_deliveries(request).await.err().unwrap();
            assert_eq!(refused.code(), Code::InvalidArgument, "{resume_token}");
        }
    }

    async fn a_watch_is_told_that_the_server_stops(on: On) {
        let mut installation = Installation::start(on).await;
        let mut watch = Watch::start(&installation, WatchDeliveriesRequest::default()).await;
        let stopped = installation.server.terminate();
        let told = async {
            loop {
                match watch.stream.message().await {
                    Ok(Some(_)) => {}
                    end => return end,
                }
            }
        };
        let (stopped, told) = tokio::join!(stopped, tokio::time::timeout(DEADLINE, told));
        assert!(stopped.unwrap().success());
        assert_eq!(told.unwrap().unwrap_err().code(), Code::Unavailable);
    }

    async fn attempts_and_deliveries_are_counted_by_the_minute_and_the_hour(on: On) {
        let mut installation = Installation::start_with(on, |builder| builder.arg("--retry-delay", "1s")).await;
        let receiver = Receiver::start().await;
        let hook = installation.webhook(&receiver, &["clocking"]).await.name;
        for _ in 0..3 {
            installation.publish("clocking", CLOCKING).await;
        }
        wait_for_events(&receiver, 3).await;
        receiver.answer_with(|_| 500);
        installation.publish("clocking", CLOCKING).await;
        wait_for_events(&receiver, 5).await;
        // The server stores its counts at the latest when it exits.
        assert!(installation.server.terminate().await.unwrap().success());
        installation.restart().await;
        for (name, period) in [
            (hook.as_str(), StatsPeriod::Minute),
            (hook.as_str(), StatsPeriod::Hour),
            (ACME, StatsPeriod::Minute),
            ("-", StatsPeriod::Unspecified),
        ] {
            let (periods, total) = installation.stats(name, period).await;
            assert!((1..=2).contains(&periods.len()), "{name}: {periods:?}");
            let counted = periods.iter().map(|one| one.attempt_count).sum::<i64>();
            // A ping, and the published events.
            assert_eq!((total.attempt_count, counted), (6, 6), "{name}");
            let ended = (total.failed_attempt_count, total.delivered_count, total.failed_count);
            assert_eq!(ended, (2, 4, 1), "{name}");
            let (durations, latencies) = (total.attempt_duration.unwrap(), total.delivery_latency.unwrap());
            let micros = |one: Option<prost_types::Duration>| one.map(|one| one.seconds * 1_000_000 + i64::from(one.nanos) / 1_000);
            assert!(micros(durations.p50).unwrap() > 0);
            assert!(micros(durations.p99) >= micros(durations.p50));
            assert!(micros(latencies.p95) >= micros(latencies.p50));
        }
        let unknown = QueryDeliveryStatsRequest { name: "organizations/nobody".to_owned(), ..Default::default() };
        let refused = installation.clients.deliveries.query_delivery_stats(unknown).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }

    async fn a_webhook_is_resumed_with_what_waited_or_without(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let hook = installation.webhook(&receiver, &["clocking"]).await.name;
        let pause = UpdateWebhookRequest {
            webhook: Some(Webhook { name: hook.clone(), active: Some(false), ..Webhook::default() }),
            update_mask: Some(FieldMask { paths: vec!["active".to_owned()] }),
        };
        let resume = |discard_backlog| ResumeWebhookRequest { name: hook.clone(), discard_backlog };
        for (discard, discarded, expected) in [(false, 0, 3), (true, 2, 1)] {
            receiver.answer_in_turn([Response::new(500)]);
            for _ in 0..2 {
                installation.publish("clocking", CLOCKING).await;
            }
            let retrying = hookwright_proto::v1::ListDeliveriesRequest {
                states: vec![DeliveryState::Retrying.into()],
                ..Default::default()
            };
            installation.deliveries_until(retrying.clone(), 2).await;
            installation.clients.webhooks.update_webhook(pause.clone()).await.unwrap();
            receiver.forget_requests();
            receiver.answer(200);
            let resumed = installation.clients.webhooks.resume_webhook(resume(discard)).await.unwrap().into_inner();
            assert_eq!(resumed.discarded_count, discarded);
            assert_eq!(resumed.webhook.unwrap().active, Some(true));
            let again = installation.clients.webhooks.resume_webhook(resume(false)).await.unwrap_err();
            assert_eq!(again.code(), Code::FailedPrecondition);
            if !discard {
                // Pending deliveries keep their due times: five seconds after the first attempt.
                for delivery in installation.deliveries(retrying).await {
                    installation.delivered(&delivery.name).await;
                }
            }
            receiver.wait_for(expected).await;
        }
        let cancelled = hookwright_proto::v1::ListDeliveriesRequest {
            states: vec![DeliveryState::Cancelled.into()],
            ..Default::default()
        };
        let cancelled = installation.deliveries(cancelled).await;
        assert_eq!(cancelled.len(), 2);
        assert!(cancelled.iter().all(|one| one.cancel_reason == "backlog_discarded"));
    }
}
