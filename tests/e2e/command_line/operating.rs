//! Commands for operators: tokens, the audit log, portal links, the installation, and events found by their content.

use hookwright_testkit::Receiver;

use super::{client, run, text};
use crate::support::{CLOCKING, Installation, On};

#[tokio::test]
async fn operators_work_by_the_command_line() {
    let installation = Installation::start(On::Sqlite).await;
    let create = [
        "tokens",
        "create",
        "billing",
        "--scope",
        "publish",
        "--organization",
        "acme",
        "--ttl",
        "90d",
    ];
    let token = client(&installation, &create).await;
    let (name, secret) = (token["name"].as_str().unwrap(), token["secret"].as_str().unwrap());
    assert_eq!(
        (&token["scope"], &token["organization"]),
        (&"TOKEN_SCOPE_PUBLISH".into(), &"organizations/acme".into())
    );
    let publish = [
        "publish",
        "--organization",
        "acme",
        "--event-type",
        "clocking",
        "--json",
        CLOCKING,
    ];
    let publish = [&publish[..], &["--request-id", "first", "--ordering-key", "a"]].concat();
    let address = format!("http://{}", installation.server.grpc_address());
    let environment = [("HOOKWRIGHT_ADDRESS", address.as_str()), ("HOOKWRIGHT_TOKEN", secret)];
    let published = run(&publish, &environment).await;
    assert!(published.status.success(), "{}", text(&published.stderr));
    let id = name.strip_prefix("tokens/").unwrap();
    assert_eq!(
        client(&installation, &["tokens", "get", id]).await["state"],
        "TOKEN_STATE_ACTIVE"
    );
    assert_eq!(
        client(&installation, &["tokens", "revoke", name]).await["state"],
        "TOKEN_STATE_REVOKED"
    );
    assert!(!run(&publish, &environment).await.status.success());
    let listed = client(&installation, &["tokens", "list", "--organization", "acme"]).await;
    assert_eq!(listed["tokens"][0]["state"], "TOKEN_STATE_REVOKED", "{listed}");
    search_events(&installation).await;
    open_the_portal_and_the_log(&installation).await;
    show_tables(&installation, secret).await;
}

async fn search_events(installation: &Installation) {
    for filter in [
        ["--ordering-key", "a"],
        ["--request-id", "first"],
        ["--filter", "payload.clocking.isClockIn"],
    ] {
        let found = client(
            installation,
            &[&["events", "list", "--organization", "acme"][..], &filter].concat(),
        )
        .await;
        assert_eq!(found["events"].as_array().unwrap().len(), 1, "{filter:?}: {found}");
    }
}

async fn open_the_portal_and_the_log(installation: &Installation) {
    let link = [
        "portal",
        "link",
        "--organization",
        "acme",
        "--read-only",
        "--ttl",
        "15m",
    ];
    let link = client(installation, &link).await;
    assert!(link["url"].as_str().unwrap().contains("/portal/"), "{link}");
    let log = client(
        installation,
        &["audit", "list", "--organization", "acme", "--action", "token."],
    )
    .await;
    let actions: Vec<&str> = log["auditEntries"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["action"].as_str())
        .collect();
    assert_eq!(actions, ["token.revoke", "token.create"]);
    let told = client(installation, &["installation", "get"]).await;
    assert_eq!(told["store"], "STORE_KIND_SQLITE");
}

/// No table shows the secret of a token.
async fn show_tables(installation: &Installation, secret: &str) {
    let address = format!("http://{}", installation.server.grpc_address());
    let admin = installation.server.token().unwrap();
    let environment = [
        ("HOOKWRIGHT_ADDRESS", address.as_str()),
        ("HOOKWRIGHT_TOKEN", admin.as_str()),
    ];
    for (command, expected) in [
        (["tokens", "list"], "revoked"),
        (["audit", "list"], "display_name=billing"),
        (["installation", "get"], "grpc-address"),
    ] {
        let shown = run(&command, &environment).await;
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        let shown = text(&shown.stdout);
        assert!(
            shown.contains(expected) && !shown.contains(secret),
            "{command:?}: {shown}"
        );
    }
}

#[tokio::test]
async fn an_organization_is_renamed_and_a_webhook_paused() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let webhook = installation.webhook(&receiver, &["clocking"]).await;
    let rename = ["organizations", "update", "acme", "--display-name", "Acme Corporation"];
    assert_eq!(client(&installation, &rename).await["displayName"], "Acme Corporation");
    let shown = client(&installation, &["organizations", "get", "acme"]).await;
    assert_eq!(shown["displayName"], "Acme Corporation");
    let log = client(
        &installation,
        &[
            "audit",
            "list",
            "--organization",
            "acme",
            "--action",
            "organization.update",
        ],
    )
    .await;
    let name = &log["auditEntries"][0]["details"]["display_name"];
    assert_eq!(name["to"], "Acme Corporation", "{log}");
    let paused = client(&installation, &["webhooks", "pause", &webhook.name]).await;
    assert_eq!(paused["active"], false, "{paused}");
    let published = installation.publish("clocking", CLOCKING).await;
    assert_eq!(published.delivery_count, 0);
}

#[tokio::test]
async fn a_mistyped_flag_or_command_leads_to_the_right_one() {
    for (line, hint) in [
        (
            &["webhooks", "list", "--missed"][..],
            "`--missed` is a flag of `hookwright replays create`",
        ),
        (
            &["reveal-secret", "wh_1"],
            "`reveal-secret` is a command of `hookwright webhooks`",
        ),
    ] {
        let output = run(line, &[]).await;
        assert_eq!(output.status.code(), Some(2), "{line:?}");
        assert!(
            text(&output.stderr).contains(hint),
            "{line:?}: {}",
            text(&output.stderr)
        );
    }
    assert!(text(&run(&["--help"], &[]).await.stdout).contains("Usage:"));
}
