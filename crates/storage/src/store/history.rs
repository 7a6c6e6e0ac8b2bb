//! The history: events, deliveries, attempts, and failing webhooks.

use super::{Store, read, write};
use crate::{
    blocked::{BlockedKeys, BlockedRange},
    error::StoreError,
    records::{AttemptSummary, Backlog, DeliveryFilter, DeliveryRecord, EventFilter, EventRecord},
    rows::{AttemptRow, HealthRow},
};

impl Store {
    /// One event of an organization, with its payload.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn get_event(&self, organization: i64, id: i64) -> Result<Option<EventRecord>, StoreError> {
        read!(self, get_event(organization, id))
    }

    /// One event of an organization, with only the first bytes of its payload.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn event_beginning(
        &self,
        organization: i64,
        id: i64,
        bytes: usize,
    ) -> Result<Option<EventRecord>, StoreError> {
        read!(self, event_beginning(organization, id, bytes))
    }

    /// Events of an organization with ids below `before`, newest first, without their payloads, and the id below which
    /// the next page begins, if there may be more. A page may have fewer events although there are more.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn list_events(
        &self,
        organization: i64,
        filter: &EventFilter,
        before: i64,
        size: usize,
    ) -> Result<(Vec<EventRecord>, Option<i64>), StoreError> {
        let filter = filter.clone();
        read!(self, list_events(organization, &filter, before, size))
    }

    /// One delivery of an organization.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn get_delivery(&self, organization: i64, id: i64) -> Result<Option<DeliveryRecord>, StoreError> {
        read!(self, get_delivery(organization, id))
    }

    /// One delivery, and the summaries of at most `size` of its attempts with numbers below `before`, the last first. The
    /// delivery's state is not older than these attempts.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn delivery_and_attempts(
        &self,
        organization: i64,
        id: i64,
        before: i32,
        size: usize,
    ) -> Result<Option<(DeliveryRecord, Vec<AttemptSummary>)>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, delivery_and_attempts(organization, id, before, size))
    }

    /// Deliveries of an organization with ids below `before`, newest first, and the id below which the next page
    /// begins, if there may be more. A page may have fewer deliveries although there are more.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn list_deliveries(
        &self,
        organization: i64,
        filter: &DeliveryFilter,
        before: i64,
        size: usize,
    ) -> Result<(Vec<DeliveryRecord>, Option<i64>), StoreError> {
        let filter = filter.clone();
        read!(self, list_deliveries(organization, &filter, before, size))
    }

    /// Every delivery of an event, including replays, in order of id.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn deliveries_of_event(&self, organization: i64, event: i64) -> Result<Vec<DeliveryRecord>, StoreError> {
        read!(self, deliveries_of_event(organization, event))
    }

    /// The first 1,000 attempts of a delivery. See [`Store::attempts_after`].
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn list_attempts(&self, organization: i64, delivery: i64) -> Result<Vec<AttemptRow>, StoreError> {
        self.attempts_after(organization, delivery, 0, 1_000).await
    }

    /// At most `size` attempts of a delivery with numbers above `after`, in order, with all their stored details.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn attempts_after(
        &self,
        organization: i64,
        delivery: i64,
        after: i32,
        size: usize,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, attempts_after(organization, delivery, after, size))
    }

    /// One attempt of a delivery.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn get_attempt(
        &self,
        organization: i64,
        delivery: i64,
        number: i32,
    ) -> Result<Option<AttemptRow>, StoreError> {
        read!(self, get_attempt(organization, delivery, number))
    }

    /// Webhooks with blocked keys, in order of organization and webhook: about `size` at most.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn webhooks_with_blocked_keys(
        &self,
        range: BlockedRange,
        size: usize,
    ) -> Result<Vec<BlockedKeys>, StoreError> {
        read!(self, webhooks_with_blocked_keys(range, size))
    }

    /// How many deliveries are pending in the store in each state, among the first `most`.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn backlog(&self, most: usize) -> Result<Backlog, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        read!(self, backlog(most))
    }

    /// How many keys are blocked over all webhooks, `most` at most.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn count_blocked_keys(&self, most: usize) -> Result<usize, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        read!(self, count_blocked_keys(most))
    }

    /// How many deliveries of a webhook's key are behind its first one. A number above [`crate::BLOCKED_COUNTED`] means
    /// at least that many.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn count_behind(&self, webhook: i64, key: &str) -> Result<usize, StoreError> {
        let key = key.to_owned();
        read!(self, count_behind(webhook, &key))
    }

    /// The health of all failing webhooks.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn all_failing_webhooks(&self) -> Result<Vec<HealthRow>, StoreError> {
        read!(self, all_failing_webhooks())
    }

    /// Corrects failures and successes of webhooks that are recorded in the future: their time becomes `now`. Returns
    /// how many there were.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn correct_health(&self, now: i64) -> Result<usize, StoreError> {
        write!(self, correct_health(now))
    }

    /// The health of those of some webhooks that fail.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn failing_webhooks(&self, webhooks: Vec<i64>) -> Result<Vec<HealthRow>, StoreError> {
        read!(self, failing_webhooks(&webhooks))
    }
}
