//! Replays: their stored state, and the history that they read.

use diesel::prelude::*;

use crate::{
    batch::StoredEvent,
    error::StoreError,
    postgres,
    records::DeliveryRecord,
    rows::AuditRow,
    schema::replays,
    sqlite,
    store::{Backend, Store, read, write},
};

/// A replay as stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable)]
#[diesel(table_name = replays)]
pub struct ReplayRow {
    /// Its id.
    pub id: i64,
    /// The organization.
    pub organization_id: i64,
    /// The caller's id for it.
    pub request_id: Option<String>,
    /// The request, as JSON.
    pub spec: String,
    /// One of [`REPLAY_RUNNING`], [`REPLAY_SUCCEEDED`], [`REPLAY_CANCELLED`], [`REPLAY_FAILED`].
    pub state: i32,
    /// Why it failed.
    pub error: Option<String>,
    /// The first event id that it reads.
    pub first_id: i64,
    /// The last event id that it reads.
    pub last_id: i64,
    /// It has processed events up to this one.
    pub cursor: i64,
    /// Events that it read.
    pub examined: i64,
    /// Deliveries selected.
    pub matched: i64,
    /// Deliveries that it created.
    pub replayed: i64,
    /// Deliveries that it selected and skipped.
    pub skipped: i64,
    /// The node that works on it.
    pub node: i32,
    /// The end of that node's lease.
    pub leased_until: i64,
    /// When it was requested.
    pub created_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
}

/// The state of a running replay.
pub const REPLAY_RUNNING: i32 = 0;
/// The state of a replay that is done.
pub const REPLAY_SUCCEEDED: i32 = 1;
/// The state of a replay that was cancelled.
pub const REPLAY_CANCELLED: i32 = 2;
/// The state of a replay that could not continue.
pub const REPLAY_FAILED: i32 = 3;

/// The progress of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// The last event that it has processed.
    pub cursor: i64,
    /// Events that it read.
    pub examined: i64,
    /// Deliveries selected.
    pub matched: i64,
    /// Deliveries that it created.
    pub replayed: i64,
    /// Deliveries that it selected and skipped.
    pub skipped: i64,
}

/// An event, with its latest delivery to each webhook.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayCandidate {
    /// The event.
    pub event_id: i64,
    /// Its type.
    pub event_type: String,
    /// One per webhook. If an event was replayed, its last delivery counts.
    pub deliveries: Vec<DeliveryRecord>,
}

/// A page of events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplayStretch {
    /// The events without pings, oldest first.
    pub candidates: Vec<ReplayCandidate>,
    /// The last event of the page.
    pub cursor: i64,
}

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
