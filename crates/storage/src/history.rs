//! What happened, read for people: events, deliveries, attempts, and which webhooks fail.

use crate::{
    error::StoreError,
    paused::{PausedKeys, PausedRange},
    postgres,
    records::{AttemptSummary, Backlog, DeliveryFilter, DeliveryRecord, EventFilter, EventRecord},
    rows::{AttemptRow, HealthRow},
    sqlite,
    store::{Backend, Store, read, write},
};

impl Store {
    /// One event of an organization, with its payload.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn get_event(&self, organization: i64, id: i64) -> Result<Option<EventRecord>, StoreError> {
        read!(self, get_event(organization, id))
    }

    /// One event of an organization, and of its payload the first bytes alone.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn event_beginning(
        &self,
        organization: i64,
        id: i64,
        bytes: usize,
    ) -> Result<Option<EventRecord>, StoreError> {
        read!(self, event_beginning(organization, id, bytes))
    }

    /// Events of an organization below the id `before`, newest first, without their payloads; and the id to go on below, if there
    /// may be more. A page may come out short while there are more.
    ///
    /// # Errors
    /// When the store does not answer.
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
    /// When the store does not answer.
    pub async fn get_delivery(&self, organization: i64, id: i64) -> Result<Option<DeliveryRecord>, StoreError> {
        read!(self, get_delivery(organization, id))
    }

    /// Deliveries of an organization below the id `before`, newest first; and the id to go on below, if there may be more. A
    /// page may come out short while there are more.
    ///
    /// # Errors
    /// When the store does not answer.
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

    /// Every delivery of an event, those that replays made included, in order of id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn deliveries_of_event(&self, organization: i64, event: i64) -> Result<Vec<DeliveryRecord>, StoreError> {
        read!(self, deliveries_of_event(organization, event))
    }

    /// The first 1,000 attempts of a delivery. See [`Store::attempts_after`].
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list_attempts(&self, organization: i64, delivery: i64) -> Result<Vec<AttemptRow>, StoreError> {
        self.attempts_after(organization, delivery, 0, 1_000).await
    }

    /// Attempts of a delivery with numbers above `after`, first to last, with all that is kept of them: `size` at most.
    ///
    /// # Errors
    /// When the store does not answer.
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

    /// Attempts of a delivery with numbers below `before`, the last first, in short: `size` at most.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn last_attempts(
        &self,
        organization: i64,
        delivery: i64,
        before: i32,
        size: usize,
    ) -> Result<Vec<AttemptSummary>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, last_attempts(organization, delivery, before, size))
    }

    /// One attempt of a delivery.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn get_attempt(
        &self,
        organization: i64,
        delivery: i64,
        number: i32,
    ) -> Result<Option<AttemptRow>, StoreError> {
        read!(self, get_attempt(organization, delivery, number))
    }

    /// Webhooks with paused keys, in order of organization and webhook: about `size` at most.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn paused_webhooks(&self, range: PausedRange, size: usize) -> Result<Vec<PausedKeys>, StoreError> {
        read!(self, paused_webhooks(range, size))
    }

    /// How many deliveries wait in the store in each state, of the first `most` that are met.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn backlog(&self, most: usize) -> Result<Backlog, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        read!(self, backlog(most))
    }

    /// How many keys are paused, of all webhooks: `most` at most.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn count_paused(&self, most: usize) -> Result<usize, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        read!(self, count_paused(most))
    }

    /// How many deliveries of a webhook's key wait behind its first one; more than [`crate::PAUSED_COUNTED`] stands for any number
    /// above it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn count_behind(&self, webhook: i64, key: &str) -> Result<usize, StoreError> {
        let key = key.to_owned();
        read!(self, count_behind(webhook, &key))
    }

    /// What is known of all webhooks that fail.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn all_failing_webhooks(&self) -> Result<Vec<HealthRow>, StoreError> {
        read!(self, all_failing_webhooks())
    }

    /// Failures and successes of webhooks that are noted for later than now are of now. Returns how many there were.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn mend_health(&self, now: i64) -> Result<usize, StoreError> {
        write!(self, mend_health(now))
    }

    /// What is known of those of some webhooks that fail.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn failing_webhooks(&self, webhooks: Vec<i64>) -> Result<Vec<HealthRow>, StoreError> {
        read!(self, failing_webhooks(&webhooks))
    }
}
