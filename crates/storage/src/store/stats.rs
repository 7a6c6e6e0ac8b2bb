//! Statistics.

use std::collections::HashMap;

use super::{Store, read, write};
use crate::{
    error::StoreError,
    stats::{StatsRow, Tally},
};

/// How many rows are written in one transaction.
const ROWS: usize = 200;

impl Store {
    /// Adds to the statistics. Rows are written in portions, so after an error some may be stored.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn add_stats(&self, rows: Vec<StatsRow>) -> Result<(), StoreError> {
        let node = i32::from(self.node());
        for portion in rows.chunks(ROWS) {
            let portion = portion.to_vec();
            write!(self, add_stats(node, &portion))?;
        }
        Ok(())
    }

    /// The statistics of a subject, period by period, from `start` to before `end`, summed over all nodes.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn stats(&self, subject: i64, period: i64, start: i64, end: i64) -> Result<Vec<StatsRow>, StoreError> {
        read!(self, stats(subject, period, start, end))
    }

    /// The statistics of some subjects, from `start` to before `end`, summed over all periods and nodes.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn stats_of(
        &self,
        subjects: Vec<i64>,
        period: i64,
        start: i64,
        end: i64,
    ) -> Result<HashMap<i64, Tally>, StoreError> {
        read!(self, stats_of(&subjects, period, start, end))
    }

    /// Removes some rows that have been kept long enough. Returns 0 when none are left.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn forget_stats(&self, now: i64) -> Result<usize, StoreError> {
        write!(self, forget_stats(now))
    }
}
