//! The store on SQLite: bundled, in WAL mode, synced at every commit.
//!
//! One connection writes: the committer's batches and configuration changes take turns on it. Several connections read
//! beside it.

mod checkpoint;
mod commit;
mod dialect;
mod files;
mod health;
#[cfg(test)]
mod plans;
#[expect(
    clippy::duplicate_mod,
    reason = "the queries are the same on both stores; only the module `dialect` differs"
)]
#[path = "queries/mod.rs"]
pub(crate) mod queries;
pub(crate) mod waiting;

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use diesel::{
    connection::SimpleConnection as _,
    migration::{Migration as _, MigrationSource as _},
    prelude::*,
    sql_types,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use parking_lot::Mutex;
use tokio::time::interval_at;

pub(crate) use self::dialect::at_once;
use self::{checkpoint::Checkpointer, files::lock};
use crate::{
    DEADLINE,
    batch::{Batch, Committed, NewEvent},
    error::StoreError,
    migration_log::MigrationLog,
    options::StoreOptions,
};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
/// How many pages the log may contain before a commit copies it into the file. It never gets that far while
/// [`checkpoint`] works.
const CHECKPOINT_PAGES: u32 = 65_536;

/// The setting that contains the watermark, under the name that released servers use.
pub(crate) const WATERMARK: &str = "checkpoint";

/// How long a statement waits for a lock of another process.
const BUSY_TIMEOUT_MS: u32 = 5_000;
/// The approximate size in the log of one changed row, with its index entries.
const CHANGED_BYTES: u64 = 1_024;

/// How often the log reports slow steps of the start.
const PROGRESS: Duration = Duration::from_secs(10);

/// The duration of a planted slow migration or opening: longer than the limit for a query.
const SLOW_START: Duration = Duration::from_secs(DEADLINE.as_secs() + 2);

/// How many free pages stay in the file, and how many are released at once.
const FREE_PAGES_KEPT: i64 = 4_096;
const RETURNED_PAGES: i64 = 256;
/// The approximate size in the log of releasing these: pages of 8 KiB are moved from the end of the file, and their
/// parents change.
const RETURNED_BYTES: u64 = 2 * RETURNED_PAGES.cast_unsigned() * 8_192;

/// The store on SQLite.
#[derive(Clone)]
pub(crate) struct Sqlite {
    writer: Arc<Mutex<SqliteConnection>>,
    readers: Arc<[Mutex<SqliteConnection>]>,
    next_reader: Arc<AtomicUsize>,
    checkpointer: Checkpointer,
    /// The write-ahead log.
    log: Arc<Path>,
    /// Held as long as the store is open.
    _lock: Arc<File>,
}

/// Reads a value that the service keeps for itself, from a store that is not open.
pub(crate) async fn peek_setting(path: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let (path, key) = (path.to_owned(), key.to_owned());
    patiently("opening the file", move |_| {
        let _lock = lock(&path)?;
        Ok(at_once(queries::setting(&mut connect(&path)?, &key))?)
    })
    .await
}

/// Runs the missing migrations without a time limit.
pub(crate) async fn migrate(path: &str) -> Result<Vec<String>, StoreError> {
    let path = path.to_owned();
    patiently("opening the file", move |progress| {
        let _lock = lock(&path)?;
        let mut conn = connect(&path)?;
        check_not_newer(&mut conn)?;
        crate::fault::point("migration");
        let missing = conn.pending_migrations(MIGRATIONS).map_err(migration_error)?;
        let applied = conn.applied_migrations().map_err(migration_error)?;
        let log = MigrationLog::new(applied.len(), missing.len());
        for (index, migration) in missing.iter().enumerate() {
            let name = migration.name().to_string();
            let begun = log.started(index, &name);
            progress.is_at(format!("migration {name}"));
            if index == 0 {
                crate::fault::sleep_if_planted("slow-start", SLOW_START);
            }
            conn.run_migration(migration).map_err(migration_error)?;
            log.done(&name, begun);
        }
        log.ended();
        crate::fault::point("migration");
        Ok(missing.iter().map(|migration| migration.name().to_string()).collect())
    })
    .await
}

fn migration_error(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    StoreError::Migration(error.to_string())
}

impl Sqlite {
    pub(crate) async fn open(path: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        let (path, readers, unsafe_allowed) =
            (path.to_owned(), options.readers.max(1), options.allow_unsafe_durability);
        // SQLite first reads a log that a crash left, however large it is.
        patiently("opening the file", move |_| {
            crate::fault::sleep_if_planted("slow-start", SLOW_START);
            let lock = Arc::new(lock(&path)?);
            let mut writer = connect(&path)?;
            if writer.has_pending_migration(MIGRATIONS).map_err(migration_error)? {
                return Err(StoreError::OlderSchema);
            }
            check_not_newer(&mut writer)?;
            if !unsafe_allowed {
                check_durable(&mut writer)?;
            }
            let readers = (0..readers).map(|_| {
                let mut reader = connect(&path)?;
                reader.batch_execute("PRAGMA query_only = ON")?;
                Ok(Mutex::new(reader))
            });
            let writer = Arc::new(Mutex::new(writer));
            let log: Arc<Path> = Path::new(&format!("{path}-wal")).into();
            Ok(Self {
                checkpointer: Checkpointer::start(
                    connect(&path)?,
                    Arc::clone(&writer),
                    Arc::clone(&lock),
                    Arc::clone(&log),
                )?,
                log,
                writer,
                readers: readers.collect::<Result<_, StoreError>>()?,
                next_reader: Arc::default(),
                _lock: lock,
            })
        })
        .await
    }

    /// The size of the write-ahead log.
    pub(crate) fn log_bytes(&self) -> u64 {
        checkpoint::log_bytes(&self.log)
    }

    /// Runs a query on a connection that only reads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        blocking(move || {
            let at = store.next_reader.fetch_add(1, Ordering::Relaxed) % store.readers.len();
            // One snapshot for all statements of the query.
            Ok(store.readers[at].lock().transaction(query)?)
        })
        .await
    }

    /// Releases some of the free pages to the file system, and returns whether there are more. Some free pages are kept
    /// for new rows.
    pub(crate) async fn return_space(&self) -> Result<bool, StoreError> {
        let store = self.clone();
        blocking(move || {
            let mut writer = store.writer.lock();
            let free: i64 = pragma_text(
                &mut writer,
                "SELECT CAST(freelist_count AS TEXT) AS value FROM pragma_freelist_count",
            )?
            .parse()
            .unwrap_or(0);
            if free <= FREE_PAGES_KEPT {
                return Ok(false);
            }
            writer.batch_execute(&format!("PRAGMA incremental_vacuum({RETURNED_PAGES})"))?;
            drop(writer);
            store.checkpointer.wrote(RETURNED_BYTES);
            Ok(free - RETURNED_PAGES > FREE_PAGES_KEPT)
        })
        .await
    }

    /// Runs a configuration change in a separate transaction.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        ping: Option<NewEvent>,
        change: impl FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        changing(tokio::time::sleep(DEADLINE), move |turn| {
            let mut writer = store.writer.lock();
            turn.begin()?;
            let before = changes(&mut writer)?;
            let done = writer.immediate_transaction(|conn| {
                let done = change(conn)?;
                if let Some(ping) = &ping {
                    commit::insert_event(conn, ping)?;
                }
                Ok::<_, diesel::result::Error>(done)
            })?;
            let rows = changes(&mut writer)?.saturating_sub(before);
            drop(writer);
            // Work with many steps would fill the log, and the commit that then copies it would take long.
            store.checkpointer.wrote(rows.saturating_mul(CHANGED_BYTES));
            Ok(done)
        })
        .await
    }

    pub(crate) fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let committed = {
            let mut writer = self.writer.lock();
            writer.immediate_transaction(|conn| commit::commit(conn, batch))?
        };
        self.checkpointer.wrote(batch.bytes());
        Ok(committed)
    }
}

/// Runs work on a blocking thread, if no caller needs to know whether it was done. The work continues after the
/// deadline, although its caller gets an error.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::time::timeout(DEADLINE, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(StoreError::Unreachable(error.to_string())),
        Err(_) => Err(StoreError::Timeout(DEADLINE.as_secs())),
    }
}

/// Whether a change has begun or its caller has given up, whichever happens first.
#[derive(Clone, Default)]
struct Turn(Arc<OnceLock<bool>>);

impl Turn {
    /// Must be called before anything is changed.
    ///
    /// # Errors
    /// Fails if the caller has given up.
    fn begin(&self) -> Result<(), StoreError> {
        if *self.0.get_or_init(|| true) {
            Ok(())
        } else {
            Err(StoreError::Timeout(DEADLINE.as_secs()))
        }
    }

    /// Returns true if the change has not begun. It never will then.
    fn give_up(&self) -> bool {
        !self.0.get_or_init(|| false)
    }
}

/// Runs a change on a blocking thread. The deadline applies until the change begins; from then on the caller waits for
/// its end. So a caller that gets a timeout knows that nothing was changed.
async fn changing<T: Send + 'static>(
    limit: impl Future<Output = ()>,
    work: impl FnOnce(&Turn) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let turn = Turn::default();
    let of_work = turn.clone();
    let mut running = tokio::task::spawn_blocking(move || work(&of_work));
    let done = tokio::select! {
        biased;
        done = &mut running => done,
        () = limit => {
            if turn.give_up() {
                return Err(StoreError::Timeout(DEADLINE.as_secs()));
            }
            running.await
        }
    };
    done.unwrap_or_else(|error| Err(StoreError::Unreachable(error.to_string())))
}

/// The current step of work without a time limit, for the log.
#[derive(Clone)]
struct Progress(Arc<Mutex<String>>);

impl Progress {
    fn is_at(&self, what: String) {
        *self.0.lock() = what;
    }
}

/// Runs work on a blocking thread without a time limit. The log reports from time to time that it is still running.
async fn patiently<T: Send + 'static>(
    what: &str,
    work: impl FnOnce(&Progress) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let progress = Progress(Arc::new(Mutex::new(what.to_owned())));
    let of_work = progress.clone();
    let mut running = tokio::task::spawn_blocking(move || work(&of_work));
    let begun = tokio::time::Instant::now();
    let mut told = interval_at(begun + PROGRESS, PROGRESS);
    loop {
        tokio::select! {
            done = &mut running => return done.unwrap_or_else(|error| Err(StoreError::Unreachable(error.to_string()))),
            _ = told.tick() => {
                let (seconds, what) = (begun.elapsed().as_secs(), progress.0.lock().clone());
                tracing::info!("still running after {seconds} s: {what}");
            }
        }
    }
}

fn connect(path: &str) -> Result<SqliteConnection, StoreError> {
    let mut conn =
        SqliteConnection::establish(path).map_err(|error| StoreError::Unreachable(format!("{path}: {error}")))?;
    // The page size has an effect only before the first table is created. The other settings apply to every connection.
    conn.batch_execute(&format!(
        "PRAGMA busy_timeout = {BUSY_TIMEOUT_MS};
         PRAGMA page_size = 8192;
         PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA foreign_keys = ON;
         PRAGMA temp_store = MEMORY;"
    ))
    .map_err(|error| StoreError::Unreachable(format!("{path}: {error}")))?;
    Ok(conn)
}

/// How many rows this connection has changed so far.
fn changes(conn: &mut SqliteConnection) -> Result<u64, StoreError> {
    let text = pragma_text(conn, "SELECT CAST(total_changes() AS TEXT) AS value")?;
    Ok(text.parse().unwrap_or(0))
}

fn check_durable(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let journal: String = pragma_text(conn, "SELECT journal_mode AS value FROM pragma_journal_mode")?;
    let synchronous: String = pragma_text(
        conn,
        "SELECT CAST(synchronous AS TEXT) AS value FROM pragma_synchronous",
    )?;
    if journal != "wal" {
        return Err(StoreError::NotDurable(format!(
            "SQLite's journal_mode is `{journal}`, not `wal`"
        )));
    }
    // 2 is FULL.
    if synchronous != "2" {
        return Err(StoreError::NotDurable(format!(
            "SQLite's synchronous is {synchronous}, not FULL"
        )));
    }
    Ok(())
}

fn pragma_text(conn: &mut SqliteConnection, query: &str) -> Result<String, StoreError> {
    #[derive(QueryableByName)]
    struct Value {
        #[diesel(sql_type = sql_types::Text)]
        value: String,
    }
    let row: Value = diesel::sql_query(query).get_result(conn)?;
    Ok(row.value)
}

/// Refuses a file that a newer version has migrated.
fn check_not_newer(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let applied = conn.applied_migrations().map_err(migration_error)?;
    known_versions(&applied)
}

/// Checks that this version has every applied migration.
fn known_versions(applied: &[diesel::migration::MigrationVersion<'static>]) -> Result<(), StoreError> {
    let migrations: Vec<Box<dyn diesel::migration::Migration<diesel::sqlite::Sqlite>>> =
        MIGRATIONS.migrations().map_err(migration_error)?;
    let unknown = applied
        .iter()
        .find(|version| !migrations.iter().any(|known| known.name().version() == **version));
    match unknown {
        Some(version) => Err(StoreError::NewerSchema(version.to_string())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, sync::mpsc};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_change_that_has_begun_is_waited_for_however_long_it_takes() {
        let (begun, begins) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let (passed, passes) = oneshot::channel();
        let limit = async move {
            begins.await.unwrap();
            passed.send(()).unwrap();
        };
        let changed = tokio::spawn(changing(limit, move |turn| {
            turn.begin()?;
            begun.send(()).unwrap();
            ended.recv().map_err(|error| StoreError::Unreachable(error.to_string()))
        }));
        passes.await.unwrap();
        end.send(7).unwrap();
        assert_eq!(changed.await.unwrap().unwrap(), 7);
    }

    #[tokio::test]
    async fn a_change_whose_caller_got_a_timeout_changes_nothing() {
        let (go_on, waits) = mpsc::channel();
        let (tell, told) = oneshot::channel();
        let changed = changing(ready(()), move |turn| {
            // It gets its turn after its caller has given up.
            waits.recv().unwrap();
            tell.send(turn.begin().is_ok()).unwrap();
            Ok(())
        });
        let error = changed.await.unwrap_err();
        assert!(matches!(error, StoreError::Timeout(_)), "{error}");
        go_on.send(()).unwrap();
        assert!(!told.await.unwrap(), "it must not begin");
    }
}
