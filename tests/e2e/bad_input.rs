//! Bad input: the response has the right code, the fields at fault and the fix, and nothing of it is stored.

use std::time::Duration;

use hookwright_proto::v1::{
    CreateOrganizationRequest, CreateWebhookRequest, ListEventsRequest, ListWebhooksRequest, PublishEventRequest,
    RetrySchedule, RotateSigningSecretRequest, UpdateWebhookRequest, Webhook,
};
use prost_types::FieldMask;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    command_line::run,
    console::Reader,
    support::{ACME, CLOCKING, Installation, On, event, id_of, on_both_stores, webhook},
};

/// Asserts that the status has this code, exactly one `ErrorInfo`, and a violation of this field.
fn assert_refused(what: &str, status: &Status, code: Code, field: &str) {
    assert_eq!(status.code(), code, "{what}: {status:?}");
    let details = status.get_error_details();
    assert_eq!(
        details.error_info().map(|info| info.domain.as_str()),
        Some("hookwright"),
        "{what}"
    );
    if !field.is_empty() {
        let violations = details
            .bad_request()
            .map(|bad| bad.field_violations.clone())
            .unwrap_or_default();
        let named = violations
            .iter()
            .any(|violation| violation.field == field && !violation.description.is_empty());
        assert!(named, "{what}: {field} is not among {violations:?}");
    }
}

on_both_stores! {
    async fn bad_events_are_refused_and_nothing_is_stored(on: On) {
        let mut installation = Installation::start(on).await;
        let with_id = |id: &str| format!(r#"{{"action":"created","clocking":{{"id":"{id}"}}}}"#);
        let big = with_id(&"x".repeat(5_242_881 - with_id("").len()));
        assert_eq!(big.len(), 5_242_881);
        let cases: Vec<(&str, PublishEventRequest, Code, &str)> = vec![
            ("not JSON", event("clocking", "{"), Code::InvalidArgument, "json"),
            ("not an object", event("clocking", "[1]"), Code::InvalidArgument, "json"),
            ("empty", event("clocking", ""), Code::InvalidArgument, "json"),
            ("not UTF-8", PublishEventRequest {
                payload: Some(hookwright_proto::v1::publish_event_request::Payload::Json(b"{\"a\":\"\xff\"}".as_slice().into())),
                ..event("clocking", "")
            }, Code::InvalidArgument, "json"),
            ("one byte too large", event("clocking", &big), Code::InvalidArgument, "json"),
            ("against the schema", event("clocking", r#"{"action":"eaten","clocking":{"id":"x"}}"#), Code::InvalidArgument, "json/action"),
            ("no payload", PublishEventRequest { payload: None, ..event("clocking", "") }, Code::InvalidArgument, "json"),
            ("unknown type", event("clockin", CLOCKING), Code::NotFound, ""),
            ("ping", event("ping", CLOCKING), Code::InvalidArgument, "event_type"),
            ("unknown organization", PublishEventRequest { organization: "organizations/nobody".into(), ..event("clocking", CLOCKING) }, Code::NotFound, ""),
            ("no organization", PublishEventRequest { organization: String::new(), ..event("clocking", CLOCKING) }, Code::InvalidArgument, "organization"),
            ("request id", PublishEventRequest { request_id: "\n".into(), ..event("clocking", CLOCKING) }, Code::InvalidArgument, "request_id"),
            ("time", PublishEventRequest { event_time: Some(prost_types::Timestamp { seconds: -62_135_596_800, nanos: 0 }), ..event("clocking", CLOCKING) }, Code::InvalidArgument, "event_time"),
            ("attribute", PublishEventRequest { attributes: [("a b".to_owned(), "v".to_owned())].into(), ..event("clocking", CLOCKING) }, Code::InvalidArgument, "attributes[\"a b\"]"),
        ];
        for (what, request, code, field) in cases {
            let status = installation.try_publish(request).await.expect_err(what);
            assert_refused(what, &status, code, field);
        }
        let status = installation.try_publish(event("clocking", &big)).await.unwrap_err();
        assert!(status.message().contains("5242881") && status.message().contains("5242880"), "{}", status.message());
        let status = installation.try_publish(event("cloking", CLOCKING)).await.unwrap_err();
        assert!(status.message().contains("`clocking`"), "the nearest name: {}", status.message());
        assert!(status.get_error_details().resource_info().is_some());
        let request = ListEventsRequest { parent: ACME.to_owned(), ..Default::default() };
        let stored = installation.clients.events.list_events(request).await.unwrap().into_inner().events;
        assert_eq!(stored, [], "none of these events is stored");
    }

    async fn bad_webhooks_are_refused_and_nothing_is_stored(on: On) {
        let mut installation = Installation::start(on).await;
        let good = || webhook("http://127.0.0.1:9999/", &["clocking"]);
        let headers = |name: &str| Webhook { headers: [(name.to_owned(), "v".to_owned())].into(), ..good() };
        let timeout = |seconds| Webhook { timeout: Some(prost_types::Duration { seconds, nanos: 0 }), ..good() };
        let rate = |rate| Webhook { requests_per_second: Some(rate), ..good() };
        let schedule = |count| Webhook {
            retry_schedule: Some(RetrySchedule { delays: vec![prost_types::Duration { seconds: 5, nanos: 0 }; count] }),
            ..good()
        };
        let secret = |secret: &str| Webhook { signing_secret: secret.to_owned(), ..good() };
        let cases: Vec<(&str, Webhook, &str)> = vec![
            ("no URL", webhook("", &["clocking"]), "webhook.payload_url"),
            ("another scheme", webhook("ftp://host.example/", &["clocking"]), "webhook.payload_url"),
            ("a private address", webhook("http://10.0.0.1/", &["clocking"]), "webhook.payload_url"),
            ("user info", webhook("http://u:p@host.example/", &["clocking"]), "webhook.payload_url"),
            ("no events", webhook("http://127.0.0.1:9999/", &[]), "webhook.events"),
            ("ping", webhook("http://127.0.0.1:9999/", &["ping"]), "webhook.events"),
            ("an unknown event", webhook("http://127.0.0.1:9999/", &["clockin"]), "webhook.events"),
            ("a forbidden header", headers("TT-Hook-Event"), "webhook.headers[\"TT-Hook-Event\"]"),
            ("a framing header", headers("Content-Length"), "webhook.headers[\"Content-Length\"]"),
            ("timeout 0", timeout(0), "webhook.timeout"),
            ("timeout 31", timeout(31), "webhook.timeout"),
            ("rate -1", rate(-1.0), "webhook.requests_per_second"),
            ("rate NaN", rate(f64::NAN), "webhook.requests_per_second"),
            ("an empty schedule", schedule(0), "webhook.retry_schedule.delays"),
            ("101 retries", schedule(101), "webhook.retry_schedule.delays"),
            ("a short secret", secret("short"), "webhook.signing_secret"),
            ("insecure TLS", Webhook { insecure_skip_tls_verify: true, ..good() }, "webhook.insecure_skip_tls_verify"),
        ];
        for (what, webhook, field) in cases {
            let status = installation.create_webhook(webhook).await.expect_err(what);
            assert_refused(what, &status, Code::InvalidArgument, field);
        }
        let several = Webhook { payload_url: "nonsense".into(), ..timeout(0) };
        let status = installation.create_webhook(several).await.unwrap_err();
        assert_eq!(status.get_error_details().bad_request().unwrap().field_violations.len(), 2, "all faults at once");
        let request = ListWebhooksRequest { parent: ACME.to_owned(), ..Default::default() };
        let stored = installation.clients.webhooks.list_webhooks(request).await.unwrap().into_inner().webhooks;
        assert_eq!(stored, []);
    }
}

#[tokio::test]
async fn bad_masks_tokens_pages_and_names() {
    let mut installation = Installation::start(On::Sqlite).await;
    let created = installation
        .create_webhook(webhook("http://127.0.0.1:9999/", &["clocking"]))
        .await
        .unwrap();
    for paths in [
        vec!["nonsense"],
        vec!["name"],
        vec!["signing_secret"],
        vec!["*", "events"],
    ] {
        let paths: Vec<String> = paths.into_iter().map(str::to_owned).collect();
        let request = UpdateWebhookRequest {
            webhook: Some(created.clone()),
            update_mask: Some(FieldMask { paths }),
        };
        let status = installation.clients.webhooks.update_webhook(request).await.unwrap_err();
        assert_refused("mask", &status, Code::InvalidArgument, "update_mask");
    }
    let list = |page_size, page_token: &str| ListWebhooksRequest {
        parent: ACME.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    let status = installation
        .clients
        .webhooks
        .list_webhooks(list(0, "nonsense"))
        .await
        .unwrap_err();
    assert_refused("page token", &status, Code::InvalidArgument, "page_token");
    let status = installation
        .clients
        .webhooks
        .list_webhooks(list(-1, ""))
        .await
        .unwrap_err();
    assert_refused("page size", &status, Code::InvalidArgument, "page_size");
    let missing = created.name.replace("acme", "nobody");
    let request = hookwright_proto::v1::GetWebhookRequest { name: missing };
    let status = installation.clients.webhooks.get_webhook(request).await.unwrap_err();
    assert_refused("missing", &status, Code::NotFound, "");
}

#[tokio::test]
async fn bad_names_of_organizations() {
    let mut installation = Installation::start(On::Sqlite).await;
    for name in ["", "acme", "organizations/ACME", "organizations/acme/webhooks/wh_1"] {
        let request = hookwright_proto::v1::GetOrganizationRequest { name: name.to_owned() };
        let status = installation
            .clients
            .organizations
            .get_organization(request)
            .await
            .unwrap_err();
        assert_refused(name, &status, Code::InvalidArgument, "name");
    }
    for id in ["", "Acme", "-acme", "a.b", &"x".repeat(64)] {
        let request = CreateOrganizationRequest {
            organization_id: id.to_owned(),
            organization: None,
        };
        let status = installation
            .clients
            .organizations
            .create_organization(request)
            .await
            .unwrap_err();
        assert_refused(id, &status, Code::InvalidArgument, "organization_id");
    }
    let request = CreateOrganizationRequest {
        organization_id: "acme".to_owned(),
        organization: None,
    };
    let status = installation
        .clients
        .organizations
        .create_organization(request)
        .await
        .unwrap_err();
    assert_refused("taken", &status, Code::AlreadyExists, "");
}

#[tokio::test]
async fn an_organization_has_at_most_as_many_webhooks_as_the_setting_says() {
    let settings =
        |server: hookwright_testkit::server::TestServerBuilder| server.arg("--webhooks-per-organization-max", "2");
    let mut installation = Installation::start_with(On::Sqlite, settings).await;
    for _ in 0..2 {
        installation
            .create_webhook(webhook("http://127.0.0.1:9999/", &["clocking"]))
            .await
            .unwrap();
    }
    let status = installation
        .create_webhook(webhook("http://127.0.0.1:9999/", &["clocking"]))
        .await
        .unwrap_err();
    assert_refused("limit", &status, Code::FailedPrecondition, "");
}

#[tokio::test]
async fn a_blocked_name_and_the_environments_proxy() {
    // S38: proxy variables in the environment are ignored. The webhook receives its events although the proxy's port is
    // closed.
    let settings = |server: hookwright_testkit::server::TestServerBuilder| {
        server
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .env("ALL_PROXY", "http://127.0.0.1:1")
            .env("http_proxy", "http://127.0.0.1:1")
    };
    let mut installation = Installation::start_with(On::Sqlite, settings).await;
    let receiver = hookwright_testkit::Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    let request = CreateWebhookRequest {
        parent: ACME.to_owned(),
        webhook: Some(webhook(&receiver.url_as("localhost", "/"), &["clocking"])),
    };
    let status = installation.clients.webhooks.create_webhook(request).await.unwrap_err();
    assert_refused("localhost", &status, Code::InvalidArgument, "webhook.payload_url");
    let check = hookwright_proto::v1::CheckWebhookUrlRequest {
        payload_url: receiver.url("/x"),
    };
    let verdict = installation
        .clients
        .webhooks
        .check_webhook_url(check)
        .await
        .unwrap()
        .into_inner();
    assert!(verdict.allowed && verdict.rule == "allow 127.0.0.0/8", "{verdict:?}");
    let own = format!("http://{}/", installation.server.http_address());
    let check = hookwright_proto::v1::CheckWebhookUrlRequest { payload_url: own };
    let verdict = installation
        .clients
        .webhooks
        .check_webhook_url(check)
        .await
        .unwrap()
        .into_inner();
    assert!(!verdict.allowed && verdict.rule == "OWN_ADDRESS", "{verdict:?}");
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_an_answer() {
    let mut installation = Installation::start(On::Sqlite).await;
    let mut request = tonic::Request::new(event("clocking", CLOCKING));
    request.set_timeout(Duration::from_nanos(1));
    let status = installation.clients.events.publish_event(request).await.unwrap_err();
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
}

/// Signing secrets that were copied with extra characters around them.
const COPIED_BADLY: [&str; 5] = [
    "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    " whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw ",
    "\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
    "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b20_a_secret_that_was_copied_badly_is_refused_with_a_hint_over_every_way_in() {
    let mut installation = Installation::start(On::Sqlite).await;
    let made = installation
        .webhook(&hookwright_testkit::Receiver::start().await, &["*"])
        .await;
    let token = installation.server.token().unwrap();
    let reader = Reader::sign_in(&installation, &token).await;
    let address = format!("http://{}", installation.server.grpc_address());
    let environment = [("HOOKWRIGHT_ADDRESS", &*address), ("HOOKWRIGHT_TOKEN", &*token)];
    let pages = "/console/organizations/acme/webhooks";
    let page = format!("{pages}/{}", id_of(&made.name));
    for secret in COPIED_BADLY {
        let told = |text: &str| text.contains("begin with it, in lower case") || text.contains("a space or a quote");
        let status = installation
            .create_webhook(Webhook {
                signing_secret: secret.to_owned(),
                ..webhook("https://93.184.216.34/", &["*"])
            })
            .await
            .unwrap_err();
        assert_refused(secret, &status, Code::InvalidArgument, "webhook.signing_secret");
        let request = RotateSigningSecretRequest {
            name: made.name.clone(),
            signing_secret: secret.to_owned(),
            ..Default::default()
        };
        let rotated = installation.clients.webhooks.rotate_signing_secret(request).await;
        assert_refused(secret, &rotated.unwrap_err(), Code::InvalidArgument, "signing_secret");

        let url = "--payload-url=https://93.184.216.34/";
        let given = format!("--signing-secret={secret}");
        for arguments in [
            vec![
                "webhooks",
                "create",
                "--organization",
                "acme",
                url,
                "--event-type",
                "*",
                &given,
            ],
            vec!["webhooks", "rotate-secret", &made.name, &given],
        ] {
            let output = run(&arguments, &environment).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && told(&said), "{arguments:?}: {said}");
        }

        let typed: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let fields = "payload_url=https%3A%2F%2F93.184.216.34%2F&event=*&timeout=10s&active=yes&intent=save";
        let new = format!("{fields}&signing_secret={typed}");
        for (from, to, fields) in [
            (format!("{pages}/new"), pages.to_owned(), new),
            (
                page.clone(),
                format!("{page}/rotate"),
                format!("overlap=1d&signing_secret={typed}"),
            ),
        ] {
            let answer = reader.post_from(&from, &to, &fields).await;
            assert!(answer.status == 422 && told(&answer.text()), "{to}: {}", answer.text());
        }
    }
}
