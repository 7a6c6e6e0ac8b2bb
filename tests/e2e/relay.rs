//! Tests of `hookwright relay`: from an outbox in the user's own PostgreSQL, as a process that is killed like any other.
//!
//! | module | what is shown |
//! | --- | --- |
//! | `exactly_once` | each event exactly once, although relays and servers are killed |
//! | `order` | the order in which rows are published |
//! | `refused` | rows and relays that the server refuses |

mod exactly_once;
mod order;
mod refused;

use std::{
    path::PathBuf,
    process::{Output, Stdio},
};

use hookwright_testkit::{DEADLINE, PostgresCluster, Receiver, TestDatabase, until};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use tokio_postgres::{Client, NoTls};

use crate::{
    client::{assert_each_once, numbers},
    support::{Installation, On, wait_for_events},
};

/// Longer than a test waits: a row that is found earlier was found by a notification.
const NEVER: &str = "1h";

/// An outbox in a separate database.
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

    /// Runs a subcommand on the outbox.
    async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookwright"));
        command
            .arg("relay")
            .args(arguments)
            .env("HOOKWRIGHT_RELAY_DATABASE_URL", self.database.url())
            .kill_on_drop(true);
        timeout(DEADLINE, command.output()).await.unwrap().unwrap()
    }

    /// Inserts events with these numbers, in one transaction.
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

    /// Waits until the number of rows that fulfil a condition is as expected.
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

/// An installation with an event type that accepts any object.
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

/// A relay process.
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
        reason = "the relay's output belongs to the report of the test that failed"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- a relay's standard error:\n{}---", self.log());
        }
    }
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
    // Together these are larger than one batch.
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
async fn errors_of_the_outbox_are_reported() {
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
    for said in ["created the outbox", "already exists"] {
        let applied = shop.command(&["init", "--apply", "--table", "public.it's"]).await;
        assert!(text(&applied.stderr).contains(said), "{}", text(&applied.stderr));
    }
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
