//! Operations: work on many deliveries that would take longer than a call may, done in steps.
//!
//! ```text
//! asked for -> running -> succeeded
//!                 |-----> cancelled   (by a caller, or because a later change made it pointless)
//! ```
//!
//! The change of configuration that makes the work necessary and the operation's row are one transaction: what was asked for is in
//! force when the call returns. A backlog of at most [`INLINE_ROWS`] deliveries is dealt with in that transaction, without a row.
//!
//! One node has an operation on a lease, by the schedule clock, and works in steps. Each step is a transaction of its own that looks
//! at a bounded number of rows and notes how far it is, so that a step is done once, however often it is tried. A pass goes through
//! the index of what is due; rows may move behind it, so the operation has succeeded when a whole pass found nothing.

mod discard;
mod pass;
mod row;

use std::time::Duration;

use crate::{
    batch::NewEvent,
    configuration::ConfigurationPart,
    error::StoreError,
    postgres,
    rows::AuditRow,
    sqlite,
    store::{Backend, Store, configure, read, write},
};

pub(crate) use self::pass::{Looked, NO_NODE, Seen, VISITED, Visited};
pub use self::{
    discard::Discard,
    pass::{OperationStep, Place},
    row::{OperationKind, OperationRow},
};

/// How many deliveries are dealt with in the call itself.
pub const INLINE_ROWS: usize = 1_000;
/// How often the call itself looks for more of an organization's webhooks.
pub(crate) const INLINE_LOOKS: usize = 10;
/// How many deliveries are counted at most to tell how many there are.
pub const COUNTED_MAX: i64 = 5_000_000;

/// An operation that is running.
pub const OPERATION_RUNNING: i32 = 0;
/// An operation that is done.
pub const OPERATION_SUCCEEDED: i32 = 1;
/// An operation that was cancelled.
pub const OPERATION_CANCELLED: i32 = 2;
/// An operation that could not go on.
pub const OPERATION_FAILED: i32 = 3;

/// What a change did to the deliveries that it concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Deliveries that were dealt with in the same transaction.
    pub rows: usize,
    /// Whether the operation was begun, because there are more.
    pub operation: bool,
}

/// What came of a step of [`Store::cancel_pending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// Nothing is left.
    All,
    /// There may be more.
    More,
    /// An operation does it.
    ByOperation,
    /// The webhook was not deleted: nothing was cancelled.
    NotDeleted,
}

impl Store {
    /// A step of cancelling what came to wait in the store for a webhook after it was deleted. Where there is nothing to do, because
    /// the webhook was not deleted or an operation does it, this only reads.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn cancel_pending(&self, webhook: i64, now: i64) -> Result<Cancelled, StoreError> {
        match read!(self, stragglers_kept(webhook))? {
            Some(kept) => Ok(kept),
            None => write!(self, cancel_stragglers(webhook, now)),
        }
    }

    /// One operation.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn get_operation(&self, id: i64) -> Result<Option<OperationRow>, StoreError> {
        read!(self, get_operation(id))
    }

    /// Operations with ids below `before`, newest first; those of one organization, if one is given.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list_operations(
        &self,
        organization: Option<i64>,
        before: i64,
        size: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, list_operations(organization, before, size))
    }

    /// Operations that are running, oldest first, `size` at most; those of one organization, if one is given.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn running_operations(
        &self,
        organization: Option<i64>,
        size: usize,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, running_operations(organization, size))
    }

    /// Takes running operations that nobody works on, `most` at most. With `own`, also those that an earlier run of this node had:
    /// it cannot write any more.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
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

    /// Counts some of the deliveries that an operation concerns, from a place on, and renews its lease. Returns how many, and where to
    /// go on if there may be more; `None` when this node does not have it any more.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
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

    /// Notes how many deliveries an operation concerns. False when this node does not have it any more.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn note_total(&self, id: i64, total: i64, lease: Duration) -> Result<bool, StoreError> {
        let (node, lease) = (i32::from(self.node()), micros(lease));
        write!(self, note_total(id, node, total, lease))
    }

    /// The next step of an operation: looks at `rows` deliveries at most. `None` when it is not running any more, or another node
    /// has it.
    ///
    /// # Errors
    /// When the store refuses or does not answer: then nothing was done.
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

    /// Ends an operation that is running. The nodes hear of it like of a change of configuration. False when it has ended already.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
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

    /// Tells the other nodes that deliveries to a webhook became due.
    pub async fn tell_due(&self, webhook: i64) {
        if let Backend::Postgres(store) = &self.backend {
            store.tell_due(webhook).await;
        }
    }

    /// Removes some of the operations that ended before a time, and tells how many.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn forget_operations(&self, before_us: i64) -> Result<usize, StoreError> {
        write!(self, forget_operations(before_us))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
