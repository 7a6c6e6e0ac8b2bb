//! Sessions: who gets access, the limit on attempts to sign in, and when a session ends.

use hookwright_proto::v1::{ListTokensRequest, TokenScope};
use hookwright_testkit::{Authority, Browser, http};

use super::{Reader, address, enter, form_token, sign_in, token, two_nodes};
use crate::support::{Installation, On, id_of, on_both_stores};

const ACME_PAGES: &str = "/console/organizations/acme";

on_both_stores! {
    async fn a_session_ends_with_its_token_and_when_it_is_left(on: On) {
        let mut installation = Installation::start(on).await;
        let left = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        assert_eq!(left.get("/console/").await.status, 200);
        let out = left.post_from("/console/", "/console/sign-out", "").await;
        assert_eq!(out.header("location"), Some("/console/sign-in"));
        assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
        let kept = left.get("/console/organizations").await;
        assert_eq!(kept.header("location"), Some("/console/sign-in?next=%2Fconsole%2Forganizations"), "a copy of the \
                                                                                                       cookie no \
                                                                                                       longer works");

        let manage = token(&mut installation, TokenScope::Manage, "").await;
        let revoked = Reader::sign_in(&installation, &manage).await;
        assert_eq!(revoked.get(ACME_PAGES).await.status, 200);
        let tokens = installation.clients.tokens.list_tokens(ListTokensRequest::default()).await.unwrap().into_inner().tokens;
        let made = tokens.iter().find(|token| token.display_name == "test").unwrap();
        let admin = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        let revoke = format!("/console/tokens/{}/revoke", id_of(&made.name));
        assert_eq!(admin.post_from(&revoke, &revoke, "").await.status, 303);
        assert_eq!(revoked.get(ACME_PAGES).await.status, 303);
        let form = revoked.post(&format!("{ACME_PAGES}/webhooks"), "form_token=x", &revoked.origin()).await;
        assert_eq!(form.status, 401);
        assert!(form.text().contains("your input is kept"), "{}", form.text());
        let answer = sign_in(&revoked.address, &manage, "").await;
        assert_eq!(answer.status, 401);
        assert!(answer.text().contains("revoked or expired"), "{}", answer.text());

        installation.restart().await;
        let later = Reader { address: installation.server.http_address().to_owned(), ..left };
        assert_eq!(later.get("/console/").await.status, 303, "a session that was signed out stays signed out");
    }
}

#[tokio::test]
async fn a_session_that_is_left_on_one_node_is_over_on_all() {
    let (installation, second, _database) = two_nodes().await;
    let here = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let there = Reader {
        address: second.http_address().to_owned(),
        cookie: here.cookie.clone(),
    };
    assert_eq!(
        there.get("/console/organizations").await.status,
        200,
        "any node accepts the cookie"
    );
    let page = here.get("/console/").await.text();
    let form = format!("form_token={}", form_token(&page).unwrap());
    assert_eq!(
        there.post("/console/sign-out", &form, &there.origin()).await.status,
        303
    );
    assert_eq!(here.get("/console/organizations").await.status, 303);
    // A second click changes nothing.
    let again = there.post("/console/sign-out", &form, &there.origin()).await;
    assert_eq!(again.header("location"), Some("/console/sign-in"), "{}", again.text());
}

#[tokio::test]
async fn a_token_that_only_publishes_does_not_sign_in() {
    let mut installation = Installation::start(On::Sqlite).await;
    let publisher = token(&mut installation, TokenScope::Publish, "").await;
    let answer = sign_in(installation.server.http_address(), &publisher, "").await;
    assert_eq!(answer.status, 401);
    assert!(
        answer.text().contains("scope read, manage or admin"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn only_the_address_of_failed_sign_ins_waits() {
    let installation = Installation::start(On::Sqlite).await;
    let address = installation.server.http_address().to_owned();
    let origin = format!("http://{address}");
    let attempt = async |token: &str, from: &str| {
        // Loopback is a trusted proxy.
        let headers = [("Origin", origin.as_str()), ("X-Forwarded-For", from)];
        let body = format!("token={token}");
        http::request(&address, "POST", "/console/sign-in", &headers, body.as_bytes())
            .await
            .unwrap()
    };
    let admin = installation.server.token().unwrap();
    for _ in 0..10 {
        assert_eq!(attempt("hw_wrong", "192.0.2.7").await.status, 401);
    }
    let refused = attempt(&format!("{admin}&next=/console/tokens"), "192.0.2.7").await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(refused.text().contains("192.0.2.7"), "{}", refused.text());
    assert!(
        refused.text().contains(r#"value="/console/tokens""#),
        "{}",
        refused.text()
    );
    assert_eq!(attempt(&admin, "192.0.2.8").await.status, 303, "another address");
    assert_eq!(
        attempt(&admin, "192.0.2.7, 198.51.100.1").await.status,
        303,
        "an address that the client claims does not count"
    );
}

#[tokio::test]
async fn a_token_is_signed_in_with_so_often_and_no_more() {
    let mut installation = Installation::start(On::Sqlite).await;
    let manage = token(&mut installation, TokenScope::Manage, "").await;
    let address = installation.server.http_address();
    for _ in 0..120 {
        assert_eq!(sign_in(address, &manage, "").await.status, 303);
    }
    let refused = sign_in(address, &manage, "/console/organizations").await;
    assert_eq!((refused.status, refused.header("set-cookie")), (429, None));
    assert!(
        refused.text().contains(r#"value="/console/organizations""#),
        "{}",
        refused.text()
    );
    assert_eq!(
        sign_in(address, &installation.server.token().unwrap(), "").await.status,
        303,
        "another token"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_cookies_go_nowhere_else() {
    let authority = Authority::new();
    let identity = authority.certificate(&["127.0.0.1"]);
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = identity.files(directory.path());
    let settings = |builder: hookwright_testkit::TestServerBuilder| {
        builder
            .arg("--http-tls-certificate", &certificate)
            .arg("--http-tls-private-key", &key)
    };
    let installation = Installation::start_with(On::Sqlite, settings).await;
    let browser = Browser::start_with(&["--ignore-certificate-errors"]).await.unwrap();
    browser
        .open(&address(&installation, "/console/").replace("http://", "https://"))
        .await
        .unwrap();
    enter(&browser, &installation.server.token().unwrap()).await;
    browser.wait_for("Sign out").await;
    let cookies = browser.cookies().await.unwrap();
    let cookie = &cookies[0];
    assert_eq!(cookie["name"], "__Host-hookwright", "{cookies}");
    assert_eq!(
        (&cookie["secure"], &cookie["httpOnly"], &cookie["sameSite"]),
        (&true.into(), &true.into(), &"Strict".into())
    );
    let exited = hookwright_testkit::TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .sqlite()
        .arg("--http-tls-certificate", &certificate)
        .start_to_fail()
        .await
        .unwrap();
    assert!(exited.stderr.contains("http-tls-private-key"), "{}", exited.stderr);
}
