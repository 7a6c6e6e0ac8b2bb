//! A store that refuses rows or slows down, and sessions that hold it back.

use hookwright_proto::v1::{DeliveryState, ErrorClass, ListAttemptsRequest, ListDeliveriesRequest};
use hookwright_testkit::{Past, Receiver, Response, receiver::Gate, server::TestServerBuilder, until};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    access::get,
    support::{CLOCKING, Installation, On, event, on_both_stores, wait_for_events, webhook},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_the_store_refuses_delays_no_other() {
    let mut installation = Installation::start(On::Postgres).await;
    let database = installation.postgres().await;
    installation.register("poison").await;
    let good = Receiver::start().await;
    let odd = Receiver::start().await;
    installation.webhook(&good, &["clocking", "poison"]).await;
    let odd_one = installation.webhook(&odd, &["clocking"]).await;
    database
        .batch_execute(
            "ALTER TABLE attempts ADD CHECK (response_body IS NULL OR response_body <> 'poison'::bytea);
             ALTER TABLE events ADD CHECK (event_type <> 'poison')",
        )
        .await
        .unwrap();
    odd.answer(Response::new(200).body("poison"));
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..60 {
        let mut events = installation.clients.events.clone();
        let event_type = if at % 20 == 7 { "poison" } else { "clocking" };
        calls.spawn(async move { (at, events.publish_event(event(event_type, CLOCKING)).await) });
    }
    let answers = calls.join_all().await;
    for (at, answer) in answers {
        match answer {
            Ok(_) => assert!(at % 20 != 7, "the store refuses event {at}"),
            Err(status) => {
                assert!(at % 20 == 7, "event {at}: {status}");
                assert!(
                    !status.message().contains("check") && !status.message().contains("events"),
                    "{status}"
                );
            }
        }
    }
    wait_for_events(&good, 57).await;
    wait_for_events(&odd, 57).await;
    let to_odd = ListDeliveriesRequest {
        webhook: odd_one.name.clone(),
        event_type: "clocking".to_owned(),
        ..Default::default()
    };
    for delivery in installation.deliveries_until(to_odd, 57).await {
        let delivery = installation.delivered(&delivery.name).await;
        let request = ListAttemptsRequest {
            parent: delivery.name,
            ..ListAttemptsRequest::default()
        };
        let attempts = installation
            .clients
            .deliveries
            .list_attempts(request)
            .await
            .unwrap()
            .into_inner()
            .attempts;
        assert_eq!(attempts.len(), 1);
        assert_eq!(
            (attempts[0].error_class(), &attempts[0].response_body[..]),
            (ErrorClass::Unspecified, &b""[..])
        );
    }
    installation
        .metric_until("deliveries_in_memory", |count| count == 0.0)
        .await;
    installation.metric_until("memory_bytes", |bytes| bytes == 0.0).await;
}

impl Installation {
    /// Changes the tables without the server's knowledge.
    async fn alter(&self, sqlite: &str, postgres: &str) {
        let (past, text) = match &self.database {
            None => (Past::Sqlite(self.server.data_directory().join("hookwright.db")), sqlite),
            Some(database) => (Past::Postgres(database.url().to_owned()), postgres),
        };
        past.run(text).await.unwrap();
    }
}

on_both_stores! {
    async fn an_event_that_the_store_refuses_alone_is_refused_and_not_put_off(on: On) {
        let mut installation = Installation::start(on).await;
        installation.register("poison").await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking", "poison"]).await;
        installation.metric_until("deliveries_in_memory", |count| count == 0.0).await;
        installation
            .alter(
                "CREATE TRIGGER poison BEFORE INSERT ON events WHEN NEW.event_type = 'poison'
                     BEGIN SELECT RAISE(ABORT, 'poison'); END",
                "ALTER TABLE events ADD CHECK (event_type <> 'poison')",
            )
            .await;
        // No other commit happens meanwhile: without a limit, a caller would retry forever.
        let refused = installation.try_publish(event("poison", "{}")).await.err().unwrap();
        assert_eq!(refused.code(), tonic::Code::Internal, "{refused}");
        installation.publish("clocking", CLOCKING).await;
        wait_for_events(&receiver, 1).await;
        installation.metric_until("deliveries_in_memory", |count| count == 0.0).await;
    }

    async fn an_outcome_that_the_store_refuses_alone_is_given_up(on: On) {
        let mut installation = Installation::start_with(on, |server| server.arg("--retry-delay", "1s").arg("--retry-delay", "1h")).await;
        let receiver = Receiver::start().await;
        installation.webhook(&receiver, &["clocking"]).await;
        installation.metric_until("deliveries_in_memory", |count| count == 0.0).await;
        // The store refuses the row of the second retry, and with it every form of the second attempt's outcome. The
        // delivery was read from the store, so that the engine does not store a note of it either.
        installation
            .alter(
                "CREATE TRIGGER poison BEFORE INSERT ON pending_deliveries WHEN NEW.attempts = 2
                     BEGIN SELECT RAISE(ABORT, 'poison'); END",
                "ALTER TABLE pending_deliveries ADD CHECK (attempts <> 2)",
            )
            .await;
        receiver.answer_in_turn([500, 500, 200]);
        installation.publish("clocking", CLOCKING).await;
        until("the server to give the outcome up", async || {
            let log = installation.server.stderr();
            if log.contains("it is given up") { Ok(()) } else { Err(log) }
        })
        .await;
        installation.metric_until("deliveries_in_memory", |count| count == 0.0).await;
        let ready = get(installation.server.http_address(), "/readyz").await;
        assert!(ready.contains("200 OK"), "{ready}");
        let failures = installation.metric("hookwright_commit_failures_total").await;
        installation.publish("clocking", CLOCKING).await;
        wait_for_events(&receiver, 3).await;
        installation.metric_until("deliveries_in_memory", |count| count == 0.0).await;
        assert_eq!(installation.metric("hookwright_commit_failures_total").await, failures, "the commit is not retried");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_takes_too_long_is_repeated_in_smaller_parts() {
    const WEBHOOKS: usize = 8;
    const EVENTS: usize = 50;
    // Every commit of more than 100 outcomes exceeds the timeout.
    let planted = |server: TestServerBuilder| server.env("HOOKWRIGHT_PLANT", "large-commit-timeout");
    let mut installation = Installation::start_with(On::Postgres, planted).await;
    let database = installation.postgres().await;
    let receiver = Receiver::start().await;
    for _ in 0..WEBHOOKS {
        installation
            .create_webhook(webhook(&receiver.url("/"), &["clocking"]))
            .await
            .unwrap();
    }
    let pings = ListDeliveriesRequest {
        states: vec![DeliveryState::Delivered.into()],
        ..Default::default()
    };
    installation.deliveries_until(pings, WEBHOOKS).await;
    let gate = Gate::new();
    receiver.answer(Response::new(200).after(&gate));
    installation.publish_batch("clocking", CLOCKING, EVENTS).await;
    // The lock keeps outcomes from being stored while all of them arrive.
    database
        .batch_execute("BEGIN; LOCK TABLE attempts IN EXCLUSIVE MODE")
        .await
        .unwrap();
    gate.open();
    wait_for_events(&receiver, WEBHOOKS * EVENTS).await;
    database.batch_execute("COMMIT").await.unwrap();

    let delivered = ListDeliveriesRequest {
        event_type: "clocking".to_owned(),
        states: vec![DeliveryState::Delivered.into()],
        ..Default::default()
    };
    for delivery in installation.deliveries_until(delivered, WEBHOOKS * EVENTS).await {
        assert_eq!(delivery.attempt_count, 1, "{delivery:?}");
    }
    assert_eq!(
        receiver.request_count(),
        WEBHOOKS * (EVENTS + 1),
        "nothing was sent twice"
    );
    assert!(installation.metric("hookwright_commit_failures_total").await >= 1.0);
    // Rows of one transaction have the same xmin.
    let largest: i64 = database
        .query_one(
            "SELECT max(rows) FROM (SELECT count(*) AS rows FROM attempts GROUP BY xmin) AS commits",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert!((1..=100).contains(&largest), "{largest} outcomes in one commit");
    installation
        .metric_until("deliveries_in_memory", |count| count == 0.0)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b19_a_reader_of_the_file_is_reported_and_the_log_shrinks_afterwards() {
    let mut installation = Installation::start(On::Sqlite).await;
    installation.register("large").await;
    let file = installation.server.data_directory().join("hookwright.db");
    let reader = format!(
        "import sqlite3, sys\nc = sqlite3.connect('{}', isolation_level=None)\nc.execute('BEGIN')\nc.execute('SELECT count(*) FROM events').fetchall()\nprint('reading', flush=True)\nsys.stdin.read()\n",
        file.display()
    );
    let mut reader = tokio::process::Command::new(hookwright_testkit::python::python_executable().unwrap())
        .args(["-c", &reader])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("reading"));
    let payload = format!("{{\"filler\":\"{}\"}}", "x".repeat(4_000_000));
    for _ in 0..40 {
        installation.publish("large", &payload).await;
    }
    installation
        .metric_until("sqlite_log_bytes", |bytes| bytes >= f64::from(128 << 20))
        .await;
    until("the warning", async || {
        let stderr = installation.server.stderr();
        if stderr.contains("the write-ahead log grows") {
            Ok(())
        } else {
            Err(stderr)
        }
    })
    .await;
    drop(reader.stdin.take());
    reader.wait().await.unwrap();
    installation
        .metric_until("sqlite_log_bytes", |bytes| bytes <= f64::from(64 << 20))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b30_a_session_that_holds_back_the_vacuum_is_named() {
    let installation =
        Installation::start_with(On::Postgres, |server| server.arg("--long-transaction-after", "1s")).await;
    let database = installation.postgres().await;
    database
        .batch_execute(
            "SET application_name = 'a report that never ends';
             BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM events",
        )
        .await
        .unwrap();
    let pid: i32 = database.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    installation
        .metric_until("longest_transaction_seconds", |seconds| seconds >= 1.0)
        .await;
    let warnings = || -> Vec<String> {
        let stderr = installation.server.stderr();
        stderr
            .lines()
            .filter(|line| line.contains("a transaction of PostgreSQL has been open for long"))
            .map(str::to_owned)
            .collect()
    };
    let found = until("the warning", async || {
        warnings()
            .into_iter()
            .next()
            .ok_or_else(|| installation.server.stderr())
    })
    .await;
    assert!(
        found.contains("a report that never ends") && found.contains(&pid.to_string()),
        "{found}"
    );
    installation
        .metric_until("longest_transaction_seconds", |seconds| seconds >= 3.0)
        .await;
    assert_eq!(warnings().len(), 1, "one warning of one transaction");
    database.batch_execute("COMMIT").await.unwrap();
    installation
        .metric_until("longest_transaction_seconds", |seconds| seconds < 3.0)
        .await;
}
