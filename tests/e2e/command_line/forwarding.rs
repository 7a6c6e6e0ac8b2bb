//! `listen --forward-to`: forwarding deliveries to a program on this machine.

use std::{fs, path::Path};

use hookwright_testkit::{Authority, Receiver, RecordedRequest, until};
use rustix::process::Signal;
use serde_json::Value;

use super::{
    relay::Relay,
    shell::{Running, Shell},
};
use crate::support::{CLOCKING, Installation, On, id_of, on_both_stores, wait_for_events, without_pings};

fn forward(shell: &Shell, to: &str, more: &[&str]) -> Running {
    shell.start(&[&["listen", "--forward-to", to], more].concat())
}

async fn webhooks(shell: &Shell) -> Vec<Value> {
    let list = shell.json(&["webhooks", "list"]).await;
    list["webhooks"].as_array().cloned().unwrap_or_default()
}

/// The number of files that record webhooks to clean up.
fn sessions(shell: &Shell) -> usize {
    let directory = shell.path(".local/state/hookwright/listen");
    fs::read_dir(directory).map_or(0, Iterator::count)
}

/// The names of the headers in order.
fn header_names(request: &RecordedRequest) -> Vec<&str> {
    request.headers.iter().map(|(name, _)| name.as_str()).collect()
}

on_both_stores! {
    async fn forwarded_requests_equal_posted_ones(on: On) {
        let mut installation = Installation::start(on).await;
        let pushed = Receiver::start().await;
        installation.webhook(&pushed, &["clocking"]).await;
        let relay = Relay::start(installation.server.grpc_address()).await;
        let shell = Shell::at_address(&installation, &relay.address.to_string());
        let program = Receiver::start().await;
        let url = program.url("/hook?from=afar");
        let mut listening = forward(&shell, &url, &["--event-type", "clocking"]);
        assert!(listening.line().await.contains("STATUS"));
        let ping = listening.line().await;
        assert!(ping.contains(" 200 ") && ping.contains("ping") && ping.contains("verified: sha1 sha256 v1"), "{ping}");
        let made = webhooks(&shell).await.pop().unwrap();
        let description = made["description"].as_str().unwrap();
        assert!(description.contains("Temporary") && description.contains(&url), "{description}");
        assert_eq!((&made["deliveryMode"], sessions(&shell)), (&"DELIVERY_MODE_PULL".into(), 1));

        installation.publish("clocking", CLOCKING).await;
        let forwarded = wait_for_events(&program, 1).await.remove(0);
        let posted = wait_for_events(&pushed, 1).await.remove(0);
        assert_eq!((forwarded.method(), forwarded.target()), ("POST", "/hook?from=afar"));
        assert_eq!(forwarded.body, posted.body);
        assert_eq!(header_names(&forwarded), header_names(&posted), "in the same case and order");
        for name in ["TT-Hook-Event", "webhook-id", "Content-Type", "Content-Length", "User-Agent"] {
            assert_eq!(forwarded.header(name), posted.header(name), "{name}");
        }
        assert_eq!(forwarded.header("Host"), url.strip_prefix("http://").and_then(|url| url.split('/').next()));
        let line = listening.line_with("clocking").await;
        assert!(line.contains(forwarded.header("TT-Hook-Delivery").unwrap()), "{line}");

        installation.restart().await;
        relay.point(installation.server.grpc_address());
        installation.publish("clocking", CLOCKING).await;
        wait_for_events(&program, 2).await;
        listening.line_with(" 200 ").await;
        listening.said("answers again").await;

        assert_eq!(listening.interrupt().await, Some(0), "{}", listening.stderr());
        let left: Vec<_> = webhooks(&shell).await;
        assert_eq!(left.len(), 1, "the temporary webhook is deleted: {left:?}");
        assert_eq!(sessions(&shell), 0);
        assert_eq!(without_pings(&program.requests()).len(), 2, "each delivery is forwarded once");
    }
}

#[tokio::test]
async fn a_webhook_of_a_killed_run_is_deleted_by_the_next() {
    let installation = Installation::start(On::Sqlite).await;
    let shell = Shell::at(&installation);
    let program = Receiver::start().await;
    let url = program.url_as("localhost", "/");
    let mut killed = forward(&shell, &url, &[]);
    killed.line_with("ping").await;
    let mut living = forward(&shell, &url, &[]);
    living.line_with("ping").await;
    assert_eq!(webhooks(&shell).await.len(), 2);
    killed.signal(Signal::KILL);
    killed.wait().await;
    let mut next = forward(&shell, &url, &["--count", "1", "--output", "json"]);
    let line: Value = serde_json::from_str(&next.line().await).unwrap();
    assert_eq!(
        (&line["eventType"], &line["then"]),
        (&"ping".into(), &"acknowledged".into())
    );
    assert_eq!((&line["status"], &line["verified"]["v1"]), (&200.into(), &true.into()));
    assert_eq!(
        next.wait().await.code(),
        Some(0),
        "one delivery was enough: {}",
        next.stderr()
    );
    assert_eq!(
        webhooks(&shell).await.len(),
        1,
        "the webhook of the run that is still alive"
    );
    living.signal(Signal::TERM);
    assert_eq!(living.wait().await.code(), Some(0), "{}", living.stderr());
    assert_eq!((webhooks(&shell).await.len(), sessions(&shell)), (0, 0));
}

#[tokio::test]
async fn a_program_that_fails_is_tried_again_and_then_given_up() {
    let installation = Installation::start(On::Sqlite).await;
    let shell = Shell::at(&installation);
    let program = Receiver::start().await;
    program.answer_in_turn([500, 200]);
    let more = ["--retry-delay", "100ms", "--tries", "2", "--output", "yaml"];
    let mut listening = forward(&shell, &program.url("/"), &more);
    listening.line_with("then: tryAgain").await;
    assert!(listening.line_with("attempt: ").await.ends_with('2'));
    listening.line_with("then: acknowledged").await;

    // The program has stopped listening.
    program.stop().await;
    let created = webhooks(&shell).await.pop().unwrap();
    shell
        .text(&["webhooks", "ping", created["name"].as_str().unwrap()])
        .await;
    listening.line_with("class: connect").await;
    listening.line_with("then: tryAgain").await;
    listening.line_with("then: givenUp").await;
    let delivered = ["deliveries", "list", "--state", "delivered"];
    until("two deliveries", async || {
        let list = shell.json(&delivered).await;
        let count = list["deliveries"].as_array().map_or(0, Vec::len);
        if count >= 2 { Ok(()) } else { Err(list) }
    })
    .await;
    assert!(listening.stderr().len() < 10_000);
    assert_eq!(listening.interrupt().await, Some(0), "{}", listening.stderr());
}

#[tokio::test]
async fn a_webhook_of_somebodys_own_is_left_as_it_is() {
    let installation = Installation::start(On::Sqlite).await;
    let shell = Shell::at(&installation);
    let created = shell.json(&["webhooks", "create", "--pull", "--event-type", "*"]).await;
    let (name, secret) = (
        created["name"].as_str().unwrap(),
        created["signingSecret"].as_str().unwrap(),
    );
    let program = Receiver::start().await;
    program.respond(503);
    let url = program.url("/");
    let mut listening = forward(&shell, &url, &["--webhook", id_of(name), "--secret", secret]);
    let line = listening.line_with("ping").await;
    assert!(
        line.contains("503") && line.contains("again in 5s") && line.contains("verified"),
        "{line}"
    );
    assert_eq!(listening.interrupt().await, Some(0));
    assert_eq!(webhooks(&shell).await.len(), 1);
    let kept = shell.json(&["deliveries", "list"]).await;
    assert_ne!(
        kept["deliveries"][0]["state"], "DELIVERY_STATE_DELIVERED",
        "the delivery was not acknowledged: {kept}"
    );
    // A pulled delivery that was not processed is available to other callers at once.
    program.respond(204);
    let raw = ["--webhook", name, "--raw", "--count", "1"];
    let mut listening = forward(&shell, &url, &raw);
    assert!(listening.line().await.starts_with("POST / HTTP/1.1"));
    listening.line_with("TT-Hook-Event: ping").await;
    assert_eq!(listening.wait().await.code(), Some(0), "{}", listening.stderr());
    assert_eq!(sessions(&shell), 0);
}

#[tokio::test]
async fn a_url_with_tls_is_verified_unless_told_otherwise() {
    let installation = Installation::start(On::Sqlite).await;
    let shell = Shell::at(&installation);
    let authority = Authority::new();
    let program = Receiver::start_tls(authority.certificate(&["localhost"]).server_config()).await;
    let url = program.url_as("localhost", "/");
    let authority_file = authority.pem_file().to_str().unwrap();
    for (more, part) in [
        (&["--tries", "1"][..], "gave up"),
        (&["--ca-file", authority_file], " 200 "),
        (&["--insecure-skip-tls-verify"], " 200 "),
    ] {
        let mut listening = forward(&shell, &url, &[more, &["--count", "1"]].concat());
        let line = listening.line_with("ping").await;
        assert!(line.contains(part), "{more:?}: {line}");
        assert_eq!(listening.wait().await.code(), Some(0), "{}", listening.stderr());
    }
}

#[tokio::test]
async fn wrong_usage_is_told_before_anything_is_made() {
    let installation = Installation::start(On::Sqlite).await;
    let shell = Shell::at(&installation);
    for (more, part) in [
        (&["--forward-to", "hooks.example.com:3000"][..], "--forward-to"),
        (
            &["--forward-to", "http://localhost:3000", "--address", "127.0.0.1:0"],
            "--address",
        ),
        (
            &["--forward-to", "http://localhost:3000", "--secret", "short"],
            "--secret",
        ),
        (&["--event-type", "clocking"], "--forward-to"),
    ] {
        let output = shell.run(&[&["listen"], more].concat()).await;
        let said = super::shell::text(&output.stderr);
        assert!(!output.status.success() && said.contains(part), "{more:?}: {said}");
    }
    let unknown = [
        "listen",
        "--forward-to",
        "http://localhost:3000",
        "--event-type",
        "clockin",
    ];
    let said = shell.failure(1, &unknown).await;
    assert!(said.contains("`clocking`"), "the nearest name: {said}");
    assert_eq!((webhooks(&shell).await.len(), sessions(&shell)), (0, 0));
    assert!(
        Path::new(&shell.path(".local/state")).exists(),
        "the files are kept in this directory only"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b28_a_program_on_this_machine_needs_no_scheme() {
    let mut installation = Installation::start(On::Sqlite).await;
    let shell = Shell::at(&installation);
    let program = Receiver::start().await;
    let url = program.url_as("localhost", "/webhook");
    let mut listening = forward(
        &shell,
        url.strip_prefix("http://").unwrap(),
        &["--event-type", "clocking"],
    );
    listening.line_with("ping").await;
    installation.publish("clocking", CLOCKING).await;
    let forwarded = wait_for_events(&program, 1).await.remove(0);
    assert_eq!(forwarded.target(), "/webhook");
    listening.interrupt().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_listener_that_is_interrupted_says_whether_all_requests_verified() {
    let shell = Shell::new();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for (requests, status) in [(0, 0), (1, 1)] {
        let mut listening = shell.start(&["listen", "--address", "127.0.0.1:0", "--secret", secret]);
        listening.said("listening on http://").await;
        let said = listening.stderr();
        let address = said.split("http://").nth(1).unwrap().trim();
        for _ in 0..requests {
            let answer = hookwright_testkit::http::request(address, "POST", "/unsigned", &[], b"{}").await;
            assert_eq!(answer.unwrap().status, 200);
            listening.line_with("/unsigned").await;
        }
        assert_eq!(listening.interrupt().await, Some(status), "after {requests} requests");
    }
}
