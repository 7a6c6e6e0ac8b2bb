//! A pass of an operation through the index of what is due: its places, and what it looks at.

use diesel::prelude::*;

/// A position in the index of due times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(crate) webhook: i64,
    pub(crate) node: i32,
    pub(crate) due: i64,
    pub(crate) delivery: i64,
}

impl Place {
    /// Before everything.
    pub(crate) const START: Self = Self::before(i64::MIN);

    /// Before everything of a webhook.
    pub(crate) const fn before(webhook: i64) -> Self {
        Self {
            webhook,
            node: i32::MIN,
            due: i64::MIN,
            delivery: i64::MIN,
        }
    }

    /// After everything of a webhook.
    pub(crate) const fn after(webhook: i64) -> Self {
        Self {
            webhook,
            node: i32::MAX,
            due: i64::MAX,
            delivery: i64::MAX,
        }
    }
}

/// A row that a pass reads.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(crate) struct Seen {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) delivery_id: i64,
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pub(crate) node: i32,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) due_at: i64,
}

/// A webhook that a pass reaches.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(crate) struct Visited {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) id: i64,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub(crate) waits: bool,
}

/// The rows that a pass has read.
#[derive(Clone, Debug)]
pub(crate) struct Looked {
    /// The deliveries.
    pub(crate) deliveries: Vec<i64>,
    /// The position of the pass.
    pub(crate) place: Place,
    /// Whether the pass has reached its end.
    pub(crate) complete: bool,
}

impl Looked {
    /// The deliveries up to an id.
    pub(crate) fn concerned(&self, through: i64) -> Vec<i64> {
        self.deliveries.iter().copied().filter(|id| *id <= through).collect()
    }
}

/// Stands for no node.
pub(crate) const NO_NODE: i32 = -1;
/// How many webhooks one step reaches at most.
pub(crate) const VISITED: i64 = 200;

/// The result of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationStep {
    /// Deliveries that it processed.
    pub rows: usize,
    /// Deliveries processed so far.
    pub done: i64,
    /// The webhook has deliveries that became due.
    pub due: bool,
    /// A whole pass found nothing more.
    pub finished: bool,
}
