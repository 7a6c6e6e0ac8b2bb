//! A pass of an operation through the index of what is due: its places, and what it looks at.

use diesel::prelude::*;

/// A place in the index of what is due.
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

/// A row that a pass looks at.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(crate) struct Seen {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) delivery_id: i64,
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pub(crate) node: i32,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) due_at: i64,
}

/// A webhook that a pass comes to.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub(crate) struct Visited {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) id: i64,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub(crate) waits: bool,
}

/// Rows that a pass looked at.
#[derive(Clone, Debug)]
pub(crate) struct Looked {
    /// The deliveries.
    pub(crate) deliveries: Vec<i64>,
    /// How far the pass is.
    pub(crate) place: Place,
    /// Whether it is at its end.
    pub(crate) complete: bool,
}

impl Looked {
    /// The deliveries up to an id.
    pub(crate) fn concerned(&self, through: i64) -> Vec<i64> {
        self.deliveries.iter().copied().filter(|id| *id <= through).collect()
    }
}

/// The number of no node.
pub(crate) const NO_NODE: i32 = -1;
/// How many webhooks one step comes to.
pub(crate) const VISITED: i64 = 200;

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationStep {
    /// Deliveries done by it.
    pub rows: usize,
    /// Deliveries done so far.
    pub done: i64,
    /// The webhook has deliveries that became due.
    pub due: bool,
    /// A whole pass found nothing more.
    pub finished: bool,
}
