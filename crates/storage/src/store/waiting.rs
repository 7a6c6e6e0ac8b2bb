//! Pending deliveries, page by page.

use super::{Store, read};
use crate::{
    error::StoreError,
    nodes::WAITING_COUNTED_MAX,
    rows::PAUSED,
    waiting::{WaitingPage, WaitingPlace},
};

/// How many pairs of webhook and node one page contains.
const PAGE: i64 = 1_000;

impl Store {
    /// A page of the webhooks with pending deliveries, after a position. Each page is a separate read.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn waiting_page(&self, after: Option<WaitingPlace>) -> Result<WaitingPage, StoreError> {
        let after = after.unwrap_or((i64::MIN, i32::MIN));
        read!(self, waiting_page(after, PAGE))
    }

    /// A page of the webhooks with pending deliveries at this node, each with the time at which its first one is due;
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
