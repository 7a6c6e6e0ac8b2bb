//! Customers who open a portal link: on the portal's own page, and in a frame of the product that they use.

use hookwright_proto::v1::{CreatePortalLinkRequest, ListTokensRequest, RevokeTokenRequest, TokenScope};
use hookwright_testkit::{Authority, Browser, DEADLINE, Receiver, Response, TestServerBuilder, http};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Reader, browser, cookie_of, form_token, token, two_nodes};
use crate::support::{ACME, Clients, Installation, On, id_of, on_both_stores, portal_link};

const PAGES: &str = "/portal/organizations/acme";

async fn link(installation: &mut Installation, read_only: bool, return_url: &str) -> String {
    let request = CreatePortalLinkRequest {
        read_only,
        return_url: return_url.to_owned(),
        ..portal_link(ACME)
    };
    installation.clients.create_portal_link(request).await.unwrap().url
}

/// A customer's session, opened by a link.
pub(super) async fn customer(installation: &mut Installation, read_only: bool) -> Reader {
    let url = link(installation, read_only, "").await;
    open(installation, &url).await
}

async fn open(installation: &Installation, url: &str) -> Reader {
    let address = installation.server.http_address().to_owned();
    let path = url.strip_prefix(&format!("http://{address}")).unwrap();
    let opened = http::request(&address, "GET", path, &[], b"").await.unwrap();
    assert_eq!(
        (opened.status, opened.header("location")),
        (303, Some(PAGES)),
        "{}",
        opened.text()
    );
    let cookie = opened.header("set-cookie").unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    Reader {
        cookie: cookie_of(&opened),
        address,
    }
}

on_both_stores! {
    async fn a_customer_looks_after_webhooks_and_nothing_else(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let made = installation.webhook(&receiver, &["*"]).await;
        let id = id_of(&made.name);
        let reader = customer(&mut installation, false).await;
        let home = reader.get(PAGES).await.text();
        for there in ["Webhooks", "Events", "Deliveries", "Replays", "Sign out", "New webhook"] {
            assert!(home.contains(there), "{there} is not in\n{home}");
        }
        for not_there in ["Tokens", "Audit log", "Portal links", "Settings", "/console/sign-out", "hookwright webhooks"] {
            assert!(!home.contains(not_there), "{not_there} is in\n{home}");
        }
        assert!(!reader.get(&format!("{PAGES}/events")).await.text().contains("Publish a test event"));
        let page = format!("{PAGES}/webhooks/{id}");
        assert_eq!(reader.post_from(&page, &format!("{page}/pause"), "").await.status, 303);
        assert_eq!(reader.post_from(&page, &format!("{page}/resume"), "backlog=send").await.status, 303);
        let forge = reader.post_from(&page, &format!("{PAGES}/events/new"), "event_type=clocking&payload=%7B%7D").await;
        assert_eq!(forge.status, 403, "{}", forge.text());
        for operators in ["tokens", "audit", "portal-links"] {
            assert_eq!(reader.get(&format!("{PAGES}/{operators}")).await.status, 404, "{operators}");
            let elsewhere = reader.get(&format!("/console/organizations/acme/{operators}")).await;
            assert_eq!(elsewhere.status, 303, "a link signs nobody in to the console: {operators}");
        }
        let log = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        let log = log.get("/console/organizations/acme/audit").await.text();
        let mut lines = log.split("<tr");
        assert!(lines.any(|line| line.contains("webhook.update") && line.contains(">Portal link</a>")), "the link is the actor: {log}");

        let looker = customer(&mut installation, true).await;
        let shown = looker.get(&page).await.text();
        assert!(!shown.contains("Pause") && !shown.contains("Reveal secret"), "{shown}");
        assert_eq!(looker.get(&format!("{PAGES}/webhooks/new")).await.status, 403);
        assert_eq!(looker.post_from(&page, &format!("{page}/pause"), "").await.status, 403);
    }
}

#[tokio::test]
async fn a_link_ends_on_every_node_with_the_token_that_made_it() {
    let (mut installation, second, _database) = two_nodes().await;
    installation.create_organization("acme").await;
    let maker = token(&mut installation, TokenScope::Manage, ACME).await;
    let mut clients = Clients::connect(installation.server.grpc_address(), &maker).await;
    std::mem::swap(&mut installation.clients, &mut clients);
    let url = link(&mut installation, false, "").await;
    std::mem::swap(&mut installation.clients, &mut clients);
    let other = link(&mut installation, false, "").await;
    let nodes = [installation.server.http_address(), second.http_address()].map(str::to_owned);
    let open = async |node: &str, url: &str| {
        let path = &url[url.find("/portal/").unwrap()..];
        http::request(node, "GET", path, &[], b"").await.unwrap()
    };
    let opened = open(&nodes[0], &url).await;
    let cookie = cookie_of(&opened);
    let customers = nodes.clone().map(|address| Reader {
        address,
        cookie: cookie.clone(),
    });
    for customer in &customers {
        assert_eq!(customer.get(PAGES).await.status, 200);
    }

    let listed = ListTokensRequest::default();
    let tokens = installation
        .clients
        .tokens
        .list_tokens(listed)
        .await
        .unwrap()
        .into_inner()
        .tokens;
    let made = tokens.iter().find(|token| token.display_name == "test").unwrap();
    let revoke = RevokeTokenRequest {
        name: made.name.clone(),
    };
    installation.clients.tokens.revoke_token(revoke).await.unwrap();
    for (node, customer) in nodes.iter().zip(&customers) {
        let refused = open(node, &url).await;
        assert_eq!((refused.status, refused.header("set-cookie")), (401, None));
        assert!(
            refused.text().contains("request a new one from your application"),
            "{}",
            refused.text()
        );
        assert_eq!(customer.get(PAGES).await.status, 401, "nor does its session work");
        assert_eq!(open(node, &other).await.status, 303, "another token's link");
    }
}

#[tokio::test]
async fn one_link_is_revoked_on_every_node_and_others_are_not() {
    let (mut installation, second, _database) = two_nodes().await;
    installation.create_organization("acme").await;
    let made = installation
        .clients
        .create_portal_link(portal_link(ACME))
        .await
        .unwrap();
    let other = link(&mut installation, false, "").await;
    let nodes = [installation.server.http_address(), second.http_address()].map(str::to_owned);
    let open = async |node: &str, url: &str| {
        let path = &url[url.find("/portal/").unwrap()..];
        http::request(node, "GET", path, &[], b"").await.unwrap()
    };
    let cookie = cookie_of(&open(&nodes[0], &made.url).await);
    let customers = nodes.clone().map(|address| Reader {
        address,
        cookie: cookie.clone(),
    });
    let mut stream = tokio::net::TcpStream::connect(&nodes[1]).await.unwrap();
    let head = format!(
        "GET {PAGES}/deliveries/live HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n",
        nodes[1]
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let admin = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let page = "/console/organizations/acme/portal-links";
    let wrong = admin
        .post_from(page, &format!("{page}/revoke"), "portal_link=tok_1")
        .await;
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let fields = format!("portal_link={}", id_of(&made.portal_link));
    let revoked = admin.post_from(page, &format!("{page}/revoke"), &fields).await;
    assert_eq!(
        revoked.header("location"),
        Some(format!("{page}?done=link-revoked").as_str())
    );
    for (node, customer) in nodes.iter().zip(&customers) {
        assert_eq!(open(node, &made.url).await.status, 401);
        assert_eq!(customer.get(PAGES).await.status, 401, "nor does its session work");
        assert_eq!(open(node, &other).await.status, 303, "another link of the same token");
    }
    let mut read = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut read))
        .await
        .expect("the stream that it watches ends")
        .unwrap();
    installation.restart().await;
    let address = installation.server.http_address().to_owned();
    assert_eq!(open(&address, &made.url).await.status, 401, "after a restart");
}

#[tokio::test]
async fn a_visitor_who_leaves_twice_still_finds_the_way_back() {
    let mut installation = Installation::start(On::Sqlite).await;
    let url = link(&mut installation, false, "https://app.example/settings").await;
    let reader = open(&installation, &url).await;
    let form = format!("form_token={}", form_token(&reader.get(PAGES).await.text()).unwrap());
    for time in ["first", "second"] {
        let left = reader.post("/portal/leave", &form, &reader.origin()).await;
        assert_eq!(left.status, 200, "{time}: {}", left.text());
        assert!(
            left.text().contains("Signed out") && left.text().contains("href=\"https://app.example/settings\""),
            "{time}: {}",
            left.text()
        );
    }
    assert_eq!(reader.get(PAGES).await.status, 401);
}

#[tokio::test]
async fn a_link_that_does_not_open_says_where_to_get_another() {
    let installation = Installation::start(On::Sqlite).await;
    let address = installation.server.http_address().to_owned();
    for path in ["/portal/AAAA", "/portal/hw_0000"] {
        let answer = http::request(&address, "GET", path, &[], b"").await.unwrap();
        assert_eq!(answer.status, 401, "{path}");
        assert!(
            answer.text().contains("request a new one from your application"),
            "{}",
            answer.text()
        );
        assert_eq!(answer.header("set-cookie"), None);
    }
    let over = http::request(&address, "GET", PAGES, &[("Cookie", "hookwright-portal=x")], b"")
        .await
        .unwrap();
    assert_eq!(over.status, 401);
    let text = over.text();
    assert!(
        text.contains("Your session expired") && !text.contains("API token"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_session_and_a_customers_stand_side_by_side() {
    let mut installation = Installation::start(On::Sqlite).await;
    let url = link(&mut installation, false, "https://app.example/settings").await;
    let browser = browser(&installation, &installation.server.token().unwrap()).await;
    browser.open(&url).await.unwrap();
    let portal = browser.wait_for("Sign out").await;
    assert!(!portal.contains("Organizations"), "no operator's view: {portal}");
    browser.open(&super::address(&installation, "/console/")).await.unwrap();
    browser.wait_for("Organizations").await;
    browser.open(&super::address(&installation, PAGES)).await.unwrap();
    browser.click("Sign out").await.unwrap();
    browser.wait_for("Signed out").await;
    let back = browser
        .run("return document.querySelector('main a').href", serde_json::json!([]))
        .await
        .unwrap();
    assert_eq!(back, "https://app.example/settings");
    browser.open(&super::address(&installation, PAGES)).await.unwrap();
    browser.wait_for("Your session expired").await;
    browser.open(&super::address(&installation, "/console/")).await.unwrap();
    browser.wait_for("Sign out").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_embeds_the_portal_where_the_operator_lets_it() {
    let authority = Authority::new();
    let identity = authority.certificate(&["127.0.0.1"]);
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = identity.files(directory.path());
    // The product is on another site than the console.
    let (product, stranger, receiver) = (
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    let parent = product.url_as("localhost", "");
    let settings = |builder: TestServerBuilder| {
        builder
            .arg("--http-tls-certificate", &certificate)
            .arg("--http-tls-private-key", &key)
            .arg("--portal-parent", parent.trim_end_matches('/'))
    };
    let mut installation = Installation::start_with(On::Sqlite, settings).await;
    let url = link(&mut installation, false, "").await;
    assert!(url.starts_with("https://"), "{url}");
    for page in [&product, &stranger] {
        let html = format!(
            "<!doctype html><title>The product</title><h1>Settings</h1><iframe width=1000 height=800 src=\"{url}\"></iframe>"
        );
        page.answer(Response::new(200).header("Content-Type", "text/html").body(html));
    }
    let browser = Browser::start_with(&["--ignore-certificate-errors"]).await.unwrap();
    browser.open(&product.url_as("localhost", "/settings")).await.unwrap();
    browser.enter_frame().await.unwrap();
    browser.wait_for("No webhook yet").await;
    // Forms work in the frame because the browser sends the cookie there.
    browser.click("New webhook").await.unwrap();
    browser.fill("#payload_url", &receiver.url("/hooks")).await.unwrap();
    browser.click_css("input[value='clocking']").await.unwrap();
    browser.click("Create webhook").await.unwrap();
    let shown = browser.wait_for("reveal it again later").await;
    assert!(shown.contains("whsec_"), "{shown}");
    receiver.wait_for(1).await;

    browser.open(&stranger.url_as("localhost", "/settings")).await.unwrap();
    browser.enter_frame().await.unwrap();
    let shown = browser.text().await.unwrap();
    assert!(!shown.contains("Webhooks"), "another page may not show it: {shown}");
}
