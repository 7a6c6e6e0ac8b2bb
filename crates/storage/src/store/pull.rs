//! Pulled deliveries.

use super::{Store, write};
use crate::{
    error::StoreError,
    pull::{Acknowledged, Lease, LeasedDelivery, Portion},
};

impl Store {
    /// Leases pending deliveries of a webhook, oldest first, of all nodes.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn hand_out(&self, webhook: i64, now: i64, portion: Portion) -> Result<Vec<LeasedDelivery>, StoreError> {
        write!(self, hand_out(webhook, now, portion))
    }

    /// Ends leased deliveries as delivered, and returns them. The others were handed out again, or are final.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn acknowledge(&self, webhook: i64, leases: &[Lease], now: i64) -> Result<Vec<Acknowledged>, StoreError> {
        let (leases, node) = (leases.to_vec(), i32::from(self.node()));
        write!(self, acknowledge(node, webhook, &leases, now))
    }

    /// Moves the deadlines of leased deliveries to `until`. Returns the deliveries whose deadline was moved.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn extend_leases(&self, webhook: i64, leases: &[Lease], until: i64) -> Result<Vec<Lease>, StoreError> {
        let leases = leases.to_vec();
        write!(self, extend_leases(webhook, &leases, until))
    }
}
