//! Attacks on the console by hostile pages, networks and texts.

use hookwright_proto::v1::{
    CreateOrganizationRequest, EventType, GetWebhookRequest, ListWebhooksRequest, Organization, TokenScope, Webhook,
};
use hookwright_testkit::{Receiver, Response, http};
use tonic::{codegen::Service as _, transport::Endpoint};

use super::{Reader, cookie_of, delivery_of, form_token, sign_in, token};
use crate::support::{ACME, Installation, On, event, id_of, on_both_stores, webhook};

/// A text that would become part of the page if it were not escaped, in text and in attributes.
const STORED: &str = r#""'><b id=stored><script>document.title='stored'</script>"#;
const ACME_PAGES: &str = "/console/organizations/acme";

on_both_stores! {
    async fn c01_stored_text_is_shown_and_does_nothing(on: On) {
        let mut installation = Installation::start(on).await;
        let paths = hostile_texts(&mut installation).await;
        let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
        let mut shown = 0;
        for path in paths {
            let answer = reader.get(&path).await;
            assert_eq!(answer.status, 200, "{path}");
            let page = answer.text();
            assert!(!page.contains("<b id=stored") && !page.contains("<b/id=stored") && !page.contains("<script>document"), "{path}:\n{page}");
            shown += usize::from(page.contains("b id=stored"));
            let policy = answer.header("content-security-policy").unwrap();
            assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        }
        assert!(shown >= 8, "the stored text is on {shown} pages");
    }
}

/// Stores hostile texts in every field that takes text, and returns the pages that show them.
async fn hostile_texts(installation: &mut Installation) -> Vec<String> {
    let receiver = Receiver::start().await;
    receiver.answer(Response::new(500).header("X-Evil", STORED).body(STORED));
    let json = serde_json::json!({ "text": STORED }).to_string();
    let event_type = EventType {
        description: STORED.to_owned(),
        example: json.clone(),
        json_schema: serde_json::json!({ "title": STORED }).to_string(),
        ..EventType::default()
    };
    installation.register_as("order.paid", event_type).await;
    let request = CreateOrganizationRequest {
        organization_id: "named".to_owned(),
        organization: Some(Organization {
            display_name: STORED.to_owned(),
            ..Organization::default()
        }),
    };
    installation
        .clients
        .organizations
        .create_organization(request)
        .await
        .unwrap();
    let hostile = Webhook {
        description: STORED.to_owned(),
        headers: [("X-Note".to_owned(), STORED.to_owned())].into(),
        filter: format!("payload.text != {}", serde_json::json!(format!("{STORED}!"))),
        ..webhook(&receiver.url("/'><b/id=stored>?a=\"><b/id=stored>"), &["*"])
    };
    let made = installation.create_webhook(hostile).await.unwrap();
    let mut published = event("order.paid", &json);
    published.attributes.insert("note".to_owned(), STORED.to_owned());
    published.ordering_key = "a'><b/id=stored>".to_owned();
    let published = installation.try_publish(published).await.unwrap();
    let delivery = delivery_of(installation, &published.event).await;
    installation
        .delivery_until(&delivery, |delivery| delivery.attempt_count > 0)
        .await;
    let (webhook, event) = (id_of(&made.name), id_of(&published.event));
    let reflected = "%22%27%3E%3Cb%20id=stored%3E";
    vec![
        "/console/".to_owned(),
        format!("/console/failing-webhooks?after={reflected}"),
        "/console/organizations".to_owned(),
        "/console/organizations/named".to_owned(),
        ACME_PAGES.to_owned(),
        format!("{ACME_PAGES}/webhooks"),
        format!("{ACME_PAGES}/webhooks/{webhook}"),
        format!("{ACME_PAGES}/webhooks/{webhook}/edit"),
        format!("{ACME_PAGES}/webhooks/{webhook}/delete"),
        format!("{ACME_PAGES}/events?event_type={reflected}&expression={reflected}&id={reflected}&start={reflected}"),
        format!("{ACME_PAGES}/events/{event}"),
        format!("{ACME_PAGES}/events/new?event_type=order.paid&payload={reflected}&attributes={reflected}"),
        format!("{ACME_PAGES}/deliveries?event_type={reflected}&state={reflected}"),
        format!("{ACME_PAGES}/deliveries/{}", id_of(&delivery)),
        format!("{ACME_PAGES}/replays/new?event_types={reflected}&start={reflected}"),
        format!("{ACME_PAGES}/audit?actor={reflected}"),
        "/console/event-types".to_owned(),
        "/console/event-types/order.paid".to_owned(),
        "/console/audit".to_owned(),
        "/console/tokens?display_name=%22%3E%3Cb%20id=stored%3E".to_owned(),
        format!("/console/sign-in?next=/console/{reflected}"),
    ]
}

#[tokio::test]
async fn c02_forged_forms_change_nothing() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let made = installation.webhook(&receiver, &["*"]).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let page = format!("{ACME_PAGES}/webhooks/{}", id_of(&made.name));
    let pause = format!("{page}/pause");
    let own = form_token(&reader.get(&page).await.text()).unwrap();
    let with_token = format!("form_token={own}");
    for (body, origin) in [
        (with_token.as_str(), "https://evil.example"),
        (with_token.as_str(), "null"),
        ("form_token=", reader.origin().as_str()),
        ("", reader.origin().as_str()),
        (&format!("form_token={}", "0".repeat(64)), reader.origin().as_str()),
    ] {
        let refused = reader.post(&pause, body, origin).await;
        assert_eq!(refused.status, 403, "{body} from {origin}");
        assert!(refused.text().contains("nothing was changed"), "{}", refused.text());
    }
    let cookie = [("Cookie", reader.cookie.as_str())];
    let silent = http::request(&reader.address, "POST", &pause, &cookie, with_token.as_bytes())
        .await
        .unwrap();
    assert_eq!(silent.status, 403, "without an origin");
    let cross = [
        ("Cookie", reader.cookie.as_str()),
        ("Origin", &reader.origin()),
        ("Sec-Fetch-Site", "same-site"),
    ];
    let cross = http::request(&reader.address, "POST", &pause, &cross, with_token.as_bytes())
        .await
        .unwrap();
    assert_eq!(cross.status, 403, "from a sister site");
    let request = GetWebhookRequest {
        name: made.name.clone(),
    };
    let webhook = installation
        .clients
        .webhooks
        .get_webhook(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(webhook.active, Some(true), "nothing was changed by the attempts");
    assert_eq!(
        reader.post(&pause, &with_token, &reader.origin()).await.status,
        303,
        "the page's own form is accepted"
    );
}

#[tokio::test]
async fn c02_signing_in_is_no_way_for_others() {
    let installation = Installation::start(On::Sqlite).await;
    let http_address = installation.server.http_address().to_owned();
    let admin = installation.server.token().unwrap();
    // Login CSRF.
    let body = format!("token={admin}");
    let evil = [("Origin", "https://evil.example")];
    let forged = http::request(&http_address, "POST", "/console/sign-in", &evil, body.as_bytes())
        .await
        .unwrap();
    assert_eq!((forged.status, forged.header("set-cookie")), (403, None));
    // Open redirects.
    for next in [
        "//evil.example/",
        "https://evil.example/",
        "/%5Cevil.example",
        "/console/%2E./..//evil.example",
    ] {
        let answer = sign_in(&http_address, &admin, next).await;
        assert_eq!(answer.header("location"), Some("/console/"), "{next}");
    }
    let deep = "/console/organizations/acme/events?event_type=a";
    let answer = sign_in(&http_address, &admin, &deep.replace('?', "%3F")).await;
    assert_eq!(answer.header("location"), Some(deep));
    // The cookie.
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(
        !cookie.contains("Secure") && !cookie.contains("Domain") && !cookie.contains(&admin),
        "{cookie}"
    );
    let reader = Reader::sign_in(&installation, &admin).await;
    // Clickjacking.
    let page = reader.get("/console/").await;
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("frame-ancestors 'none'")
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn c02_no_cookie_that_others_set_takes_the_place_of_a_session() {
    without_and_with_tls("", "http://127.0.0.1").await;
    without_and_with_tls("__Host-", "https://hooks.example").await;
}

/// Checks a console whose cookies have a prefix if browsers reach it at an origin with TLS.
async fn without_and_with_tls(prefix: &str, origin: &str) {
    let settings = |builder: hookwright_testkit::TestServerBuilder| builder.arg("--console-url", origin);
    let mut installation = Installation::start_with(On::Sqlite, settings).await;
    let admin = installation.server.token().unwrap();
    let reads = token(&mut installation, TokenScope::Read, ACME).await;
    let address = installation.server.http_address().to_owned();
    let enter = async |token: &str, cookie: &str| {
        let headers = [("Cookie", cookie), ("Origin", origin)];
        let body = format!("token={token}");
        let answer = http::request(&address, "POST", "/console/sign-in", &headers, body.as_bytes()).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 303, "{}", answer.text());
        Reader {
            address: address.clone(),
            cookie: cookie_of(&answer),
        }
    };
    let status = async |cookie: String, path: &str| {
        let address = address.clone();
        Reader { address, cookie }.get(path).await.status
    };
    let name = format!("{prefix}hookwright=");
    let own = enter(&admin, "").await.cookie;
    let value = own.strip_prefix(&name).unwrap();
    // A cookie that a sister site or an attacker in the network can set locks no user out.
    for garbage in ["x", "", &value[1..], &value[..value.len() - 1]] {
        let both = format!("{name}{garbage}; {own}");
        assert_eq!(status(both, "/console/tokens").await, 200, "{garbage}");
    }
    // Such a cookie signs no user in, either: browsers keep other sites from setting a cookie with the prefix.
    let planted = enter(&reads, "").await;
    let bare = planted.cookie.strip_prefix(prefix).unwrap();
    if !prefix.is_empty() {
        assert_eq!(status(bare.to_owned(), ACME_PAGES).await, 303);
        assert_eq!(status(format!("{bare}; {own}"), "/console/tokens").await, 200);
    }
    // A user who signs in with a planted cookie gets a new session, which does not end with the planted one.
    let given = enter(&admin, &planted.cookie).await;
    assert_ne!(given.cookie, planted.cookie);
    assert_eq!(
        planted.get("/console/tokens").await.status,
        404,
        "the attacker sees no more than before"
    );
    let form = form_token(&planted.get(ACME_PAGES).await.text()).unwrap();
    let out = planted
        .post("/console/sign-out", &format!("form_token={form}"), origin)
        .await;
    assert_eq!(out.status, 303);
    assert_eq!(planted.get(ACME_PAGES).await.status, 303);
    assert_eq!(given.get("/console/tokens").await.status, 200);
}

#[tokio::test]
async fn forms_are_taken_over_http2_under_any_name_of_the_console() {
    let installation = Installation::start(On::Sqlite).await;
    let address = installation.server.http_address();
    let port = address.rsplit(':').next().unwrap();
    let admin = installation.server.token().unwrap();
    for (asked, origin, status) in [
        ("localhost", "http://localhost", 303),
        ("hooks.example", "http://hooks.example", 303),
        ("localhost", "http://hooks.example", 403),
    ] {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let endpoint = endpoint.origin(format!("http://{asked}:{port}").parse().unwrap());
        let mut channel = endpoint.connect().await.unwrap();
        let request = ::http::Request::post("/console/sign-in")
            .header("origin", format!("{origin}:{port}"))
            .body(tonic::body::Body::new(format!("token={admin}")))
            .unwrap();
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let answer = channel.call(request).await.unwrap();
        assert_eq!(answer.version(), ::http::Version::HTTP_2);
        assert_eq!(answer.status(), status, "{origin} at {asked}");
    }
}

#[tokio::test]
async fn odd_addresses_and_forms_get_a_page_that_says_so() {
    let installation = Installation::start(On::Sqlite).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    for (path, status) in [
        ("/console/nothing", 404),
        ("/nothing", 404),
        ("/console/organizations/%FF", 400),
        ("/console/organizations/nobody", 404),
        ("/console/organizations/acme/webhooks/wh_0", 404),
        ("/console/organizations/acme/webhooks/../../../etc", 404),
        ("/console/organizations/acme/deliveries/dlv_7zzzzzzzzzzzzzzzzzzz", 404),
        ("/console/organizations/acme/deliveries/x/attempts/y/response", 400),
        ("/console/organizations/acme/webhooks/wh_0/rotate", 405),
        ("/console/organizations/acme/deliveries?before=abc", 200),
        (
            "/console/organizations/acme/deliveries?before=-9223372036854775808",
            200,
        ),
        ("/console/organizations/acme/deliveries?state=faild", 200),
        ("/console/organizations/acme/deliveries?event_type=%00", 200),
        (
            "/console/organizations/acme/events?request_id=%00&ordering_key=%00",
            200,
        ),
        (
            "/console/organizations/acme/events?start=yesterday&before=99999999999999999999",
            200,
        ),
        ("/console/organizations/acme/events?expression=payload.(", 200),
        ("/console/organizations/acme/audit?actor=%00", 200),
        ("/console/organizations/acme/webhooks?after=9223372036854775807", 200),
        ("/console/event-types?after=%FF%00", 200),
        ("/console/tokens?before=x", 200),
        ("/console/organizations/acme/deliveries/live?state=faild", 400),
    ] {
        let answer = reader.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains("<main"), "{path} is a page: {}", answer.text());
    }
    assert!(
        reader
            .get("/console/organizations/acme/deliveries?state=faild")
            .await
            .text()
            .contains("is not an option")
    );
    let large = format!("token={}", "x".repeat(20_000));
    let headers = [("Origin", reader.origin())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let refused = http::request(&reader.address, "POST", "/console/sign-in", &headers, large.as_bytes())
        .await
        .unwrap();
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[tokio::test]
async fn a_form_sent_twice_by_one_page_is_done_once() {
    let mut installation = Installation::start(On::Sqlite).await;
    installation.register("shift.ended").await;
    let receiver = Receiver::start().await;
    let made = installation.webhook(&receiver, &["*"]).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let page = format!("{ACME_PAGES}/events/new");
    let own = form_token(&reader.get(&page).await.text()).unwrap();
    let send = async |nonce: &str| {
        let fields = format!("form_token={own}&nonce={nonce}&event_type=shift.ended&payload=%7B%7D");
        let answer = reader.post(&page, &fields, &reader.origin()).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header("location").unwrap().to_owned()
    };
    assert_eq!(send("a").await, send("a").await);
    assert_ne!(send("a").await, send("b").await);
    // A secret that is shown once is absent when a page is loaded again.
    let webhook = format!("{ACME_PAGES}/webhooks/{}", id_of(&made.name));
    let revealed = reader.post_from(&webhook, &format!("{webhook}/reveal"), "").await;
    assert_eq!(
        (revealed.status, revealed.header("location")),
        (303, Some(webhook.as_str()))
    );
    let once = cookie_of(&revealed);
    assert!(!once.contains("whsec_"), "{once}");
    let both = Reader {
        address: reader.address.clone(),
        cookie: format!("{}; {once}", reader.cookie),
    };
    let shown = both.get(&webhook).await;
    assert!(shown.text().contains(crate::support::SECRET));
    assert!(
        shown.header("set-cookie").unwrap().contains("Max-Age=0"),
        "the browser discards it"
    );
    assert!(!reader.get(&webhook).await.text().contains(crate::support::SECRET));
    let other = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let other = Reader {
        address: other.address,
        cookie: format!("{}; {once}", other.cookie),
    };
    assert!(
        !other.get(&webhook).await.text().contains(crate::support::SECRET),
        "the cookie is for one session"
    );
}

#[tokio::test]
async fn a_webhook_that_would_not_be_accepted_any_more_can_be_stopped() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let made = installation.webhook(&receiver, &["*"]).await;
    installation
        .server
        .restart_with("--deny-target", "127.0.0.1")
        .await
        .unwrap();
    let mut installation = Installation::of(installation.server).await;
    let reader = Reader::sign_in(&installation, &installation.server.token().unwrap()).await;
    let page = format!("{ACME_PAGES}/webhooks/{}", id_of(&made.name));
    let paused = reader.post_from(&page, &format!("{page}/pause"), "").await;
    assert_eq!(paused.status, 303, "{}", paused.text());
    let listed = ListWebhooksRequest {
        parent: ACME.to_owned(),
        ..ListWebhooksRequest::default()
    };
    let webhooks = installation
        .clients
        .webhooks
        .list_webhooks(listed)
        .await
        .unwrap()
        .into_inner()
        .webhooks;
    assert_eq!(webhooks[0].active, Some(false));
}
