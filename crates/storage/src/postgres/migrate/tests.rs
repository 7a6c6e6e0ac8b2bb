use std::path::Path;

use hookwright_testkit::{PostgresCluster, TestDatabase, until};

use super::*;

async fn database() -> TestDatabase {
    let cluster = PostgresCluster::shared().await.unwrap();
    cluster.create_database().await.unwrap()
}

async fn client(database: &TestDatabase) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

const fn migration(name: &'static str, up: &'static str, in_transaction: bool) -> Migration {
    Migration {
        name,
        up,
        in_transaction,
    }
}

const TABLES: Migration = migration(
    "2000-01-01-000000_tables",
    "CREATE TABLE plain (a int); CREATE TABLE days (a int) PARTITION BY RANGE (a);
     CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM (0) TO (10);
     CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM (10) TO (20);",
    true,
);

/// Whether an index is valid, if it exists.
async fn is_valid(client: &tokio_postgres::Client, index: &str) -> Option<bool> {
    let query = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)";
    client.query_opt(query, &[&index]).await.unwrap().map(|row| row.get(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b07_a_migration_has_no_statement_timeout_and_runs_once() {
    let database = database().await;
    let seen = migration(
        "2000-01-02-000000_seen",
        "CREATE TABLE seen AS SELECT current_setting('statement_timeout') AS a",
        true,
    );
    let all = [TABLES, seen];
    let expected = ["2000-01-01-000000_tables", "2000-01-02-000000_seen"];
    assert_eq!(run(database.url(), &all).await.unwrap(), expected);
    let found: String = client(&database)
        .await
        .query_one("SELECT a FROM seen", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(found, "0");
    assert_eq!(run(database.url(), &all).await.unwrap(), [""; 0]);
    let error = run(database.url(), &all[..1]).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::NewerSchema(version) if version == "20000102000000"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b07_a_migration_that_waits_for_a_lock_keeps_no_insert_waiting() {
    let database = database().await;
    run(database.url(), &[TABLES]).await.unwrap();
    let (mut reader, writer) = (client(&database).await, client(&database).await);
    // This session behaves like a backup: it reads, and stays open for long.
    let backup = reader.transaction().await.unwrap();
    backup.query("SELECT * FROM plain", &[]).await.unwrap();
    let alter = migration("2000-01-02-000000_alter", "ALTER TABLE plain ADD COLUMN b int", true);
    let url = database.url().to_owned();
    let migrating = tokio::spawn(async move { run(&url, &[TABLES, alter]).await });
    let rows = async || -> i64 {
        writer
            .query_one("SELECT count(*) FROM pg_locks WHERE NOT granted", &[])
            .await
            .unwrap()
            .get(0)
    };
    until("the migration to wait", async || {
        if rows().await > 0 {
            Ok(())
        } else {
            Err("the migration does not wait")
        }
    })
    .await;
    // With an unlimited wait for the lock, these inserts would queue behind the migration.
    for _ in 0..20 {
        writer.batch_execute("INSERT INTO plain (a) VALUES (1)").await.unwrap();
    }
    assert!(!migrating.is_finished());
    backup.commit().await.unwrap();
    assert_eq!(migrating.await.unwrap().unwrap(), ["2000-01-02-000000_alter"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b07_a_second_server_waits_for_the_migrations_of_the_first() {
    let database = database().await;
    let first = client(&database).await;
    let lock = format!("SELECT pg_advisory_lock({LOCK})");
    first.query(&lock, &[]).await.unwrap();
    let url = database.url().to_owned();
    let second = tokio::spawn(async move { run(&url, &[TABLES]).await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hookwright migrate' AND query LIKE '%try_advisory%'";
    until("the second server to wait", async || {
        let found: i64 = first.query_one(waits, &[]).await.unwrap().get(0);
        if found > 0 { Ok(()) } else { Err(found) }
    })
    .await;
    // A waiting server holds no snapshot, so an index can be built meanwhile.
    first.batch_execute("CREATE TABLE a (b int)").await.unwrap();
    first
        .batch_execute("CREATE INDEX CONCURRENTLY a_b ON a (b)")
        .await
        .unwrap();
    assert!(!second.is_finished());
    first.query("SELECT pg_advisory_unlock_all()", &[]).await.unwrap();
    assert_eq!(second.await.unwrap().unwrap(), ["2000-01-01-000000_tables"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn b07_indexes_are_built_beside_inserts_on_partitions_too() {
    let database = database().await;
    run(database.url(), &[TABLES]).await.unwrap();
    let (mut client, other) = (client(&database).await, client(&database).await);
    let plain = migration(
        "2000-01-02-000000_plain",
        "CREATE INDEX CONCURRENTLY plain_a ON plain (a) WHERE a > 1",
        false,
    );
    let days = migration(
        "2000-01-02-000100_days",
        "-- why\nCREATE INDEX CONCURRENTLY of_day ON days (a);",
        false,
    );
    // The rest of a build that a crash interrupted.
    other.batch_execute("CREATE INDEX plain_a ON plain (a)").await.unwrap();
    other
        .batch_execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'plain_a'::regclass")
        .await
        .unwrap();
    // Open inserts do not end the build, and the build does not block them.
    let inserting = client.transaction().await.unwrap();
    inserting.batch_execute("INSERT INTO days_1 VALUES (1)").await.unwrap();
    let url = database.url().to_owned();
    let migrating = tokio::spawn(async move { run(&url, &[TABLES, plain, days]).await });
    until("the build to wait for the insert", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY days_1%'";
        let found: i64 = other.query_one(waiting, &[]).await.unwrap().get(0);
        if found > 0 { Ok(()) } else { Err(found) }
    })
    .await;
    other.batch_execute("INSERT INTO days VALUES (2), (12)").await.unwrap();
    inserting.commit().await.unwrap();
    assert_eq!(migrating.await.unwrap().unwrap().len(), 2);
    for index in ["plain_a", "of_day", "days_1_of_day", "days_2_of_day"] {
        assert_eq!(is_valid(&other, index).await, Some(true), "{index}");
    }
    let text: String = other
        .query_one("SELECT pg_get_indexdef('plain_a'::regclass)", &[])
        .await
        .unwrap()
        .get(0);
    assert!(text.contains("WHERE (a > 1)"), "the index was built again: {text}");
    other
        .batch_execute("CREATE TABLE days_3 PARTITION OF days FOR VALUES FROM (20) TO (30)")
        .await
        .unwrap();
    let parts: i64 = other
        .query_one(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'of_day'::regclass",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(parts, 3, "a new partition has the index");
}

/// The last migration from before the rule.
const OLD: &str = "2026-11-29";

/// A table that the migration creates is empty, so an index on it is built at once.
fn makes(statements: &[&str], table: &str) -> bool {
    statements.iter().any(|statement| {
        let words: Vec<&str> = bare(statement)
            .split(|letter: char| letter.is_whitespace() || letter == '(')
            .collect();
        words.len() > 2
            && words[0].eq_ignore_ascii_case("CREATE")
            && words[1].eq_ignore_ascii_case("TABLE")
            && words.contains(&table)
    })
}

#[test]
fn b07_new_migrations_build_no_index_that_blocks_inserts() {
    for migration in MIGRATIONS.iter().filter(|migration| migration.name > OLD) {
        let name = migration.name;
        let statements = statements(migration.up);
        let concurrent: Vec<ConcurrentIndex<'_>> = statements
            .iter()
            .filter_map(|statement| ConcurrentIndex::read(statement))
            .collect();
        assert!(
            migration.in_transaction || (statements.len() == 1 && concurrent.len() == 1),
            "{name}: what runs outside of a transaction is one CREATE INDEX CONCURRENTLY, which can be repeated after a crash"
        );
        assert!(
            !migration.in_transaction || concurrent.is_empty(),
            "{name}: add metadata.toml with run_in_transaction = false"
        );
        for statement in &statements {
            let text = bare(statement).to_ascii_uppercase();
            let words: Vec<&str> = text.split_whitespace().collect();
            let is_index = text.starts_with("CREATE INDEX") || text.starts_with("CREATE UNIQUE INDEX");
            if is_index && ConcurrentIndex::read(statement).is_none() {
                let on = words
                    .iter()
                    .position(|word| *word == "ON")
                    .map_or("", |at| words[at + 1]);
                let table = on.split('(').next().unwrap_or_default().to_ascii_lowercase();
                assert!(
                    makes(&statements, &table),
                    "{name}: an index on `{table}` blocks inserts while it is built; build it CONCURRENTLY, in a \
                     separate migration"
                );
            }
            let adds_key = text.starts_with("ALTER TABLE")
                && text.contains("ADD COLUMN")
                && (text.contains("PRIMARY KEY") || text.contains(" CHECK"));
            assert!(!adds_key, "{name}: add the column first, then a named constraint");
        }
    }
}

#[test]
fn every_migration_of_the_directory_is_known() {
    let names = |store: &str| {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(store);
        let entries = std::fs::read_dir(place).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let known: Vec<&str> = MIGRATIONS.iter().map(|migration| migration.name).collect();
    assert_eq!(names("postgres"), known);
}
