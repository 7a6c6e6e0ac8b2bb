//! The examples in `--help`, run as they are printed on a new installation.

use std::{fs, path::Path};

use hookwright_proto::v1::{DeliveryMode, GetEventTypeRequest, Webhook};
use hookwright_testkit::Receiver;

use super::shell::{BINARY, Shell, text};
use crate::support::{CLOCKING, Installation, On, id_of};

/// Examples that keep running, need another system, or need a value that only an earlier answer has.
const NOT_RUN: [&str; 15] = [
    " serve",
    " demo",
    " listen",
    " watch",
    " relay",
    " migrate",
    "hookwright completions",
    "hookwright config --config",
    "--profile production deliveries",
    "ACK_ID",
    "ETAG",
    "tok_...",
    "op_...",
    "rpl_...",
    "dlv_...",
];

/// The pages of help: that of a command, and those of its subcommands.
async fn pages(shell: &Shell, command: Vec<String>, pages: &mut Vec<String>) {
    let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
    let page = shell.text(&arguments).await;
    let list = page.split("\nCommands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| {
        line.strip_prefix("  ")?
            .split(' ')
            .next()
            .filter(|name| !name.is_empty())
    });
    for name in names.filter(|name| *name != "help") {
        let child = command.iter().cloned().chain([name.to_owned()]).collect();
        Box::pin(self::pages(shell, child, pages)).await;
    }
    pages.push(page);
}

/// The commands among the examples of a page, each in one line.
fn examples(page: &str) -> Vec<String> {
    let after = page.split("\nExamples:\n").nth(1).unwrap_or_default();
    let joined = after.replace("\\\n", " ");
    let commands = joined
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    commands.map(str::to_owned).collect()
}

/// The files that examples name.
async fn write_files(installation: &mut Installation, home: &Path) {
    let request = GetEventTypeRequest {
        name: "eventTypes/clocking".to_owned(),
    };
    let event_types = &mut installation.clients.event_types;
    let clocking = event_types.get_event_type(request).await.unwrap().into_inner();
    let generate = format!("#!/bin/sh\necho '{CLOCKING}'\n");
    for (name, text) in [
        ("clocking.json", CLOCKING),
        ("clocking.schema.json", &clocking.json_schema),
        ("invoice.schema.json", r#"{"type":"object","required":["total"]}"#),
        ("invoice.json", r#"{"total":1}"#),
        ("order.json", r#"{"total":120}"#),
        ("filter.cel", "event_type == 'clocking'"),
        ("generate", &generate),
    ] {
        fs::write(home.join(name), text).unwrap();
    }
    fs::set_permissions(
        home.join("generate"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    std::os::unix::fs::symlink(BINARY, home.join("hookwright")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_of_help_work_on_a_new_installation() {
    let mut installation = Installation::start(On::Sqlite).await;
    installation.create_organization("globex").await;
    let receiver = Receiver::start().await;
    let webhook = installation.webhook(&receiver, &["clocking"]).await;
    let pulled = Webhook {
        delivery_mode: DeliveryMode::Pull.into(),
        events: vec!["clocking".to_owned()],
        ..Webhook::default()
    };
    let pulled = installation.create_webhook(pulled).await.unwrap();
    let event = installation.publish("clocking", CLOCKING).await.event;
    let shell = Shell::new()
        .with(
            "HOOKWRIGHT_ADDRESS",
            &format!("http://{}", installation.server.grpc_address()),
        )
        .with("HOOKWRIGHT_TOKEN", &installation.server.token().unwrap())
        // Narrower terminals wrap the examples.
        .with("COLUMNS", "120");
    write_files(&mut installation, &shell.path("")).await;
    let path = format!("{}:{}", shell.path("").display(), std::env::var("PATH").unwrap());
    let shell = shell.with("PATH", &path);

    let mut all = Vec::new();
    pages(&shell, Vec::new(), &mut all).await;
    let examples = all.iter().flat_map(|page| examples(page));
    let (mut ran, mut failed) = (0, Vec::new());
    for example in examples.filter(|example| !NOT_RUN.iter().any(|part| example.contains(part))) {
        // The organization of the examples exists already.
        if example == "hookwright organizations create acme" {
            continue;
        }
        let webhook = if example.contains("deliveries pull") {
            &pulled
        } else {
            &webhook
        };
        let script = example
            .replace("wh_...", id_of(&webhook.name))
            .replace("--wait 20s", "--wait 1s")
            .replace("evt_...", id_of(&event))
            .replace("https://www.example.com", &receiver.url(""))
            .replace("http://127.0.0.1:4567", &receiver.url(""));
        let mut bash = shell.program("bash", &["-euo", "pipefail", "-c", &script]);
        let output = tokio::time::timeout(hookwright_testkit::DEADLINE, bash.output());
        let output = output
            .await
            .unwrap_or_else(|_| panic!("{example} did not end"))
            .unwrap();
        if !output.status.success() {
            failed.push(format!("{example}\n{}", text(&output.stderr)));
        }
        ran += 1;
    }
    assert_eq!(failed, [""; 0], "{}", failed.join("\n"));
    assert!(ran > 40, "only {ran} examples were found");
}
