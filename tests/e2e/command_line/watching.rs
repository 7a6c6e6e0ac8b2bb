//! `deliveries watch`, and following a replay.

use std::process::Stdio;

use hookwright_testkit::{DEADLINE, Receiver, until};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::{
    relay::Relay,
    shell::{BINARY, Shell, text},
};
use crate::support::{CLOCKING, Installation, On, id_of, on_both_stores, wait_for_events};

/// How long a watch may take to report a delivery before the test publishes another one: the watch may not have begun.
const SOON: std::time::Duration = std::time::Duration::from_secs(2);

on_both_stores! {
    async fn deliveries_are_watched_through_a_restart(on: On) {
        let mut installation = Installation::start(on).await;
        let receiver = Receiver::start().await;
        let webhook = installation.webhook(&receiver, &["clocking"]).await;
        let relay = Relay::start(installation.server.grpc_address()).await;
        let shell = Shell::at_address(&installation, &relay.address.to_string());

        let mut table = shell.start(&["deliveries", "watch"]);
        assert!(table.line().await.contains("STATE"));
        let mut lines = shell.start(&["deliveries", "watch", "--event-type", "clocking", "--output", "json"]);
        let mut failed = shell.start(&["deliveries", "watch", "--error", "status", "--output", "yaml"]);
        // A watch begins when the server has accepted it, and does not report earlier deliveries.
        let first = until("the first delivery to be reported", async || {
            installation.publish("clocking", CLOCKING).await;
            tokio::time::timeout(SOON, lines.line()).await
        })
        .await;
        let first: Value = serde_json::from_str(&first).unwrap();
        assert_eq!(first["webhook"], webhook.name.as_str());
        assert!(table.line_with("clocking").await.contains("delivered"));

        installation.restart().await;
        relay.point(installation.server.grpc_address());
        receiver.respond(500);
        let published = installation.publish("clocking", CLOCKING).await;
        let event = until("the delivery to be retried", async || {
            let seen: Value = serde_json::from_str(&lines.line().await).unwrap();
            let is_it = seen["event"] == published.event.as_str() && seen["state"] == "DELIVERY_STATE_RETRYING";
            if is_it { Ok(seen) } else { Err(seen) }
        })
        .await;
        assert_eq!(event["lastResponseStatus"], 500);
        assert!(table.line_with("retrying").await.contains(id_of(event["name"].as_str().unwrap())));
        assert_eq!(failed.line().await, "---");
        failed.line_with("lastErrorClass: ERROR_CLASS_STATUS").await;
        lines.said("answers again").await;

        assert_eq!(table.interrupt().await, Some(0), "{}", table.stderr());
        lines.signal(Signal::TERM);
        assert_eq!(lines.wait().await.code(), Some(0), "{}", lines.stderr());
        let mut one = shell.start(&["deliveries", "watch", "--state", "retrying", "--count", "1"]);
        assert!(one.line().await.contains("STATE"));
        let ended = until("the watch of one delivery to end", async || {
            installation.publish("clocking", CLOCKING).await;
            tokio::time::timeout(SOON, one.wait()).await
        })
        .await;
        assert_eq!(ended.code(), Some(0), "one was enough");
        let gone = shell.failure(1, &["deliveries", "watch", "--organization", "nobody"]).await;
        assert!(gone.contains("NOT_FOUND"), "{gone}");
    }
}

#[tokio::test]
async fn a_replay_continues_when_nobody_follows_it() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    for _ in 0..4 {
        installation.publish("clocking", CLOCKING).await;
    }
    wait_for_events(&receiver, 4).await;
    let shell = Shell::at(&installation);
    let create = ["replays", "create", "--state", "delivered", "--yes"];
    let mut following = shell.start(&[&create[..], &["--rate", "0.01"]].concat());
    let replay = until("the replay", async || {
        let list = shell.json(&["replays", "list"]).await;
        let name = list["replays"][0]["name"].as_str().map(str::to_owned);
        name.ok_or_else(|| list.to_string())
    })
    .await;
    // The command is interrupted while it follows the replay, after the replay has begun.
    until("a replayed delivery", async || {
        let found = shell.json(&["replays", "get", &replay]).await;
        if found["replayedCount"] == "1" {
            Ok(())
        } else {
            Err(found)
        }
    })
    .await;
    assert_eq!(following.interrupt().await, Some(130));
    let said = following.stderr();
    for command in ["get", "follow", "cancel"] {
        assert!(
            said.contains(&format!("hookwright replays {command} {replay}")),
            "{said}"
        );
    }
    assert_eq!(
        shell.json(&["replays", "get", &replay]).await["state"],
        "REPLAY_STATE_RUNNING"
    );
    let mut following = shell.start(&["replays", "follow", &replay]);
    let cancelled = shell.text(&["replays", "cancel", id_of(&replay)]).await;
    assert!(cancelled.contains("cancelled"), "{cancelled}");
    assert_eq!(following.wait().await.code(), Some(1), "it did not succeed");
}

#[tokio::test]
async fn a_bar_is_drawn_on_a_terminal_alone() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    installation.publish("clocking", CLOCKING).await;
    wait_for_events(&receiver, 1).await;
    let shell = Shell::at(&installation);
    let create = ["replays", "create", "--state", "delivered", "--yes", "--rate", "1"];
    // `script` runs a command on its own terminal.
    let line = format!("{BINARY} {}", create.join(" "));
    let on_terminal = shell.program("script", &["-qec", &line, "/dev/null"]).output();
    let on_terminal = tokio::time::timeout(DEADLINE, on_terminal).await.unwrap().unwrap();
    let drawn = text(&on_terminal.stdout);
    assert!(on_terminal.status.success(), "{drawn}");
    assert!(drawn.contains(" replayed") && drawn.contains('\u{1b}'), "{drawn:?}");
    let piped = shell.run(&create).await;
    assert_eq!(text(&piped.stderr), "");
    assert!(!text(&piped.stdout).contains('\u{1b}'));
}

#[tokio::test]
async fn all_that_is_kept_is_counted_and_asked_for_before_it_is_replayed() {
    let mut installation = Installation::start(On::Sqlite).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["clocking"]).await;
    for _ in 0..2 {
        installation.publish("clocking", CLOCKING).await;
    }
    wait_for_events(&receiver, 2).await;
    let shell = Shell::at(&installation);
    let create = ["replays", "create", "--state", "delivered", "--event-type", "clocking"];
    let refused = shell.failure(2, &create).await;
    assert!(refused.contains("--yes") && refused.contains("--since"), "{refused}");
    let line = format!("{BINARY} {}", create.join(" "));
    for (answer, continues) in [("n\n", false), ("\n", false), ("y\n", true)] {
        let mut command = shell.program("script", &["-qec", &line, "/dev/null"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut typed = child.stdin.take().unwrap();
        typed.write_all(answer.as_bytes()).await.unwrap();
        let ended = tokio::time::timeout(DEADLINE, child.wait_with_output())
            .await
            .unwrap()
            .unwrap();
        let shown = text(&ended.stdout);
        assert!(
            shown.contains("2 would be replayed") && shown.contains("Continue?"),
            "{shown:?}"
        );
        assert_eq!(ended.status.success(), continues, "{answer:?}: {shown:?}");
        assert_eq!(shown.contains("Nothing was replayed"), !continues, "{shown:?}");
    }
    wait_for_events(&receiver, 4).await;
}
