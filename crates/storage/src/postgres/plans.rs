//! Tests of PostgreSQL's plans for the shared queries, the commit, retention and adoption.

use std::future::poll_fn;

use diesel::sql_query;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};
use hookwright_testkit::{PostgresCluster, TestDatabase};
use tokio_postgres::{AsyncMessage, NoTls};

use super::{adoption, commit, partitions, queries::calls, session};
use crate::{
    batch::Batch,
    options::StoreOptions,
    plans::{
        filled::{Filled, Words},
        golden, limit_of, may_scan,
        recorder::{Call, Recorder},
        samples,
    },
    store::Store,
};

const WORDS: Words = Words {
    bytes_type: "BYTEA",
    bytes: ("'\\x", "'::bytea"),
};

/// The number of a lost node.
const LOST: i32 = 7;
/// How many rows a scan of a whole table may read: PostgreSQL prefers a scan for a small table.
const SCANNED_MAX: u64 = 2_000;
/// How many rows a step of a plan may read and discard.
const REMOVED_MAX: u64 = 2_000;

/// Reports the plan of every statement, with its execution statistics. The tables have a fraction of the rows of a
/// large installation, so a sequential read costs as if it were twenty times as large.
const EXPLAIN: &str = "\
LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off; SET client_min_messages = log; SET jit = off; SET seq_page_cost = 20";

/// A connection whose statements and plans are recorded.
async fn connect(url: &str, recorder: &Recorder) -> AsyncPgConnection {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let plans = recorder.clone();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                plans.note_plan(notice.message());
            }
        }
    });
    let mut conn = AsyncPgConnection::try_from(client).await.unwrap();
    session::batch(&mut conn, EXPLAIN).await.unwrap();
    conn.set_instrumentation(recorder.instrumentation());
    conn
}

/// The statements of all calls on a store with many rows.
async fn recorded() -> (Vec<Call>, TestDatabase) {
    let cluster = PostgresCluster::shared().await.unwrap();
    let database = cluster.create_database().await.unwrap();
    let options = StoreOptions::new(database.url());
    Store::migrate(&options).await.unwrap();
    // Opening it creates the partitions, and this process becomes node 0.
    let store = Store::open(&options).await.unwrap();
    let filled = Filled::from_today();
    let recorder = Recorder::default();
    let mut conn = connect(database.url(), &recorder).await;
    let mut fill = filled.statements(WORDS);
    fill.push(format!(
        "INSERT INTO nodes SELECT {LOST}, 1, 'lost', 3, version, grpc_address, started_at, heartbeat_at, lease_until, {},
             configuration, NULL, 0, 0 FROM nodes",
        filled.event(60_000)
    ));
    fill.push("ANALYZE".to_owned());
    for statement in fill {
        sql_query(statement).execute(&mut conn).await.unwrap();
    }
    let mut calls = calls::Calls {
        conn: &mut conn,
        recorder: recorder.clone(),
        filled,
    };
    calls::all(&mut calls).await.unwrap();
    of_postgres_alone(&mut calls).await.unwrap();
    drop(store);
    (recorder.calls(), database)
}

/// Calls that SQLite does not have, or has in another form.
async fn of_postgres_alone(calls: &mut calls::Calls<'_>) -> diesel::QueryResult<()> {
    let filled = calls.filled;
    let batch = samples::batch(filled);
    calls
        .call("commit", async |conn| commit::commit(conn, 0, &batch).await)
        .await?;
    let again = Batch {
        repeated: true,
        ..batch.clone()
    };
    calls
        .call("commit.repeated", async |conn| commit::commit(conn, 0, &again).await)
        .await?;
    let (first, end) = (filled.event(1), filled.event(100_000));
    calls
        .call("expire.one_by_one", async |conn| {
            partitions::expire(conn, first, end).await
        })
        .await?;
    calls
        .call("expire", async |conn| {
            partitions::expire(conn, filled.event(60_001), end).await
        })
        .await?;
    calls
        .call("adopt_events", async |conn| {
            adoption::adopt_events(conn, LOST, 0, 9).await
        })
        .await?;
    calls
        .call("adopt_pending", async |conn| {
            adoption::adopt_pending(conn, LOST, 0, &[2, 4]).await
        })
        .await?;
    calls
        .call("finish", async |conn| adoption::finish(conn, LOST).await)
        .await?;
    calls
        .call("share", async |conn| adoption::share(conn, 0, 2, 2).await)
        .await?;
    let held = [filled.delivery(2, 1)];
    calls
        .call("give", async |conn| adoption::give(conn, 1, 0, 2, &held, 500).await)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn golden_files_hold_the_sql_of_every_query() {
    let (calls, _database) = recorded().await;
    golden::check_complete(&calls);
    golden::check("postgres", &calls, false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_query_goes_through_a_whole_table() {
    let (calls, _database) = recorded().await;
    let mut faults = Vec::new();
    for call in &calls {
        assert!(
            !call.plans.is_empty() || call.statements.is_empty(),
            "{} has no plan",
            call.name
        );
        for plan in &call.plans {
            let refused = wasteful(plan)
                .into_iter()
                .filter(|step| !may_scan(&call.name, step.table()))
                .filter(|step| !limit_of(&call.name, step.table()).is_some_and(|rows| step.stops_at(rows)));
            faults.extend(refused.map(|step| format!("{}: {}\n{plan}", call.name, step.text)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A step of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step<'a> {
    text: &'a str,
    /// How many rows it returned in all its runs.
    returned: u64,
    /// How many rows it read and discarded in all its runs.
    removed: u64,
    loops: u64,
    /// Whether it is below a `Limit`.
    is_limited: bool,
}

impl<'a> Step<'a> {
    /// The table that it reads.
    fn table(&self) -> &'a str {
        let table = self.text.split_once(" on ").map_or(self.text, |(_, rest)| rest);
        table.split(' ').next().unwrap_or(table)
    }

    fn scans(&self) -> bool {
        self.text.contains("Seq Scan on ")
    }

    /// Whether it read a whole table with many rows, or read and discarded many rows.
    fn is_wasteful(&self) -> bool {
        self.removed > REMOVED_MAX || (self.scans() && self.returned + self.removed > SCANNED_MAX)
    }

    /// Whether it read no more rows than a limit above it allows.
    fn stops_at(&self, rows_max: u64) -> bool {
        self.is_limited && self.returned + self.removed <= rows_max
    }
}

fn wasteful(plan: &str) -> Vec<Step<'_>> {
    steps(plan).into_iter().filter(Step::is_wasteful).collect()
}

/// The steps of a plan, with what they read.
fn steps(plan: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    // The indentation of each `Limit` above the current step.
    let mut limits: Vec<usize> = Vec::new();
    for line in plan.lines() {
        let indent = line.len() - line.trim_start().len();
        if let Some((rows, loops)) = actual(line) {
            limits.retain(|limit| *limit < indent);
            let text = line.trim();
            steps.push(Step {
                text,
                returned: rows * loops,
                removed: 0,
                loops,
                is_limited: !limits.is_empty(),
            });
            if text.trim_start_matches("->  ").starts_with("Limit ") {
                limits.push(indent);
            }
        } else if let Some(removed) = line.trim_start().strip_prefix("Rows Removed by ")
            && let Some(removed) = removed.split(' ').next_back().and_then(|rows| rows.parse::<u64>().ok())
            && let Some(step) = steps.last_mut()
        {
            step.removed += removed * step.loops;
        }
    }
    steps
}

#[test]
fn a_scan_is_refused_unless_a_limit_stops_it() {
    let count = "Query Text: SELECT count(*) FROM (SELECT 1 FROM events LIMIT 5000)
Aggregate  (cost=1..2 rows=1 width=8) (actual rows=1 loops=1)
  ->  Limit  (cost=0..1 rows=5000 width=4) (actual rows=5000 loops=1)
        ->  Seq Scan on events  (cost=0..9 rows=60000 width=4) (actual rows=5000 loops=1)";
    let found = wasteful(count);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].table() == "events" && found[0].stops_at(5_000) && !found[0].stops_at(4_999));
    let filtered = format!("{count}\n              Filter: (node = 1)\n              Rows Removed by Filter: 50000");
    assert!(!wasteful(&filtered)[0].stops_at(5_000), "it discards rows");
    let beside = "Append  (cost=1..2 rows=1 width=8) (actual rows=9000 loops=1)
  ->  Limit  (cost=0..1 rows=5000 width=4) (actual rows=5 loops=1)
        ->  Index Scan using events_pkey on events  (cost=0..9 rows=60000 width=4) (actual rows=5 loops=1)
  ->  Seq Scan on events  (cost=0..9 rows=60000 width=4) (actual rows=8995 loops=1)";
    assert!(!wasteful(beside)[0].stops_at(10_000), "the limit is of another step");
}

/// How many rows a step of a plan returned, and how often it ran.
fn actual(line: &str) -> Option<(u64, u64)> {
    let (_, actual) = line.split_once("(actual rows=")?;
    let (rows, loops) = actual.strip_suffix(')')?.split_once(" loops=")?;
    Some((rows.parse().ok()?, loops.parse().ok()?))
}
