//! The commands and queries of docs/guides, run exactly as they are printed.
//!
//! `daily` has the daily tasks of the command line, `operating` the guides for operators, `migrating` those for users who
//! come from another system.

mod daily;
mod migrating;
mod operating;

use std::path::Path;

use hookwright_proto::v1::{ListWebhooksRequest, UpdateWebhookRequest, Webhook};
use hookwright_testkit::{DEADLINE, Receiver, python::python_executable, workspace_directory};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    examples::text,
    support::{Installation, On, SECRET, builder, id_of, postgres_database, wait_for_events},
};

/// A page of docs/guides.
pub(crate) struct Guide(String);

impl Guide {
    pub(crate) fn read(name: &str) -> Self {
        let path = workspace_directory().join("docs/guides").join(name);
        Self(std::fs::read_to_string(path).unwrap())
    }

    /// The page's commands: the lines that are indented by four spaces.
    pub(crate) fn commands(&self) -> String {
        let indented = self.unquoted().into_iter().filter_map(|line| line.strip_prefix("    "));
        indented.collect::<Vec<_>>().join("\n")
    }

    /// The lines outside of quoted code.
    fn unquoted(&self) -> Vec<&str> {
        let mut quoted = false;
        let outside = self.0.lines().filter(|line| {
            quoted ^= line.starts_with("```");
            !quoted
        });
        outside.collect()
    }

    /// The quoted code in one language.
    pub(crate) fn quoted(&self, language: &str) -> Vec<&str> {
        let start = format!("```{language}\n");
        let blocks = self.0.split(&start).skip(1);
        blocks.filter_map(|rest| rest.split("```").next()).collect()
    }
}

/// Runs a script with bash, which stops at the first command that fails, and returns its output.
pub(crate) async fn bash(script: &str, directory: &Path, environment: &[(&str, &str)]) -> String {
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(directory)
        .env("PATH", path)
        .envs(environment.iter().copied())
        .kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output())
        .await
        .expect("it ends")
        .unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{script}\n--- printed:\n{stdout}\n--- and said:\n{stderr}"
    );
    stdout
}

/// A server without organizations, with its address and token.
async fn server() -> (Installation, String, String) {
    let (builder, _) = builder(On::Sqlite).await;
    let installation = Installation::of(builder.start().await.unwrap()).await;
    let (address, token) = (
        installation.server.grpc_address().to_owned(),
        installation.server.token().unwrap(),
    );
    (installation, address, token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcurl_does_every_daily_task() {
    let (_installation, address, token) = server().await;
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    stand_in_for_grpcurl(directory.path());
    let guide = Guide::read("grpcurl.md");
    let script = guide
        .commands()
        .replace("127.0.0.1:50051", &address)
        .replace("127.0.0.1:4567", &receiver.address().to_string())
        .replace("$(cat ~/.local/share/hookwright/admin-token)", &token);
    let printed = bash(&script, directory.path(), &[]).await;
    for expected in [
        "hookwright.v1.WebhookService",                  // list
        "name: \"request_id\"",                          // describe
        "DELIVERY_STATE_DELIVERED",                      // the awaited ping
        "\"standardForm\": \"whsec_",                    // the revealed secret
        "the nearest registered name is `invoice.paid`", // the second of the batch
        "\"sequence\": \"2\"",                           // the stream
        "EXPLANATION_REASON_OWED",
        "\"matches\": true",
        "\"status\": \"SERVING\"",
    ] {
        assert!(printed.contains(expected), "{expected} in {printed}");
    }

    // The error has the form that the guide shows.
    let script = script.lines().take(3).collect::<Vec<_>>().join("\n");
    let create = "call OrganizationService/CreateOrganization '{\"organizationId\": \"acme\"}'";
    let bad = "call EventService/PublishEvent '{\"organization\": \"organizations/acme\", \"eventType\": \"clocking\", \"json\": \"[]\"}'";
    let failing = format!("{script}\n{create}\nif {bad} 2>&1; then exit 1; fi");
    let failed = bash(&failing, directory.path(), &[]).await;
    let details = |text: &str| -> Vec<Value> {
        let documents = text.lines().filter_map(|line| Some(&line[line.find("{\"@type\"")?..]));
        documents
            .map(|document| serde_json::from_str(document).unwrap())
            .collect()
    };
    let shown = guide.quoted("text")[0];
    assert_eq!(details(shown).len(), 2, "{shown}");
    assert_eq!(details(&failed), details(shown), "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_and_rotating_by_the_command_line() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let webhook = installation.webhook(&receiver, &["clocking"]).await;
    let directory = tempfile::tempdir().unwrap();
    stand_in_for_grpcurl(directory.path());
    let binary = Path::new(env!("CARGO_BIN_EXE_hookwright"));
    std::os::unix::fs::symlink(binary, directory.path().join("hookwright")).unwrap();
    let address = installation.server.grpc_address();
    let token = installation.server.token().unwrap();
    let environment = [
        ("HOOKWRIGHT_ADDRESS", &*format!("http://{address}")),
        ("HOOKWRIGHT_TOKEN", &token),
        ("TOKEN", &token),
    ];
    let publish = Guide::read("publish.md").commands().replace("127.0.0.1:50051", address);
    let printed = bash(&publish, directory.path(), &environment).await;
    assert!(
        printed.contains("PAYLOAD_NOT_OBJECT"),
        "the second of the batch: {printed}"
    );
    wait_for_events(&receiver, 2).await;

    let verify = Guide::read("verify.md")
        .commands()
        .replace("wh_...", id_of(&webhook.name));
    let printed = bash(&verify, directory.path(), &environment).await;
    assert!(printed.contains("whsec_"), "the new secret: {printed}");
    receiver.forget_requests();
    installation
        .publish("clocking", r#"{"action":"deleted","clocking":{"id":"C-1"}}"#)
        .await;
    let signed = wait_for_events(&receiver, 1).await.remove(0);
    let signatures = signed.header("webhook-signature").unwrap();
    assert_eq!(
        signatures.split(' ').count(),
        2,
        "one signature of each secret: {signatures}"
    );
}

/// A directory with the program under its name, and a stand-in for grpcurl.
fn tools() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    stand_in_for_grpcurl(directory.path());
    let binary = Path::new(env!("CARGO_BIN_EXE_hookwright"));
    std::os::unix::fs::symlink(binary, directory.path().join("hookwright")).unwrap();
    directory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readme_is_followed_from_its_quick_start_on() {
    let (mut installation, address, token) = server().await;
    let receiver = Receiver::start().await;
    let directory = tools();
    let readme = std::fs::read_to_string(workspace_directory().join("README.md")).unwrap();
    let start = readme.split("\n## Quick start\n").nth(1).unwrap();
    let start = start.split("\n## ").next().unwrap();
    // The commands that keep running in other terminals are omitted: the test has its own server and receiver.
    let runs_on = |line: &&str| ["make ", " serve ", " listen "].iter().any(|part| line.contains(part));
    let lines = start.lines().filter_map(|line| line.strip_prefix("    "));
    let commands: Vec<&str> = lines.filter(|line| !runs_on(line)).collect();
    assert!(start.contains(&format!("listen --secret {SECRET}")), "{start}");
    let script = commands
        .join("\n")
        .replace("./target/release/", "")
        .replace("127.0.0.1:50051", &address)
        .replace("127.0.0.1:4567", &receiver.address().to_string())
        .replace("$(cat ~/.local/share/hookwright/admin-token)", &token);
    let environment = [
        ("HOOKWRIGHT_ADDRESS", &*format!("http://{address}")),
        ("HOOKWRIGHT_TOKEN", &token),
    ];
    let printed = bash(&script, directory.path(), &environment).await;
    for expected in [
        "to be sent to 1 webhook.",
        "invoice.paid",
        "\"deliveryCount\": 2",
        "CreateWebhook",
    ] {
        assert!(printed.contains(expected), "{expected} in {printed}");
    }
    // The listener verifies every request: every webhook has its secret.
    for request in wait_for_events(&receiver, 3).await {
        let headers = crate::verifiers::header_map(&request);
        crate::verifiers::verify(SECRET, &headers, &request.body).unwrap();
    }
    let webhooks = installation.webhooks("organizations/acme").await;
    assert_eq!(webhooks.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_are_set_and_tried_as_their_guide_says() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let webhook = installation.webhook(&receiver, &["*"]).await;
    installation.register("order").await;
    let event = installation.publish("order", r#"{"total":120}"#).await.event;
    let directory = tools();
    std::fs::write(directory.path().join("filter.cel"), "payload.total > 100\n").unwrap();
    let (address, token) = (
        format!("http://{}", installation.server.grpc_address()),
        installation.server.token().unwrap(),
    );
    let environment = [("HOOKWRIGHT_ADDRESS", address.as_str()), ("HOOKWRIGHT_TOKEN", &token)];
    let commands = Guide::read("filters.md").commands();
    let (expressions, commands): (Vec<&str>, Vec<&str>) =
        commands.lines().partition(|line| !line.starts_with("hookwright "));
    assert!(expressions.len() >= 3, "{expressions:?}");
    let script = commands
        .join("\n")
        .replace("wh_...", id_of(&webhook.name))
        .replace("evt_...", id_of(&event));
    let printed = bash(&script, directory.path(), &environment).await;
    assert!(printed.matches("matches").count() >= 2, "{printed}");
    for expression in expressions {
        let quoted = expression.replace('\'', r"'\''");
        let update = format!("hookwright webhooks update {} --filter '{quoted}'", webhook.name);
        let printed = bash(&update, directory.path(), &environment).await;
        assert!(printed.contains(expression), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_is_made_filled_and_looked_after_as_its_guide_says() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    let database = postgres_database().await;
    let (sql, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let directory = tools();
    let (address, token) = (
        format!("http://{}", installation.server.grpc_address()),
        installation.server.token().unwrap(),
    );
    let environment = [
        ("HOOKWRIGHT_RELAY_DATABASE_URL", database.url()),
        ("HOOKWRIGHT_ADDRESS", &address),
        ("HOOKWRIGHT_TOKEN", &token),
    ];
    let commands = Guide::read("outbox.md").commands();
    let lines = |beginning: &str, until: &str| {
        let rest = &commands[commands.find(beginning).unwrap_or_else(|| panic!("{beginning}"))..];
        rest[..rest.find(until).unwrap() + until.len()].to_owned()
    };
    let table = bash("hookwright relay init", directory.path(), &environment).await;
    sql.batch_execute(&table).await.unwrap();
    sql.batch_execute("CREATE TABLE shifts (id bigint, ended_at timestamptz)")
        .await
        .unwrap();
    sql.batch_execute(&lines("BEGIN;", "COMMIT;")).await.unwrap();
    bash("hookwright relay --once", directory.path(), &environment).await;
    wait_for_events(&receiver, 1).await;

    sql.batch_execute(&lines("SELECT id, event_type", ";")).await.unwrap();
    sql.batch_execute(&lines("DELETE FROM hookwright_outbox", ";"))
        .await
        .unwrap();
    bash("hookwright relay retry-failed", directory.path(), &environment).await;
    let status = bash(
        &lines("hookwright relay status", "json"),
        directory.path(),
        &environment,
    )
    .await;
    let status: Value = serde_json::from_str(&status).unwrap();
    let shown: Value = serde_json::from_str(&lines("{\"failed\"", "}")).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&status), keys(&shown));
    assert_eq!((&status["failed"], &status["waiting"]), (&json!(0), &json!(0)));
}

/// Puts tests/python/grpcurl into a directory as `grpcurl`.
fn stand_in_for_grpcurl(directory: &Path) {
    let python = python_executable().unwrap();
    let script = workspace_directory().join("tests/python/grpcurl");
    let text = format!("#!/bin/sh\nexec '{}' '{}' \"$@\"\n", python.display(), script.display());
    let file = directory.join("grpcurl");
    std::fs::write(&file, text).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&file, executable).unwrap();
}

impl Installation {
    async fn webhooks(&mut self, organization: &str) -> Vec<Webhook> {
        let list = ListWebhooksRequest {
            parent: organization.to_owned(),
            ..ListWebhooksRequest::default()
        };
        self.clients
            .webhooks
            .list_webhooks(list)
            .await
            .unwrap()
            .into_inner()
            .webhooks
    }

    async fn activate(&mut self, webhook: &Webhook) {
        let request = UpdateWebhookRequest {
            webhook: Some(Webhook {
                name: webhook.name.clone(),
                active: Some(true),
                ..Webhook::default()
            }),
            update_mask: None,
        };
        self.clients.webhooks.update_webhook(request).await.unwrap();
    }
}
