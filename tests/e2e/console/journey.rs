//! A user's steps: sign in, install a webhook, see its ping, publish, see deliveries arrive, see one fail and be
//! retried, replay it, rotate the secret, read the audit log, sign out.

use hookwright_testkit::{Browser, Receiver, Response};

use super::{address, browser};
use crate::support::{Installation, On, on_both_stores};

const SHORT_DELAYS: &[&str] = &["1s", "1s", "1s"];

on_both_stores! {
    async fn a_person_finds_their_way(on: On) {
        let mut installation = Installation::start_with(on, |builder| builder.arg("--retry-delay", &SHORT_DELAYS.join(","))).await;
        for event_type in ["order.paid", "order.sent", "order.returned"] {
            installation.register(event_type).await;
        }
        let receiver = Receiver::start().await;
        let admin = installation.server.token().unwrap();
        let browser = browser(&installation, &admin).await;

        install_a_webhook_on_two_types(&browser, &receiver).await;
        switch_to_the_wildcard(&browser).await;
        publish_and_watch_it_come_in(&browser, &installation, &receiver).await;
        see_it_fail_and_be_tried_again(&browser, &installation, &receiver).await;
        replay_it(&browser, &receiver).await;
        rotate_the_secret(&browser, &installation).await;
        pause_and_resume(&browser).await;

        browser.open(&address(&installation, "/console/audit")).await.unwrap();
        let log = browser.text().await.unwrap();
        for action in ["webhook.create", "webhook.update", "webhook.rotate_secret", "delivery.replay", "webhook.resume"] {
            assert!(log.contains(action), "{action} is not in\n{log}");
        }

        browser.click("Sign out").await.unwrap();
        browser.wait_for("API token").await;
        browser.open(&address(&installation, "/console/audit")).await.unwrap();
        browser.wait_for("API token").await;
        assert_eq!(receiver.problems(), Vec::<String>::new());
    }
}

async fn install_a_webhook_on_two_types(browser: &Browser, receiver: &Receiver) {
    browser.click("Organizations").await.unwrap();
    browser.click("acme").await.unwrap();
    browser.wait_for("No webhook yet").await;
    browser.click("New webhook").await.unwrap();
    // The page shows an error at the field, and keeps the input.
    browser.fill("#payload_url", "http://169.254.169.254/").await.unwrap();
    browser.click("Validate URL").await.unwrap();
    browser.wait_for("is not allowed").await;
    browser.fill("#payload_url", &receiver.url("/hooks")).await.unwrap();
    browser.fill("#description", "orders of the shop").await.unwrap();
    browser.click_css("input[value='order.paid']").await.unwrap();
    browser.click_css("input[value='order.sent']").await.unwrap();
    browser.click("Create webhook").await.unwrap();
    let shown = browser.wait_for("reveal it again later").await;
    assert!(
        shown.contains("whsec_") && shown.contains("order.paid") && shown.contains("order.sent"),
        "{shown}"
    );
    // The ping appears without a reload of the page.
    browser
        .wait_until("the ping's outcome", |shown| {
            shown
                .lines()
                .any(|line| line.contains("ping") && line.contains("delivered"))
        })
        .await;
    let pings = receiver.requests();
    assert_eq!(
        pings
            .iter()
            .map(|ping| ping.header("TT-Hook-Event"))
            .collect::<Vec<_>>(),
        [Some("ping")]
    );
    browser.run("location.reload()", serde_json::json!([])).await.unwrap();
    browser
        .wait_until("the secret is gone", |shown| {
            shown.contains("Settings") && !shown.contains("reveal it again later")
        })
        .await;
    assert!(!browser.text().await.unwrap().contains("whsec_"));
    assert_eq!(receiver.request_count(), 1, "reloading the page installs nothing");
}

async fn switch_to_the_wildcard(browser: &Browser) {
    browser.click("Edit").await.unwrap();
    browser.wait_for("Edit webhook").await;
    let ticked = "return [...document.querySelectorAll('input[name=event]:checked')].map((box) => box.value).join()";
    let ticked = async || browser.run(ticked, serde_json::json!([])).await.unwrap();
    assert_eq!(ticked().await, "order.paid,order.sent");
    browser.click_css("#all-events").await.unwrap();
    assert_eq!(ticked().await, "*", "the wildcard replaces the other types visibly");
    browser.click_css("#all-events").await.unwrap();
    assert_eq!(ticked().await, "order.paid,order.sent", "and restores them");
    browser.click_css("#all-events").await.unwrap();
    browser.click("Save").await.unwrap();
    browser.wait_for("All events, including future types").await;
}

async fn publish_and_watch_it_come_in(browser: &Browser, installation: &Installation, receiver: &Receiver) {
    browser
        .open(&address(installation, "/console/organizations/acme/deliveries"))
        .await
        .unwrap();
    browser.wait_for("● Live").await;
    let mut publisher = installation.clients.clone();
    let event = crate::support::event("order.returned", r#"{"order":"A-17"}"#);
    publisher.events.publish_event(event).await.unwrap();
    browser
        .wait_until("the delivery appears live", |shown| {
            shown
                .lines()
                .any(|line| line.contains("order.returned") && line.contains("delivered"))
        })
        .await;
    crate::support::wait_for_events(receiver, 1).await;
    browser.click_css("tbody a[href*='/deliveries/dlv_']").await.unwrap();
    let shown = browser.wait_for("Timing").await;
    for part in ["TT-Hook-Event", r#"{"order":"A-17"}"#, "HTTP 200", "curl -i -X POST"] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
}

async fn see_it_fail_and_be_tried_again(browser: &Browser, installation: &Installation, receiver: &Receiver) {
    receiver.answer(Response::new(503));
    let before = receiver.request_count();
    browser
        .open(&address(installation, "/console/organizations/acme/events/new"))
        .await
        .unwrap();
    browser.fill("#event_type", "order.paid").await.unwrap();
    browser.fill("#payload", "{\"total\": 12").await.unwrap();
    browser.click_css("main form button.primary").await.unwrap();
    browser
        .wait_until("the fault of the payload", |shown| shown.contains("offset"))
        .await;
    browser.fill("#payload", "{\"total\": 12}").await.unwrap();
    browser.click_css("main form button.primary").await.unwrap();
    browser.wait_for("Delivery results").await;
    browser.wait_for("The webhook is subscribed").await;
    browser.click("dlv_").await.unwrap();
    browser.wait_for("retrying").await;
    receiver.wait_until(|requests| requests.len() >= before + 2).await;
    // The page updates by itself.
    browser
        .wait_until("the second attempt", |shown| shown.contains("Attempt 2"))
        .await;
    browser
        .wait_until("the final attempt", |shown| {
            shown.contains("failed\n") && !shown.contains("retrying")
        })
        .await;
    let shown = browser.text().await.unwrap();
    assert!(shown.contains("HTTP 503"), "{shown}");
}

async fn replay_it(browser: &Browser, receiver: &Receiver) {
    receiver.answer(Response::new(200));
    let before = receiver.request_count();
    browser.click_css("button[formaction$='/replay']").await.unwrap();
    browser.wait_for("You are viewing the new delivery").await;
    browser
        .wait_until("it is delivered", |shown| shown.contains("HTTP 200"))
        .await;
    assert_eq!(receiver.request_count(), before + 1);
}

async fn rotate_the_secret(browser: &Browser, installation: &Installation) {
    browser
        .open(&address(installation, "/console/organizations/acme/webhooks"))
        .await
        .unwrap();
    browser.click("http://127.0.0.1").await.unwrap();
    browser.click("Rotate secret").await.unwrap();
    browser.click_css("form[action$='/rotate'] button").await.unwrap();
    let shown = browser.wait_for("Rotation in progress").await;
    assert!(shown.contains("whsec_"), "{shown}");
    browser.click("Complete rotation").await.unwrap();
    browser.wait_for("only the new secret signs").await;
}

async fn pause_and_resume(browser: &Browser) {
    browser.click("Pause webhook").await.unwrap();
    browser.wait_for("Events published while paused are not queued").await;
    browser.click("Resume and send backlog").await.unwrap();
    browser.wait_for("Resumed").await;
}
