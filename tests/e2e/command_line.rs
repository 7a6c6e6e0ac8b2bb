//! The binary as users run it.
//!
//! | module | what it tests |
//! | --- | --- |
//! | `errors` | errors and notes, each with its cause and fix |
//! | `formats` | each command on deliveries, replays and schemas, in each format |
//! | `forwarding` | `listen --forward-to` |
//! | `help` | the examples in `--help` |
//! | `profiles` | named connection settings |
//! | `watching` | `deliveries watch`, and following a replay |

mod errors;
mod formats;
mod forwarding;
mod help;
mod profiles;
mod relay;
mod shell;
mod watching;

mod operating;

use std::{path::Path, process::Output};

use hookwright_testkit::{DEADLINE, Receiver};
use serde_json::Value;
use tokio::process::Command;

use crate::support::{CLOCKING, Installation, On, SECRET, postgres_database};

pub(crate) async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookwright"));
    command
        .args(arguments)
        // Excludes the profiles of the user who runs the tests.
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .envs(environment.iter().copied())
        .kill_on_drop(true);
    tokio::time::timeout(DEADLINE, command.output())
        .await
        .expect("the command ends")
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_demo(output: &Output) {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains(CLOCKING), "the raw request is shown: {stdout}");
    assert!(stdout.contains("TT-Hook-Event: clocking\n"), "{stdout}");
    assert_eq!(
        stdout.matches("\nverified: sha1 sha256 v1\n").count(),
        2,
        "ping and event: {stdout}"
    );
}

#[tokio::test]
async fn the_demo_delivers_on_sqlite() {
    assert_demo(&run(&["demo"], &[]).await);
}

#[tokio::test]
async fn the_demo_delivers_on_postgres() {
    let database = postgres_database().await;
    assert_demo(&run(&["demo", "--store", "postgres", "--database-url", database.url()], &[]).await);
}

/// Runs a client command against the installation and returns its answer as JSON.
async fn client(installation: &Installation, arguments: &[&str]) -> Value {
    let address = format!("http://{}", installation.server.grpc_address());
    let token = installation.server.token().unwrap();
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
    let output = run(
        &arguments,
        &[("HOOKWRIGHT_ADDRESS", &address), ("HOOKWRIGHT_TOKEN", &token)],
    )
    .await;
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stdout)))
}

#[tokio::test]
async fn every_resource_can_be_worked_with() {
    let installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let url = receiver.url("/payload");
    let created = client(&installation, &["organizations", "create", "globex"]).await;
    assert_eq!(created["name"], "organizations/globex");
    let created = client(
        &installation,
        &[
            "webhooks",
            "create",
            "--organization",
            "globex",
            "--payload-url",
            &url,
            "--event-type",
            "clocking",
            "--signing-secret",
            SECRET,
        ],
    )
    .await;
    assert_eq!(created["signingSecret"], SECRET);
    let name = created["name"].as_str().unwrap();
    client(&installation, &["webhooks", "ping", name, "--wait"]).await;
    client(&installation, &["event-types", "create", "invoice.paid"]).await;
    client(
        &installation,
        &[
            "webhooks",
            "update",
            name,
            "--event-type",
            "clocking",
            "--event-type",
            "invoice.paid",
        ],
    )
    .await;
    let published = client(
        &installation,
        &[
            "publish",
            "--organization",
            "globex",
            "--event-type",
            "clocking",
            "--json",
            CLOCKING,
        ],
    )
    .await;
    assert_eq!(published["deliveryCount"], 1);
    deliveries_are_listed(&installation, &receiver).await;
    client(&installation, &["webhooks", "delete", name]).await;
    let webhooks = client(&installation, &["webhooks", "list", "--organization", "globex"]).await;
    assert!(webhooks["webhooks"].as_array().is_none_or(Vec::is_empty), "{webhooks}");
}

async fn deliveries_are_listed(installation: &Installation, receiver: &Receiver) {
    receiver
        .wait_until(|requests| {
            requests
                .iter()
                .any(|request| request.header("TT-Hook-Event") == Some("clocking"))
        })
        .await;
    let deliveries = client(installation, &["deliveries", "list", "--organization", "globex"]).await;
    let listed = deliveries["deliveries"].as_array().unwrap();
    assert_eq!(
        listed.len(),
        4,
        "two pings for changes, one requested ping, one event: {deliveries}"
    );
    let attempts = client(
        installation,
        &["deliveries", "attempts", listed[1]["name"].as_str().unwrap()],
    )
    .await;
    assert_eq!(attempts["attempts"][0]["responseStatus"], 200, "{attempts}");
    for list in ["organizations", "event-types"] {
        client(installation, &[list, "list"]).await;
    }
}

#[tokio::test]
async fn errors_name_the_field_and_the_fix() {
    let installation = Installation::start(On::Sqlite).await;
    let address = format!("http://{}", installation.server.grpc_address());
    let token = installation.server.token().unwrap();
    let arguments = [
        "publish",
        "--organization",
        "acme",
        "--event-type",
        "clockin",
        "--json",
        "{}",
    ];
    let output = run(
        &arguments,
        &[("HOOKWRIGHT_ADDRESS", &address), ("HOOKWRIGHT_TOKEN", &token)],
    )
    .await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("`clocking`"),
        "the nearest name: {}",
        text(&output.stderr)
    );
    assert_eq!(run(&["publish"], &[]).await.status.code(), Some(2), "wrong usage");
}

#[tokio::test]
async fn settings_come_from_flags_environment_and_file_in_that_order() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hookwright.toml");
    std::fs::write(
        &file,
        "header_prefix = \"File-\"\nuser_agent = \"File\"\nlog_filter = \"warn\"\n",
    )
    .unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let file_argument = path(&file);
    let arguments = [
        "config",
        "--config",
        &file_argument,
        "--header-prefix",
        "Flag-",
        "--output",
        "json",
    ];
    let environment = [
        ("HOOKWRIGHT_HEADER_PREFIX", "Environment-"),
        ("HOOKWRIGHT_USER_AGENT", "Environment"),
    ];
    let output = run(&arguments, &environment).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for expected in ["Flag-", "Environment", "warn"] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
    std::fs::write(&file, "header_prefixx = \"x\"\n").unwrap();
    let output = run(&["config", "--config", &file_argument], &[]).await;
    assert!(!output.status.success());
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("`header_prefixx`") && stderr.contains("`header-prefix`"),
        "{stderr}"
    );
}

#[tokio::test]
async fn filters_are_tried_and_events_explained() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["checksheet"]).await;
    let url = receiver.url("/filtered");
    let create = [
        "webhooks",
        "create",
        "--organization",
        "acme",
        "--event-type",
        "clocking",
    ];
    let filter = ["--payload-url", &url, "--filter", "payload.clocking.isClockIn"];
    let created = client(&installation, &[&create[..], &filter].concat()).await;
    assert_eq!(created["filter"], "payload.clocking.isClockIn");
    let publish = [
        "publish",
        "--organization",
        "acme",
        "--event-type",
        "clocking",
        "--json",
        CLOCKING,
    ];
    let published = client(&installation, &publish).await;
    let event = published["event"].as_str().unwrap();
    let explained = client(&installation, &["events", "explain", event]).await;
    let reasons: Vec<_> = explained["explanations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["reason"])
        .collect();
    assert_eq!(
        reasons,
        ["EXPLANATION_REASON_NOT_SUBSCRIBED", "EXPLANATION_REASON_OWED"]
    );
    let tried = client(
        &installation,
        &["webhooks", "test-filter", "event_type == 'clocking'", "--event", event],
    )
    .await;
    assert_eq!(tried["matches"], true);
}

#[tokio::test]
async fn the_completions_work_in_bash() {
    for (words, completed) in [
        (&["webhooks", "test-f"][..], "test-filter"),
        (&["deliveries", "wat"], "watch"),
        (&["replays", "create", "--miss"], "--missed"),
        (&["deliveries", "watch", "--state", "ret"], "retrying"),
        (&["deliveries", "list", "--error", "tls_e"], "tls_expired"),
        (&["deliveries", "stats", "--period", "h"], "hour"),
        (&["nodes", "list", "--output", "y"], "yaml"),
        (&["profiles", "set", "a", "--unset", "org"], "organization"),
        (&["listen", "--forw"], "--forward-to"),
    ] {
        let (last, before) = words.split_last().unwrap();
        let previous = before.last().unwrap();
        let script = format!(
            "source <(\"$0\" completions bash)\nCOMP_WORDS=(hookwright {}); COMP_CWORD={}\n\
             _hookwright hookwright {last} {previous}; echo \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len()
        );
        let bash = Command::new("bash")
            .args(["-c", &script, env!("CARGO_BIN_EXE_hookwright")])
            .output();
        let output = tokio::time::timeout(DEADLINE, bash).await.expect("bash ends").unwrap();
        assert_eq!(
            text(&output.stdout).trim(),
            completed,
            "{words:?}: {}",
            text(&output.stderr)
        );
    }
}
