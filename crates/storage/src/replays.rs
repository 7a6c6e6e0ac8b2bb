//! Replays: what is kept of each, and the stretches of history that one goes through.

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
    /// What was asked for, as JSON.
    pub spec: String,
    /// One of [`REPLAY_RUNNING`], [`REPLAY_SUCCEEDED`], [`REPLAY_CANCELLED`], [`REPLAY_FAILED`].
    pub state: i32,
    /// Why it failed.
    pub error: Option<String>,
    /// It looks at events from this id.
    pub first_id: i64,
    /// Up to this one.
    pub last_id: i64,
    /// It is done up to this one.
    pub cursor: i64,
    /// Events looked at.
    pub examined: i64,
    /// Deliveries selected.
    pub matched: i64,
    /// Deliveries made.
    pub replayed: i64,
    /// Deliveries selected and left out.
    pub skipped: i64,
    /// Who works on it.
    pub node: i32,
    /// The end of that node's lease.
    pub leased_until: i64,
    /// When it was asked for.
    pub created_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
}

/// A replay that is under way.
pub const REPLAY_RUNNING: i32 = 0;
/// A replay that is done.
pub const REPLAY_SUCCEEDED: i32 = 1;
/// A replay that was cancelled.
pub const REPLAY_CANCELLED: i32 = 2;
/// A replay that could not go on.
pub const REPLAY_FAILED: i32 = 3;

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Done up to this event.
    pub cursor: i64,
    /// Events looked at.
    pub examined: i64,
    /// Deliveries selected.
    pub matched: i64,
    /// Deliveries made.
    pub replayed: i64,
    /// Deliveries selected and left out.
    pub skipped: i64,
}

/// An event, with the last delivery of it to each webhook.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayCandidate {
    /// The event.
    pub event_id: i64,
    /// Its type.
    pub event_type: String,
    /// By webhook: of an event that was replayed, the last one counts.
    pub deliveries: Vec<DeliveryRecord>,
}

/// A stretch of events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplayStretch {
    /// The events, oldest first; no pings.
    pub candidates: Vec<ReplayCandidate>,
    /// How far the stretch reaches.
    pub cursor: i64,
}

impl Store {
    /// Stores a replay; `false` when the organization has as many under way as it may have.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn insert_replay(&self, row: &ReplayRow, most: i64, audit: &AuditRow) -> Result<bool, StoreError> {
        let (row, audit) = (row.clone(), audit.clone());
        write!(self, insert_replay(&row, most, &audit))
    }

    /// The replay that was asked for under a request id.
    ///
    /// # Errors
    /// When the store does not answer.
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
    /// When the store does not answer.
    pub async fn get_replay(&self, organization: i64, id: i64) -> Result<Option<ReplayRow>, StoreError> {
        read!(self, get_replay(organization, id))
    }

    /// An organization's replays below an id, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list_replays(
        &self,
        organization: i64,
        before: i64,
        size: usize,
    ) -> Result<Vec<ReplayRow>, StoreError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        read!(self, list_replays(organization, before, size))
    }

    /// Takes the replays under way that nobody works on, until `until`.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn take_replays(&self, now: i64, until: i64) -> Result<Vec<ReplayRow>, StoreError> {
        let node = i32::from(self.node());
        write!(self, take_replays(node, now, until))
    }

    /// Notes how far a replay is, and keeps it until `until`. False when it is not under way any more, or another node has it.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn save_replay(&self, id: i64, progress: ReplayProgress, until: i64) -> Result<bool, StoreError> {
        let node = i32::from(self.node());
        write!(self, save_replay(id, node, progress, until))
    }

    /// Ends a replay that is under way. False when it has ended already.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
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

    /// The events of an organization after an id, up to `last`, and where their deliveries stand.
    ///
    /// # Errors
    /// When the store does not answer.
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
    /// When the store does not answer.
    pub async fn events(&self, ids: &[i64]) -> Result<Vec<StoredEvent>, StoreError> {
        let ids = ids.to_vec();
        read!(self, events_of(&ids))
    }

    /// The request ids among these under which events were stored, with how many webhooks each event is owed to.
    ///
    /// # Errors
    /// When the store does not answer.
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
    /// When the store refuses or does not answer.
    pub async fn forget_replays(&self, before_us: i64) -> Result<usize, StoreError> {
        write!(self, forget_replays(before_us))
    }
}
