//! Replays.

use super::{Store, read, write};
use crate::{
    batch::StoredEvent,
    error::StoreError,
    replays::{ReplayProgress, ReplayRow, ReplayStretch},
    rows::AuditRow,
};

impl Store {
    /// Stores a replay. Returns `false` if the organization has reached its limit of running replays.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn insert_replay(&self, row: &ReplayRow, most: i64, audit: &AuditRow) -> Result<bool, StoreError> {
        let (row, audit) = (row.clone(), audit.clone());
        write!(self, insert_replay(&row, most, &audit))
    }

    /// The replay of a request id.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn replay_of_request(
        &self,
        organization: i64,
        request_id: &str,
    ) -> Result<Option<ReplayRow>, StoreError> {
        let request_id = request_id.to_owned();
        read!(self, replay_of_request(organization, &request_id))
    }

    /// One replay of an organization.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn get_replay(&self, organization: i64, id: i64) -> Result<Option<ReplayRow>, StoreError> {
        read!(self, get_replay(organization, id))
    }

    /// An organization's replays below an id, newest first.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn list_replays(
        &self,
        organization: i64,
        before: i64,
        size: usize,
    ) -> Result<Vec<ReplayRow>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, list_replays(organization, before, size))
    }

    /// Takes the running replays that no node works on, until `until`.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn take_replays(&self, now: i64, until: i64) -> Result<Vec<ReplayRow>, StoreError> {
        let node = i32::from(self.node());
        write!(self, take_replays(node, now, until))
    }

    /// Stores the progress of a replay, and extends its lease to `until`. Returns false if it is no longer running, or
    /// another node holds it.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn save_replay(&self, id: i64, progress: ReplayProgress, until: i64) -> Result<bool, StoreError> {
        let node = i32::from(self.node());
        write!(self, save_replay(id, node, progress, until))
    }

    /// Ends a running replay. Returns false if it has ended already.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn end_replay(
        &self,
        id: i64,
        state: i32,
        error: Option<String>,
        now: i64,
        audit: Option<&AuditRow>,
    ) -> Result<bool, StoreError> {
        let audit = audit.cloned();
        write!(self, end_replay(id, state, error.clone(), now, audit.as_ref()))
    }

    /// The events of an organization after an id, up to `last`, with the states of their deliveries.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn replay_stretch(
        &self,
        organization: i64,
        event_types: &[String],
        after: i64,
        last: i64,
    ) -> Result<ReplayStretch, StoreError> {
        let event_types = event_types.to_vec();
        read!(self, replay_stretch(organization, &event_types, after, last))
    }

    /// Events by id, with their payloads, in no order.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn events(&self, ids: &[i64]) -> Result<Vec<StoredEvent>, StoreError> {
        let ids = ids.to_vec();
        read!(self, events_of(&ids))
    }

    /// Those of the request ids under which events were stored, with the number of webhooks that each event is owed to.
    ///
    /// # Errors
    /// Fails if the store does not answer.
    pub async fn events_of_requests(
        &self,
        organization: i64,
        request_ids: Vec<String>,
    ) -> Result<Vec<(String, usize)>, StoreError> {
        read!(self, events_of_requests(organization, &request_ids))
    }

    /// Removes replays that ended before a time.
    ///
    /// # Errors
    /// Fails if the store refuses or does not answer.
    pub async fn forget_replays(&self, before_us: i64) -> Result<usize, StoreError> {
        write!(self, forget_replays(before_us))
    }
}
