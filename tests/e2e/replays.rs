//! Repeated deliveries: one, many, and those that a webhook missed.

use hookwright_proto::v1::{
    CancelReplayRequest, DeliveryState, ErrorClass, ExplainEventRequest, ExplanationReason, GetReplayRequest,
    ListDeliveriesRequest, ListReplaysRequest, Replay, ReplayDeliveriesRequest, ReplayDeliveryRequest, ReplaySelection,
    ReplayState, Webhook,
};
use hookwright_testkit::{Receiver, until};
use tonic::{Code, Status};

use crate::{
    command_line,
    console::Reader,
    support::{ACME, CLOCKING, Installation, On, builder, id_of, on_both_stores, wait_for_events, webhook},
};

/// An installation whose deliveries fail permanently after a second attempt.
async fn impatient(on: On) -> Installation {
    Installation::start_with(on, |builder| builder.arg("--retry-delay", "1s")).await
}

fn in_state(state: DeliveryState) -> ListDeliveriesRequest {
    ListDeliveriesRequest {
        states: vec![state.into()],
        event_type: "clocking".to_owned(),
        ..ListDeliveriesRequest::default()
    }
}

impl Installation {
    async fn replay(&mut self, request: ReplayDeliveriesRequest) -> Result<Replay, Status> {
        let request = ReplayDeliveriesRequest {
            parent: ACME.to_owned(),
            ..request
        };
        Ok(self.clients.replays.replay_deliveries(request).await?.into_inner())
    }

    async fn replay_until(&mut self, name: &str, expected: impl Fn(&Replay) -> bool) -> Replay {
        until("the replay to progress", async || {
            let request = GetReplayRequest { name: name.to_owned() };
            let replay = self.clients.replays.get_replay(request).await.unwrap().into_inner();
            if expected(&replay) {
                Ok(replay)
            } else {
                Err(format!("{replay:#?}"))
            }
        })
        .await
    }

    async fn replayed(&mut self, request: ReplayDeliveriesRequest) -> Replay {
        let begun = self.replay(request).await.unwrap();
        self.replay_until(&begun.name, |replay| replay.state() == ReplayState::Succeeded)
            .await
    }

    /// Publishes events whose deliveries fail permanently.
    async fn failed_events(&mut self, receiver: &Receiver, count: usize) -> Vec<String> {
        receiver.respond(500);
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.publish("clocking", CLOCKING).await.event);
        }
        self.deliveries_until(in_state(DeliveryState::Failed), count).await;
        receiver.respond(200);
        receiver.forget_requests();
        events
    }
}

on_both_stores! {
    async fn a_delivery_is_made_again_as_the_same_event(on: On) {
        let mut installation = impatient(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        let event = installation.failed_events(&receiver, 1).await.remove(0);
        let failed = installation.deliveries(in_state(DeliveryState::Failed)).await.remove(0);
        let request = ReplayDeliveryRequest { name: failed.name.clone(), request_id: "again".to_owned() };
        let replay = async |installation: &mut Installation| {
            let replayed = installation.clients.deliveries.replay_delivery(request.clone()).await.unwrap();
            replayed.into_inner().delivery.unwrap()
        };
        let made = replay(&mut installation).await;
        assert!(made.replay && made.name != failed.name);
        assert_eq!((&made.event, &made.webhook), (&event, &failed.webhook));
        assert_eq!(replay(&mut installation).await.name, made.name, "a repeat of the call replays nothing");
        installation.delivered(&made.name).await;
        let requests = wait_for_events(&receiver, 1).await;
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].header("webhook-id"), Some(id_of(&event)));
        assert_eq!(requests[0].header("TT-Hook-Delivery"), Some(id_of(&made.name)));
        assert_eq!(requests[0].body, CLOCKING.as_bytes());
        // Both deliveries belong to the event. The explanation names the last one.
        let of_event = ListDeliveriesRequest { event: event.clone(), ..ListDeliveriesRequest::default() };
        assert_eq!(installation.deliveries(of_event).await.len(), 2);
        let explain = ExplainEventRequest { name: event };
        let explained = installation.clients.events.explain_event(explain).await.unwrap().into_inner().explanations;
        assert_eq!((explained.len(), explained[0].reason()), (1, ExplanationReason::Owed));
        assert_eq!(explained[0].delivery, made.name);
    }

    async fn a_failed_delivery_shows_its_replay_and_can_be_omitted(on: On) {
        let mut installation = impatient(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        installation.failed_events(&receiver, 2).await;
        let failed = installation.deliveries_until(in_state(DeliveryState::Failed), 2).await;
        assert!(failed.iter().all(|delivery| delivery.replayed_as.is_empty()), "{failed:?}");
        receiver.respond(200);
        let request = ReplayDeliveryRequest { name: failed[0].name.clone(), request_id: String::new() };
        let made = installation.clients.deliveries.replay_delivery(request).await.unwrap().into_inner().delivery.unwrap();
        installation.delivered(&made.name).await;
        let replayed = installation.delivery_until(&failed[0].name, |delivery| !delivery.replayed_as.is_empty()).await;
        assert_eq!(replayed.state(), DeliveryState::Failed);
        assert_eq!((replayed.replayed_as.as_str(), replayed.replayed_state()), (made.name.as_str(), DeliveryState::Delivered));
        let listed = installation.deliveries(in_state(DeliveryState::Failed)).await;
        let told: Vec<&str> = listed.iter().map(|delivery| delivery.replayed_as.as_str()).collect();
        assert_eq!(told, [made.name.as_str(), ""]);
        let left = ListDeliveriesRequest { hide_replayed: true, ..in_state(DeliveryState::Failed) };
        let left: Vec<String> = installation.deliveries(left).await.into_iter().map(|delivery| delivery.name).collect();
        assert_eq!(left, [failed[1].name.clone()], "what is left to do");

        let token = installation.server.token().unwrap();
        let address = format!("http://{}", installation.server.grpc_address());
        let environment = [("HOOKWRIGHT_ADDRESS", &*address), ("HOOKWRIGHT_TOKEN", &*token)];
        let (first, second, again) = (id_of(&failed[0].name), id_of(&failed[1].name), id_of(&made.name));
        let shown = format!("{again} (delivered)");
        let command = ["deliveries", "list", "--organization", "acme", "--state", "failed"];
        let listed = String::from_utf8(command_line::run(&command, &environment).await.stdout).unwrap();
        assert!(listed.contains(&shown) && listed.contains(second), "{listed}");
        let left = command_line::run(&[&command[..], &["--hide-replayed"]].concat(), &environment).await;
        let left = String::from_utf8(left.stdout).unwrap();
        assert!(!left.contains(first) && left.contains(second), "{left}");

        let reader = Reader::sign_in(&installation, &token).await;
        let pages = "/console/organizations/acme/deliveries";
        let link = format!("{pages}/{again}\"");
        for page in [format!("{pages}?state=failed"), format!("{pages}/{first}")] {
            let text = reader.get(&page).await.text();
            assert!(text.contains(&link) && text.to_lowercase().contains("replayed"), "{text}");
        }
        let left = reader.get(&format!("{pages}?state=failed&hide_replayed=yes")).await.text();
        assert!(!left.contains(first) && left.contains(second), "{left}");
        assert!(left.contains("name=\"hide_replayed\" value=\"yes\" checked"), "{left}");
    }

    async fn replays_that_are_refused_say_why(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        let pings = ListDeliveriesRequest { event_type: "ping".to_owned(), ..ListDeliveriesRequest::default() };
        let ping = installation.deliveries_until(pings, 1).await.remove(0);
        receiver.respond(500);
        installation.publish("clocking", CLOCKING).await;
        let retrying = installation.deliveries_until(in_state(DeliveryState::Retrying), 1).await.remove(0);
        for (name, code, reason) in [
            (ping.name, Code::FailedPrecondition, "a ping is not replayed"),
            (retrying.name, Code::FailedPrecondition, "hookwright deliveries retry"),
            (format!("{ACME}/deliveries/dlv_0000000000001"), Code::NotFound, "does not exist"),
        ] {
            let request = ReplayDeliveryRequest { name, ..ReplayDeliveryRequest::default() };
            let refused = installation.clients.deliveries.replay_delivery(request).await.unwrap_err();
            assert_eq!(refused.code(), code);
            assert!(refused.message().contains(reason), "{}", refused.message());
        }
        let pending = vec![DeliveryState::Retrying.into()];
        let webhook = format!("{ACME}/webhooks/wh_0000000000001");
        for (request, part) in [
            (ReplayDeliveriesRequest { states: pending, ..Default::default() }, "states"),
            (ReplayDeliveriesRequest { selection: 9, ..Default::default() }, "selection"),
            (ReplayDeliveriesRequest { selection: ReplaySelection::Missed.into(), ..Default::default() }, "webhook"),
            (ReplayDeliveriesRequest { deliveries_per_second: Some(0.0), ..Default::default() }, "deliveries_per_second"),
            (ReplayDeliveriesRequest { event_types: vec!["a b".to_owned()], ..Default::default() }, "event_types[0]"),
            (ReplayDeliveriesRequest { request_id: "\n".to_owned(), ..Default::default() }, "request_id"),
            (ReplayDeliveriesRequest { webhook, ..Default::default() }, "wh_0000000000001"),
        ] {
            let refused = installation.replay(request).await.unwrap_err();
            assert!(refused.message().contains(part), "{}", refused.message());
        }
    }

    async fn many_deliveries_are_made_again_at_once(on: On) {
        let mut installation = impatient(on).await;
        let receiver = Receiver::start().await;
        let hook = installation.webhook(&receiver, &["clocking"]).await;
        let events = installation.failed_events(&receiver, 30).await;
        installation.publish("clocking", CLOCKING).await;
        wait_for_events(&receiver, 1).await;
        receiver.forget_requests();
        let all = ReplayDeliveriesRequest { request_id: "all".to_owned(), ..Default::default() };
        let dry = installation.replayed(ReplayDeliveriesRequest { dry_run: true, ..Default::default() }).await;
        assert_eq!((dry.examined_count, dry.matched_count, dry.replayed_count), (31, 30, 0));
        let none = ReplayDeliveriesRequest { error_classes: vec![ErrorClass::Timeout.into()], ..Default::default() };
        assert_eq!(installation.replayed(none).await.matched_count, 0);
        let done = installation.replayed(all.clone()).await;
        assert_eq!((done.matched_count, done.replayed_count, done.skipped_count), (30, 30, 0));
        assert_eq!((done.progress, done.request.clone().unwrap().request_id), (1.0, "all".to_owned()));
        let mut arrived: Vec<_> = wait_for_events(&receiver, 30)
            .await
            .iter()
            .map(|request| request.header("webhook-id").unwrap().to_owned())
            .collect();
        arrived.sort();
        let mut expected: Vec<_> = events.iter().map(|event| id_of(event).to_owned()).collect();
        expected.sort();
        assert_eq!(arrived, expected, "each failed delivery once, and no delivered one");
        assert_eq!(installation.replay(all).await.unwrap().name, done.name, "a repeat of the call returns the first \
                                                                             replay");
        let other = ReplayDeliveriesRequest { request_id: "all".to_owned(), webhook: hook.name, ..Default::default() };
        assert_eq!(installation.replay(other).await.unwrap_err().code(), Code::AlreadyExists);
        installation.deliveries_until(in_state(DeliveryState::Delivered), 31).await;
        let again = installation.replayed(ReplayDeliveriesRequest::default()).await;
        assert_eq!(again.matched_count, 0, "the last delivery of each event is delivered");
        let list = ListReplaysRequest { parent: ACME.to_owned(), page_size: 3, ..Default::default() };
        let page = installation.clients.replays.list_replays(list).await.unwrap().into_inner();
        assert_eq!((page.replays.len(), page.replays[0].name.as_str()), (3, again.name.as_str()));
        assert!(!page.next_page_token.is_empty());
    }

    async fn a_webhook_gets_what_it_missed(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.register("other").await;
        for number in 0..20 {
            installation.publish("clocking", &format!(r#"{{"action":"created","clocking":{{"id":"{number}"}}}}"#)).await;
            installation.publish("other", "{}").await;
        }
        let late = Webhook {
            filter: "int(payload.clocking.id) >= 15".to_owned(),
            ..webhook(&receiver.url("/late"), &["clocking"])
        };
        let hook = installation.create_webhook(late).await.unwrap();
        receiver.wait_for(1).await;
        let missed = ReplayDeliveriesRequest {
            selection: ReplaySelection::Missed.into(),
            webhook: hook.name.clone(),
            ..Default::default()
        };
        let dry = installation.replayed(ReplayDeliveriesRequest { dry_run: true, ..missed.clone() }).await;
        assert_eq!((dry.matched_count, dry.replayed_count), (5, 0));
        let done = installation.replayed(missed.clone()).await;
        assert_eq!((done.matched_count, done.replayed_count), (5, 5));
        let requests = wait_for_events(&receiver, 5).await;
        let ids: Vec<_> = requests.iter().map(|request| request.json()["clocking"]["id"].clone()).collect();
        assert!((15..20).all(|number| ids.contains(&number.to_string().into())), "{ids:?}");
        assert_eq!(installation.replayed(missed).await.matched_count, 0, "the webhook has the events now");
    }

    async fn a_replay_resumes_after_a_kill_and_creates_nothing_twice(on: On) {
        let mut installation = impatient(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        let events = installation.failed_events(&receiver, 120).await;
        let request = ReplayDeliveriesRequest { deliveries_per_second: Some(40.0), ..Default::default() };
        let replay = installation.replay(request).await.unwrap();
        installation.replay_until(&replay.name, |replay| replay.replayed_count >= 16).await;
        installation.server.kill9().await.unwrap();
        installation.restart().await;
        let done = installation.replay_until(&replay.name, |replay| replay.state() == ReplayState::Succeeded).await;
        assert_eq!((done.examined_count, done.matched_count, done.replayed_count), (120, 120, 120));
        let mut made: Vec<String> = installation
            .deliveries_until(in_state(DeliveryState::Delivered), 120)
            .await
            .into_iter()
            .map(|delivery| delivery.event)
            .collect();
        made.sort();
        let mut expected = events;
        expected.sort();
        assert_eq!(made, expected, "one replay of each event");
    }

    async fn a_delivery_that_a_replay_created_without_a_note_is_not_created_again(on: On) {
        let directory = tempfile::tempdir().unwrap();
        let (builder, _database) = builder(on).await;
        let builder = builder.arg("--retry-delay", "1s").data_directory(directory.path().join("data"));
        let mut installation = Installation::of(builder.clone().start().await.unwrap()).await;
        installation.create_organization("acme").await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        let mut expected = installation.failed_events(&receiver, 20).await;
        installation.server.terminate().await.unwrap();

        // The server exits after the replay's first part was published, and before the progress is stored.
        let dying = builder.clone().env("HOOKWRIGHT_FAILPOINT", "replay-published").start().await.unwrap();
        let mut dying = Installation::of(dying).await;
        let _ = dying.replay(ReplayDeliveriesRequest::default()).await;
        assert!(!dying.server.wait().await.unwrap().success());

        let mut installation = Installation::of(builder.start().await.unwrap()).await;
        let list = ListReplaysRequest { parent: ACME.to_owned(), ..Default::default() };
        let replays = installation.clients.replays.list_replays(list).await.unwrap().into_inner().replays;
        let done = installation.replay_until(&replays[0].name, |replay| replay.state() == ReplayState::Succeeded).await;
        assert_eq!((done.examined_count, done.matched_count, done.replayed_count), (20, 20, 20));
        let delivered = installation.deliveries_until(in_state(DeliveryState::Delivered), 20).await;
        let mut made: Vec<String> = delivered.into_iter().map(|delivery| delivery.event).collect();
        made.sort();
        expected.sort();
        assert_eq!(made, expected, "one replay of each event");
    }

    async fn events_published_after_the_call_are_not_replayed(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        for _ in 0..10 {
            installation.publish("clocking", CLOCKING).await;
        }
        installation.deliveries_until(in_state(DeliveryState::Delivered), 10).await;
        let slowly = ReplayDeliveriesRequest {
            event_types: vec!["clocking".to_owned()],
            states: vec![DeliveryState::Delivered.into()],
            deliveries_per_second: Some(2.0),
            ..Default::default()
        };
        let replay = installation.replay(slowly).await.unwrap();
        for _ in 0..5 {
            installation.publish("clocking", CLOCKING).await;
        }
        let running = installation.replay_until(&replay.name, |_| true).await;
        assert_eq!(running.state(), ReplayState::Running, "the later events were published while it ran");
        let done = installation.replay_until(&replay.name, |replay| replay.state() == ReplayState::Succeeded).await;
        assert_eq!((done.examined_count, done.matched_count, done.replayed_count), (10, 10, 10));
    }

    async fn a_replay_can_be_stopped(on: On) {
        let mut installation = impatient(on).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        installation.failed_events(&receiver, 20).await;
        let slow = ReplayDeliveriesRequest { deliveries_per_second: Some(0.01), ..Default::default() };
        let replay = installation.replay(slow.clone()).await.unwrap();
        let running = installation.replay_until(&replay.name, |replay| replay.replayed_count == 1).await;
        assert_eq!(running.state(), ReplayState::Running);
        let cancel = CancelReplayRequest { name: replay.name.clone() };
        let cancelled = installation.clients.replays.cancel_replay(cancel.clone()).await.unwrap().into_inner();
        let cancelled = cancelled.replay.unwrap();
        assert_eq!((cancelled.state(), cancelled.replayed_count), (ReplayState::Cancelled, 1));
        assert!(cancelled.end_time.is_some());
        let again = installation.clients.replays.cancel_replay(cancel).await.unwrap_err();
        assert_eq!(again.code(), Code::FailedPrecondition);
        assert_eq!(wait_for_events(&receiver, 1).await.len(), 1);
        // The limit on running replays of an organization.
        for _ in 0..10 {
            installation.replay(slow.clone()).await.unwrap();
        }
        let refused = installation.replay(slow).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("10 running replays"), "{}", refused.message());
    }
}
