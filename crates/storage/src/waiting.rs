//! Pending deliveries in the store: their webhooks, their nodes, and their number.
//!
//! `pending_deliveries` may contain millions of rows for a few webhooks, or a few rows for many. These statements cost
//! one index look-up per webhook and node instead of work per delivery, and a page is one round trip.

use std::collections::HashMap;

use diesel::{QueryableByName, sql_types};

use crate::due::Waiting;

/// The position at which a page of [`crate::Store::waiting_page`] continues: a webhook and a node.
pub type WaitingPlace = (i64, i32);

/// A page of webhooks with pending deliveries, in the order of webhooks and nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitingPage {
    /// The webhooks, with one entry for each node that has pending deliveries of it.
    pub waiting: Vec<Waiting>,
    /// Where to continue, if there may be more.
    pub next: Option<WaitingPlace>,
}

impl WaitingPage {
    /// A page that was read with a limit.
    pub(crate) fn of(waiting: Vec<Waiting>, limit: i64) -> Self {
        let full = i64::try_from(waiting.len()).is_ok_and(|length| length == limit);
        let last = waiting.last().filter(|_| full);
        Self {
            next: last.map(|last| (last.webhook, last.node)),
            waiting,
        }
    }
}

/// The result of a counting statement.
#[derive(QueryableByName)]
pub(crate) struct Count {
    #[diesel(sql_type = sql_types::BigInt)]
    pub(crate) count: i64,
}

/// How many of the first events fit into a budget of bytes, which is reduced by their size. The first one also fits if
/// it has up to `first_bytes`.
pub(crate) fn fitting(ids: &[i64], sizes: &HashMap<i64, i64>, budget: &mut usize, first_bytes: usize) -> usize {
    for (index, id) in ids.iter().enumerate() {
        let size = sizes.get(id).map_or(0, |size| usize::try_from(*size).unwrap_or(0));
        if size > *budget && (index > 0 || size > first_bytes) {
            return index;
        }
        *budget = budget.saturating_sub(size);
    }
    ids.len()
}
