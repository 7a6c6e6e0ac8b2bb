//! Replays: their stored state, and the history that they read.

use diesel::prelude::*;

use crate::{records::DeliveryRecord, schema::replays};

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
