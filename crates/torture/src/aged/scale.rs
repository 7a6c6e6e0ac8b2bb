//! The scale of an aged installation: the amount of data, and the time limits of the steps.

use std::time::Duration;

/// The age and the size.
#[derive(Clone, Debug)]
pub struct Scale {
    /// The name in the report.
    pub name: &'static str,
    /// Final deliveries, two per event, spread over `days`.
    pub(super) past: u64,
    /// Bytes of an event's payload. A small past must be distinguishable from the data of the load.
    pub(super) payload_bytes: usize,
    /// Days of the past, each a partition on PostgreSQL.
    pub(super) days: i64,
    /// The shortened retention, in days.
    pub(super) kept_days: i64,
    /// Pending deliveries of webhooks whose receiver is gone. Half of them are in the organization that is deleted.
    pub(super) pending: u64,
    /// How many days old the oldest of them is.
    pub(super) pending_days: i64,
    /// Events per day that the abandoned pull webhook never pulled.
    pub(super) unfetched: u64,
    /// Webhooks with one pending delivery.
    pub(super) waiting: u64,
    /// Keys of an ordered webhook whose first delivery is paused.
    pub(super) blocked_keys: u64,
    /// Entries of the audit log.
    pub(super) audit: u64,
    /// Events with large payloads above the watermark, without an attempt.
    pub(super) large: u64,
    /// Bytes of a large payload.
    pub(super) large_bytes: usize,
    /// The size of the store's file system, in MiB.
    pub(super) disk_mib: u64,
    /// How long publishing is measured before the first step, and at least in each step.
    pub(super) measured: Duration,
    /// How often a step's condition is checked.
    pub(super) look: Duration,
    /// How long a step may take.
    pub(super) patience: Duration,
    /// How long a publisher pauses between two calls.
    pub(super) pause: Duration,
    /// The longest time without a published event, including the start of a node, if that is judged.
    pub(super) silence_max: Duration,
    /// The largest growth of the p99 of publishing, if that is judged.
    pub(super) ratio_max: Option<f64>,
}

impl Scale {
    /// About a minute, for the tests. Publishing is measured but not judged, because there are too few calls.
    #[must_use]
    pub fn small() -> Self {
        Self {
            name: "small",
            past: 20_000,
            payload_bytes: 4_000,
            days: 5,
            kept_days: 2,
            pending: 20_000,
            pending_days: 1,
            unfetched: 20,
            waiting: 200,
            blocked_keys: 20,
            audit: 5_000,
            large: 4,
            large_bytes: 5_000_000,
            disk_mib: 1_024,
            measured: Duration::from_secs(2),
            look: Duration::from_millis(100),
            patience: Duration::from_secs(120),
            pause: Duration::from_millis(150),
            silence_max: Duration::from_secs(3_600),
            ratio_max: None,
        }
    }

    /// As much as some months would build.
    #[must_use]
    pub fn full() -> Self {
        Self {
            name: "full",
            past: 10_000_000,
            payload_bytes: 200,
            days: 40,
            kept_days: 30,
            pending: 2_000_000,
            pending_days: 3,
            unfetched: 25_000,
            waiting: 10_000,
            blocked_keys: 1_000,
            audit: 1_000_000,
            large: 40,
            large_bytes: 5_000_000,
            disk_mib: 48 * 1_024,
            measured: Duration::from_secs(30),
            look: Duration::from_secs(1),
            patience: Duration::from_secs(1_800),
            pause: Duration::from_millis(200),
            silence_max: Duration::from_secs(60),
            ratio_max: Some(5.0),
        }
    }
}
