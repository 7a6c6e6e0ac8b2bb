//! Keyboard access: the first stop is a link past the navigation, and the focus is always visible.

use hookwright_testkit::browser::{ENTER, TAB};
use serde_json::{Value, json};

use super::{super::address, installed::Installed};
use crate::support::On;

/// The focus: its element, whether its ring is visible, and whether it lies within the view.
const FOCUS: &str = "const at = document.activeElement; const style = getComputedStyle(at); const box = at.getBoundingClientRect(); \
                     const outline = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; \
                     let clip = null; for (let up = at.parentElement; up && outline; up = up.parentElement) { \
                     const { overflowX, overflowY } = getComputedStyle(up); if (overflowX === 'visible' && overflowY === 'visible') continue; \
                     if (up === document.documentElement || up === document.body) continue; \
                     const room = parseFloat(style.outlineOffset) + parseFloat(style.outlineWidth); const outer = up.getBoundingClientRect(); \
                     if (box.top - room < outer.top - 1 || box.bottom + room > outer.bottom + 1 || box.left - room < outer.left - 1) \
                     clip = up.className || up.tagName; } \
                     return { on: at.outerHTML.slice(0, 120), tag: at.tagName, class: at.className, id: at.id, outline, clip }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_gets_everywhere_and_is_seen() {
    let installed = Installed::start(On::Sqlite).await;
    let browser = installed.browser().await;
    browser.look_like(1280, 2_000, false).await.unwrap();
    for name in [
        "overview",
        "webhook",
        "webhook-new",
        "deliveries",
        "delivery",
        "tokens",
        "audit",
    ] {
        let path = installed.path(name);
        browser.open(&address(&installed.installation, &path)).await.unwrap();
        browser.press(TAB).await.unwrap();
        let first = browser.run(FOCUS, json!([])).await.unwrap();
        assert_eq!(first["class"], "skip", "{name}: {first}");
        let mut stops = 0;
        loop {
            let focus = browser.run(FOCUS, json!([])).await.unwrap();
            if focus["tag"] == "BODY" || stops > 400 {
                break;
            }
            assert!(focus["outline"] == true, "{name}: the focus is not visible: {focus}");
            assert_eq!(focus["clip"], Value::Null, "{name}: its ring is cut: {focus}");
            stops += 1;
            browser.press(TAB).await.unwrap();
        }
        assert!((10..400).contains(&stops), "{name} has {stops} stops");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_link_leads_past_the_navigation() {
    let installed = Installed::start(On::Sqlite).await;
    let browser = installed.browser().await;
    browser
        .open(&address(&installed.installation, &installed.path("webhook-new")))
        .await
        .unwrap();
    browser.press(TAB).await.unwrap();
    let skip = "const box = document.activeElement.getBoundingClientRect(); return box.left >= 0 && box.width > 0";
    assert_eq!(browser.run(skip, json!([])).await.unwrap(), true, "it is seen");
    browser.press(ENTER).await.unwrap();
    let focus = browser.wait_for_result(FOCUS, |focus| focus["id"] == "main").await;
    assert_eq!(focus["tag"], "MAIN");
    browser.press(TAB).await.unwrap();
    let inside = "return document.getElementById('main').contains(document.activeElement)";
    assert_eq!(browser.run(inside, json!([])).await.unwrap(), true);
}
