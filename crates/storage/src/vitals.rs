//! The condition of the store: the size of SQLite's write-ahead log, and the session that holds back PostgreSQL's
//! vacuum.

use std::time::Duration;

use crate::{
    error::StoreError,
    store::{Backend, Store},
};

/// A session of PostgreSQL whose transaction keeps rows from being vacuumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongTransaction {
    /// The process id of its backend.
    pub pid: i32,
    /// Its application name; empty if it has none, or if its user's sessions are hidden from this one's.
    pub application_name: String,
    /// Its user.
    pub user: String,
    /// Its client's address; empty for a local one.
    pub client: String,
    /// Its state, such as `idle in transaction`.
    pub state: String,
    /// How long its transaction has been open.
    pub age: Duration,
}

impl Store {
    /// The size of the write-ahead log in bytes, if the store is SQLite.
    pub fn log_bytes(&self) -> Option<u64> {
        match &self.backend {
            Backend::Sqlite(store) => Some(store.log_bytes()),
            Backend::Postgres(_) => None,
        }
    }

    /// The session whose transaction has kept rows from being vacuumed for the longest time, if the store is
    /// PostgreSQL. Sessions of other users are visible only with the rights of `pg_read_all_stats`.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn longest_transaction(&self) -> Result<Option<LongTransaction>, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(None),
            Backend::Postgres(store) => store.longest_transaction().await,
        }
    }
}
