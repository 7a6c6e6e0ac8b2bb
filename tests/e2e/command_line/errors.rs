//! Errors and notes of the command line: each names its cause and a fix that the user of the command can apply.

use std::fs;

use hookwright_testkit::{Receiver, TestServer};

use super::shell::{Shell, text};
use crate::support::{Installation, On, id_of};

#[tokio::test]
async fn an_error_about_the_token_names_its_origin() {
    let installation = Installation::start(On::Sqlite).await;
    let shell = || {
        let address = format!("http://{}", installation.server.grpc_address());
        Shell::new().with("HOOKWRIGHT_ADDRESS", &address)
    };
    let list = ["organizations", "list"];
    let none = shell();
    let said = none.failure(1, &list).await;
    for part in [
        "the command has no token",
        "HOOKWRIGHT_TOKEN",
        "admin-token does not exist",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("authorization:"), "{said}");
    let json = none.failure(1, &[&list[..], &["--output", "json"]].concat()).await;
    assert!(json.contains("admin-token does not exist"), "{json}");

    let variable = shell().with("HOOKWRIGHT_TOKEN", "wrong");
    let said = variable.failure(1, &list).await;
    assert!(
        said.contains("the token from HOOKWRIGHT_TOKEN") && !said.contains("admin-token"),
        "{said}"
    );
    fs::write(variable.path("mine"), "wrong").unwrap();
    let said = variable
        .failure(1, &[&list[..], &["--token-file", "mine"]].concat())
        .await;
    assert!(said.contains("the token from mine"), "{said}");

    // The stale token of another installation.
    let stale = shell();
    let data = stale.path(".local/share/hookwright");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("admin-token"), "hw_stale\n").unwrap();
    let said = stale.failure(1, &list).await;
    assert!(
        said.contains("does not know the token from") && said.contains(".local/share/hookwright/admin-token"),
        "{said}"
    );
}

#[tokio::test]
async fn an_unknown_host_and_a_file_without_certificates_have_their_own_fixes() {
    let shell = Shell::new();
    // A label of this length is invalid, so the name is rejected without a query.
    let address = format!("http://{}.invalid:50051", "a".repeat(64));
    let said = shell
        .failure(1, &["organizations", "list", "--address", &address])
        .await;
    assert!(
        said.contains("correct the host name") && !said.contains("hookwright serve"),
        "{said}"
    );

    fs::write(
        shell.path("key.pem"),
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    )
    .unwrap();
    let arguments = ["--address", "https://127.0.0.1:1", "--ca-file", "key.pem"];
    let said = shell
        .failure(2, &[&["organizations", "list"], &arguments[..]].concat())
        .await;
    assert!(said.contains("no certificate in key.pem"), "{said}");
}

#[tokio::test]
async fn a_profile_with_a_missing_file_is_saved_with_a_warning() {
    let shell = Shell::new();
    let set = [
        "profiles",
        "set",
        "local",
        "--token-file",
        "missing",
        "--ca-file",
        "also",
    ];
    let output = shell.run(&set).await;
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    for part in ["missing does not exist", "also does not exist"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    fs::write(shell.path("token"), "x").unwrap();
    let output = shell
        .run(&["profiles", "set", "local", "--token-file", "~/token"])
        .await;
    assert_eq!(text(&output.stderr), "");
}

#[tokio::test]
async fn pausing_and_resuming_use_one_word_and_say_what_happens() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let webhook = installation.webhook(&receiver, &["clocking"]).await;
    let id = id_of(&webhook.name);
    let shell = Shell::at(&installation);
    let paused = shell.text(&["webhooks", "pause", id]).await;
    for part in ["paused", "are not queued for it", "replays create", "--missed"] {
        assert!(paused.contains(part), "{part}: {paused}");
    }
    assert!(!paused.contains("inactive"), "{paused}");
    let list = shell.text(&["webhooks", "list"]).await;
    assert!(list.contains("paused") && !list.contains("inactive"), "{list}");
    shell.text(&["webhooks", "resume", id]).await;
    let said = shell.failure(1, &["webhooks", "resume", id, "--discard-backlog"]).await;
    assert!(said.contains("pause it first (`hookwright webhooks pause`"), "{said}");
}

#[tokio::test]
async fn a_created_webhook_shows_the_standard_form_of_a_raw_secret() {
    let installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let shell = Shell::at(&installation);
    let create = async |secret: &str| {
        let url = receiver.url("/");
        let arguments = ["webhooks", "create", "--payload-url", &url, "--event-type", "clocking"];
        shell
            .text(&[&arguments[..], &["--signing-secret", secret]].concat())
            .await
    };
    let created = create("plain-secret-123456").await;
    assert!(
        created.contains("standard form") && created.contains("whsec_cGxhaW4tc2VjcmV0LTEyMzQ1Ng=="),
        "{created}"
    );
    let created = create(crate::support::SECRET).await;
    assert!(!created.contains("standard form"), "{created}");
}

#[tokio::test]
async fn a_schema_that_allows_more_is_refused_with_the_flag() {
    let installation = Installation::start(On::Sqlite).await;
    let shell = Shell::at(&installation);
    fs::write(shell.path("any.json"), r#"{"type":"object"}"#).unwrap();
    let update = ["event-types", "update", "clocking", "--schema", "@any.json"];
    let said = shell.failure(1, &update).await;
    for part in [
        "(--allow-breaking-schema)",
        "the payload: the member \"clocking\" is no longer required",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let example = [
        "event-types",
        "create",
        "order",
        "--schema",
        r#"{"type":"object","required":["x"]}"#,
    ];
    let said = shell.failure(1, &[&example[..], &["--example", "{}"]].concat()).await;
    assert!(
        said.contains("does not fit the schema: the payload: ") && !said.contains(": :"),
        "{said}"
    );
}

#[tokio::test]
async fn a_private_address_is_refused_with_the_setting() {
    let installation = Installation::start(On::Sqlite).await;
    let shell = Shell::at(&installation);
    let said = shell
        .failure(
            1,
            &[
                "webhooks",
                "create",
                "--payload-url",
                "http://10.1.2.3/",
                "--event-type",
                "clocking",
            ],
        )
        .await;
    assert!(said.contains("(setting `allow-target`)"), "{said}");
}

#[tokio::test]
async fn a_server_that_cannot_start_names_the_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let shell = Shell::new();
    let data = directory.path().to_str().unwrap();
    let serve = ["serve", "--data-dir", data, "--grpc-address", &address];
    let said = shell
        .failure(1, &[&serve[..], &["--http-address", "127.0.0.1:0"]].concat())
        .await;
    assert!(said.contains("choose another with --grpc-address"), "{said}");

    let refused = TestServer::builder(env!("CARGO_BIN_EXE_hookwright"))
        .postgres("postgres://someone:secret@127.0.0.1:1/db?sslmod=disable")
        .start_to_fail()
        .await
        .unwrap();
    let said = refused.stderr;
    assert!(
        said.contains("`sslmod` is not known; did you mean `sslmode`?"),
        "{said}"
    );
    assert!(
        !said.contains("cannot be reached") && !said.contains("secret"),
        "{said}"
    );
}
