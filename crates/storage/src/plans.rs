//! Tests of query plans: statements that must stay cheap however much is stored use an index wherever they need one,
//! and none scans all pending deliveries.

pub(crate) mod filled;
pub(crate) mod golden;
pub(crate) mod recorder;
pub(crate) mod samples;

use diesel::{QueryableByName, RunQueryDsl as _, sql_types};
use hookwright_testkit::PostgresCluster;

use crate::{
    options::StoreOptions,
    postgres, sqlite,
    store::{Backend, Store},
};

/// Calls that may scan a table, which tables those are, and why.
const WHOLE: [(&str, &[&str], &str); 11] = [
    ("all_failing_webhooks", &["webhook_health"], "it reads everything"),
    ("count_tokens", &["tokens"], "tokens are few: they are held in memory"),
    (
        "delete_organization",
        &["tokens"],
        "tokens are few: they are held in memory",
    ),
    (
        "forget_replays",
        &["replays"],
        "ended replays are removed after a while",
    ),
    ("forget_tokens", &["tokens"], "tokens are few: they are held in memory"),
    (
        "insert_ended_session",
        &["ended_sessions"],
        "they are few: they are held in memory",
    ),
    (
        "insert_revoked_link",
        &["revoked_portal_links"],
        "they are few: they are held in memory",
    ),
    ("list_tokens", &["tokens"], "tokens are few: they are held in memory"),
    (
        "correct_health",
        &["webhook_health", "webhook_successes"],
        "it runs once after a clock was set",
    ),
    ("revoke_token", &["tokens"], "tokens are few: they are held in memory"),
    (
        "load_catalogue",
        &[
            "organizations",
            "event_types",
            "webhooks",
            "signing_secrets",
            "tokens",
            "ended_sessions",
            "revoked_portal_links",
        ],
        "it loads all configuration",
    ),
];

/// Calls whose scan of a table stops at a limit, and the most rows that it may read: the limit that `queries::calls` or
/// the query itself sets.
const LIMITED: [(&str, &str, u64); 5] = [
    ("backlog", "pending_deliveries", 1_000),
    ("count_waiting", "pending_deliveries", 1_000),
    ("count_waiting_for", "pending_deliveries", 1_000),
    ("largest_id", "events", 1),
    ("share", "pending_deliveries", 50_000),
];

fn query_of(call: &str) -> &str {
    call.split('.').next().unwrap_or(call)
}

/// Whether a call may scan a whole table.
pub(crate) fn may_scan(call: &str, table: &str) -> bool {
    WHOLE
        .iter()
        .any(|(name, tables, _)| *name == query_of(call) && tables.contains(&table))
}

/// How many rows of a table a call may scan until it stops at a limit; `None` if it may not.
pub(crate) fn limit_of(call: &str, table: &str) -> Option<u64> {
    let limited = LIMITED
        .iter()
        .find(|(name, of, _)| *name == query_of(call) && *of == table);
    limited.map(|(.., rows_max)| *rows_max)
}

/// The queries of `queries::ordering` for blocked keys: of an organization's webhooks, of all webhooks, and of one
/// webhook newest first.
const BLOCKED_KEYS: [&str; 3] = [
    "SELECT organization_id, webhook_id FROM pending_deliveries
     WHERE pending_deliveries.due_at = 9223372036854775806 AND webhook_id <= 9000 AND organization_id = 1 AND webhook_id > 0
     ORDER BY organization_id, webhook_id, delivery_id LIMIT 1001",
    "SELECT organization_id, webhook_id FROM pending_deliveries
     WHERE pending_deliveries.due_at = 9223372036854775806 AND webhook_id <= 9223372036854775807 AND organization_id >= 1
     AND (organization_id > 1 OR organization_id = 1 AND webhook_id > 0)
     ORDER BY organization_id, webhook_id, delivery_id LIMIT 1001",
    "SELECT delivery_id, event_id, organization_id, webhook_id FROM pending_deliveries
     WHERE pending_deliveries.due_at = 9223372036854775806 AND organization_id = 1 AND delivery_id < 50000 AND webhook_id = 1
     ORDER BY delivery_id DESC LIMIT 200",
];

/// How many rows are pending: most of them for one webhook, the rest for 10,000.
const ROWS: i64 = 60_000;

async fn store(url: String) -> Store {
    let options = StoreOptions::new(url);
    Store::migrate(&options).await.unwrap();
    Store::open(&options).await.unwrap()
}

/// A statement with values in place of its parameters.
fn with_values(text: &str, mark: char, values: &[&str]) -> String {
    let mut text = text.to_owned();
    for (at, value) in values.iter().enumerate().rev() {
        text = text.replace(&format!("{mark}{}", at + 1), value);
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sqlite_enters_an_index_for_each_step() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(format!("sqlite://{}/hookwright.db", directory.path().display())).await;
    let Backend::Sqlite(store) = &store.backend else {
        panic!()
    };
    let fill = format!(
        "INSERT INTO pending_deliveries (delivery_id, event_id, organization_id, webhook_id, due_at, attempts, node)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         SELECT i, i, 1, CASE WHEN i <= 50000 THEN 1 ELSE i END, 7, 0, i % 2 FROM n"
    );
    store
        .write(None, move |conn| {
            diesel::sql_query(fill).execute(conn)?;
            diesel::sql_query("ANALYZE").execute(conn)
        })
        .await
        .unwrap();
    let statements = [
        (sqlite::waiting::WAITING_PAGE, &["1", "0", "1000"][..]),
        (sqlite::waiting::WAITING_ROWS, &["1", "0", "7", "9000", "500"]),
        (sqlite::waiting::NEXT_WEBHOOKS, &["1", "0", "200"]),
    ];
    for (text, values) in statements {
        let plan = format!("EXPLAIN QUERY PLAN {}", with_values(text, '?', values));
        let lines = store.read(move |conn| sqlite_plan(conn, &plan)).await.unwrap();
        let plan = lines.join("\n");
        // Each table of pending rows is searched by an index, with every column of the position.
        for line in lines.iter().filter(|line| line.contains("SCAN")) {
            let of_rows = ["SCAN p", "SCAN n", "SCAN pending_deliveries", "SCAN webhooks"];
            assert!(!of_rows.iter().any(|scan| line.starts_with(scan)), "{plan}");
        }
        if text == sqlite::waiting::WAITING_PAGE {
            assert_eq!(plan.matches("(webhook_id=? AND node>?)").count(), 2, "{plan}");
        }
        if text == sqlite::waiting::WAITING_ROWS {
            let first = "(webhook_id=? AND node=? AND due_at=? AND rowid>?)";
            assert!(
                plan.contains(first) || plan.contains("due_at=? AND delivery_id>?)"),
                "{plan}"
            );
            assert!(plan.contains("(webhook_id=? AND node=? AND due_at>?)"), "{plan}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn blocked_keys_are_found_by_their_index() {
    let directory = tempfile::tempdir().unwrap();
    let on_sqlite = store(format!("sqlite://{}/hookwright.db", directory.path().display())).await;
    let Backend::Sqlite(on_sqlite) = &on_sqlite.backend else {
        panic!()
    };
    let cluster = PostgresCluster::shared().await.unwrap();
    let database = cluster.create_database().await.unwrap();
    let on_postgres = store(database.url().to_owned()).await;
    let Backend::Postgres(on_postgres) = &on_postgres.backend else {
        panic!()
    };
    // One pending row in 100 is paused.
    let columns = "delivery_id, event_id, organization_id, webhook_id, due_at, attempts, node";
    let values = "i, i, 1, CASE WHEN i <= 50000 THEN 1 ELSE i END, CASE WHEN i % 100 = 0 THEN 9223372036854775806 ELSE 7 END, 0, 0";
    let fill = format!(
        "INSERT INTO pending_deliveries ({columns})
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) SELECT {values} FROM n"
    );
    on_sqlite
        .write(None, move |conn| {
            diesel::sql_query(fill).execute(conn)?;
            diesel::sql_query("ANALYZE").execute(conn)
        })
        .await
        .unwrap();
    for text in BLOCKED_KEYS {
        let plan = format!("EXPLAIN QUERY PLAN {text}");
        let plan = on_sqlite
            .read(move |conn| sqlite_plan(conn, &plan))
            .await
            .unwrap()
            .join("\n");
        assert!(
            plan.contains("pending_deliveries_paused") && !plan.contains("TEMP B-TREE"),
            "{text}\n{plan}"
        );
    }
    let fill =
        format!("INSERT INTO pending_deliveries ({columns}) SELECT {values} FROM generate_series(1, {ROWS}) AS i");
    on_postgres
        .read(async move |conn| {
            diesel_async::RunQueryDsl::execute(diesel::sql_query(fill), conn).await?;
            diesel_async::RunQueryDsl::execute(diesel::sql_query("ANALYZE pending_deliveries"), conn).await?;
            for (at, text) in BLOCKED_KEYS.iter().enumerate() {
                let plan = postgres_plan(conn, text).await?;
                assert!(plan.contains("pending_deliveries_paused"), "{text}\n{plan}");
                assert!(!plan.contains("Rows Removed by Filter"), "{text}\n{plan}");
                // For all organizations, the few rows may be sorted. For one organization the index returns them in
                // order.
                assert!(at == 1 || !plan.contains("Sort"), "{text}\n{plan}");
            }
            Ok(())
        })
        .await
        .unwrap();
}

/// The lines of a plan.
fn sqlite_plan(conn: &mut diesel::SqliteConnection, explain: &str) -> diesel::QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = sql_types::Text)]
        detail: String,
    }
    let steps: Vec<Step> = diesel::sql_query(explain).load(conn)?;
    Ok(steps.into_iter().map(|step| step.detail).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn postgres_enters_an_index_for_each_step() {
    let database = PostgresCluster::shared()
        .await
        .unwrap()
        .create_database()
        .await
        .unwrap();
    let store = store(database.url().to_owned()).await;
    let Backend::Postgres(store) = &store.backend else {
        panic!()
    };
    let fill = format!(
        "INSERT INTO pending_deliveries (delivery_id, event_id, organization_id, webhook_id, due_at, attempts, node)
         SELECT i, i, 1, CASE WHEN i <= 50000 THEN 1 ELSE i END, 7, 0, i % 2 FROM generate_series(1, {ROWS}) AS i"
    );
    let statements = [
        (postgres::waiting::WAITING_PAGE, &["1", "0", "1000"][..]),
        (postgres::waiting::WAITING_ROWS, &["1", "0", "7", "9000", "500"]),
        (postgres::waiting::NEXT_WEBHOOKS, &["1", "0", "200"]),
        (
            postgres::waiting::PROMOTE_BEYOND,
            &["1", "0", "'{a,b}'::text[]", "7", "9"],
        ),
        (
            postgres::adoption::TAKE_PENDING,
            &["'{1,2,3}'::bigint[]", "0", "1", "500"],
        ),
    ];
    store
        .read(async move |conn| {
            diesel_async::RunQueryDsl::execute(diesel::sql_query(fill), conn).await?;
            diesel_async::RunQueryDsl::execute(diesel::sql_query("ANALYZE pending_deliveries"), conn).await?;
            for (text, values) in statements {
                let plan = postgres_plan(conn, &with_values(text, '$', values)).await?;
                assert!(!plan.contains("Seq Scan on pending_deliveries"), "{plan}");
                assert!(
                    plan.contains("pending_deliveries_due") || plan.contains("pending_deliveries_order"),
                    "{plan}"
                );
                // No row that was read is discarded.
                assert!(!plan.contains("Rows Removed by Filter"), "{plan}");
            }
            Ok(())
        })
        .await
        .unwrap();
}

/// The plan of a statement, with its execution statistics.
async fn postgres_plan(conn: &mut diesel_async::AsyncPgConnection, text: &str) -> diesel::QueryResult<String> {
    let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {text}");
    let sql = diesel::sql_query(explain);
    let lines: Vec<PlanLine> = diesel_async::RunQueryDsl::load(sql, conn).await?;
    Ok(lines.into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n"))
}

#[derive(QueryableByName)]
struct PlanLine {
    #[diesel(sql_type = sql_types::Text, column_name = "QUERY PLAN")]
    text: String,
}
