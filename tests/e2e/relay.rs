//! `hookwright relay`: from an outbox in the user's own PostgreSQL, as a process that is killed like any other.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
};

use hookwright_testkit::{DEADLINE, PostgresCluster, Proxy, Receiver, TestDatabase, until};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use tokio_postgres::{Client, NoTls};

use crate::{
    client::{assert_each_once, numbers},
    support::{Installation, On, on_both_stores, wait_for_events},
};

/// Longer than a test waits: what is found within it was notified.
const NEVER: &str = "1h";

/// An outbox in a database of its own.
struct Shop {
    database: TestDatabase,
    sql: Client,
}

impl Shop {
    async fn start() -> Self {
        let cluster = PostgresCluster::shared().await.unwrap();
        let database = cluster.create_database().await.unwrap();
        let sql = connect(&database).await;
        let shop = Self { database, sql };
        let made = shop.command(&["init", "--apply"]).await;
        assert!(made.status.success(), "{}", text(&made.stderr));
        shop
    }

    /// A subcommand on the outbox.
    async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookwright"));
        command
            .arg("relay")
            .args(arguments)
            .env("HOOKWRIGHT_RELAY_DATABASE_URL", self.database.url())
            .kill_on_drop(true);
        timeout(DEADLINE, command.output()).await.unwrap().unwrap()
    }

    /// Inserts events of these numbers, in one transaction.
    async fn insert(&self, numbers: std::ops::Range<usize>) {
        let sql = "INSERT INTO hookwright_outbox (organization, event_type, payload, attributes) \
                   SELECT 'acme', 'shift', json_build_object('n', n), jsonb_build_object('n', n) \
                   FROM generate_series($1::bigint, $2::bigint - 1) AS n";
        let (from, to) = (as_bigint(numbers.start), as_bigint(numbers.end));
        self.sql.execute(sql, &[&from, &to]).await.unwrap();
    }

    async fn count(&self, condition: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM hookwright_outbox WHERE {condition}");
        self.sql.query_one(&sql, &[]).await.unwrap().get(0)
    }

    /// Waits until so many rows fulfil a condition.
    async fn count_until(&self, condition: &str, expected: impl Fn(i64) -> bool) -> i64 {
        until(&format!("rows that are {condition}"), async || {
            let count = self.count(condition).await;
            if expected(count) { Ok(count) } else { Err(count) }
        })
        .await
    }

    /// Ends the connections of relays to this database.
    async fn end_relay_sessions(&self) {
        let sql = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity \
                   WHERE application_name = 'hookwright relay' AND datname = current_database()";
        self.sql.execute(sql, &[]).await.unwrap();
    }

    async fn drained(&self) {
        self.count_until("true", |count| count == 0).await;
    }
}

/// An installation with an event type that takes any object.
async fn installation(on: On) -> Installation {
    let mut installation = Installation::start(on).await;
    installation.register("shift").await;
    installation
}

async fn connect(database: &TestDatabase) -> Client {
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn as_bigint(n: usize) -> i64 {
    i64::try_from(n).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A relay as a process.
struct Running {
    child: Child,
    log: PathBuf,
    _directory: TempDir,
}

impl Running {
    fn start(shop: &Shop, address: &str, token: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("stderr");
        let child = Command::new(env!("CARGO_BIN_EXE_hookwright"))
            .arg("relay")
            .args(arguments)
            .env("HOOKWRIGHT_RELAY_DATABASE_URL", shop.database.url())
            .env("HOOKWRIGHT_ADDRESS", format!("http://{address}"))
            .env("HOOKWRIGHT_TOKEN", token)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            child,
            log,
            _directory: directory,
        }
    }

    fn of(shop: &Shop, installation: &Installation, arguments: &[&str]) -> Self {
        let token = installation.server.token().unwrap();
        Self::start(shop, installation.server.grpc_address(), &token, arguments)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn logged(&self, what: &str) {
        until(what, async || {
            let log = self.log();
            if log.contains(what) { Ok(()) } else { Err(log) }
        })
        .await;
    }

    async fn ended(&mut self) -> Option<i32> {
        timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap().code()
    }

    async fn kill9(&mut self) {
        self.child.start_kill().unwrap();
        self.ended().await;
    }

    async fn terminate(&mut self) -> Option<i32> {
        let pid = Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.ended().await
    }
}

impl Drop for Running {
    #[expect(
        clippy::print_stderr,
        reason = "what the relay said belongs to the report of the test that failed"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- a relay's standard error:\n{}---", self.log());
        }
    }
}

on_both_stores! {
    async fn a_backlog_comes_through_kills_of_both_sides_once(on: On) {
        const COUNT: usize = 20_000;
        let mut installation = installation(on).await;
        let shop = Shop::start().await;
        shop.insert(0..COUNT).await;
        let proxy = Proxy::start(installation.server.grpc_address().to_owned()).await.unwrap();
        let address = proxy.address().to_string();
        let token = installation.server.token().unwrap();
        let start = || Running::start(&shop, &address, &token, &["--batch-rows", "100"]);
        let mut relay = start();
        for left in [17_000, 13_000, 9_000, 5_000] {
            let left_now = shop.count_until("true", |count| count <= left).await;
            assert!(left_now > 0, "killed in the middle");
            relay.kill9().await;
            if left < 15_000 {
                // The next relay begins while the server is away.
                relay = start();
                installation.server.kill9().await.unwrap();
                installation.restart().await;
                proxy.lead_to(installation.server.grpc_address());
            } else {
                proxy.cut();
                relay = start();
            }
        }
        shop.drained().await;
        assert_eq!(relay.terminate().await, Some(0), "{}", relay.log());
        let numbers = numbers(&installation).await;
        assert!(numbers.is_sorted(), "in the order of the outbox");
        assert_each_once(numbers, COUNT);
    }
}

on_both_stores! {
    async fn what_was_stored_before_the_answer_is_not_stored_again(on: On) {
        const COUNT: usize = 250;
        let directory = tempfile::tempdir().unwrap();
        let (builder, _database) = crate::support::builder(on).await;
        let builder = builder.data_directory(directory.path().join("data"));
        let mut installation = Installation::of(builder.clone().start().await.unwrap()).await;
        installation.create_organization("acme").await;
        installation.register("shift").await;
        installation.server.terminate().await.unwrap();

        let mut dying = builder.clone().env("HOOKWRIGHT_FAILPOINT", "after-commit:2").start().await.unwrap();
        let shop = Shop::start().await;
        shop.insert(0..COUNT).await;
        let proxy = Proxy::start(dying.grpc_address().to_owned()).await.unwrap();
        let token = dying.token().unwrap();
        let mut relay = Running::start(&shop, &proxy.address().to_string(), &token, &["--batch-rows", "100"]);
        assert!(!dying.wait().await.unwrap().success());
        assert_eq!(shop.count("true").await, 150, "the second hundred is stored, and nobody was told");
        let installation = Installation::of(builder.start().await.unwrap()).await;
        assert_eq!(numbers(&installation).await.len(), 200);
        proxy.lead_to(installation.server.grpc_address());
        shop.drained().await;
        assert_each_once(numbers(&installation).await, COUNT);
        assert_eq!(relay.terminate().await, Some(0));
    }
}

#[tokio::test]
async fn what_was_published_and_not_removed_is_not_published_again() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    shop.insert(0..250).await;
    // Everything can be read, and one row not be removed.
    let mut other = connect(&shop.database).await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("SELECT FROM hookwright_outbox WHERE id = 50 FOR UPDATE")
        .await
        .unwrap();
    let mut relay = Running::of(&shop, &installation, &["--batch-rows", "100"]);
    until("the first events", async || {
        let published = numbers(&installation).await.len();
        if published >= 100 { Ok(()) } else { Err(relay.log()) }
    })
    .await;
    relay.kill9().await;
    // Its session would still remove them.
    shop.end_relay_sessions().await;
    lock.rollback().await.unwrap();
    assert_eq!(shop.count("true").await, 250);
    let mut relay = Running::of(&shop, &installation, &["--once"]);
    assert_eq!(relay.ended().await, Some(0), "{}", relay.log());
    assert_each_once(numbers(&installation).await, 250);
}

#[tokio::test]
async fn a_smaller_id_that_commits_later_is_not_passed_over() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    let mut relay = Running::of(&shop, &installation, &["--poll-interval", NEVER]);
    relay.logged("relaying from").await;
    let mut slow = connect(&shop.database).await;
    let transaction = slow.transaction().await.unwrap();
    let insert = "INSERT INTO hookwright_outbox (organization, event_type, payload, attributes) \
                  VALUES ('acme', 'shift', '{}', '{\"n\":\"0\"}') RETURNING id";
    let early: i64 = transaction.query_one(insert, &[]).await.unwrap().get(0);
    let mut rolled_back = connect(&shop.database).await;
    let undone = rolled_back.transaction().await.unwrap();
    undone.query_one(insert, &[]).await.unwrap();
    undone.rollback().await.unwrap();

    shop.insert(1..3).await;
    shop.drained().await;
    assert_eq!(
        numbers(&installation).await,
        [1, 2],
        "others do not wait for a transaction that is open"
    );
    shop.insert(3..4).await;
    shop.drained().await;
    transaction.commit().await.unwrap();
    shop.drained().await;
    assert_eq!(
        numbers(&installation).await,
        [1, 2, 3, 0],
        "row {early} committed last, and nothing was rolled back"
    );
    assert_eq!(relay.terminate().await, Some(0));
}

/// Two transactions change one thing, which the first has locked. The second began before the first, so its transaction id
/// is the smaller one.
#[tokio::test]
async fn rows_of_one_key_are_published_in_the_order_of_their_lock() {
    let mut installation = installation(On::Sqlite).await;
    let receiver = Receiver::start().await;
    let webhook = hookwright_proto::v1::Webhook {
        ordering: hookwright_proto::v1::Ordering::Ordered.into(),
        ..crate::support::webhook(&receiver.url("/payload"), &["shift"])
    };
    installation.create_webhook(webhook).await.unwrap();
    let shop = Shop::start().await;
    shop.sql
        .batch_execute(
            "CREATE TABLE things (id int PRIMARY KEY, version int); INSERT INTO things VALUES (1, 0), (2, 0)",
        )
        .await
        .unwrap();
    let change = "WITH changed AS (UPDATE things SET version = version + 1 WHERE id = 1 RETURNING version) \
                  INSERT INTO hookwright_outbox (organization, event_type, payload, ordering_key) \
                  SELECT 'acme', 'shift', json_build_object('version', version), 'thing-1' FROM changed";
    let (mut first, mut second) = (connect(&shop.database).await, connect(&shop.database).await);
    let mut relay = Running::of(&shop, &installation, &["--poll-interval", NEVER]);
    relay.logged("relaying from").await;
    for _ in 0..20 {
        let late = second.transaction().await.unwrap();
        late.execute("UPDATE things SET version = version + 1 WHERE id = 2", &[])
            .await
            .unwrap();
        let early = first.transaction().await.unwrap();
        early.execute(change, &[]).await.unwrap();
        early.commit().await.unwrap();
        late.execute(change, &[]).await.unwrap();
        late.commit().await.unwrap();
    }
    let versions: Vec<u64> = wait_for_events(&receiver, 40)
        .await
        .iter()
        .map(|request| request.json()["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, (1..=40).collect::<Vec<u64>>());
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test]
async fn a_refused_row_is_marked_and_stops_nobody() {
    let mut installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    shop.insert(0..2).await;
    let unknown = "INSERT INTO hookwright_outbox (organization, event_type, payload, attributes) \
                   VALUES ('acme', 'later', '{}', '{\"n\":\"4\"}'), ('nobody', 'shift', '{}', NULL)";
    shop.sql.execute(unknown, &[]).await.unwrap();
    shop.insert(2..4).await;
    let mut relay = Running::of(&shop, &installation, &["--once"]);
    assert_eq!(relay.ended().await, Some(1), "something was refused: {}", relay.log());
    assert!(
        relay.log().contains("NotFound") && relay.log().contains("published 4 events, 2 rejected"),
        "{}",
        relay.log()
    );
    assert_each_once(numbers(&installation).await, 4);
    assert_eq!(shop.count("failed_at IS NOT NULL AND error LIKE '%later%'").await, 1);

    let status = shop.command(&["status", "--output", "json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        (&status["waiting"], &status["failed"]),
        (&0.into(), &2.into()),
        "{status}"
    );

    installation.register("later").await;
    let id: i64 = shop
        .sql
        .query_one("SELECT id FROM hookwright_outbox WHERE event_type = 'later'", &[])
        .await
        .unwrap()
        .get(0);
    let put_back = shop.command(&["retry-failed", "--id", &id.to_string()]).await;
    assert_eq!(text(&put_back.stdout), "1 row put back\n", "{}", text(&put_back.stderr));
    let mut relay = Running::of(&shop, &installation, &["--once", "--keep"]);
    assert_eq!(relay.ended().await, Some(0), "{}", relay.log());
    assert_each_once(numbers(&installation).await, 5);
    assert_eq!(
        shop.count("published_at IS NOT NULL AND event LIKE 'organizations/acme/events/%'")
            .await,
        1
    );
    assert_eq!(shop.count("failed_at IS NOT NULL").await, 1, "the other one stays");
}

/// Larger than any message that the server takes: it refuses the call, and does not say for which row.
#[tokio::test]
async fn a_row_that_is_too_large_for_any_call_stops_nobody() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    let large = "INSERT INTO hookwright_outbox (organization, event_type, payload, attributes) \
                 VALUES ('acme', 'shift', '{}', json_build_object('x', repeat('x', 33 << 20)))";
    shop.insert(0..5).await;
    shop.sql.execute(large, &[]).await.unwrap();
    shop.insert(5..10).await;
    let mut relay = Running::of(&shop, &installation, &["--once"]);
    assert_eq!(relay.ended().await, Some(1), "{}", relay.log());
    assert_eq!(shop.count("failed_at IS NOT NULL").await, 1);
    assert_each_once(numbers(&installation).await, 10);
}

#[tokio::test]
async fn a_wrong_token_refuses_no_rows() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    shop.insert(0..3).await;
    let address = installation.server.grpc_address().to_owned();
    let mut wrong = Running::start(&shop, &address, "hw_wrong", &[]);
    wrong.logged("Hookwright does not accept events: Unauthenticated").await;
    assert_eq!(wrong.terminate().await, Some(0), "{}", wrong.log());
    let mut once = Running::start(&shop, &address, "hw_wrong", &["--once"]);
    assert_eq!(once.ended().await, Some(1));
    assert_eq!(shop.count("failed_at IS NULL").await, 3);
    let mut right = Running::of(&shop, &installation, &["--once"]);
    assert_eq!(right.ended().await, Some(0), "{}", right.log());
    assert_each_once(numbers(&installation).await, 3);
}

#[tokio::test]
async fn a_second_relay_stands_by_and_takes_over() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    let mut first = Running::of(&shop, &installation, &["--poll-interval", NEVER]);
    first.logged("relaying from").await;
    let mut second = Running::of(&shop, &installation, &["--poll-interval", NEVER]);
    second.logged("standing by").await;
    let mut third = Running::of(&shop, &installation, &["--once"]);
    assert_eq!(third.ended().await, Some(0));
    assert!(
        third.log().contains("another relay serves this outbox"),
        "{}",
        third.log()
    );
    shop.insert(0..5).await;
    shop.drained().await;
    assert!(!second.log().contains("relaying from"), "{}", second.log());
    first.kill9().await;
    shop.insert(5..10).await;
    shop.drained().await;
    assert!(second.log().contains("relaying from"), "{}", second.log());
    assert_each_once(numbers(&installation).await, 10);
    assert_eq!(second.terminate().await, Some(0));
}

#[tokio::test]
async fn lost_connections_to_postgresql_are_made_again() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    let mut relay = Running::of(&shop, &installation, &["--poll-interval", NEVER]);
    for n in 0..5 {
        relay.logged("relaying from").await;
        shop.end_relay_sessions().await;
        shop.insert(n..n + 1).await;
        shop.drained().await;
    }
    assert!(relay.log().contains("retrying in"), "{}", relay.log());
    assert_each_once(numbers(&installation).await, 5);
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test]
async fn rows_without_a_notification_are_found_by_polling() {
    let installation = installation(On::Sqlite).await;
    let shop = Shop::start().await;
    shop.sql
        .batch_execute("DROP TRIGGER hookwright_outbox_notify ON hookwright_outbox")
        .await
        .unwrap();
    let mut relay = Running::of(&shop, &installation, &["--poll-interval", "50ms"]);
    relay.logged("relaying from").await;
    shop.insert(0..3).await;
    shop.drained().await;
    assert_eq!(relay.terminate().await, Some(0));
    assert_each_once(numbers(&installation).await, 3);
}

#[tokio::test]
async fn everything_that_a_row_says_is_published() {
    let mut installation = installation(On::Sqlite).await;
    let receiver = Receiver::start().await;
    installation.webhook(&receiver, &["shift"]).await;
    let shop = Shop::start().await;
    let payload = r#"{"b": 1.50,  "a":"ä"}"#;
    let insert = "INSERT INTO hookwright_outbox \
                  (organization, event_type, payload, attributes, ordering_key, event_time, request_id) \
                  VALUES ('organizations/acme', 'shift', $1, '{\"region\":\"eu\",\"n\":7}', 'key', \
                          '2024-05-06 07:08:09.123456Z', 'mine-1')";
    shop.sql.execute(insert, &[&payload]).await.unwrap();
    // Larger together than one batch.
    let large = "INSERT INTO hookwright_outbox (organization, event_type, payload) \
                 SELECT 'acme', 'shift', json_build_object('x', repeat('x', 4 << 20)) FROM generate_series(1, 5)";
    shop.sql.execute(large, &[]).await.unwrap();
    let mut relay = Running::of(&shop, &installation, &["--once"]);
    assert_eq!(relay.ended().await, Some(0), "{}", relay.log());
    let requests = wait_for_events(&receiver, 6).await;
    let sent = requests
        .iter()
        .find(|request| request.body == payload.as_bytes())
        .expect("byte for byte");
    let id = sent.header("webhook-id").unwrap();
    let name = format!("{}/events/{id}", crate::support::ACME);
    let request = hookwright_proto::v1::GetEventRequest { name };
    let event = installation
        .clients
        .events
        .get_event(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (event.attributes["region"].as_str(), event.attributes["n"].as_str()),
        ("eu", "7")
    );
    assert_eq!(event.ordering_key, "key");
    let time = event.event_time.unwrap();
    assert_eq!((time.seconds, time.nanos), (1_714_979_289, 123_456_000));
    let again = hookwright_proto::v1::PublishEventRequest {
        request_id: "mine-1".to_owned(),
        ..crate::support::event("shift", "{}")
    };
    let conflict = installation.try_publish(again).await.unwrap_err();
    assert_eq!(
        conflict.code(),
        tonic::Code::AlreadyExists,
        "the row's request id was used"
    );
}

#[tokio::test]
async fn what_is_wrong_with_the_outbox_is_said() {
    let cluster = PostgresCluster::shared().await.unwrap();
    let database = cluster.create_database().await.unwrap();
    let sql = connect(&database).await;
    let shop = Shop { database, sql };
    let missing = shop.command(&[]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stderr).contains("hookwright relay init"),
        "{}",
        text(&missing.stderr)
    );
    let printed = shop
        .command(&["init", "--table", "public.my events", "--no-notify"])
        .await;
    shop.sql.batch_execute(&text(&printed.stdout)).await.unwrap();
    let status = shop.command(&["status", "--table", "public.my events"]).await;
    assert!(text(&status.stdout).contains("waiting:  0"), "{}", text(&status.stderr));
    for bad in [
        &["--once", "status"] as &[&str],
        &["--table", "a.b.c"],
        &["--batch-rows", "0"],
    ] {
        assert_eq!(shop.command(bad).await.status.code(), Some(2), "{bad:?}");
    }
    let no_url = Command::new(env!("CARGO_BIN_EXE_hookwright"))
        .args(["relay", "status"])
        .output();
    assert_eq!(no_url.await.unwrap().status.code(), Some(2));
}
