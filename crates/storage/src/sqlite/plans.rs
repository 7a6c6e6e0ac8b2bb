//! Tests of SQLite's plans for the shared queries and the commit.

use diesel::{
    Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, connection::SimpleConnection as _, sql_query,
    sql_types,
};

use super::{at_once, commit, connect, queries::calls};
use crate::{
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
    bytes_type: "BLOB",
    bytes: ("x'", "'"),
};

/// Sources that a plan may scan as a whole: rows that the statement itself creates.
const MADE: [&str; 6] = ["CONSTANT", "VALUES", "json_each", "met", "u", "w"];
/// Partial indexes with few of a table's rows, which may be scanned.
const OF_FEW: [&str; 3] = ["pending_deliveries_paused", "replays_running", "operations_running"];
/// Calls that search running work among ended work, which is removed after a while. SQLite uses a partial index only
/// for a literal.
const OF_WORK: [(&str, &str); 4] = [
    ("load_catalogue", "operations"),
    ("running_operations", "operations"),
    ("take_operations", "operations"),
    ("take_replays", "replays"),
];

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = sql_types::Text)]
    detail: String,
}

/// The statements of all calls on a store with many rows, and the plan of each.
async fn recorded() -> Vec<Call> {
    let directory = tempfile::tempdir().unwrap();
    let path = format!("{}/hookwright.db", directory.path().display());
    Store::migrate(&StoreOptions::new(format!("sqlite://{path}")))
        .await
        .unwrap();
    let mut conn = connect(&path).unwrap();
    let filled = Filled::from_today();
    let fill = filled.statements(WORDS).join(";");
    conn.batch_execute(&format!("BEGIN; {fill}; COMMIT")).unwrap();
    let recorder = Recorder::default();
    conn.set_instrumentation(recorder.instrumentation());
    let mut calls = calls::Calls {
        conn: &mut conn,
        recorder: recorder.clone(),
        filled,
    };
    at_once(calls::all(&mut calls)).unwrap();
    let batch = samples::batch(filled);
    at_once(calls.call("commit", async |conn| commit::commit(conn, &batch))).unwrap();
    let mut calls = recorder.calls();
    for call in &mut calls {
        call.plans = call.statements.iter().map(|text| plan(&mut conn, text)).collect();
    }
    calls
}

/// The steps of a statement's plan, one per line.
fn plan(conn: &mut SqliteConnection, statement: &str) -> String {
    let steps: Vec<Step> = sql_query(format!("EXPLAIN QUERY PLAN {statement}")).load(conn).unwrap();
    steps.into_iter().map(|step| step.detail + "\n").collect()
}

/// SQLite plans without regard to the number of rows unless it was told to count them, so the files contain its plans,
/// too.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn golden_files_hold_the_sql_of_every_query() {
    let calls = recorded().await;
    golden::check_complete(&calls);
    golden::check("sqlite", &calls, true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_query_goes_through_a_whole_table() {
    let mut faults = Vec::new();
    for call in recorded().await {
        let may = |table: &str| may_scan(&call.name, table) || OF_WORK.contains(&(&call.name, table));
        for (statement, plan) in call.statements.iter().zip(&call.plans) {
            let stops = |table: &str| limit_of(&call.name, table).is_some() && stops_at_a_limit(statement, table);
            let scans = plan
                .lines()
                .filter_map(scanned)
                .filter(|table| !may(table) && !stops(table));
            faults.extend(scans.map(|table| format!("{} goes through {table}:\n  {statement}", call.name)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The table that a step of a plan scans.
fn scanned(step: &str) -> Option<&str> {
    let target = step.strip_prefix("SCAN ")?;
    let is_made = target.split(' ').any(|word| MADE.contains(&word)) || target.starts_with("(subquery");
    let is_of_few = OF_FEW.iter().any(|index| step.contains(index));
    (!is_made && !is_of_few).then(|| target.split(' ').next().unwrap_or(target))
}

/// Whether a statement reads a table in the order of its rows until a limit, without a condition: SQLite's plans do not
/// show limits.
fn stops_at_a_limit(statement: &str, table: &str) -> bool {
    let plain: String = statement.chars().filter(|c| !['`', '"'].contains(c)).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let text = words.join(" ");
    let sources: Vec<&str> = text.split(&format!("FROM {table} ")).skip(1).collect();
    let by_id = format!("ORDER BY {table}.id DESC ");
    let stops = |rest: &str| rest.strip_prefix(&by_id).unwrap_or(rest).starts_with("LIMIT ");
    !sources.is_empty() && sources.into_iter().all(stops)
}

#[test]
fn a_scan_without_a_limit_or_with_a_condition_is_refused() {
    for stops in [
        "SELECT count(*) FROM (SELECT 1 FROM events LIMIT ?1)",
        "SELECT `events`.`id` FROM `events` ORDER BY `events`.`id` DESC LIMIT ?",
    ] {
        assert!(stops_at_a_limit(stops, "events"), "{stops}");
    }
    for goes_through in [
        "SELECT count(*) FROM events",
        "SELECT 1 FROM events WHERE node = 1 LIMIT 10",
        "SELECT 1 FROM events ORDER BY payload LIMIT 10",
        "SELECT 1 FROM (SELECT 1 FROM events LIMIT 10) UNION ALL SELECT 1 FROM events WHERE node = 1",
    ] {
        assert!(!stops_at_a_limit(goes_through, "events"), "{goes_through}");
    }
}
