//! Writing the log back into the file, off the commit's path.
//!
//! A thread of its own copies what has accumulated while commits go on, then copies the little that came meanwhile with
//! commits held up: only a log that was copied to its end begins anew, and does not grow for ever.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use diesel::{prelude::*, sql_types};
use parking_lot::Mutex;

use crate::error::StoreError;

/// How many bytes may be written before the log is copied.
const BYTES: u64 = 32 << 20;

/// Tells the thread what was written. The thread ends with the last of these.
#[derive(Clone)]
pub(super) struct Checkpointer {
    written: Arc<AtomicU64>,
    nudge: SyncSender<()>,
}

#[derive(QueryableByName)]
struct Progress {
    #[diesel(sql_type = sql_types::Integer)]
    log: i32,
    #[diesel(sql_type = sql_types::Integer)]
    checkpointed: i32,
}

impl Checkpointer {
    /// Starts the thread, with a connection of its own and the one that writes. The lock is kept until both are closed.
    pub(super) fn start(
        own: SqliteConnection,
        writer: Arc<Mutex<SqliteConnection>>,
        lock: Arc<File>,
    ) -> Result<Self, StoreError> {
        let (nudge, nudged) = sync_channel(1);
        thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || {
                run(own, &writer, &nudged);
                drop(writer);
                drop(lock);
            })
            .map_err(|error| StoreError::Unreachable(error.to_string()))?;
        Ok(Self {
            written: Arc::default(),
            nudge,
        })
    }

    /// Notes that about so many bytes were committed.
    pub(super) fn wrote(&self, bytes: u64) {
        if self.written.fetch_add(bytes, Ordering::Relaxed) + bytes >= BYTES {
            self.written.store(0, Ordering::Relaxed);
            // If the thread is at work already, it will see these bytes too, or the next nudge will.
            let _ = self.nudge.try_send(());
        }
    }
}

fn run(mut own: SqliteConnection, writer: &Mutex<SqliteConnection>, nudged: &Receiver<()>) {
    while nudged.recv().is_ok() {
        let done = copy(&mut own).and_then(|_| copy(&mut writer.lock()));
        match done {
            Ok(progress) if progress.checkpointed < progress.log => {
                tracing::debug!(
                    pages = progress.log - progress.checkpointed,
                    "a reader holds up the end of a checkpoint; the next one will go on"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a checkpoint failed; the next one will go on"),
        }
    }
}

/// Copies as much as readers allow, and waits for nobody.
fn copy(conn: &mut SqliteConnection) -> QueryResult<Progress> {
    diesel::sql_query("PRAGMA wal_checkpoint(PASSIVE)").get_result(conn)
}
