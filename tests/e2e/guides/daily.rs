//! The daily tasks of the guide to the command line, each command as it is printed.

use std::path::Path;

use hookwright_proto::v1::{DeliveryState, ListDeliveriesRequest};
use hookwright_testkit::Receiver;

use super::{Guide, bash, tools};
use crate::support::{ACME, CLOCKING, Installation, On, id_of, webhook};

/// Commands that keep running, need `jq`, or need an operation that a small backlog does not have.
const NOT_RUN: [&str; 3] = [" watch", "| jq", "op_..."];

/// The commands of the section, without comments.
fn commands() -> Vec<String> {
    let guide = Guide::read("command-line.md");
    let section = guide.0.split("\n## Daily tasks\n").nth(1).unwrap();
    let section = Guide(section.split("\n## ").next().unwrap().to_owned());
    let commands = section.commands();
    let commands = commands
        .lines()
        .map(|line| line.split(" # ").next().unwrap_or(line).trim_end().to_owned());
    let commands: Vec<String> = commands
        .filter(|line| !NOT_RUN.iter().any(|part| line.contains(part)))
        .collect();
    assert!(commands.len() > 25, "{commands:?}");
    commands
}

fn write_files(directory: &Path) {
    std::fs::write(directory.join("events.jsonl"), format!("{CLOCKING}\n{CLOCKING}\n")).unwrap();
    let generate = directory.join("generate");
    std::fs::write(&generate, format!("#!/bin/sh\necho '{CLOCKING}'\n")).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&generate, executable).unwrap();
}

/// The ids of an organization's deliveries in a state.
async fn deliveries(installation: &mut Installation, state: DeliveryState, count: usize) -> Vec<String> {
    let request = ListDeliveriesRequest {
        parent: ACME.to_owned(),
        event_type: "clocking".to_owned(),
        states: vec![state.into()],
        ..Default::default()
    };
    let found = installation.deliveries_until(request, count).await;
    found.iter().map(|delivery| id_of(&delivery.name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daily_tasks_of_the_command_line_are_done_as_their_guide_says() {
    let mut installation = Installation::start_with(On::Sqlite, |server| server.arg("--retry-delay", "1h")).await;
    let (receiver, failing) = (Receiver::start().await, Receiver::start().await);
    failing.respond(503);
    let good = installation.webhook(&receiver, &["clocking"]).await;
    let bad = webhook(&failing.url("/"), &["clocking"]);
    let bad = installation.create_webhook(bad).await.unwrap();
    let event = installation.publish("clocking", CLOCKING).await.event;
    installation.publish("clocking", CLOCKING).await;
    let delivered = deliveries(&mut installation, DeliveryState::Delivered, 2).await;
    let retrying = deliveries(&mut installation, DeliveryState::Retrying, 2).await;

    let directory = tools();
    write_files(directory.path());
    let (address, token) = (
        format!("http://{}", installation.server.grpc_address()),
        installation.server.token().unwrap(),
    );
    let environment = [
        ("HOOKWRIGHT_ADDRESS", address.as_str()),
        ("HOOKWRIGHT_TOKEN", &token),
        ("HOOKWRIGHT_ORGANIZATION", "acme"),
        ("HOME", directory.path().to_str().unwrap()),
    ];
    let schema = "hookwright event-types get clocking --output json";
    let clocking = bash(schema, directory.path(), &environment).await;
    let clocking: serde_json::Value = serde_json::from_str(&clocking).unwrap();
    let schema = clocking["jsonSchema"].as_str().unwrap();
    std::fs::write(directory.path().join("clocking.schema.json"), schema).unwrap();

    let mut before = String::new();
    for command in commands() {
        // Alternatives to the line above need its state, or another webhook.
        let webhook = if command.starts_with("hookwright webhooks delete") && command.ends_with("--wait") {
            &bad.name
        } else {
            &good.name
        };
        let delivery = match command.as_str() {
            retry if retry.contains("deliveries retry") => &retrying[0],
            skip if skip.contains("deliveries skip") => &retrying[1],
            _ => &delivered[0],
        };
        let again = command.contains("--discard-backlog") && before.starts_with("hookwright webhooks resume");
        let pause = if again {
            "hookwright webhooks pause wh_...; "
        } else {
            ""
        };
        let script = format!("{pause}{command}")
            .replace("wh_...", id_of(webhook))
            .replace("dlv_...", delivery)
            .replace("evt_...", id_of(&event))
            // It exits with 1 if there are problems.
            .replace("hookwright status", "hookwright status || [ $? = 1 ]");
        bash(&script, directory.path(), &environment).await;
        before = command;
    }
}
