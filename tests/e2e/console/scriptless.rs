//! The console without scripts: a user can do everything by forms and links alone.

use hookwright_testkit::{Browser, Receiver, Response, until};

use super::{address, enter};
use crate::support::{Installation, On, on_both_stores};

on_both_stores! {
    async fn everything_can_be_done_without_script(on: On) {
        let mut installation = Installation::start_with(on, |builder| builder.arg("--retry-delay", "1h")).await;
        for event_type in ["order.paid", "order.sent"] {
            installation.register(event_type).await;
        }
        let receiver = Receiver::start().await;
        let browser = Browser::start().await.unwrap();
        browser.let_scripts_run(false).await.unwrap();

        browser.open(&address(&installation, "/console/organizations/acme/webhooks")).await.unwrap();
        enter(&browser, &installation.server.token().unwrap()).await;
        browser.wait_for("No webhook yet").await;

        install_and_edit(&browser, &receiver).await;
        ping(&browser, &receiver).await;
        publish_retry_and_replay(&browser, &installation, &receiver).await;
        rotate_and_reveal(&browser, &installation).await;

        browser.click("Sign out").await.unwrap();
        browser.wait_for("API token").await;
        assert_eq!(receiver.problems(), Vec::<String>::new());
    }
}

/// Follows "Refresh" until the page contains a text.
async fn refresh_until(browser: &Browser, text: &str) {
    until(text, async || {
        let shown = browser.text().await.unwrap();
        if shown.contains(text) {
            return Ok(());
        }
        assert!(
            shown.contains("Refresh"),
            "the page no longer changes, and {text} is not in\n{shown}"
        );
        browser.click("Refresh").await.unwrap();
        Err(shown)
    })
    .await;
}

async fn install_and_edit(browser: &Browser, receiver: &Receiver) {
    browser.click("New webhook").await.unwrap();
    browser.fill("#payload_url", &receiver.url("/hooks")).await.unwrap();
    browser.click_css("input[value='order.paid']").await.unwrap();
    browser.click_css("input[value='order.sent']").await.unwrap();
    // The page shows an error, and keeps the input.
    browser.fill("#timeout", "a while").await.unwrap();
    browser.click("Create webhook").await.unwrap();
    browser.wait_for(" to fix").await;
    browser.fill("#timeout", "5s").await.unwrap();
    browser.click("Create webhook").await.unwrap();
    let shown = browser.wait_for("whsec_").await;
    for part in ["reveal it again later", "order.paid", "order.sent", "5s"] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(
        !shown.contains("Pause updates") && !shown.contains("Live"),
        "controls that need scripts are hidden:\n{shown}"
    );
    browser.click("Edit").await.unwrap();
    browser.click_css("#all-events").await.unwrap();
    browser.click("Save").await.unwrap();
    browser.wait_for("All events, including future types").await;
}

async fn ping(browser: &Browser, receiver: &Receiver) {
    browser.click("Ping").await.unwrap();
    browser.wait_for("Ping created").await;
    refresh_until(browser, "HTTP 200").await;
    receiver
        .wait_until(|requests| {
            requests
                .iter()
                .any(|request| request.header("TT-Hook-Event") == Some("ping"))
        })
        .await;
}

async fn publish_retry_and_replay(browser: &Browser, installation: &Installation, receiver: &Receiver) {
    receiver.answer(Response::new(503));
    let form = "/console/organizations/acme/events/new";
    browser.open(&address(installation, form)).await.unwrap();
    browser.fill("#event_type", "order.paid").await.unwrap();
    browser.fill("#payload", r#"{"order":"A-17"}"#).await.unwrap();
    browser.click_css("main form button.primary").await.unwrap();
    browser.wait_for("Delivery results").await;
    refresh_until(browser, "dlv_").await;
    browser.click("dlv_").await.unwrap();
    refresh_until(browser, "HTTP 503").await;
    receiver.answer(Response::new(200));
    browser.click("Retry now").await.unwrap();
    browser.wait_for("Retrying now").await;
    refresh_until(browser, "HTTP 200").await;
    // The page may have read the state before the attempt.
    refresh_until(browser, "delivered").await;
    browser.click_css("button[formaction$='/replay']").await.unwrap();
    browser.wait_for("You are viewing the new delivery").await;
    refresh_until(browser, "HTTP 200").await;
}

async fn rotate_and_reveal(browser: &Browser, installation: &Installation) {
    browser
        .open(&address(installation, "/console/organizations/acme/webhooks"))
        .await
        .unwrap();
    browser.click("http://127.0.0.1").await.unwrap();
    browser.click("Rotate secret").await.unwrap();
    browser.click_css("form[action$='/rotate'] button").await.unwrap();
    let rotated = secret(&browser.wait_for("Rotation in progress").await);
    browser
        .open(&address(installation, "/console/organizations/acme/webhooks"))
        .await
        .unwrap();
    browser.click("http://127.0.0.1").await.unwrap();
    browser.click("Reveal secret").await.unwrap();
    assert_eq!(secret(&browser.wait_for("whsec_").await), rotated);
}

/// The signing secret that a page shows.
fn secret(shown: &str) -> String {
    let secret = shown.split_whitespace().find(|word| word.starts_with("whsec_"));
    secret.unwrap_or_else(|| panic!("no secret in\n{shown}")).to_owned()
}
