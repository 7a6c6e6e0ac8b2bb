//! The console as users see it: in a real browser where that matters, and by plain HTTP where the bytes on the wire
//! matter.
//!
//! | module | what it tests |
//! | --- | --- |
//! | `journey` | a user's steps from signing in to signing out |
//! | `lists` | paging in both directions, names, the actors that the audit log names |
//! | `live` | pages that update by themselves |
//! | `scriptless` | the same steps in a browser that runs no script |
//! | `pages` | every page: content, accessibility, layout |
//! | `content` | large payloads in part, commands that work, forms that keep their input |
//! | `isolation` | a token of one organization sees nothing of another |
//! | `security` | cookies, forged forms, redirects, stored scripts, framing |
//! | `sessions` | access, the limit on attempts to sign in, and the end of sessions |
//! | `portal` | customers who open a portal link |
//! | `confirm` | actions that ask for a confirmation |
//! | `long` | many attempts of a delivery, and many failing webhooks |
//! | `rare` | a filter with few matches, which leads to older events page by page |
//! | `twice` | forms that are sent twice and processed once |

mod confirm;
mod content;
mod isolation;
mod journey;
mod lists;
mod live;
mod long;
mod pages;
mod portal;
mod rare;
mod scriptless;
mod security;
mod sessions;
mod twice;

use hookwright_proto::v1::{ListDeliveriesRequest, TokenScope};
use hookwright_testkit::{Browser, HttpResponse, TestDatabase, TestServer, http};

use crate::support::{Installation, On};

/// Starts a browser and signs in with a token.
async fn browser(installation: &Installation, token: &str) -> Browser {
    let browser = Browser::start().await.unwrap();
    browser.open(&address(installation, "/console/")).await.unwrap();
    enter(&browser, token).await;
    browser.wait_for("Sign out").await;
    browser
}

/// Signs in on the page that asks for a token.
async fn enter(browser: &Browser, token: &str) {
    browser.fill("#token", token).await.unwrap();
    browser.click_css("main button").await.unwrap();
}

fn address(installation: &Installation, path: &str) -> String {
    format!("http://{}{path}", installation.server.http_address())
}

/// Two nodes on one database, and the handle that keeps the database.
async fn two_nodes() -> (Installation, TestServer, Option<TestDatabase>) {
    const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let (first, database) = crate::support::builder(On::Postgres).await;
    let first = first.env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY).start().await.unwrap();
    let second = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .postgres(database.as_ref().unwrap().url())
        .env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY)
        .start()
        .await
        .unwrap();
    (Installation::of(first).await, second, database)
}

/// Creates a token of an organization or of the installation, and returns its secret.
async fn token(installation: &mut Installation, scope: TokenScope, organization: &str) -> String {
    let token = crate::support::token(scope, organization);
    installation.clients.create_token(token).await.unwrap().secret
}

/// Unescapes a page's source.
fn unescaped(html: &str) -> String {
    let named = [
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#38;", "&"),
    ];
    named
        .iter()
        .fold(html.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// The delivery of an event to its only webhook.
async fn delivery_of(installation: &mut Installation, event: &str) -> String {
    let of_event = ListDeliveriesRequest {
        event: event.to_owned(),
        ..ListDeliveriesRequest::default()
    };
    installation.deliveries_until(of_event, 1).await.remove(0).name
}

/// A client that reads the console without a browser.
pub(crate) struct Reader {
    address: String,
    cookie: String,
}

impl Reader {
    pub(crate) async fn sign_in(installation: &Installation, token: &str) -> Self {
        let address = installation.server.http_address().to_owned();
        let answer = sign_in(&address, token, "").await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        Self {
            cookie: cookie_of(&answer),
            address,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> HttpResponse {
        let headers = [("Cookie", self.cookie.as_str())];
        http::request(&self.address, "GET", path, &headers, b"").await.unwrap()
    }

    /// Sends a form as the page at `page` would.
    pub(crate) async fn post_from(&self, page: &str, path: &str, fields: &str) -> HttpResponse {
        let form_token = form_token(&self.get(page).await.text()).unwrap_or_else(|| panic!("{page} has a form"));
        self.post(path, &format!("form_token={form_token}&{fields}"), &self.origin())
            .await
    }

    async fn post(&self, path: &str, body: &str, origin: &str) -> HttpResponse {
        let headers = [
            ("Cookie", self.cookie.as_str()),
            ("Origin", origin),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        http::request(&self.address, "POST", path, &headers, body.as_bytes())
            .await
            .unwrap()
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn sign_in(address: &str, token: &str, next: &str) -> HttpResponse {
    http::sign_in(address, token, next).await.unwrap()
}

/// The `name=value` of the cookie that an answer sets.
fn cookie_of(answer: &HttpResponse) -> String {
    answer.cookie().expect("a cookie is set").to_owned()
}

fn form_token(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("name=\"form_token\" value=\"")?;
    Some(rest.split('"').next()?.to_owned())
}
