//! Changed deliveries.

use super::{Store, read, write};
use crate::{
    changes::{Changes, Positions},
    error::StoreError,
    records::DeliveryFilter,
};

/// How many rows one query reads.
const ROWS: i64 = 64;

impl Store {
    /// The current end of every stream.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn change_positions(&self) -> Result<Positions, StoreError> {
        read!(self, change_positions())
    }

    /// The deliveries of an organization that changed after some positions, limited to one page.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn changes_after(
        &self,
        organization: i64,
        filter: &DeliveryFilter,
        positions: &Positions,
    ) -> Result<Changes, StoreError> {
        let (filter, positions) = (filter.clone(), positions.clone());
        read!(self, changes_after(organization, &filter, &positions, ROWS))
    }

    /// Removes some of the changes that are older than a time. Returns 0 when none are left.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn forget_changes(&self, before_us: i64) -> Result<usize, StoreError> {
        write!(self, forget_changes(before_us))
    }
}
