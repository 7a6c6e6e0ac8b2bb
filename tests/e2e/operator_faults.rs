//! What the operator's own parts do to deliveries: they wait, and no webhook is blamed. And what the store refuses, or slows down.

use std::{net::SocketAddr, time::Duration};

use hookwright_delivery::clock;
use hookwright_proto::v1::{
    DeliveryState, ErrorClass, GetWebhookRequest, ListAttemptsRequest, ListDeliveriesRequest, RetrySchedule, Webhook,
};
use hookwright_testkit::{Past, Receiver, Response, receiver::Gate, server::TestServerBuilder, until};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::{
    access::get,
    support::{CLOCKING, Installation, On, event, on_both_stores, wait_for_events, webhook},
};

/// An egress proxy that makes every tunnel it is asked for.
async fn egress_proxy(address: SocketAddr) -> tokio::task::JoinHandle<()> {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(tunnel(client));
        }
    })
}

/// A proxy that makes every tunnel but those to two addresses: at the first it waits without end, and for the second it closes
/// the connection without an answer.
async fn proxy_without(waits: SocketAddr, closes: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let Some(target) = asked_for(&mut client).await else {
                    return;
                };
                if target == waits.to_string() {
                    // Until the client gives up.
                    let _ = client.read_line(&mut String::new()).await;
                } else if target != closes.to_string() {
                    connect_through(client, &target).await;
                }
            });
        }
    });
    address
}

async fn tunnel(client: TcpStream) {
    let mut client = BufReader::new(client);
    if let Some(target) = asked_for(&mut client).await {
        connect_through(client, &target).await;
    }
}

/// The target that a client asks for by CONNECT.
async fn asked_for(client: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if client.read_line(&mut head).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    Some(head.split(' ').nth(1).unwrap().to_owned())
}

async fn connect_through(mut client: BufReader<TcpStream>, target: &str) {
    let mut server = TcpStream::connect(target).await.unwrap();
    client
        .get_mut()
        .write_all(b"HTTP/1.1 200 Connected\r\n\r\n")
        .await
        .unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

/// An address that nothing listens at.
async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

impl Installation {
    async fn get_webhook(&mut self, name: &str) -> Webhook {
        let request = GetWebhookRequest { name: name.to_owned() };
        self.clients.webhooks.get_webhook(request).await.unwrap().into_inner()
    }

    async fn metric_until(&self, name: &str, expected: impl Fn(f64) -> bool) -> f64 {
        until(&format!("the metric {name}"), async || {
            let value = self.metric(&format!("hookwright_{name}")).await;
            if expected(value) { Ok(value) } else { Err(value) }
        })
        .await
    }
}

on_both_stores! {
    async fn b01_a_proxy_that_is_down_pauses_sending_and_blames_no_webhook(on: On) {
        let address = free_address().await;
        let mut installation = Installation::start_with(on, |server| {
            server
                .arg("--egress-proxy", &format!("http://{address}"))
                .arg("--disable-after", "1s")
                .arg("--retry-delay", "1s")
        })
        .await;
        let receiver = Receiver::start().await;
        let created = installation.create_webhook(webhook(&receiver.url("/"), &["clocking"])).await.unwrap();
        for _ in 0..3 {
            installation.publish("clocking", CLOCKING).await;
        }
        installation.metric_until("sending_paused", |paused| paused == 1.0).await;
        // The pause lasts for longer than the time after which a webhook that only fails is disabled.
        installation.metric_until("stalled_seconds", |seconds| seconds >= 3.0).await;
        let ready = get(installation.server.http_address(), "/readyz").await;
        assert!(ready.contains("200 OK") && ready.contains("sending is paused: proxy") && ready.contains("egress-proxy"), "{ready}");
        assert_eq!(installation.metric("hookwright_operator_faults{part=\"proxy\"}").await, 1.0);
        let warnings = installation.server.stderr().lines().filter(|line| line.contains("sending is paused")).count();
        assert_eq!(warnings, 1, "{}", installation.server.stderr());
        assert_eq!(installation.get_webhook(&created.name).await.active, Some(true));

        let _proxy = egress_proxy(address).await;
        wait_for_events(&receiver, 3).await;
        let to_webhook = ListDeliveriesRequest { webhook: created.name.clone(), ..Default::default() };
        for delivery in installation.deliveries_until(to_webhook, 4).await {
            let delivery = installation.delivered(&delivery.name).await;
            assert_eq!(delivery.attempt_count, 1, "no retry was used up: {delivery:?}");
        }
        installation.metric_until("sending_paused", |paused| paused == 0.0).await;
        let ready = get(installation.server.http_address(), "/readyz").await;
        assert!(!ready.contains("degraded"), "{ready}");
        assert_eq!(installation.get_webhook(&created.name).await.active, Some(true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b01_receivers_that_a_proxy_does_not_reach_pause_nothing_and_fail() {
    let receiver = Receiver::start().await;
    let (waits, closes) = (free_address().await, free_address().await);
    let proxy = proxy_without(waits, closes).await;
    let mut installation = Installation::start_with(On::Sqlite, |server| {
        server
            .arg("--egress-proxy", &format!("http://{proxy}"))
            .arg("--disable-after", "1s")
            .arg("--retry-delay", "1s")
    })
    .await;
    for event_type in ["waits", "closes"] {
        installation.register(event_type).await;
    }
    let second = prost_types::Duration { seconds: 1, nanos: 0 };
    let black_hole = Webhook {
        timeout: Some(second),
        ..webhook(&format!("http://{waits}/"), &["waits"])
    };
    let black_hole = installation.create_webhook(black_hole).await.unwrap();
    let gone = webhook(&format!("http://{closes}/"), &["closes"]);
    let gone = installation.create_webhook(gone).await.unwrap();
    for _ in 0..4 {
        installation.publish("waits", "{}").await;
    }
    let good = installation.webhook(&receiver, &["clocking"]).await;

    // The attempts count: each uses up a retry, and the deliveries fail.
    let failed = |webhook: &Webhook| ListDeliveriesRequest {
        webhook: webhook.name.clone(),
        states: vec![DeliveryState::Failed.into()],
        ..Default::default()
    };
    for delivery in installation.deliveries_until(failed(&black_hole), 5).await {
        assert_eq!(
            (delivery.attempt_count, delivery.last_error_class()),
            (2, ErrorClass::Timeout),
            "{delivery:?}"
        );
    }
    // And for the webhook's health.
    until("the webhook to be disabled", async || {
        installation.publish("closes", "{}").await;
        let found = installation.get_webhook(&gone.name).await;
        if found.active == Some(false) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    let delivery = installation.deliveries_until(failed(&gone), 1).await.remove(0);
    assert_eq!(delivery.last_error_class(), ErrorClass::Connect, "{delivery:?}");

    // Others never noticed.
    installation.publish("clocking", CLOCKING).await;
    wait_for_events(&receiver, 1).await;
    assert_eq!(installation.get_webhook(&good.name).await.active, Some(true));
    let log = installation.server.stderr();
    assert!(
        !log.contains("sending is paused") && !log.contains("a part of the operator's fails"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b01_a_server_without_descriptors_pauses_sending_and_uses_up_no_retry() {
    let mut installation = Installation::start_with(On::Sqlite, |server| {
        server.arg("--disable-after", "1s").arg("--retry-delay", "1s")
    })
    .await;
    let receiver = Receiver::start().await;
    // Each attempt needs a connection of its own.
    receiver.answer(Response::new(200).close());
    let created = installation.webhook(&receiver, &["clocking"]).await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(installation.server.pid()).unwrap());
    let limit = |limit: rustix::process::Rlimit| {
        rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit).unwrap()
    };
    let before = limit(rustix::process::getrlimit(rustix::process::Resource::Nofile));
    limit(rustix::process::Rlimit {
        current: Some(3),
        maximum: before.maximum,
    });
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(installation.publish("clocking", CLOCKING).await.event);
    }
    until("sending to be paused", async || {
        let log = installation.server.stderr();
        let said = log
            .lines()
            .any(|line| line.contains("sending is paused") && line.contains("descriptors"));
        if said { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(receiver.request_count(), 1, "the ping");
    limit(before);
    wait_for_events(&receiver, 3).await;
    for event in events {
        let of_event = ListDeliveriesRequest {
            event,
            ..Default::default()
        };
        let delivery = installation.deliveries_until(of_event, 1).await.remove(0);
        let delivery = installation.delivered(&delivery.name).await;
        assert_eq!(delivery.attempt_count, 1, "no retry was used up: {delivery:?}");
    }
    installation
        .metric_until("sending_paused", |paused| paused == 0.0)
        .await;
    assert_eq!(installation.get_webhook(&created.name).await.active, Some(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b01_with_its_own_figures() {
    let mut installation = Installation::start_with(On::Sqlite, |server| {
        server
            .arg("--egress-proxy", "http://127.0.0.1:9")
            .arg("--disable-after", "5s")
    })
    .await;
    let delay = prost_types::Duration { seconds: 1, nanos: 0 };
    let wanted = Webhook {
        retry_schedule: Some(RetrySchedule {
            delays: vec![delay; 25],
        }),
        ..webhook("http://127.0.0.1:4567/", &["clocking"])
    };
    let created = installation.create_webhook(wanted).await.unwrap();
    for _ in 0..3 {
        installation.publish("clocking", CLOCKING).await;
    }
    installation
        .metric_until("stalled_seconds", |seconds| seconds >= 15.0)
        .await;
    assert_eq!(installation.get_webhook(&created.name).await.active, Some(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_the_store_refuses_holds_up_no_other() {
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
    /// Changes the tables behind the server's back.
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
        // Nothing else is committed meanwhile: a caller that tries again would do so without end.
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
        // The row of the second retry is refused, and so the second attempt's outcome in every form. Its delivery was read from the
        // store, so that no note of it is stored either.
        installation
            .alter(
                "CREATE TRIGGER poison BEFORE INSERT ON pending_deliveries WHEN NEW.attempts = 2
                     BEGIN SELECT RAISE(ABORT, 'poison'); END",
                "ALTER TABLE pending_deliveries ADD CHECK (attempts <> 2)",
            )
            .await;
        receiver.answer_in_turn([500, 500, 200]);
        installation.publish("clocking", CLOCKING).await;
        until("the outcome to be given up", async || {
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
        assert_eq!(installation.metric("hookwright_commit_failures_total").await, failures, "it is not tried again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_takes_too_long_is_repeated_in_smaller_parts() {
    const WEBHOOKS: usize = 8;
    const EVENTS: usize = 50;
    // Every commit of more than 100 outcomes takes too long.
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
    // No outcome can be stored while all of them come in.
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
async fn b19_a_reader_of_the_file_is_told_of_and_the_log_shrinks_afterwards() {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_nodes_old_failures_do_not_disable_a_webhook_that_another_serves_well() {
    let (mut first, mut other, database) =
        crate::cluster::two_nodes_with("5s", |server| server.arg("--disable-after", "2s")).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(|request| {
        let fails = request.json()["fails"] == true;
        Response::new(if fails { 500 } else { 200 })
    });
    first.register("numbered").await;
    let wanted = Webhook {
        retry_schedule: Some(RetrySchedule {
            delays: vec![prost_types::Duration {
                seconds: 3_600,
                nanos: 0,
            }],
        }),
        ..webhook(&receiver.url("/"), &["numbered"])
    };
    let created = first.create_webhook(wanted).await.unwrap();
    let in_state = |state: DeliveryState| ListDeliveriesRequest {
        webhook: created.name.clone(),
        event_type: "numbered".to_owned(),
        states: vec![state.into()],
        ..Default::default()
    };
    let retrying = in_state(DeliveryState::Retrying);
    for count in 1..=20 {
        first.publish("numbered", r#"{"fails":true}"#).await;
        first.deliveries_until(retrying.clone(), count).await;
    }
    let (store, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    // Since when it fails, in microseconds, and how often it did.
    let health = async || -> Vec<(i64, i32)> {
        let rows = store
            .query("SELECT failing_since, failures FROM webhook_health", &[])
            .await
            .unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let known = health().await;
    assert_eq!((known.len(), known[0].1), (1, 20));
    let since = known[0].0;
    until("the time after which it would be disabled", async || {
        let failing = clock::now_us() - since;
        if failing > 3_000_000 { Ok(()) } else { Err(failing) }
    })
    .await;
    for _ in 0..5 {
        other.publish_as("numbered", "{}").await;
    }
    first.deliveries_until(in_state(DeliveryState::Delivered), 5).await;
    first.publish("numbered", r#"{"fails":true}"#).await;
    first.deliveries_until(retrying.clone(), 21).await;
    // By then the first node has long decided.
    for _ in 0..50 {
        other.publish_as("numbered", "{}").await;
    }
    let found = first.get_webhook(&created.name).await;
    assert_eq!(found.active, Some(true), "{found:?}");
    assert!(
        health()
            .await
            .iter()
            .all(|(failing, failures)| *failing > since && *failures <= 1),
        "{:?}",
        health().await
    );

    // With nothing but failures at both nodes it is disabled, by the sum of them.
    let begun = std::time::Instant::now();
    until("it to be disabled", async || {
        let found = first.get_webhook(&created.name).await;
        if found.active == Some(false) {
            return Ok(());
        }
        first.publish("numbered", r#"{"fails":true}"#).await;
        other.publish_as("numbered", r#"{"fails":true}"#).await;
        Err(format!("{found:?}"))
    })
    .await;
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "not before it has failed for long enough"
    );
}
