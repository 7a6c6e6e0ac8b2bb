//! Ordered webhooks: deliveries of one key are sent in order, one at a time, through retries, restarts and skips.

use std::collections::BTreeMap;

use hookwright_proto::v1::{
    DeliveryState, GetDeliveryRequest, GetWebhookRequest, ListDeliveriesRequest, ListWebhooksRequest, OrderedFailure,
    Ordering, PublishEventRequest, RetryDeliveryRequest, SkipDeliveryRequest, Webhook,
};
use hookwright_testkit::{Receiver, RecordedRequest, Response, receiver::Gate, until};

use crate::{
    command_line,
    console::Reader,
    support::{ACME, Installation, On, event, id_of, on_both_stores, wait_for_events, webhook, without_pings},
};

/// An installation with an ordered webhook, and a type whose events contain their key and number.
async fn start(on: On, receiver: &Receiver, failure: OrderedFailure) -> (Installation, Webhook) {
    let settings = |server: hookwright_testkit::server::TestServerBuilder| {
        server.arg("--retry-delay", "1s").arg("--retry-delay", "1s")
    };
    let mut installation = Installation::start_with(on, settings).await;
    installation.register("step").await;
    let ordered = Webhook {
        ordering: Ordering::Ordered.into(),
        ordered_failure: failure.into(),
        ..webhook(&receiver.url("/payload"), &["step"])
    };
    let created = installation.create_webhook(ordered).await.unwrap();
    assert_eq!(
        (created.ordering(), created.ordered_failure()),
        (Ordering::Ordered, failure)
    );
    receiver.wait_for(1).await;
    receiver.forget_requests();
    (installation, created)
}

fn step(key: &str, number: usize) -> PublishEventRequest {
    PublishEventRequest {
        ordering_key: key.to_owned(),
        ..event("step", &format!(r#"{{"key":"{key}","number":{number}}}"#))
    }
}

async fn publish(installation: &mut Installation, key: &str, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        installation.try_publish(step(key, number)).await.unwrap();
    }
}

/// The numbers of each key in the order of arrival, including repeats.
fn arrived(requests: &[RecordedRequest]) -> BTreeMap<String, Vec<u64>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for request in without_pings(requests) {
        let body = request.json();
        let key = body["key"].as_str().unwrap().to_owned();
        found.entry(key).or_default().push(body["number"].as_u64().unwrap());
    }
    found
}

fn count(requests: &[RecordedRequest], key: &str) -> usize {
    arrived(requests).get(key).map_or(0, Vec::len)
}

async fn deliveries(installation: &mut Installation, state: DeliveryState) -> Vec<String> {
    let request = ListDeliveriesRequest {
        parent: ACME.to_owned(),
        states: vec![state.into()],
        ..ListDeliveriesRequest::default()
    };
    let page = installation.clients.deliveries.list_deliveries(request).await.unwrap();
    let mut names: Vec<String> = page.into_inner().deliveries.into_iter().map(|one| one.name).collect();
    names.sort();
    names
}

/// Waits until at least one delivery is paused.
async fn paused(installation: &mut Installation) -> Vec<String> {
    until("a delivery to be paused", async || {
        let paused = deliveries(installation, DeliveryState::Paused).await;
        if paused.is_empty() { Err("none is") } else { Ok(paused) }
    })
    .await
}

/// How many ordering keys of a webhook are blocked.
async fn blocked_keys(installation: &mut Installation, name: &str) -> i32 {
    let get = GetWebhookRequest { name: name.to_owned() };
    let webhook = installation.clients.webhooks.get_webhook(get).await.unwrap();
    webhook.into_inner().blocked_key_count
}

on_both_stores! {
    async fn a_key_waits_for_its_retries_and_other_keys_continue(on: On) {
        let receiver = Receiver::start().await;
        let (mut installation, _) = start(on, &receiver, OrderedFailure::Skip).await;
        // The first attempt of `a` fails, and the next one gets no response until the gate opens. All attempts of `b`
        // succeed.
        let gate = Gate::new();
        let (mut failed, held) = (false, gate.clone());
        receiver.answer_with(move |request| {
            if request.json()["key"] != "a" {
                return Response::new(200);
            }
            if failed {
                return Response::new(200).after(&held);
            }
            failed = true;
            Response::new(503)
        });
        publish(&mut installation, "a", 1..=10).await;
        publish(&mut installation, "b", 1..=10).await;
        let requests = receiver.wait_until(|requests| count(requests, "b") == 10).await;
        let of_a = &arrived(&requests)["a"];
        assert!(of_a.iter().all(|number| *number == 1), "the others wait for the first: {of_a:?}");
        gate.open();
        let requests = receiver.wait_until(|requests| count(requests, "a") == 11).await;
        assert_eq!(arrived(&requests)["a"], [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(arrived(&requests)["b"], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    async fn the_order_survives_a_kill(on: On) {
        let receiver = Receiver::start().await;
        let (mut installation, _) = start(on, &receiver, OrderedFailure::Skip).await;
        let gate = Gate::new();
        receiver.answer(Response::new(200).after(&gate));
        publish(&mut installation, "a", 1..=20).await;
        wait_for_events(&receiver, 1).await;
        installation.server.kill9().await.unwrap();
        receiver.answer(200);
        gate.open();
        installation.restart().await;
        publish(&mut installation, "a", 21..=25).await;
        let requests = receiver.wait_until(|requests| count(requests, "a") >= 26).await;
        let mut expected = vec![1];
        expected.extend(1..=25);
        assert_eq!(arrived(&requests)["a"], expected, "only the attempt in flight is repeated");
    }

    async fn without_a_key_the_webhook_has_one_order(on: On) {
        let receiver = Receiver::start().await;
        let (mut installation, _) = start(on, &receiver, OrderedFailure::Skip).await;
        let requests: Vec<PublishEventRequest> = (1..=50)
            .map(|number| PublishEventRequest { ordering_key: String::new(), ..step("", number) })
            .collect();
        for request in requests {
            installation.try_publish(request).await.unwrap();
        }
        let requests = receiver.wait_until(|requests| count(requests, "") == 50).await;
        assert_eq!(arrived(&requests)[""], (1..=50).collect::<Vec<u64>>());
    }

    async fn a_permanent_failure_blocks_its_key_until_a_retry_or_a_skip(on: On) {
        let receiver = Receiver::start().await;
        let (mut installation, _) = start(on, &receiver, OrderedFailure::Pause).await;
        receiver.answer_with(|request| Response::new(if request.json()["number"] == 1 { 500 } else { 200 }));
        publish(&mut installation, "a", 1..=3).await;
        // After three attempts the delivery is paused, and the others wait.
        receiver.wait_until(|requests| count(requests, "a") == 3).await;
        let paused = paused(&mut installation).await;
        let waiting = deliveries(&mut installation, DeliveryState::Pending).await;
        assert_eq!((paused.len(), waiting.len()), (1, 2));
        let retry = RetryDeliveryRequest { name: waiting[0].clone() };
        let refused = installation.clients.deliveries.retry_delivery(retry).await.err().unwrap();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("blocked by an earlier one"), "{refused}");
        // A retry is attempted at once, fails, and pauses the key again.
        let retry = RetryDeliveryRequest { name: paused[0].clone() };
        installation.clients.deliveries.retry_delivery(retry).await.unwrap();
        let requests = receiver.wait_until(|requests| count(requests, "a") == 4).await;
        assert_eq!(arrived(&requests)["a"], [1, 1, 1, 1]);
        self::paused(&mut installation).await;
        let skip = SkipDeliveryRequest { name: paused[0].clone() };
        let skipped = installation.clients.deliveries.skip_delivery(skip.clone()).await.unwrap().into_inner();
        let skipped = skipped.delivery.unwrap();
        assert_eq!((skipped.state(), skipped.cancel_reason.as_str()), (DeliveryState::Cancelled, "skipped"));
        let requests = receiver.wait_until(|requests| count(requests, "a") == 6).await;
        assert_eq!(arrived(&requests)["a"], [1, 1, 1, 1, 2, 3]);
        let again = installation.clients.deliveries.skip_delivery(skip).await.err().unwrap();
        assert_eq!(again.code(), tonic::Code::FailedPrecondition);
        assert!(again.message().contains("cancelled"), "{again}");
    }

    async fn a_blocked_key_is_seen_wherever_one_looks(on: On) {
        let receiver = Receiver::start().await;
        let (mut installation, created) = start(on, &receiver, OrderedFailure::Pause).await;
        receiver.answer_with(|request| Response::new(if request.json()["key"] == "b" { 200 } else { 500 }));
        publish(&mut installation, "a", 1..=3).await;
        publish(&mut installation, "c", 1..=1).await;
        until("both keys to be paused", async || {
            let paused = deliveries(&mut installation, DeliveryState::Paused).await;
            if paused.len() == 2 { Ok(()) } else { Err(format!("{paused:?}")) }
        })
        .await;
        // Another key continues, so that the webhook does not count as failing.
        publish(&mut installation, "b", 1..=1).await;
        until("the other key to be delivered", async || {
            let delivered = deliveries(&mut installation, DeliveryState::Delivered).await.len();
            if delivered == 2 { Ok(()) } else { Err(format!("{delivered} delivered, including the ping")) }
        })
        .await;
        let first = deliveries(&mut installation, DeliveryState::Paused).await.remove(0);
        let get = GetDeliveryRequest { name: first.clone() };
        let shown = installation.clients.deliveries.get_delivery(get).await.unwrap().into_inner();
        assert_eq!(shown.ordering_key, "a");
        assert_eq!(blocked_keys(&mut installation, &created.name).await, 2);
        let list = ListWebhooksRequest { parent: ACME.to_owned(), ..Default::default() };
        let listed = installation.clients.webhooks.list_webhooks(list).await.unwrap().into_inner();
        assert_eq!(listed.webhooks[0].blocked_key_count, 2);
        assert_eq!(installation.metric("hookwright_blocked_keys").await as i64, 2);

        let address = format!("http://{}", installation.server.grpc_address());
        let token = installation.server.token().unwrap();
        let environment = [("HOOKWRIGHT_ADDRESS", &*address), ("HOOKWRIGHT_TOKEN", &*token)];
        let commands = [
            (["webhooks", "get", &*created.name], ["active, 2 keys blocked", "--state paused"]),
            (["deliveries", "get", &*first], ["deliveries retry dlv_", "deliveries skip dlv_"]),
            (["webhooks", "list", "--organization=acme"], ["active, 2 keys blocked", "wh_"]),
        ];
        for (command, told) in commands {
            let output = command_line::run(&command, &environment).await;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && told.iter().all(|part| said.contains(part)), "{command:?}: {said}");
        }

        let reader = Reader::sign_in(&installation, &token).await;
        let base = "/console/organizations/acme";
        let (webhook, delivery) = (id_of(&created.name), id_of(&first));
        let pages = [
            ("/console/".to_owned(), vec!["Blocked ordering keys", "2 keys blocked", webhook]),
            (format!("{base}/webhooks"), vec!["keys blocked</span>", "2 keys blocked"]),
            (
                format!("{base}/webhooks/{webhook}"),
                vec!["Blocked ordering keys", "<code>a</code>", "2 deliveries", "0 deliveries", "/retry\"", "/skip\""],
            ),
            (format!("{base}/deliveries/{delivery}"), vec!["<code class=\"break\">a</code>: 2 deliveries behind"]),
        ];
        for (page, told) in pages {
            let text = reader.get(&page).await.text();
            for part in told {
                assert!(text.contains(part), "{part} is not on {page}\n{text}");
            }
        }

        receiver.answer(200);
        for name in deliveries(&mut installation, DeliveryState::Paused).await {
            installation.clients.deliveries.skip_delivery(SkipDeliveryRequest { name }).await.unwrap();
        }
        until("the others to be delivered", async || {
            let left = deliveries(&mut installation, DeliveryState::Delivered).await.len();
            // The ping was delivered, too.
            if left == 4 { Ok(()) } else { Err(format!("{left} are")) }
        })
        .await;
        assert_eq!(installation.metric("hookwright_blocked_keys").await as i64, 0);
        assert!(!reader.get("/console/").await.text().contains("Blocked ordering keys"));
    }

    async fn skipping_a_failed_delivery_resumes_its_key(on: On) {
        let receiver = Receiver::start().await;
        let (mut installation, _) = start(on, &receiver, OrderedFailure::Skip).await;
        receiver.answer_with(|request| Response::new(if request.json()["number"] == 1 { 500 } else { 200 }));
        publish(&mut installation, "a", 1..=3).await;
        let requests = receiver.wait_until(|requests| count(requests, "a") == 5).await;
        assert_eq!(arrived(&requests)["a"], [1, 1, 1, 2, 3]);
        assert_eq!(deliveries(&mut installation, DeliveryState::Failed).await.len(), 1);
    }
}
