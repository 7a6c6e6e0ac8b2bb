//! The guides' commands and queries, taken out of docs/guides and run as they stand.

use std::path::Path;

use hookwright_proto::v1::{
    DeliveryState, EventTypeState, ListDeliveriesRequest, ListWebhooksRequest, RevealSigningSecretRequest,
    UpdateWebhookRequest, Webhook,
};
use hookwright_testkit::{
    DEADLINE, Receiver, RecordedRequest, Response, python::python_executable, workspace_directory,
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    examples::{Example, text},
    support::{Installation, On, SECRET, builder, id_of, postgres_database, wait_for_events},
};

/// A page of docs/guides.
pub(crate) struct Guide(String);

impl Guide {
    pub(crate) fn read(name: &str) -> Self {
        let path = workspace_directory().join("docs/guides").join(name);
        Self(std::fs::read_to_string(path).unwrap())
    }

    /// Its commands: the lines that are indented by four spaces.
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

    /// The quoted code in a language.
    pub(crate) fn quoted(&self, language: &str) -> Vec<&str> {
        let start = format!("```{language}\n");
        let blocks = self.0.split(&start).skip(1);
        blocks.filter_map(|rest| rest.split("```").next()).collect()
    }
}

/// Runs a script by bash, which stops at the first command that fails, and returns what it printed.
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
        "hookwright.v1.WebhookService",                    // list
        "name: \"request_id\"",                            // describe
        "DELIVERY_STATE_DELIVERED",                        // the ping that was waited for
        "\"standardForm\": \"whsec_",                      // the revealed secret
        "the nearest registered names are `invoice.paid`", // the second of the batch
        "\"sequence\": \"2\"",                             // the stream
        "EXPLANATION_REASON_OWED",
        "\"matches\": true",
        "\"status\": \"SERVING\"",
    ] {
        assert!(printed.contains(expected), "{expected} in {printed}");
    }

    // An error looks as the guide says.
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
    assert_eq!(signatures.split(' ').count(), 2, "one of each secret: {signatures}");
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
    // What runs on in terminals of its own is there already: the server, and a receiver.
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
        "owed to 1 webhook.",
        "invoice.paid",
        "\"deliveryCount\": 2",
        "CreateWebhook",
    ] {
        assert!(printed.contains(expected), "{expected} in {printed}");
    }
    // The listener verifies all that arrives: every webhook has its secret.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_of_the_page_on_limits_are_flags_of_the_server() {
    let directory = tools();
    let help = bash("hookwright serve --help", directory.path(), &[]).await;
    let guide = Guide::read("limits.md");
    let rows = guide.0.lines().filter_map(|line| line.strip_prefix("| `grpc-"));
    let settings: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    assert!(settings.len() >= 7, "{settings:?}");
    for setting in settings {
        assert!(help.contains(&format!("--grpc-{setting}")), "{setting}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_an_sqlite_installation_sends_nothing() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    let directory = tools();
    let guide = Guide::read("copy-an-installation.md");
    let block = guide
        .quoted("")
        .into_iter()
        .find(|block| block.contains(".backup"))
        .unwrap()
        .to_owned();
    let original = installation.server.data_directory();
    let copy = directory.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let [backup, key, serve] = block.lines().collect::<Vec<_>>()[..] else {
        panic!("{block}")
    };
    let copied = |command: &str| {
        command
            .replace("/var/lib/hookwright", original.to_str().unwrap())
            .replace("/srv/copy", copy.to_str().unwrap())
    };
    // Python's SQLite stands in for the shell of SQLite, where that is not installed.
    let backup = copied(backup);
    let (from, to) = (original.join("hookwright.db"), copy.join("hookwright.db"));
    assert_eq!(
        backup,
        format!("sqlite3 {} \".backup {}\"", from.display(), to.display())
    );
    let python = python_executable().unwrap();
    let program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))";
    let script = format!(
        "'{}' -c '{program}' {} {}",
        python.display(),
        from.display(),
        to.display()
    );
    bash(&script, directory.path(), &[]).await;
    bash(&copied(key), directory.path(), &[]).await;
    let settings = copied(serve).replace("hookwright serve", "hookwright config");
    let settings = bash(&settings, directory.path(), &[]).await;
    assert!(
        settings
            .lines()
            .any(|line| line.starts_with("hold") && line.contains("true")),
        "{settings}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_is_set_up_as_its_guide_says() {
    let installation = Installation::start(On::Sqlite).await;
    let guide = Guide::read("console.md");
    let directory = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_hookwright"));
    std::os::unix::fs::symlink(binary, directory.path().join("hookwright")).unwrap();
    let address = format!("http://{}", installation.server.grpc_address());
    let token = installation.server.token().unwrap();
    let environment = [("HOOKWRIGHT_ADDRESS", address.as_str()), ("HOOKWRIGHT_TOKEN", &token)];
    let commands = guide.commands();
    let command = |beginning: &str| {
        let found = commands.lines().find(|line| line.starts_with(beginning));
        found
            .unwrap_or_else(|| panic!("`{beginning}` is in the guide"))
            .to_owned()
    };
    let link = bash(&command("hookwright portal link"), directory.path(), &environment).await;
    assert!(link.contains("/portal/"), "{link}");
    // What `serve` is given there is what `config` understands, as those settings.
    let settings = command("hookwright serve").replace("hookwright serve", "hookwright config");
    let settings = bash(&settings, directory.path(), &environment).await;
    for value in ["https://hooks.example.com", "https://app.example.com"] {
        assert!(settings.contains(value), "{settings}");
    }
    let help = bash("hookwright serve --help", directory.path(), &environment).await;
    let table = guide
        .0
        .split("## Settings")
        .nth(1)
        .unwrap()
        .split("A proxy must pass")
        .next()
        .unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let named: Vec<&str> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2))
        .collect();
    assert!(named.len() >= 6, "{named:?}");
    for setting in named {
        assert!(help.contains(&format!("--{setting}")), "{setting}");
    }
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

/// The installed Python example, in a directory of the test's own: the guides write files beside the programs.
async fn python_example() -> tempfile::TempDir {
    let example = Example::install("python").await;
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&example.directory).unwrap() {
        let entry = entry.unwrap();
        std::os::unix::fs::symlink(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    directory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_svix_installation_is_imported() {
    let (mut installation, address, token) = server().await;
    let customer = Receiver::start().await;
    let svix = imitate_svix(&customer).await;
    let directory = python_example().await;
    std::fs::write(directory.path().join("svix-token"), "testsk_1\n").unwrap();
    let commands = Guide::read("migrate-from-svix.md").commands();
    let script = commands.replace("https://api.eu.svix.com", svix.url("").trim_end_matches('/'));
    assert_ne!(script, commands);
    let environment = [
        ("HOOKWRIGHT_ADDRESS", &*format!("http://{address}")),
        ("HOOKWRIGHT_TOKEN", &token),
    ];
    let printed = bash(&script, directory.path(), &environment).await;
    assert!(printed.contains("created eventTypes/invoice.paid"), "{printed}");
    assert!(printed.ends_with("\n4 created\n"), "{printed}");
    assert!(
        !directory.path().join("installation.jsonl").exists(),
        "it holds secrets"
    );
    let again = bash(&script, directory.path(), &environment).await;
    assert!(again.ends_with("\n4 exists\n"), "{again}");
    let authorized = |request: &RecordedRequest| request.header("authorization") == Some("Bearer testsk_1");
    assert!(svix.requests().iter().all(authorized));

    let webhooks = installation.webhooks("organizations/acme-ltd-7").await;
    let [first, second] = webhooks.as_slice() else {
        panic!("{webhooks:#?}")
    };
    assert_eq!((first.active, second.active), (Some(false), Some(false)));
    assert_eq!(first.events, ["invoice.paid"]);
    assert_eq!(first.headers["x-customer"], "7");
    assert_eq!(first.requests_per_second, Some(10.0));
    assert_eq!(first.retry_schedule.as_ref().unwrap().delays.len(), 7);
    assert_eq!(second.events, ["*"]);
    assert_eq!(second.filter, r#"attributes.channel in ["eu", "uk"]"#);
    assert_eq!(customer.request_count(), 0, "nothing is sent before it is wanted");

    // The next command of the switch: the ping arrives, signed with the secret that the receiver has.
    for webhook in &webhooks {
        installation.activate(webhook).await;
    }
    let pings = customer.wait_for(2).await;
    assert!(pings.iter().all(|ping| ping.header("tt-hook-event") == Some("ping")));
    let reveal = RevealSigningSecretRequest {
        name: first.name.clone(),
    };
    let revealed = installation
        .clients
        .webhooks
        .reveal_signing_secret(reveal)
        .await
        .unwrap();
    assert_eq!(revealed.into_inner().signing_secret, SECRET);
}

/// Two endpoints of one URL, names with hyphens, an archived type that is still subscribed to, and a limit on requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b15_nothing_of_a_svix_installation_is_lost_silently() {
    let (mut installation, address, token) = server().await;
    let svix = Receiver::start().await;
    let endpoint =
        |id: &str, events: &[&str]| json!({"id": id, "url": "https://93.184.216.34/hook", "filterTypes": events});
    let page = |data: Value| json!({"data": data, "iterator": "next", "done": true});
    let other = "whsec_T3RoZXIgc2VjcmV0IG9mIHRoZSBzYW1lIFVSTCE=";
    let mut answers = vec![
        (
            "/event-type?limit=100&include_archived=true",
            page(json!([
                {"name": "order-created", "description": "", "archived": false},
                {"name": "order-cancelled", "description": "Old", "archived": true},
            ])),
        ),
        (
            "/app?",
            page(json!([{"id": "app_1", "uid": "acme", "name": "Acme Ltd"}])),
        ),
        (
            "/app/app_1/endpoint?",
            page(json!([
                endpoint("ep_1", &["order-created"]),
                endpoint("ep_2", &["order-cancelled", "order-created"]),
            ])),
        ),
        ("/app/app_1/endpoint/ep_1/secret?", json!({"key": SECRET})),
        ("/app/app_1/endpoint/ep_2/secret?", json!({"key": other})),
    ];
    let none = json!({"headers": {}, "sensitive": []});
    answers.push(("/app/app_1/endpoint/ep_1/headers?", none.clone()));
    answers.push(("/app/app_1/endpoint/ep_2/headers?", none));
    let mut limited = std::collections::HashSet::new();
    svix.answer_with(move |request| {
        let path = request.target().strip_prefix("/api/v1").unwrap_or_default().to_owned();
        let answer = answers.iter().find(|(start, _)| path.starts_with(start));
        match answer {
            // Each address is limited once.
            _ if limited.insert(path.clone()) => Response::new(429).header("Retry-After", "0"),
            Some((_, answer)) => Response::new(200).body(answer.to_string()),
            None => Response::new(404),
        }
    });
    let directory = python_example().await;
    let url = svix.url("");
    let environment = [
        ("HOOKWRIGHT_ADDRESS", &*format!("http://{address}")),
        ("HOOKWRIGHT_TOKEN", &token),
        ("SVIX_URL", url.trim_end_matches('/')),
        ("SVIX_TOKEN", "testsk_1"),
    ];
    let export = ".venv/bin/python export_svix.py 2>&1 >installation.jsonl";
    let said = bash(export, directory.path(), &environment).await;
    let summary =
        "exported 2 event types (1 of them archived), 1 organizations, 2 webhooks; 0 warnings, 0 not exported";
    assert!(said.contains("429") && said.trim_end().ends_with(summary), "{said}");
    let import = ".venv/bin/python import_webhooks.py < installation.jsonl";
    let check = import.replace(".py", ".py --check");
    let checked = bash(&check, directory.path(), &environment).await;
    assert!(checked.ends_with("\n5 accepted\n"), "{checked}");
    let printed = bash(import, directory.path(), &environment).await;
    assert!(
        printed.ends_with("\narchived eventTypes/order-cancelled\n5 created\n"),
        "{printed}"
    );
    let again = bash(import, directory.path(), &environment).await;
    assert!(again.ends_with("\n5 exists\n"), "{again}");

    let webhooks = installation.webhooks("organizations/acme").await;
    let mut found = Vec::new();
    for webhook in &webhooks {
        let request = RevealSigningSecretRequest {
            name: webhook.name.clone(),
        };
        let service = &mut installation.clients.webhooks;
        let revealed = service.reveal_signing_secret(request).await.unwrap().into_inner();
        found.push((webhook.events.join(" "), revealed.signing_secret));
    }
    found.sort();
    let expected = [("order-cancelled order-created", other), ("order-created", SECRET)];
    assert_eq!(
        found,
        expected.map(|(events, secret)| (events.to_owned(), secret.to_owned()))
    );
    let archived = hookwright_proto::v1::GetEventTypeRequest {
        name: "eventTypes/order-cancelled".to_owned(),
    };
    let archived = installation.clients.event_types.get_event_type(archived).await.unwrap();
    assert_eq!(archived.into_inner().state(), EventTypeState::Archived);

    // What cannot be exported is named, and the exit code says so; nothing is printed of an export that broke off.
    let refused = "! .venv/bin/python import_webhooks.py 2>&1 <<< '{\"eventTypeId\": \"a..b\"}'";
    let refused = bash(refused, directory.path(), &environment).await;
    assert!(
        refused.contains("line 1") && refused.ends_with("\n1 refused\n"),
        "{refused}"
    );
    svix.answer(Response::new(404));
    let broken = "! .venv/bin/python export_svix.py 2>said; cat said >&2";
    assert_eq!(bash(broken, directory.path(), &environment).await, "");
    let said = std::fs::read_to_string(directory.path().join("said")).unwrap();
    assert!(said.contains("broke off"), "{said}");
}

/// What the Svix API answers to the export, by its documentation.
async fn imitate_svix(customer: &Receiver) -> Receiver {
    let endpoint = |id: &str, more: Value| {
        let mut endpoint = json!({
            "id": id, "url": customer.url(&format!("/{id}")), "description": "", "metadata": {}, "disabled": false,
            "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
        });
        endpoint
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        endpoint
    };
    let page = |data: Value| json!({"data": data, "iterator": "next", "prevIterator": null, "done": true});
    let first = endpoint("ep_1", json!({"eventTypes": ["invoice.paid"], "throttleRate": 10}));
    let second = endpoint(
        "ep_2",
        json!({"filterTypes": null, "channels": ["eu", "uk"], "disabled": true}),
    );
    let mut endpoints = page(json!([first]));
    endpoints["done"] = json!(false);
    let headers = json!({"headers": {"x-customer": "7"}, "sensitive": ["x-secret"]});
    let answers = [
        (
            "/event-type?",
            page(json!([{"name": "invoice.paid", "description": "Paid", "deprecated": false}])),
        ),
        (
            "/app?",
            page(json!([{"id": "app_1", "uid": "Acme_Ltd.7", "name": "Acme Ltd", "metadata": {}}])),
        ),
        ("/app/app_1/endpoint?limit=100&iterator=next", page(json!([second]))),
        ("/app/app_1/endpoint?", endpoints),
        ("/app/app_1/endpoint/ep_1/headers?", headers.clone()),
        (
            "/app/app_1/endpoint/ep_2/headers?",
            json!({"headers": {}, "sensitive": []}),
        ),
        ("/app/app_1/endpoint/ep_1/secret?", json!({"key": SECRET})),
        (
            "/app/app_1/endpoint/ep_2/secret?",
            json!({"key": SECRET.trim_start_matches("whsec_")}),
        ),
    ];
    let svix = Receiver::start().await;
    svix.answer_with(move |request| {
        let path = request.target().strip_prefix("/api/v1").unwrap_or_default();
        match answers.iter().find(|(start, _)| path.starts_with(start)) {
            Some((_, answer)) => Response::new(200).body(answer.to_string()),
            None => Response::new(404),
        }
    });
    svix
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_webhooks_is_imported_and_its_backlog_published() {
    let (mut installation, address, token) = server().await;
    let customer = Receiver::start().await;
    let directory = python_example().await;
    let guide = Guide::read("migrate-from-a-table.md");
    let [tables, export, backlog] = guide.quoted("sql")[..] else {
        panic!("three pieces of SQL")
    };
    std::fs::write(directory.path().join("export.sql"), export).unwrap();
    std::fs::write(directory.path().join("backlog.sql"), backlog).unwrap();
    let database = postgres_database().await;
    let rows = format!(
        "INSERT INTO webhooks VALUES
            (1, 'acme', 'Acme Ltd', '{url}', 'clocking', '{SECRET}', true, 'Bearer x'),
            (2, 'acme', 'Acme Ltd', '{url}', 'checksheet,clocking', '{SECRET}', true, null),
            (3, 'globex', null, '{url}', null, 'correct horse battery staple', true, null),
            (4, 'globex', null, 'http://127.0.0.1:1/off', null, '{SECRET}', false, null),
            (5, 'initech', null, '{url}', null, '{SECRET}', true, null),
            (6, 'initech', null, '{url}', null, 'another secret of the same URL', true, null);
         INSERT INTO webhook_jobs VALUES
            (1, 1, 'clocking', E'{{\"action\":\\n\"created\",\"clocking\":{{\"id\":\"C-1\"}}}}', 3, null),
            (2, 1, 'clocking', '{{\"action\":\"updated\"}}', 1, now()),
            (3, 1, 'checksheet', '{{\"action\":\"created\"}}', 0, null);",
        url = customer.url("/hook")
    );
    std::fs::write(directory.path().join("prepare.sql"), format!("{tables}\n{rows}")).unwrap();
    let environment = [
        ("HOOKWRIGHT_ADDRESS", &*format!("http://{address}")),
        ("HOOKWRIGHT_TOKEN", &token),
        ("DATABASE_URL", database.url()),
    ];
    let prepare = "psql \"$DATABASE_URL\" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file prepare.sql";
    bash(prepare, directory.path(), &environment).await;
    let commands = guide.commands();
    let (import, publish) = commands.split_once("rm installation.jsonl").unwrap();
    let printed = bash(import, directory.path(), &environment).await;
    assert!(printed.ends_with("\n2 created\n"), "{printed}");

    let acme = installation.webhooks("organizations/acme").await.remove(0);
    assert_eq!(acme.events, ["checksheet", "clocking"], "of both rows");
    assert_eq!((acme.active, &*acme.description), (Some(false), "webhooks.id 1, 2"));
    assert_eq!(acme.headers["Authorization"], "Bearer x");
    let globex = installation.webhooks("organizations/globex").await;
    assert_eq!(globex.len(), 1);
    assert_eq!(globex[0].events, ["*"]);

    installation.activate(&acme).await;
    let published = bash(publish, directory.path(), &environment).await;
    assert_eq!(published, "published 1, repeated 0, refused 0\n");
    let moved = wait_for_events(&customer, 1).await;
    assert_eq!(text(&moved[0].body), r#"{"action": "created","clocking":{"id":"C-1"}}"#);
    let list = ListDeliveriesRequest {
        parent: "organizations/acme".to_owned(),
        event_type: "clocking".to_owned(),
        ..ListDeliveriesRequest::default()
    };
    let listed = installation.clients.deliveries.list_deliveries(list).await.unwrap();
    let delivery = listed.into_inner().deliveries.remove(0);
    assert_eq!(
        installation.delivered(&delivery.name).await.state(),
        DeliveryState::Delivered
    );
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
