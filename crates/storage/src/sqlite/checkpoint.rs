//! WAL checkpoints, outside the commit's path.
//!
//! A thread copies most of the write-ahead log into the file while commits continue. Then it copies the small rest with
//! commits blocked, because SQLite only starts the log again when it was copied to its end. While another process reads
//! in a transaction that does not end, the log cannot be copied to its end and grows. The thread then warns, retries,
//! and truncates the log afterwards.

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use diesel::{connection::SimpleConnection as _, prelude::*, sql_types};
use parking_lot::Mutex;

use crate::error::StoreError;

/// How many bytes may be written before the log is copied.
const BYTES: u64 = 32 << 20;
/// A log that has grown beyond this is truncated after it was copied. A reader makes it grow.
const LOG_KEPT: u64 = 64 << 20;
/// The size of a log that cannot be copied at which the thread warns. It warns again whenever the size has doubled.
const LOG_WARNED: u64 = 128 << 20;
/// How many pages may be left to copy while commits are blocked: 2 MiB.
const LITTLE_PAGES: i32 = 256;
/// How many rounds of copying precede that. If commits write faster than the thread copies, the rest never becomes
/// small.
const ROUNDS_MAX: usize = 8;
/// The delay before the retry of a checkpoint that a reader blocked.
const RETRY: Duration = Duration::from_secs(2);

/// Notifies the thread of written bytes. The thread ends when the last of these is dropped.
#[derive(Clone)]
pub(super) struct Checkpointer {
    written: Arc<AtomicU64>,
    nudge: SyncSender<()>,
}

#[derive(QueryableByName)]
struct Progress {
    #[diesel(sql_type = sql_types::Integer)]
    busy: i32,
    #[diesel(sql_type = sql_types::Integer)]
    log: i32,
    #[diesel(sql_type = sql_types::Integer)]
    checkpointed: i32,
}

impl Checkpointer {
    /// Starts the thread with its own connection and the writing one. The lock is kept until both are closed.
    pub(super) fn start(
        own: SqliteConnection,
        writer: Arc<Mutex<SqliteConnection>>,
        lock: Arc<File>,
        log: Arc<Path>,
    ) -> Result<Self, StoreError> {
        let (nudge, nudged) = sync_channel(1);
        thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || {
                run(own, &writer, &log, &nudged);
                drop(writer);
                drop(lock);
            })
            .map_err(|error| StoreError::Unreachable(error.to_string()))?;
        Ok(Self {
            written: Arc::default(),
            nudge,
        })
    }

    /// Records that about this many bytes were committed.
    pub(super) fn wrote(&self, bytes: u64) {
        if self.written.fetch_add(bytes, Ordering::Relaxed) + bytes >= BYTES {
            self.written.store(0, Ordering::Relaxed);
            // If the thread is working already, it or the next nudge will include these bytes.
            let _ = self.nudge.try_send(());
        }
    }
}

fn run(mut own: SqliteConnection, writer: &Mutex<SqliteConnection>, log: &Path, nudged: &Receiver<()>) {
    let mut warned_at = LOG_WARNED;
    let mut held_up = false;
    loop {
        let nudge = if held_up {
            nudged.recv_timeout(RETRY)
        } else {
            nudged.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        if nudge == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        held_up = match copy_most(&mut own).and_then(|()| finish(&mut writer.lock(), log)) {
            Ok(finished) => !finished,
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed; the next one will continue");
                true
            }
        };
        let bytes = log_bytes(log);
        if !held_up || bytes < warned_at / 4 {
            warned_at = LOG_WARNED;
        } else if bytes >= warned_at {
            tracing::warn!(
                mebibytes = bytes >> 20,
                log = %log.display(),
                "the write-ahead log grows: another process reads the database in a transaction that does not end; end it (`fuser -v` on the file names it)"
            );
            warned_at = bytes.saturating_mul(2);
        }
    }
}

/// Copies until commits add little between rounds, so that little is left to copy while commits are blocked.
fn copy_most(own: &mut SqliteConnection) -> QueryResult<()> {
    let mut copied = 0;
    for _ in 0..ROUNDS_MAX {
        let progress = copy(own)?;
        if progress.checkpointed - copied <= LITTLE_PAGES {
            break;
        }
        copied = progress.checkpointed;
    }
    Ok(())
}

/// Copies the rest while no commit adds to it, and truncates a log that has grown. Returns false if a reader blocks
/// that.
fn finish(writer: &mut SqliteConnection, log: &Path) -> QueryResult<bool> {
    let progress = copy(writer)?;
    if progress.checkpointed < progress.log {
        tracing::debug!(
            pages = progress.log - progress.checkpointed,
            "a reader blocks the end of a checkpoint; it will be retried"
        );
        return Ok(false);
    }
    if log_bytes(log) > LOG_KEPT {
        // Commits wait for this, so it must not wait for readers.
        writer.batch_execute("PRAGMA busy_timeout = 0")?;
        let cut = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result::<Progress>(writer);
        writer.batch_execute(&format!("PRAGMA busy_timeout = {}", super::BUSY_TIMEOUT_MS))?;
        return cut.map(|progress| progress.busy == 0);
    }
    Ok(true)
}

/// Copies as much as readers allow, without waiting for them.
fn copy(conn: &mut SqliteConnection) -> QueryResult<Progress> {
    diesel::sql_query("PRAGMA wal_checkpoint(PASSIVE)").get_result(conn)
}

/// The size of the log.
pub(super) fn log_bytes(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |metadata| metadata.len())
}
