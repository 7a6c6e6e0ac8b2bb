//! Pending deliveries in the store: their webhooks, their nodes, and their number.
//!
//! `pending_deliveries` may contain millions of rows for a few webhooks, or a few rows for many. These statements cost
//! one index look-up per webhook and node instead of work per delivery, and a page is one round trip.

use std::collections::HashMap;

use diesel::{QueryableByName, sql_types};

use crate::{
    due::Waiting,
    error::StoreError,
    nodes::WAITING_COUNTED_MAX,
    postgres,
    rows::PAUSED,
    sqlite,
    store::{Backend, Store, read},
};

/// How many pairs of webhook and node one page contains.
const PAGE: i64 = 1_000;

/// The position at which a page of [`Store::waiting_page`] continues: a webhook and a node.
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

impl Store {
    /// A page of the webhooks with pending deliveries, after a position. Each page is a separate read.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn waiting_page(&self, after: Option<WaitingPlace>) -> Result<WaitingPage, StoreError> {
        let after = after.unwrap_or((i64::MIN, i32::MIN));
        read!(self, waiting_page(after, PAGE))
    }

    /// A page of the webhooks with pending deliveries at this node, with the time at which the first of them is due,
    /// and where to continue, if there may be more. Paused deliveries and those that follow another one have no due
    /// time, and are skipped.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn pending_page(
        &self,
        after: Option<WaitingPlace>,
    ) -> Result<(Vec<(i64, i64)>, Option<WaitingPlace>), StoreError> {
        let node = i32::from(self.node());
        let page = self.waiting_page(after).await?;
        let mine = page.waiting.into_iter();
        let mine = mine.filter(|waiting| waiting.node == node && waiting.due_at < PAUSED);
        Ok((
            mine.map(|waiting| (waiting.webhook, waiting.due_at)).collect(),
            page.next,
        ))
    }

    /// Every webhook with pending deliveries at this node, and when the first of them is due, from all pages.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn pending_webhooks(&self) -> Result<Vec<(i64, i64)>, StoreError> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let (page, next) = self.pending_page(after).await?;
            found.extend(page);
            if next.is_none() {
                return Ok(found);
            }
            after = next;
        }
    }

    /// How many deliveries are pending over all nodes; [`WAITING_COUNTED_MAX`] means at least that many.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn count_waiting(&self) -> Result<i64, StoreError> {
        read!(self, count_waiting(WAITING_COUNTED_MAX))
    }

    /// How many deliveries of a webhook are pending over all nodes; `most` means at least that many.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn count_waiting_for(&self, webhook: i64, most: usize) -> Result<usize, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        read!(self, count_waiting_for(webhook, most))
    }
}
