//! [`Store`]: every operation of the store, in the terms of the service, on either database.
//!
//! Each child module adds the operations of one subject. Rows and results are in the modules of the same names at the
//! root of the crate, below both databases.

mod audit;
mod catalogue;
mod changes;
mod history;
mod members;
mod operations;
mod pull;
mod replays;
mod retention;
mod schedule;
mod stats;
mod tokens;
mod vitals;
mod waiting;

use hookwright_domain::mask::mask_passwords;

pub use self::{members::ConfigurationChange, retention::Retention};
use crate::{
    batch::{Batch, Committed},
    due::{LatestDue, ReadLimits, Refill, Steered, UnfinishedPage},
    error::{CommitError, StoreError},
    operations::Discard,
    options::StoreOptions,
    postgres::{self, Postgres},
    rows::*,
    sqlite::{self, Sqlite},
};

/// Handle to an open store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) backend: Backend,
}

#[derive(Clone)]
pub(crate) enum Backend {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// Runs a query that only reads.
macro_rules! read {
    ($store:expr, $query:ident($($argument:expr),*)) => {
        match &$store.backend {
            $crate::store::Backend::Sqlite(store) => {
                store.read(move |conn| $crate::sqlite::at_once($crate::sqlite::queries::$query(conn, $($argument),*))).await
            }
            $crate::store::Backend::Postgres(store) => {
                store.read(async move |conn| $crate::postgres::queries::$query(conn, $($argument),*).await).await
            }
        }
    };
}

/// Runs a change in a separate transaction.
macro_rules! write {
    ($store:expr, $query:ident($($argument:expr),*)) => {
        match &$store.backend {
            $crate::store::Backend::Sqlite(store) => {
                store.write(None, move |conn| $crate::sqlite::at_once($crate::sqlite::queries::$query(conn, $($argument),*))).await
            }
            $crate::store::Backend::Postgres(store) => $crate::postgres::undisturbed!(
                store.write(None, async |conn| $crate::postgres::queries::$query(conn, $($argument),*).await).await
            ),
        }
    };
}

/// Runs a change of one part of the configuration in a separate transaction, together with a ping if there is one.
macro_rules! configure {
    ($store:expr, $part:expr, $ping:expr, $query:ident($($argument:expr),*)) => {
        match &$store.backend {
            // There are no other nodes to notify of the changed part.
            $crate::store::Backend::Sqlite(store) => {
                store.write($ping, move |conn| $crate::sqlite::at_once($crate::sqlite::queries::$query(conn, $($argument),*))).await
            }
            $crate::store::Backend::Postgres(store) => $crate::postgres::undisturbed!(
                store.configure($part, $ping.clone(), async |conn| $crate::postgres::queries::$query(conn, $($argument),*).await).await
            ),
        }
    };
}

pub(crate) use {configure, read, write};

impl Store {
    /// Migrates the schema to the current version, and creates it if there is none. Returns the names of the migrations
    /// that ran.
    ///
    /// # Errors
    /// Fails if the store cannot be reached, or if its schema is newer than this version.
    pub async fn migrate(options: &StoreOptions) -> Result<Vec<String>, StoreError> {
        match options.sqlite_path() {
            Some(path) => sqlite::migrate(path).await,
            None if options.is_postgres() => postgres::migrate(&options.url).await,
            None => Err(StoreError::Url(mask_passwords(&options.url))),
        }
    }

    /// Reads a value that the service keeps for itself, from a store whose schema is current and that is not open. No
    /// other server notices.
    ///
    /// # Errors
    /// Fails if the store cannot be reached, or on SQLite if it is in use.
    pub async fn peek_setting(options: &StoreOptions, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match options.sqlite_path() {
            Some(path) => sqlite::peek_setting(path, key).await,
            None if options.is_postgres() => postgres::peek_setting(&options.url, key).await,
            None => Err(StoreError::Url(mask_passwords(&options.url))),
        }
    }

    /// Opens a store for serving. On SQLite no other server may use it meanwhile; on PostgreSQL this server joins the
    /// others.
    ///
    /// # Errors
    /// Fails if the store cannot be reached, is in use, is not migrated, or does not guarantee durability.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let backend = match options.sqlite_path() {
            Some(path) => Backend::Sqlite(Sqlite::open(path, options).await?),
            None if options.is_postgres() => Backend::Postgres(Postgres::open(options).await?),
            None => return Err(StoreError::Url(mask_passwords(&options.url))),
        };
        Ok(Self { backend })
    }

    /// The number of this server among those that share the store, which its ids contain.
    pub fn node(&self) -> u16 {
        match &self.backend {
            Backend::Sqlite(_) => 0,
            Backend::Postgres(store) => store.number(),
        }
    }

    /// Makes the current runtime drive the connection that commits, so that a commit never waits for another thread.
    ///
    /// # Errors
    /// Fails if the store cannot be reached, or if another server has just taken it.
    pub async fn commit_from_here(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(store) => store.move_writer().await,
        }
    }

    /// Makes everything in the batch durable, or nothing, in one transaction. On SQLite this blocks the thread: call it
    /// from a dedicated one.
    ///
    /// # Errors
    /// Fails if the commit failed. It is then unknown whether it was stored.
    pub async fn commit(&self, batch: &Batch) -> Result<Committed, CommitError> {
        Ok(match &self.backend {
            Backend::Sqlite(store) => store.commit(batch)?,
            Backend::Postgres(store) => store.commit(batch).await?,
        })
    }

    /// Regular maintenance: creates the partitions of the coming days, and releases a part of the free pages to the
    /// file system. Returns whether there are more to release.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn maintain(&self, now_us: i64) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.return_space().await,
            Backend::Postgres(store) => store.make_partitions(now_us).await.map(|()| false),
        }
    }

    /// The events among these that are stored, after their commit failed. When this answers, that commit has ended and
    /// cannot store them any more.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn events_exist(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => {
                let ids = ids.to_vec();
                store
                    .read(move |conn| sqlite::at_once(sqlite::queries::events_exist(conn, &ids)))
                    .await
            }
            Backend::Postgres(store) => store.events_exist(ids).await,
        }
    }

    /// The due deliveries of a webhook at this node: at most `rows` deliveries and about `bytes` of payload, and at
    /// least one delivery.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn due(&self, webhook: i64, now: i64, rows: usize, bytes: usize) -> Result<Refill, StoreError> {
        let limits = ReadLimits {
            rows,
            bytes,
            first_bytes: usize::MAX,
        };
        self.due_beyond(None, webhook, now, limits).await
    }

    /// The due deliveries of a webhook at this node, as many as the limits allow, except those that are being
    /// discarded.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn due_beyond(
        &self,
        discard: Option<Discard>,
        webhook: i64,
        now: i64,
        limits: ReadLimits,
    ) -> Result<Refill, StoreError> {
        let node = i32::from(self.node());
        read!(self, due(webhook, node, now, limits, discard))
    }

    /// The first pending deliveries of a webhook at this node that are due by `due_at`, at most `most`.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn waiting_until(&self, webhook: i64, due_at: i64, most: usize) -> Result<Vec<i64>, StoreError> {
        let node = i32::from(self.node());
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        read!(self, waiting_until(webhook, node, due_at, most))
    }

    /// Corrects due times of a webhook at this node that are later than possible: first attempts become due now, and
    /// retries at the latest possible time. Corrects at most 1,000 at once, and returns how many.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn correct_due(&self, webhook: i64, now: i64, latest: LatestDue) -> Result<usize, StoreError> {
        let node = i32::from(self.node());
        write!(self, correct_due(webhook, node, now, latest))
    }

    /// This node's events after `after`, up to `last`, that have deliveries without any row. Reads at most `limit` of
    /// its events, and about 16 MiB of payloads.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn unfinished(&self, after: i64, last: i64, limit: usize) -> Result<UnfinishedPage, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let node = i32::from(self.node());
        read!(self, unfinished(node, after, last, limit, crate::unfinished::BYTES))
    }

    /// The largest id in use.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn largest_id(&self) -> Result<i64, StoreError> {
        read!(self, largest_id())
    }

    /// The watermark of this node: of its events at or below it, everything that is owed has a row.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn watermark(&self) -> Result<i64, StoreError> {
        if let Backend::Postgres(store) = &self.backend {
            return store.watermark().await;
        }
        let stored = self.setting(sqlite::WATERMARK).await?;
        Ok(stored
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, i64::from_le_bytes))
    }

    /// The lowest watermark of all nodes.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn lowest_watermark(&self) -> Result<i64, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => self.watermark().await,
            Backend::Postgres(store) => store.lowest_watermark().await,
        }
    }

    /// Ends a pending delivery in the store, for a reason. The next one of its key becomes due.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn end_delivery(
        &self,
        organization: i64,
        delivery: i64,
        reason: &'static str,
        now: i64,
        audit: &AuditRow,
    ) -> Result<Steered, StoreError> {
        let (audit, node) = (audit.clone(), i32::from(self.node()));
        let steered = write!(self, end_delivery(node, organization, delivery, reason, now, &audit))?;
        if let (Steered::Done { webhook }, Backend::Postgres(store)) = (steered, &self.backend) {
            store.tell_skipped(webhook, delivery).await;
        }
        Ok(steered)
    }

    /// Makes a pending delivery in the store due now.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn retry_delivery(
        &self,
        organization: i64,
        delivery: i64,
        now: i64,
        audit: &AuditRow,
    ) -> Result<Steered, StoreError> {
        let (audit, node) = (audit.clone(), i32::from(self.node()));
        let steered = write!(self, retry_delivery(node, organization, delivery, now, &audit))?;
        if let (Steered::Done { webhook }, Backend::Postgres(store)) = (steered, &self.backend) {
            store.tell_due(webhook).await;
        }
        Ok(steered)
    }

    /// Reads a row, to check that the store answers.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.setting(sqlite::WATERMARK).await.map(drop)
    }

    /// Reads a value that the service keeps for itself.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.to_owned();
        read!(self, setting(&key))
    }

    /// Stores a value that the service keeps for itself.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn put_setting(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let (key, value) = (key.to_owned(), value.to_vec());
        write!(self, put_setting(&key, &value))
    }
}
