//! Operations: work on many deliveries that would exceed a call's deadline, done in steps.
//!
//! ```text
//! requested -> running -> succeeded
//!                 |-----> cancelled   (by a caller, or because a later change made it pointless)
//! ```
//!
//! The configuration change that causes the work and the operation's row are one transaction, so the change is in force
//! when the call returns. A backlog of at most [`INLINE_ROWS`] deliveries is processed in that transaction, without a
//! row.
//!
//! One node holds an operation by a lease, on the schedule clock, and works in steps. Each step is a separate
//! transaction that looks at a bounded number of rows and records its position, so that a step takes effect once even
//! if it is retried. A pass reads the index of due times. Rows may move behind the pass, so the operation has succeeded
//! only when a whole pass found nothing.

mod discard;
mod pass;
mod row;

pub(crate) use self::pass::{Looked, NO_NODE, Seen, VISITED, Visited};
pub use self::{
    discard::Discard,
    pass::{OperationStep, Place},
    row::{OperationKind, OperationRow},
};

/// How many deliveries the call itself processes.
pub const INLINE_ROWS: usize = 1_000;
/// How often the call itself looks for more of an organization's webhooks.
pub(crate) const INLINE_LOOKS: usize = 10;
/// The limit on counting an operation's deliveries.
pub const COUNTED_MAX: i64 = 5_000_000;

/// The state of a running operation.
pub const OPERATION_RUNNING: i32 = 0;
/// The state of an operation that is done.
pub const OPERATION_SUCCEEDED: i32 = 1;
/// The state of an operation that was cancelled.
pub const OPERATION_CANCELLED: i32 = 2;
/// The state of an operation that could not continue.
pub const OPERATION_FAILED: i32 = 3;

/// The effect of a change on the deliveries that it concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Deliveries that were processed in the same transaction.
    pub rows: usize,
    /// Whether an operation began, because there are more.
    pub operation: bool,
}

/// The result of a step of [`crate::Store::cancel_pending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// Nothing is left.
    All,
    /// There may be more.
    More,
    /// An operation cancels the deliveries.
    ByOperation,
    /// The webhook was not deleted: nothing was cancelled.
    NotDeleted,
}
