//! The condition of the store.

use super::{Backend, Store};
use crate::{error::StoreError, vitals::LongTransaction};

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
