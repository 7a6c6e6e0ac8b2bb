//! Each command on deliveries, replays and schemas, in each format.

use hookwright_testkit::{Receiver, until};
use serde_json::Value;

use super::shell::Shell;
use crate::support::{ACME, CLOCKING, Installation, On, id_of, on_both_stores, webhook};

/// Runs a command that changes nothing in every format. Returns the table, and the answer, which must be the same in
/// JSON and YAML.
async fn in_every_format(shell: &Shell, arguments: &[&str]) -> (String, Value) {
    let table = shell.text(arguments).await;
    let json = shell.json(arguments).await;
    assert_eq!(json, shell.yaml(arguments).await, "{arguments:?}");
    (table, json)
}

fn assert_shows(table: &str, parts: &[&str]) {
    for part in parts {
        assert!(table.contains(part), "{part}: {table}");
    }
}

on_both_stores! {
    async fn deliveries_are_replayed_and_counted(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let webhook = installation.webhook(&receiver, &["clocking"]).await;
        let published = installation.publish("clocking", CLOCKING).await;
        let shell = Shell::at(&installation);
        receiver.wait_for(2).await;
        let delivery = answered(&shell, &["deliveries", "list", "--event", id_of(&published.event)], |list| {
            let one = &list["deliveries"][0];
            (one["state"] == "DELIVERY_STATE_DELIVERED").then(|| one["name"].as_str().unwrap().to_owned())
        })
        .await;
        let (table, _) = in_every_format(&shell, &["deliveries", "get", &delivery]).await;
        assert!(!table.contains("replay"), "{table}");

        // A single delivery, once in each format.
        let one = id_of(&delivery);
        assert_shows(&shell.text(&["deliveries", "replay", one]).await, &["a replay", "clocking"]);
        let again = shell.json(&["deliveries", "replay", &delivery, "--request-id", "again"]).await;
        assert_eq!(again["replay"], true);
        let repeated = shell.yaml(&["deliveries", "replay", one, "--request-id", "again"]).await;
        assert_eq!(repeated["name"], again["name"], "the request id is known");
        receiver.wait_for(4).await;
        assert_shows(&shell.text(&["deliveries", "list"]).await, &["CREATED", "(replay)"]);

        // Many deliveries at once. A dry run only counts them.
        let create = ["replays", "create", "--webhook", id_of(&webhook.name), "--state", "delivered"];
        let dry = shell.json(&[&create[..], &["--dry-run", "--event-type", "clocking"]].concat()).await;
        assert_eq!((&dry["state"], &dry["matchedCount"]), (&"REPLAY_STATE_SUCCEEDED".into(), &"1".into()), "{dry}");
        let table = shell.text(&[&create[..], &["--since", "1h", "--rate", "1000"]].concat()).await;
        assert_shows(&table, &["succeeded", "100 %", "replayed:", "at most 1000/s"]);
        receiver.wait_for(5).await;
        let begun = shell.yaml(&[&create[..], &["--yes", "--no-wait", "--request-id", "once"]].concat()).await;
        let replay = begun["name"].as_str().unwrap();
        let followed = shell.json(&["replays", "follow", replay]).await;
        assert_eq!((&followed["name"], &followed["replayedCount"]), (&begun["name"], &"1".into()));
        receiver.wait_for(6).await;
        let (table, got) = in_every_format(&shell, &["replays", "get", id_of(replay)]).await;
        assert_shows(&table, &["succeeded", id_of(replay)]);
        assert_eq!(got, followed);
        let (table, list) = in_every_format(&shell, &["replays", "list"]).await;
        assert_eq!(list["replays"].as_array().unwrap().len(), 3, "{list}");
        assert_shows(&table, &["REPLAY", "PROGRESS", "would be replayed"]);
        let ended = shell.failure(1, &["replays", "cancel", replay]).await;
        assert!(ended.contains("FAILED_PRECONDITION"), "{ended}");

        // The server stores statistics every ten seconds.
        let stats = ["deliveries", "stats", "--webhook", id_of(&webhook.name)];
        answered(&shell, &stats, |stats| (stats["total"]["deliveredCount"] == "6").then_some(())).await;
        let (table, stats) = in_every_format(&shell, &stats).await;
        assert_shows(&table, &["ATTEMPTS", "SUCCESS", "P95", "LATENCY P50", "TOTAL", "100.0 %", " ms"]);
        assert!(stats["total"]["attemptDuration"]["p99"].is_string(), "{stats}");
        in_every_format(&shell, &["deliveries", "stats", "--period", "hour", "--since", "3h"]).await;
        in_every_format(&shell, &["deliveries", "stats", "--installation"]).await;
    }

    async fn deliveries_are_pulled(on: On) {
        let mut installation = Installation::start(on).await;
        let shell = Shell::at(&installation);
        let created = shell.json(&["webhooks", "create", "--pull", "--event-type", "clocking"]).await;
        assert_eq!(created["deliveryMode"], "DELIVERY_MODE_PULL");
        let webhook = id_of(created["name"].as_str().unwrap());
        let both = ["webhooks", "create", "--pull", "--event-type", "clocking", "--payload-url", "http://127.0.0.1:1"];
        shell.failure(2, &both).await;
        let (table, _) = in_every_format(&shell, &["webhooks", "get", webhook]).await;
        assert_shows(&table, &["delivery mode:", "pull"]);
        assert_shows(&shell.text(&["webhooks", "list"]).await, &["(pull)"]);

        let pull = ["deliveries", "pull", webhook, "--wait", "20s", "--max", "1"];
        let table = shell.text(&pull).await;
        assert_shows(&table, &["ACK ID", "ping"]);
        let ping = table.lines().nth(1).unwrap().split_whitespace().last().unwrap().to_owned();
        let acknowledge = ["deliveries", "acknowledge", webhook];
        assert_shows(&shell.text(&[&acknowledge[..], &[&ping]].concat()).await, &["Acknowledged 1."]);
        let stale = shell.run(&[&acknowledge[..], &[&ping, "--output", "json"]].concat()).await;
        assert_eq!(stale.status.code(), Some(1), "it was acknowledged already");
        let stale: Value = serde_json::from_slice(&stale.stdout).unwrap();
        assert_eq!(stale["staleAckIds"][0], ping.as_str());

        installation.publish("clocking", CLOCKING).await;
        let first = shell.json(&[&pull[..], &["--ack-timeout", "10m"]].concat()).await;
        let first = first["deliveries"][0].clone();
        assert_eq!((&first["eventType"], &first["attempt"]), (&"clocking".into(), &1.into()));
        let extend = ["deliveries", "extend", webhook, first["ackId"].as_str().unwrap()];
        assert_shows(&shell.text(&[&extend[..], &["--ack-timeout", "1h"]].concat()).await, &["Extended 1."]);
        shell.yaml(&[&extend[..], &["--ack-timeout", "1h"]].concat()).await;
        assert_shows(&shell.text(&["deliveries", "pull", webhook]).await, &["No pending deliveries"]);
        assert_shows(&shell.text(&extend).await, &["Released 1."]);
        let second = shell.yaml(&pull).await;
        let second = &second["deliveries"][0];
        assert_eq!((&second["delivery"], &second["attempt"]), (&first["delivery"], &2.into()));
        shell.yaml(&[&acknowledge[..], &[second["ackId"].as_str().unwrap()]].concat()).await;
        let delivery = shell.json(&["deliveries", "get", first["delivery"].as_str().unwrap()]).await;
        assert_eq!(delivery["state"], "DELIVERY_STATE_DELIVERED");
    }
}

#[tokio::test]
async fn webhooks_are_paused_and_resumed() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    receiver.respond(503);
    let created = installation
        .create_webhook(webhook(&receiver.url("/"), &["clocking"]))
        .await
        .unwrap();
    let shell = Shell::at(&installation);
    let one = id_of(&created.name);
    let waiting = ["deliveries", "list", "--state", "retrying"];
    answered(&shell, &waiting, |list| list["deliveries"].is_array().then_some(())).await;
    shell.text(&["webhooks", "update", one, "--active", "false"]).await;
    let resumed = shell.json(&["webhooks", "resume", one, "--discard-backlog"]).await;
    assert_eq!(
        (&resumed["webhook"]["active"], &resumed["discardedCount"]),
        (&true.into(), &"1".into())
    );
    for format in ["table", "yaml"] {
        shell.text(&["webhooks", "update", one, "--active", "false"]).await;
        let shown = shell.text(&["webhooks", "resume", one, "--output", format]).await;
        assert!(shown.contains("active"), "{shown}");
    }
}

#[tokio::test]
async fn schemas_have_a_history() {
    let installation = Installation::start(On::Sqlite).await;
    let shell = Shell::at(&installation);
    let narrow = r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#;
    let wide = r#"{"type":"object","properties":{"n":{"type":"number"}}}"#;
    shell
        .text(&["event-types", "create", "order", "--schema", narrow])
        .await;
    let update = ["event-types", "update", "order", "--schema", wide];
    let refused = shell.failure(1, &update).await;
    assert!(refused.contains("FAILED_PRECONDITION"), "{refused}");
    let allowed = [&update[..], &["--allow-breaking-schema"]].concat();
    let validated = shell.json(&[&allowed[..], &["--validate-only"]].concat()).await;
    assert_eq!(validated["jsonSchema"], wide);
    let for_people = shell.text(&[&allowed[..], &["--validate-only"]].concat()).await;
    assert!(for_people.starts_with("Valid; nothing was changed."), "{for_people}");
    let (_, unchanged) = in_every_format(&shell, &["event-types", "get", "order"]).await;
    assert_eq!(
        (&unchanged["jsonSchema"], &unchanged["schemaVersion"]),
        (&narrow.into(), &1.into())
    );
    assert_shows(&shell.text(&allowed).await, &["schema version:"]);
    let (table, list) = in_every_format(&shell, &["event-types", "schemas", "order"]).await;
    let versions: Vec<_> = list["schemas"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["version"])
        .collect();
    assert_eq!(versions, [2, 1], "newest first");
    assert_shows(&table, &["version:", narrow, wide]);
    assert_shows(&shell.text(&["event-types", "list"]).await, &["VERSION"]);
}

#[tokio::test]
async fn lines_are_published_over_a_stream_or_in_batches() {
    let installation = Installation::start(On::Sqlite).await;
    let shell = Shell::at(&installation);
    let file = shell.path("events");
    let lines: Vec<String> = (0..25).map(|number| format!("{{\"number\":{number}}}")).collect();
    std::fs::write(&file, format!("{}\nnothing\n", lines.join("\n"))).unwrap();
    shell.text(&["event-types", "create", "number"]).await;
    let publish = [
        "publish",
        "--event-type",
        "number",
        "--json-lines",
        file.to_str().unwrap(),
    ];
    for way in [&["--request-id", "a"][..], &["--request-id", "b", "--batch", "10"]] {
        let arguments = [&publish[..], way].concat();
        let output = shell.run(&arguments).await;
        let (stdout, stderr) = (super::shell::text(&output.stdout), super::shell::text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "one line is no JSON: {stderr}");
        assert!(
            stdout.contains("published 25 events") && stdout.contains("1 refused"),
            "{stdout}"
        );
        assert!(stderr.contains("line 26: INVALID_ARGUMENT"), "{stderr}");
        assert!(
            !stderr.contains(['\r', '\u{1b}']),
            "no progress bar is written to a pipe: {stderr:?}"
        );
        // For programs, every repetition prints one JSON answer on one line.
        let output = shell.run(&[&arguments[..], &["--output", "json"]].concat()).await;
        let answers = super::shell::text(&output.stdout);
        let answers: Vec<Value> = answers
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(answers.len(), 26);
        let repeated = answers
            .iter()
            .filter(|one| one["result"]["published"]["repeatedRequest"] == true);
        assert_eq!(repeated.count(), 25);
    }
    let events = shell.json(&["events", "list", "--limit", "1000"]).await;
    assert_eq!(events["events"].as_array().unwrap().len(), 50);
    assert!(events["events"][0]["name"].as_str().unwrap().starts_with(ACME));
}

/// Repeats a command until its answer is as expected.
async fn answered<T>(shell: &Shell, arguments: &[&str], found: impl Fn(&Value) -> Option<T>) -> T {
    until(&format!("an answer to {arguments:?}"), async || {
        let answer = shell.json(arguments).await;
        found(&answer).ok_or(answer)
    })
    .await
}
