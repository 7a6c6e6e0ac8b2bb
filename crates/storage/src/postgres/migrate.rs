//! Migrations on PostgreSQL, while other servers keep working.
//!
//! - One server at a time runs them, under an advisory lock. Other servers wait, and log that they wait.
//! - Each migration is a transaction, unless its `metadata.toml` sets `run_in_transaction = false`, which is for
//!   indexes that are built `CONCURRENTLY`. There is no statement timeout, because a large table takes long.
//! - A statement waits at most [`LOCK_TIMEOUT`] for a table's lock, because later statements queue behind it, above all
//!   inserts. Then the migration rolls back and retries after [`LOCK_PAUSE`].
//! - A migration that a crash interrupted runs again: a transaction left nothing, and an incomplete index is dropped
//!   and built again.
//! - An index on a partitioned table is built partition by partition, while inserts continue.

use std::time::{Duration, Instant};

use diesel::{QueryableByName, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use tokio::time::{interval_at, sleep};

use super::{
    Flag, connect, remote,
    scope::KEY_64,
    session,
    sql::{ConcurrentIndex, bare, statements},
    wire,
};
use crate::{error::StoreError, migration_log::MigrationLog};

/// A migration of this version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    /// Its directory.
    pub(super) name: &'static str,
    /// Its statements.
    pub(super) up: &'static str,
    pub(super) in_transaction: bool,
}

impl Migration {
    /// Its version in the database: the digits of the name.
    pub(super) fn version(&self) -> String {
        let number = self.name.split('_').next().unwrap_or_default();
        number.replace('-', "")
    }
}

/// The migrations of this version, oldest first.
pub(super) const MIGRATIONS: &[Migration] = include!(concat!(env!("OUT_DIR"), "/postgres_migrations.rs"));

/// The advisory lock of migrations: an arbitrary number that no other lock uses.
const LOCK: i64 = 0x686f_6f6b_7772_0002;
/// How often a waiting server checks whether it is its turn. It holds no snapshot meanwhile, because building an index
/// concurrently waits for snapshots.
const TURN_PAUSE: Duration = Duration::from_millis(200);
/// How long a statement waits for a lock, and the pause before the next attempt.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);
const LOCK_PAUSE: Duration = Duration::from_secs(1);
/// When to give up on a lock that other sessions keep.
const LOCK_PATIENCE: Duration = Duration::from_secs(600);
/// How often the log reports progress.
const PROGRESS: Duration = Duration::from_secs(10);

#[derive(QueryableByName)]
struct Text {
    #[diesel(sql_type = sql_types::Text)]
    text: String,
}

/// Runs the missing migrations. Returns their names.
pub(crate) async fn migrate(url: &str) -> Result<Vec<String>, StoreError> {
    run(url, MIGRATIONS).await
}

async fn run(url: &str, migrations: &[Migration]) -> Result<Vec<String>, StoreError> {
    remote::check(url).map_err(StoreError::DatabaseUrl)?;
    connect::refuse_pooler(url).await?;
    let mut conn = connect::connect(url, "hookwright migrate").await?;
    session::batch(
        &mut conn,
        "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0",
    )
    .await?;
    connect::check_schema(&mut conn).await?;
    // A role that may not change the schema can run a server whose schema is current.
    if is_current(&mut conn, migrations).await? {
        return Ok(Vec::new());
    }
    let applied = bring_up_to_date(&mut conn, migrations).await;
    applied.map_err(|error| explain(wire::refine(&mut conn, error)))
}

/// Whether the database has every migration, and no unknown one.
async fn is_current(conn: &mut AsyncPgConnection, migrations: &[Migration]) -> Result<bool, StoreError> {
    let noted: Flag = diesel::sql_query("SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS flag")
        .get_result(conn)
        .await?;
    if !noted.flag {
        return Ok(false);
    }
    let applied = applied(conn)
        .await
        .map_err(|error| explain(wire::refine(conn, error)))?;
    check_known(&applied, migrations)?;
    Ok(migrations.iter().all(|known| applied.contains(&known.version())))
}

/// Adds the fix to the error of a role without the rights for migrations.
fn explain(error: StoreError) -> StoreError {
    let is_denied = |text: &str| text.contains("permission denied") || text.contains("must be owner of");
    let text = error.to_string();
    if error.is_forbidden() || matches!(error, StoreError::Migration(_)) && is_denied(&text) {
        return StoreError::Forbidden(format!(
            "{text}. The schema is not current: run `hookwright migrate` as the role that owns the tables, and grant this role what \
             docs/guides/postgresql.md lists"
        ));
    }
    error
}

async fn bring_up_to_date(conn: &mut AsyncPgConnection, migrations: &[Migration]) -> Result<Vec<String>, StoreError> {
    wait_for_turn(conn).await?;
    session::batch(
        conn,
        "CREATE TABLE IF NOT EXISTS __diesel_schema_migrations (
             version varchar(50) PRIMARY KEY NOT NULL, run_on timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    )
    .await?;
    let applied = applied(conn).await?;
    check_known(&applied, migrations)?;
    crate::fault::point("migration");
    let missing = migrations.iter().filter(|known| !applied.contains(&known.version()));
    let missing: Vec<&Migration> = missing.collect();
    let log = MigrationLog::new(applied.len(), missing.len());
    for (index, migration) in missing.iter().enumerate() {
        let begun = log.started(index, migration.name);
        apply(conn, migration).await?;
        log.done(migration.name, begun);
        crate::fault::point("migration");
    }
    log.ended();
    Ok(missing.iter().map(|migration| migration.name.to_owned()).collect())
}

/// The versions that the database has.
pub(super) async fn applied(conn: &mut AsyncPgConnection) -> Result<Vec<String>, StoreError> {
    let found: Vec<Text> =
        diesel::sql_query("SELECT version::text AS text FROM __diesel_schema_migrations ORDER BY version")
            .load(conn)
            .await?;
    Ok(found.into_iter().map(|row| row.text).collect())
}

/// Checks that this server knows every version that the database has.
pub(super) fn check_known(applied: &[String], migrations: &[Migration]) -> Result<(), StoreError> {
    let is_known = |version: &&String| migrations.iter().any(|known| known.version() == **version);
    match applied.iter().find(|version| !is_known(version)) {
        Some(version) => Err(StoreError::NewerSchema(version.clone())),
        None => Ok(()),
    }
}

/// Waits until no other server runs migrations, and makes other servers wait from then on.
async fn wait_for_turn(conn: &mut AsyncPgConnection) -> Result<(), StoreError> {
    let begun = Instant::now();
    let mut told = None;
    loop {
        let turn: Flag = diesel::sql_query(format!("SELECT pg_try_advisory_lock($1 # {KEY_64}) AS flag"))
            .bind::<sql_types::BigInt, _>(LOCK)
            .get_result(conn)
            .await?;
        if turn.flag {
            return Ok(());
        }
        if told.is_none_or(|told: Instant| told.elapsed() >= PROGRESS) {
            told = Some(Instant::now());
            let waited = begun.elapsed().as_secs();
            tracing::info!("another server runs migrations on this database; waiting for it ({waited} s so far)");
        }
        sleep(TURN_PAUSE).await;
    }
}

/// Runs a migration, and records it in the database.
async fn apply(conn: &mut AsyncPgConnection, migration: &Migration) -> Result<(), StoreError> {
    if migration.in_transaction {
        return patiently(conn, migration.name, Step::Migration(migration)).await;
    }
    for statement in statements(migration.up) {
        match ConcurrentIndex::read(statement) {
            Some(index) => build(conn, migration.name, &index).await?,
            None => patiently(conn, migration.name, Step::Statement(statement)).await?,
        }
    }
    Ok(session::batch(conn, &note(migration)).await?)
}

fn note(migration: &Migration) -> String {
    let version = migration.version();
    format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('{version}')")
}

/// A step that waits for locks.
#[derive(Clone, Copy)]
enum Step<'a> {
    /// All statements of a migration, in a transaction.
    Migration(&'a Migration),
    /// A statement that is fast once it has its lock.
    Statement(&'a str),
}

impl Step<'_> {
    async fn run(self, conn: &mut AsyncPgConnection, name: &str) -> Result<(), StoreError> {
        session::transaction(conn, async |conn| {
            let wait = format!("SET LOCAL lock_timeout = {}", LOCK_TIMEOUT.as_millis());
            session::batch(conn, &wait).await?;
            match self {
                Self::Statement(statement) => run_statement(conn, name, statement).await,
                Self::Migration(migration) => {
                    for statement in statements(migration.up) {
                        run_statement(conn, name, statement).await?;
                    }
                    Ok(session::batch(conn, &note(migration)).await?)
                }
            }
        })
        .await
    }
}

/// Retries a step that fails because of a lock, until it succeeds.
async fn patiently(conn: &mut AsyncPgConnection, name: &str, step: Step<'_>) -> Result<(), StoreError> {
    let begun = Instant::now();
    loop {
        let Err(error) = step.run(conn, name).await else {
            return Ok(());
        };
        let is_locked = error.is_lock_timeout() || error.is_conflict();
        if !is_locked || begun.elapsed() > LOCK_PATIENCE {
            return Err(StoreError::Migration(format!("{name}: {error}")));
        }
        let waited = begun.elapsed().as_secs();
        tracing::warn!(
            migration = name,
            "a table that the migration changes is in use, by a long transaction or a backup; will try again ({waited} s so far)"
        );
        sleep(LOCK_PAUSE).await;
    }
}

/// Runs a statement, and reports from time to time that it is still running.
async fn run_statement(conn: &mut AsyncPgConnection, name: &str, statement: &str) -> Result<(), StoreError> {
    let begun = tokio::time::Instant::now();
    let mut progress = interval_at(begun + PROGRESS, PROGRESS);
    let mut running = std::pin::pin!(session::batch(conn, statement));
    loop {
        tokio::select! {
            done = &mut running => return Ok(done?),
            _ = progress.tick() => {
                let (seconds, beginning) = (begun.elapsed().as_secs(), beginning_of(statement));
                tracing::info!(migration = name, "still running after {seconds} s: {beginning}");
            }
        }
    }
}

fn beginning_of(statement: &str) -> String {
    let words: Vec<&str> = bare(statement).split_whitespace().take(8).collect();
    words.join(" ")
}

/// Builds an index while inserts continue. An existing index stays. An incomplete one is dropped first.
async fn build(conn: &mut AsyncPgConnection, name: &str, index: &ConcurrentIndex<'_>) -> Result<(), StoreError> {
    let unique = if index.is_unique { "UNIQUE " } else { "" };
    let (table, rest) = (index.table, index.rest);
    let Some(partitions) = partitions_of(conn, table).await? else {
        return build_one(conn, name, unique, index.name, table, rest).await;
    };
    // The index becomes valid when each partition has its part. A new partition gets its part with its table.
    let parent = format!(
        "CREATE {unique}INDEX IF NOT EXISTS {} ON ONLY {table} {rest}",
        index.name
    );
    patiently(conn, name, Step::Statement(&parent)).await?;
    for (at, partition) in partitions.iter().enumerate() {
        let part = format!("{partition}_{}", index.name);
        if part.len() > NAME_BYTES_MAX {
            return Err(StoreError::Migration(format!(
                "{name}: the index name `{part}` is longer than {NAME_BYTES_MAX} bytes"
            )));
        }
        tracing::info!(
            migration = name,
            "building {} on partition {} of {}",
            index.name,
            at + 1,
            partitions.len()
        );
        build_one(conn, name, unique, &part, partition, rest).await?;
        let attach = format!("ALTER INDEX {} ATTACH PARTITION {part}", index.name);
        patiently(conn, name, Step::Statement(&attach)).await?;
    }
    Ok(())
}

/// The length to which PostgreSQL truncates names.
const NAME_BYTES_MAX: usize = 63;

async fn build_one(
    conn: &mut AsyncPgConnection,
    migration: &str,
    unique: &str,
    name: &str,
    table: &str,
    rest: &str,
) -> Result<(), StoreError> {
    let found: Vec<Flag> =
        diesel::sql_query("SELECT indisvalid AS flag FROM pg_index WHERE indexrelid = to_regclass($1)")
            .bind::<sql_types::Text, _>(name)
            .load(conn)
            .await?;
    match found.as_slice() {
        [valid] if valid.flag => return Ok(()),
        [_] => session::batch(conn, &format!("DROP INDEX CONCURRENTLY {name}")).await?,
        _ => {}
    }
    let text = format!("CREATE {unique}INDEX CONCURRENTLY {name} ON {table} {rest}");
    let built = run_statement(conn, migration, &text).await;
    built.map_err(|error| StoreError::Migration(format!("{migration}: {}", wire::refine(conn, error))))
}

/// The partitions of a table; `None` for a table that is not partitioned.
async fn partitions_of(conn: &mut AsyncPgConnection, table: &str) -> Result<Option<Vec<String>>, StoreError> {
    let kind: Vec<Flag> = diesel::sql_query("SELECT relkind = 'p' AS flag FROM pg_class WHERE oid = to_regclass($1)")
        .bind::<sql_types::Text, _>(table)
        .load(conn)
        .await?;
    if !kind.iter().any(|kind| kind.flag) {
        return Ok(None);
    }
    let found: Vec<Text> = diesel::sql_query(
        "SELECT c.relname::text AS text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = to_regclass($1) ORDER BY c.relname",
    )
    .bind::<sql_types::Text, _>(table)
    .load(conn)
    .await?;
    Ok(Some(found.into_iter().map(|row| row.text).collect()))
}

#[cfg(test)]
mod tests;
