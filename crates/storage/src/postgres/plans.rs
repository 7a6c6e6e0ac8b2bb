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
        golden, may_scan,
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
                .filter(|step| !may_scan(&call.name, table_of(step)));
            faults.extend(refused.map(|step| format!("{}: {step}\n{plan}", call.name)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The steps of a plan that read a whole table with many rows, or that read and discard many rows.
fn wasteful(plan: &str) -> Vec<&str> {
    let mut steps = Vec::new();
    let mut step = ("", 0, 0);
    for line in plan.lines() {
        let removed = line.trim_start().strip_prefix("Rows Removed by ");
        if let Some((rows, loops)) = actual(line) {
            step = (line.trim(), rows, loops);
            if line.contains("Seq Scan on ") && rows * loops > SCANNED_MAX {
                steps.push(step.0);
            }
        } else if let Some(removed) = removed.and_then(|text| text.split(' ').next_back()?.parse::<u64>().ok()) {
            let (text, rows, loops) = step;
            let is_whole = text.contains("Seq Scan on ") && (rows + removed) * loops > SCANNED_MAX;
            if is_whole || removed * loops > REMOVED_MAX {
                steps.push(text);
            }
        }
    }
    steps.dedup();
    steps
}

/// The table that a step of a plan reads.
fn table_of(step: &str) -> &str {
    let table = step.split_once(" on ").map_or(step, |(_, rest)| rest);
    table.split(' ').next().unwrap_or(table)
}

/// How many rows a step of a plan returned, and how often it ran.
fn actual(line: &str) -> Option<(u64, u64)> {
    let (_, actual) = line.split_once("(actual rows=")?;
    let (rows, loops) = actual.strip_suffix(')')?.split_once(" loops=")?;
    Some((rows.parse().ok()?, loops.parse().ok()?))
}
