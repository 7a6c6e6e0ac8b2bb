//! Operations, step by step.

use std::time::Duration;

use super::{Backend, Store, configure, read, write};
use crate::{
    batch::NewEvent,
    configuration::ConfigurationPart,
    error::StoreError,
    operations::{Cancelled, OperationRow, OperationStep, Place},
    rows::AuditRow,
};

impl Store {
    /// Makes one step of cancelling deliveries that became pending for a webhook after it was deleted. If there is
    /// nothing to do, because the webhook was not deleted or an operation does it, the step only reads.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn cancel_pending(&self, webhook: i64, now: i64) -> Result<Cancelled, StoreError> {
        match read!(self, stragglers_kept(webhook))? {
            Some(kept) => Ok(kept),
            None => write!(self, cancel_stragglers(webhook, now)),
        }
    }

    /// One operation.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn get_operation(&self, id: i64) -> Result<Option<OperationRow>, StoreError> {
        read!(self, get_operation(id))
    }

    /// Operations with ids below `before`, newest first; those of one organization, if one is given.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn list_operations(
        &self,
        organization: Option<i64>,
        before: i64,
        size: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, list_operations(organization, before, size))
    }

    /// At most `size` running operations, oldest first; those of one organization, if one is given.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn running_operations(
        &self,
        organization: Option<i64>,
        size: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, running_operations(organization, size))
    }

    /// Takes at most `most` running operations that no node works on. With `own`, it also takes those that an earlier
    /// run of this node held, because that run cannot write any more.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn take_operations(
        &self,
        own: bool,
        most: usize,
        lease: Duration,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let (node, lease) = (i32::from(self.node()), micros(lease));
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        write!(self, take_operations(node, own, most, lease))
    }

    /// Counts some of the deliveries that an operation concerns, from a position on, and renews its lease. Returns how
    /// many, and where to continue if there may be more; `None` if this node no longer holds the operation.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn count_operation(
        &self,
        row: &OperationRow,
        from: Option<Place>,
        lease: Duration,
    ) -> Result<Option<(i64, Option<Place>)>, StoreError> {
        let (id, node, lease) = (row.id, i32::from(self.node()), micros(lease));
        if !write!(self, renew_operation(id, node, lease))? {
            return Ok(None);
        }
        let (row, from) = (row.clone(), from.unwrap_or(Place::START));
        read!(self, count_operation(&row, from)).map(Some)
    }

    /// Stores how many deliveries an operation concerns. Returns false if this node no longer holds the operation.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn note_total(&self, id: i64, total: i64, lease: Duration) -> Result<bool, StoreError> {
        let (node, lease) = (i32::from(self.node()), micros(lease));
        write!(self, note_total(id, node, total, lease))
    }

    /// The next step of an operation, which reads at most `rows` deliveries. `None` if it is no longer running, or
    /// another node holds it.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer. Nothing was done then.
    pub async fn step_operation(
        &self,
        id: i64,
        rows: usize,
        lease: Duration,
    ) -> Result<Option<OperationStep>, StoreError> {
        let (node, lease) = (i32::from(self.node()), micros(lease));
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        write!(self, step_operation(id, node, rows, lease))
    }

    /// Ends a running operation. The nodes are notified as of a configuration change. Returns false if it has ended
    /// already.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn end_operation(
        &self,
        id: i64,
        state: i32,
        now: i64,
        audit: Option<&AuditRow>,
    ) -> Result<bool, StoreError> {
        let audit = audit.cloned();
        let no_ping: Option<NewEvent> = None;
        configure!(
            self,
            ConfigurationPart::Discards,
            no_ping,
            end_operation(id, state, now, audit.as_ref())
        )
    }

    /// Notifies the other nodes that deliveries to a webhook became due.
    pub async fn tell_due(&self, webhook: i64) {
        if let Backend::Postgres(store) = &self.backend {
            store.tell_due(webhook).await;
        }
    }

    /// Removes some of the operations that ended before a time, and returns how many.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn forget_operations(&self, before_us: i64) -> Result<usize, StoreError> {
        write!(self, forget_operations(before_us))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
