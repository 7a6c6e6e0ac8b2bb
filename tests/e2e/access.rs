//! Tokens, health, reflection, the HTTP listener, and configurations that the server refuses to start with.

use hookwright_testkit::{DEADLINE, Receiver, python::run_python_json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{CLOCKING, Clients, Installation, On, channel, event, on_both_stores};

/// Sends a GET over HTTP/1.0 and returns the whole response.
pub(crate) async fn get(address: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn g01_every_call_needs_a_token() {
    let installation = Installation::start(On::Sqlite).await;
    let address = installation.server.grpc_address();
    for token in [
        "",
        "wrong",
        "hw_0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        let mut clients = Clients::connect(address, token).await;
        let status = clients
            .events
            .publish_event(event("clocking", CLOCKING))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{token}");
        let request = hookwright_proto::v1::ListOrganizationsRequest::default();
        let status = clients.organizations.list_organizations(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{token}");
    }
    let token_file = installation.server.data_directory().join("admin-token");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(token_file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "only its owner may read the admin token");
    let database = std::fs::read(installation.server.data_directory().join("hookwright.db")).unwrap();
    let token = installation.server.token().unwrap();
    assert!(
        !database.windows(token.len()).any(|window| window == token.as_bytes()),
        "the store holds no token"
    );
}

#[tokio::test]
async fn health_answers_without_a_token() {
    let installation = Installation::start(On::Sqlite).await;
    let mut health = HealthClient::new(channel(installation.server.grpc_address()).await);
    for service in ["", "hookwright.v1.EventService", "hookwright.v1.WebhookService"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let response = health.check(request).await.unwrap().into_inner();
        assert_eq!(response.status, 1, "{service} serves");
    }
}

on_both_stores! {
    async fn the_http_listener_tells_health_readiness_and_numbers(on: On) {
        let mut installation = Installation::start(on).await;
        installation.publish("clocking", CLOCKING).await;
        let address = installation.server.http_address().to_owned();
        assert!(get(&address, "/healthz").await.contains("200 OK"));
        assert!(get(&address, "/readyz").await.contains("200 OK"));
        let metrics = get(&address, "/metrics").await;
        assert!(metrics.contains("hookwright_events_published_total 1"), "{metrics}");
        assert!(metrics.contains("hookwright_commit_seconds_bucket"), "{metrics}");
        assert!(metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(get(&address, "/nothing").await.contains("404"));
    }
}

/// A generic reflection client from another project, which knows only the address, as grpcurl does.
#[tokio::test]
async fn a_reflection_client_publishes_without_generated_code() {
    let installation = Installation::start(On::Sqlite).await;
    let input = serde_json::json!({
        "address": installation.server.grpc_address(),
        "token": installation.server.token().unwrap(),
        "payload": CLOCKING,
    });
    let answer = run_python_json("tests/python/reflection_client.py", &input)
        .await
        .unwrap();
    let services: Vec<String> = serde_json::from_value(answer["services"].clone()).unwrap();
    for service in [
        "OrganizationService",
        "EventTypeService",
        "WebhookService",
        "EventService",
        "DeliveryService",
        "NodeService",
    ] {
        assert!(services.contains(&format!("hookwright.v1.{service}")), "{services:?}");
    }
    let event = answer["event"].as_str().unwrap();
    assert!(event.starts_with("organizations/acme/events/evt_"), "{answer}");
    assert!(
        answer["comment"].as_str().unwrap().contains("Publishes one event"),
        "comments are reflected: {answer}"
    );
}

#[tokio::test]
async fn a_reflection_client_makes_every_call_there_is() {
    let installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(|request| {
        if request.header("TT-Hook-Event") == Some("ping") {
            200
        } else {
            500
        }
    });
    let input = serde_json::json!({
        "address": installation.server.grpc_address(),
        "token": installation.server.token().unwrap(),
        "url": receiver.url("/payload"),
    });
    let answer = run_python_json("tests/python/conversation.py", &input).await.unwrap();
    assert_eq!(answer["missed"], serde_json::json!([]), "{answer}");
    assert!(answer["made"].as_u64() > Some(30), "{answer}");
}

#[tokio::test]
async fn nothing_listens_on_a_public_address_without_tls_by_accident() {
    let directory = tempfile::tempdir().unwrap();
    let exited = tokio::process::Command::new(env!("CARGO_BIN_EXE_hookwright"))
        .args([
            "serve",
            "--grpc-address",
            "0.0.0.0:0",
            "--http-address",
            "127.0.0.1:0",
            "--data-dir",
        ])
        .arg(directory.path())
        .kill_on_drop(true)
        .output();
    let exited = tokio::time::timeout(DEADLINE, exited).await.unwrap().unwrap();
    let stderr = String::from_utf8_lossy(&exited.stderr);
    assert!(!exited.status.success());
    assert!(stderr.contains("allow-plaintext"), "{stderr}");
}
