//! Every page: its accessibility, its fit on each screen, and its appearance.

mod forms;
mod installed;
mod keyboard;

use std::path::PathBuf;

use hookwright_testkit::{Browser, workspace_directory};
use serde_json::{Value, json};

use self::installed::Installed;
use super::{address, browser};
use crate::support::On;

/// Screens: name, width, height, dark.
const SCREENS: [(&str, u32, u32, bool); 4] = [
    ("desktop-light", 1280, 800, false),
    ("desktop-dark", 1280, 800, true),
    ("phone-light", 390, 844, false),
    ("phone-dark", 390, 844, true),
];

/// A page that a form leads to.
struct Answer {
    name: &'static str,
    /// The form's page.
    page: &'static str,
    /// Fields and their input.
    typed: &'static [(&'static str, &'static str)],
    button: &'static str,
    /// A text of the page that follows.
    shown: &'static str,
}

const ANSWERS: &[Answer] = &[
    Answer {
        name: "webhook-errors",
        page: "webhook-new",
        typed: &[
            ("#payload_url", "https://example.com/payload"),
            ("#timeout", "5 years"),
            ("#requests_per_second", "many"),
        ],
        button: "button[value=save]",
        shown: " to fix",
    },
    Answer {
        name: "publish-error",
        page: "publish",
        typed: &[("#payload", "{\"order\": 17}")],
        button: "main form button.primary",
        shown: " to fix",
    },
    Answer {
        name: "webhook-secret",
        page: "webhook",
        typed: &[],
        button: "button[formaction$='/reveal']",
        shown: "whsec_",
    },
    Answer {
        name: "token-made",
        page: "organization-tokens",
        typed: &[("#display_name", "billing service")],
        button: "main form button.primary",
        shown: "hw_",
    },
    Answer {
        name: "portal-link-made",
        page: "portal-links",
        typed: &[],
        button: "main form button.primary",
        shown: "has access until",
    },
];

impl Answer {
    async fn open(&self, installed: &Installed, browser: &Browser) {
        let path = installed.path(self.page);
        browser.open(&address(&installed.installation, &path)).await.unwrap();
        for (field, text) in self.typed {
            browser.fill(field, text).await.unwrap();
        }
        browser.click_css(self.button).await.unwrap();
        browser.wait_for(self.shown).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_kept_out() {
    let installed = Installed::start(On::Sqlite).await;
    let browser = installed.browser().await;
    let axe = std::fs::read_to_string(workspace_directory().join("target/browser/node_modules/axe-core/axe.min.js"));
    let axe = axe.expect("`make test-setup` installs axe-core");
    let mut faults = Vec::new();
    for (name, path) in installed.pages() {
        // Both layouts and both color schemes.
        for (screen, width, height, dark) in [SCREENS[0], SCREENS[3]] {
            browser.look_like(width, height, dark).await.unwrap();
            browser.open(&address(&installed.installation, &path)).await.unwrap();
            let found = violations(&browser, &axe).await;
            faults.extend(found.into_iter().map(|fault| format!("{name} ({screen}): {fault}")));
        }
    }
    for answer in ANSWERS {
        answer.open(&installed, &browser).await;
        let found = violations(&browser, &axe).await;
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", answer.name)));
    }
    for (name, browser) in [
        ("portal-left", installed.a_visitor_who_signed_out().await),
        ("sign-in", installed.stranger().await),
    ] {
        let found = violations(&browser, &axe).await;
        faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The faults that axe-core finds on a page.
async fn violations(browser: &Browser, axe: &str) -> Vec<String> {
    browser.run(axe, json!([])).await.unwrap();
    let run = "const done = arguments[arguments.length - 1]; \
               axe.run(document, { resultTypes: ['violations'] }).then((found) => done(found.violations));";
    let found = browser.run_async(run).await.unwrap();
    let found = found.as_array().expect("a list").clone();
    let severe = found
        .iter()
        .filter(|fault| matches!(fault["impact"].as_str(), Some("serious" | "critical")));
    let told = severe.map(|fault| {
        let nodes: Vec<&Value> = fault["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|node| &node["html"])
            .take(3)
            .collect();
        format!("{} {}: {nodes:?}", fault["impact"], fault["help"])
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_fit_their_screens_and_run_only_our_script() {
    let installed = Installed::start(On::Sqlite).await;
    let browser = installed.browser().await;
    for (name, path) in installed.pages() {
        for (screen, width, height, dark) in [SCREENS[0], SCREENS[2]] {
            browser.look_like(width, height, dark).await.unwrap();
            browser.open(&address(&installed.installation, &path)).await.unwrap();
            let wide = browser
                .run("return document.documentElement.scrollWidth", json!([]))
                .await
                .unwrap();
            assert!(
                wide.as_u64().unwrap() <= u64::from(width),
                "{name} is {wide} wide on {screen}"
            );
            let inline = "return document.querySelectorAll('[style], script:not([src]), style').length";
            assert_eq!(browser.run(inline, json!([])).await.unwrap(), 0, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_tables_where_they_look_like_cards() {
    let installed = Installed::start(On::Sqlite).await;
    let browser = installed.browser().await;
    let lost = "const roles = { TABLE: 'table', THEAD: 'rowgroup', TBODY: 'rowgroup', TR: 'row', TH: 'columnheader', TD: 'cell' }; \
                const parts = document.querySelectorAll(':not(.nothing) > table.cards, :not(.nothing) > table.cards *'); \
                return [...parts].filter((part) => roles[part.tagName] && (part.getAttribute('role') !== roles[part.tagName] || \
                getComputedStyle(part).visibility !== 'visible' || (part.tagName !== 'TR' && part.tagName !== 'TBODY' && \
                getComputedStyle(part).display === 'none'))).map((part) => part.outerHTML.slice(0, 100))";
    for (name, path) in installed.pages() {
        let (_, width, height, dark) = SCREENS[2];
        browser.look_like(width, height, dark).await.unwrap();
        browser.open(&address(&installed.installation, &path)).await.unwrap();
        assert_eq!(browser.run(lost, json!([])).await.unwrap(), json!([]), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charts_tell_deliveries_and_failures_apart_without_colour() {
    let installed = Installed::start(On::Sqlite).await;
    let browser = installed.browser().await;
    let path = installed.path("organization");
    browser.open(&address(&installed.installation, &path)).await.unwrap();
    let script = "const local = (time) => new Date(time.dateTime).toLocaleTimeString('en-US', \
                  { timeZone: 'Europe/Amsterdam', hour: '2-digit', minute: '2-digit' }); \
                  return [...document.querySelectorAll('.chart g')].map((bar) => { \
                  const [good, bad] = bar.querySelectorAll('rect'); const time = bar.querySelector('title time'); \
                  return { both: good.height.baseVal.value > 0 && bad.height.baseVal.value > 0, \
                  gap: good.y.baseVal.value - bad.y.baseVal.value - bad.height.baseVal.value, fill: bad.getAttribute('fill'), \
                  title: bar.textContent, local: local(time) }; })";
    let bars = browser.run(script, json!([])).await.unwrap();
    let bars = bars.as_array().unwrap();
    assert!(bars.iter().any(|bar| bar["both"] == true), "{bars:?}");
    for bar in bars {
        assert!(bar["both"] == false || bar["gap"].as_f64() >= Some(1.0), "{bar}");
        assert_eq!(bar["fill"], "url(#failed)");
        let title = bar["title"].as_str().unwrap();
        assert!(title.starts_with(bar["local"].as_str().unwrap()), "{bar}");
    }
    let axis =
        "return [...document.querySelectorAll('figure .scale time')].map((time) => [time.textContent, time.title])";
    let axis = browser.run(axis, json!([])).await.unwrap();
    assert!(
        axis[1][1].as_str().unwrap().ends_with('Z') && !axis[1][0].as_str().unwrap().contains("UTC"),
        "{axis}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_are_the_readers_and_tell_utc() {
    let installed = Installed::start(On::Sqlite).await;
    let browser = installed.browser().await;
    let path = installed.path("audit");
    browser.open(&address(&installed.installation, &path)).await.unwrap();
    let script = "const time = document.querySelector('tbody time'); \
                  const shown = new Date(time.dateTime).toLocaleTimeString('en-US', { timeZone: 'Europe/Amsterdam', \
                  hour: '2-digit', minute: '2-digit', second: '2-digit' }); return [time.textContent, time.title, shown]";
    let told = browser.run(script, json!([])).await.unwrap();
    let [text, title, local] = [0, 1, 2].map(|at| told[at].as_str().unwrap().to_owned());
    assert!(text.contains(&local), "{told}");
    assert!(title.ends_with('Z') && title.contains('T'), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes the pictures in docs/console, which are viewed by eye: make screenshots"]
async fn screenshots() {
    let installed = Installed::start(On::Sqlite).await;
    let signed_in = installed.browser().await;
    let directory = workspace_directory().join("docs/console");
    std::fs::create_dir_all(&directory).unwrap();
    let others = [
        ("portal-left", installed.a_visitor_who_signed_out().await),
        ("sign-in", installed.stranger().await),
    ];
    let mut written = 0;
    for (screen, width, height, dark) in SCREENS {
        let shoot = async |browser: &Browser, name: &str| {
            let picture = browser.screenshot(width, 2_000).await.unwrap();
            let file: PathBuf = directory.join(format!("{name}-{screen}.png"));
            std::fs::write(&file, &picture).unwrap();
            assert!(
                picture.len() < 200_000,
                "{} has {} bytes",
                file.display(),
                picture.len()
            );
            picture.len()
        };
        signed_in.look_like(width, height, dark).await.unwrap();
        for (name, browser) in &others {
            browser.look_like(width, height, dark).await.unwrap();
            written += shoot(browser, name).await;
        }
        for (name, path) in installed.pages() {
            signed_in.open(&address(&installed.installation, &path)).await.unwrap();
            written += shoot(&signed_in, name).await;
        }
        for answer in ANSWERS {
            answer.open(&installed, &signed_in).await;
            written += shoot(&signed_in, answer.name).await;
        }
    }
    assert!(written < 8_000_000, "all pictures have {written} bytes");
}

impl Installed {
    /// A browser of an operator, who also opened a customer's link.
    async fn browser(&self) -> Browser {
        let browser = browser(&self.installation, &self.installation.server.token().unwrap()).await;
        browser.open(&self.portal).await.unwrap();
        browser.wait_for("Sign out").await;
        browser
    }

    /// A browser of a customer who has signed out.
    async fn a_visitor_who_signed_out(&self) -> Browser {
        let browser = Browser::start().await.unwrap();
        browser.open(&self.portal).await.unwrap();
        browser.click("Sign out").await.unwrap();
        browser.wait_for("Signed out").await;
        browser
    }

    /// A browser that is not signed in.
    async fn stranger(&self) -> Browser {
        let browser = Browser::start().await.unwrap();
        browser.open(&address(&self.installation, "/console/")).await.unwrap();
        browser.wait_for("API token").await;
        browser
    }
}
