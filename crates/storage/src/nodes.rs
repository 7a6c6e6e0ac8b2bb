//! Nodes: the servers that share one PostgreSQL, their leases, and their notices to each other. On SQLite there is one
//! node, which needs no lease.

use std::time::Duration;

/// The report of a server about itself when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// Its name. A server that starts under the name of one that ended resumes that one's deliveries.
    pub name: String,
    /// The address of its gRPC API, which is only shown.
    pub grpc_address: String,
    /// Its version.
    pub version: String,
    /// How long its lease lasts without a renewal.
    pub lease: Duration,
    /// It sends nothing: the other nodes assign it no work, and it takes over none.
    pub hold: bool,
}

/// The default of [`NodeOptions::lease`].
pub const LEASE: Duration = Duration::from_secs(5);

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            name: "hookwright".to_owned(),
            grpc_address: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lease: LEASE,
            hold: false,
        }
    }
}

/// The state of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// No node has this number, and nothing belongs to it.
    Free,
    /// It accepts events and sends.
    Serving,
    /// It is stopping and accepts no more events, or it was started with `hold` and sends nothing.
    Draining,
    /// Its lease has ended, or it released it: the other nodes adopt what it owned.
    Lost,
}

impl NodeState {
    pub(crate) fn from_number(number: i32) -> Self {
        match number {
            1 => Self::Serving,
            2 => Self::Draining,
            3 => Self::Lost,
            _ => Self::Free,
        }
    }
}

/// A node as the other nodes see it. Times are microseconds since the Unix epoch by the store's clock, and are only
/// shown.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeRow {
    /// Its number, which is part of the ids that it creates.
    pub number: u16,
    /// Grows whenever the number gets a new owner.
    pub epoch: i64,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: NodeState,
    /// Its version.
    pub version: String,
    /// The address of its gRPC API.
    pub grpc_address: String,
    /// When it joined.
    pub started_at: i64,
    /// When it last renewed its lease.
    pub heartbeat_at: i64,
    /// When its lease ends.
    pub lease_until: i64,
    /// Whether its lease has ended, according to the boot clock of the node that reads the row.
    pub expired: bool,
    /// The version of the configuration that is in force on it.
    pub configuration: i64,
    /// When its oldest overdue delivery was due, among those that it could attempt.
    pub oldest_due_at: Option<i64>,
    /// Deliveries in its memory.
    pub deliveries_in_memory: i64,
    /// Its attempts in flight.
    pub attempts_in_flight: i64,
    /// Its pending deliveries in the store; see [`WAITING_COUNTED_MAX`].
    pub deliveries_waiting: i64,
}

/// The limit on counting pending deliveries, over all nodes.
pub const WAITING_COUNTED_MAX: i64 = 1_000_000;

/// The report of a node in each heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeReport {
    /// The version of the configuration that is in force on it.
    pub configuration: i64,
    /// See [`NodeRow::oldest_due_at`].
    pub oldest_due_at: Option<i64>,
    /// Deliveries in memory.
    pub deliveries_in_memory: i64,
    /// Attempts in flight.
    pub attempts_in_flight: i64,
    /// Whether it is stopping, or sends nothing because of `hold`.
    pub draining: bool,
}

/// The result of a heartbeat.
#[derive(Clone, Debug, PartialEq)]
pub struct Beat {
    /// Every node that is not free.
    pub nodes: Vec<NodeRow>,
    /// The version of the configuration.
    pub configuration: i64,
    /// How far the database's clock was set, in microseconds, if this node is the first to detect it; otherwise 0.
    pub clock_set_by: i64,
}

/// A notice from one node to another. Notices may be lost, so receivers also poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The configuration changed.
    Configuration,
    /// A node joined, drains or was lost.
    Nodes,
    /// A delivery to this webhook is due in the store for this node.
    Due(i64),
    /// A caller ended a delivery. A node that has it in memory may drop it.
    Skipped {
        /// Its webhook.
        webhook: i64,
        /// The delivery.
        delivery: i64,
    },
}

/// The result of a step of adoption.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// How many deliveries.
    pub deliveries: usize,
    /// Their webhooks, and when the first of each is due.
    pub webhooks: Vec<(i64, i64)>,
    /// More may be available at once.
    pub more: bool,
    /// Nothing of the lost node is left.
    pub done: bool,
}
