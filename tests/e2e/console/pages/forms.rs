//! Forms: they show errors at once, use the reader's own time zone, and report when copying fails.

use hookwright_testkit::Browser;
use serde_json::json;

use super::{super::address, installed::Installed};
use crate::support::On;

async fn attribute(browser: &Browser, selector: &str, name: &str) -> String {
    let script = "return document.querySelector(arguments[0]).getAttribute(arguments[1]) ?? ''";
    let value = browser.run(script, json!([selector, name])).await.unwrap();
    value.as_str().unwrap().to_owned()
}

async fn focused(browser: &Browser) -> String {
    let id = browser
        .run("return document.activeElement.id", json!([]))
        .await
        .unwrap();
    id.as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_a_form_are_found_at_once() {
    let installed = Installed::start(On::Sqlite).await;
    for with_script in [true, false] {
        let browser = installed.browser().await;
        browser.let_scripts_run(with_script).await.unwrap();
        browser
            .open(&address(&installed.installation, &installed.path("webhook-new")))
            .await
            .unwrap();
        assert_eq!(
            attribute(&browser, "#timeout", "aria-describedby").await,
            "timeout-hint"
        );
        browser
            .fill("#payload_url", "https://example.com/payload")
            .await
            .unwrap();
        browser.fill("#timeout", "5 years").await.unwrap();
        browser.fill("#requests_per_second", "-1").await.unwrap();
        browser.click("Create webhook").await.unwrap();
        browser.wait_for(" to fix").await;
        let title = browser.run("return document.title", json!([])).await.unwrap();
        assert!(title.as_str().unwrap().starts_with("Error: New webhook"), "{title}");
        browser
            .wait_for_result("return document.activeElement.id", |id| id == "problems")
            .await;
        assert_eq!(
            attribute(&browser, "#timeout", "aria-describedby").await,
            "timeout-hint timeout-error"
        );
        // Each line links to its field, or to its group of fields.
        browser.click_css("#problems a[href='#timeout']").await.unwrap();
        assert_eq!(focused(&browser).await, "timeout");
        let dead = "return [...document.querySelectorAll('#problems a, [aria-describedby]')].flatMap((part) => \
                    (part.hash?.slice(1) ?? part.getAttribute('aria-describedby')).split(' ')) \
                    .filter((id) => !document.getElementById(id))";
        assert_eq!(browser.run(dead, json!([])).await.unwrap(), json!([]));
        browser.fill("#timeout", "5s").await.unwrap();
        browser.fill("#requests_per_second", "").await.unwrap();
        browser.click("Create webhook").await.unwrap();
        browser
            .wait_for_result("return document.querySelector('#problems a')?.hash", |hash| {
                hash == "#events"
            })
            .await;
        assert_eq!(attribute(&browser, "#events", "aria-describedby").await, "events-error");
        browser.click_css("#problems a[href='#events']").await.unwrap();
        assert_eq!(focused(&browser).await, "events");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_are_typed_in_the_readers_zone_and_sent_in_utc() {
    let installed = Installed::start(On::Sqlite).await;
    let browser = installed.browser().await;
    let list = installed.path("deliveries");
    // Amsterdam is two hours ahead of UTC in summer, and one hour in winter. At 01:30 UTC that night its clock shows
    // 02:30 for the second time.
    let asked = format!("{list}?start=2026-07-01T10:00:00&end=2026-10-25T01:30:00");
    browser.open(&address(&installed.installation, &asked)).await.unwrap();
    let shown = "return ['start', 'end'].map((id) => document.getElementById(id).value).join()";
    browser
        .wait_for_result(shown, |shown| shown == "2026-07-01T12:00,2026-10-25T02:30")
        .await;
    let label = browser
        .run("return document.querySelector('label[for=start]').innerText", json!([]))
        .await
        .unwrap();
    assert_eq!(label, "From (Europe/Amsterdam)");
    let type_it = "document.getElementById('start').value = '2026-01-31T12:00'";
    browser.run(type_it, json!([])).await.unwrap();
    browser.click_css("form.filters button").await.unwrap();
    let sent = "const sent = new URL(location).searchParams; return `${sent.get('start')},${sent.get('end')}`";
    browser
        .wait_for_result(sent, |sent| sent == "2026-01-31T11:00:00,2026-10-25T01:30")
        .await;
    browser
        .wait_for_result(shown, |shown| shown == "2026-01-31T12:00,2026-10-25T02:30")
        .await;

    browser.let_scripts_run(false).await.unwrap();
    browser.open(&address(&installed.installation, &asked)).await.unwrap();
    assert!(browser.text().await.unwrap().contains("From (UTC)"));
    assert_eq!(attribute(&browser, "#start", "value").await, "2026-07-01T10:00:00");
    browser.click_css("form.filters button").await.unwrap();
    browser
        .wait_for_result(sent, |sent| sent == "2026-07-01T10:00,2026-10-25T01:30")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_cannot_be_copied_is_selected() {
    let installed = Installed::start(On::Sqlite).await;
    let browser = installed.browser().await;
    let path = installed.path("delivery");
    browser.open(&address(&installed.installation, &path)).await.unwrap();
    browser.refuse("clipboard-write").await.unwrap();
    browser.click("Copy").await.unwrap();
    browser.wait_for("Selected: press Ctrl+C to copy").await;
    let selected = browser
        .run("return getSelection().toString()", json!([]))
        .await
        .unwrap();
    assert!(selected.as_str().unwrap().contains("curl -i -X POST"), "{selected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_with_errors_stays_a_complete_page() {
    let installed = Installed::start(On::Sqlite).await;
    let browser = installed.browser().await;
    let path = installed.path("webhook");
    browser.open(&address(&installed.installation, &path)).await.unwrap();
    browser.click("Rotate secret").await.unwrap();
    browser.fill("#overlap", "a while").await.unwrap();
    browser.click_css("form[action$='/rotate'] button").await.unwrap();
    browser.wait_for(" to fix").await;
    browser.wait_for("● Live").await;
    let at = browser.run("return location.pathname", json!([])).await.unwrap();
    assert_eq!(at, path.as_str());
    // A page that refreshes requests that page, too.
    let script = "const done = arguments[arguments.length - 1]; \
                  import(document.querySelector('script[type=module]').src.replace('console.js', 'refresh.js')) \
                  .then(({ look }) => look([...document.querySelectorAll('[data-refresh]')])) \
                  .then(() => done('looked'), (error) => done(String(error)));";
    assert_eq!(browser.run_async(script).await.unwrap(), "looked");
}
