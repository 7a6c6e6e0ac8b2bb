//! Nodes: the servers that share one PostgreSQL, their leases, and what they tell each other. On SQLite there is one, and it
//! needs no lease.

use std::time::Duration;

/// What a server says of itself when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// Its name. A server that starts under the name of one that ended goes on with what that one left.
    pub name: String,
    /// Where its gRPC API listens, for people to read.
    pub grpc_address: String,
    /// Its version.
    pub version: String,
    /// How long its lease lasts without being renewed.
    pub lease: Duration,
    /// It sends nothing: the others give it nothing, and it takes nothing over.
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

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Nobody has this number, and nothing belongs to it.
    Free,
    /// It accepts events and sends.
    Serving,
    /// It is stopping and accepts nothing any more, or it was started with `hold` and sends nothing.
    Draining,
    /// Its lease has ended, or it gave it back: the others adopt what it owned.
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

/// A node as the others see it. Times are microseconds since the Unix epoch, by the store's clock, for
/// people to read.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeRow {
    /// Its number, which is part of the ids that it makes.
    pub number: u16,
    /// Grows whenever the number changes hands.
    pub epoch: i64,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: NodeState,
    /// Its version.
    pub version: String,
    /// Where its gRPC API listens.
    pub grpc_address: String,
    /// When it joined.
    pub started_at: i64,
    /// When it last renewed its lease.
    pub heartbeat_at: i64,
    /// When its lease ends.
    pub lease_until: i64,
    /// Whether its lease has ended, as far as the node that looks can tell by its boot clock.
    pub expired: bool,
    /// The version of the configuration that it has in force.
    pub configuration: i64,
    /// When the oldest delivery that it could attempt, and does not, was due.
    pub oldest_due_at: Option<i64>,
    /// Deliveries that it holds in memory.
    pub deliveries_in_memory: i64,
    /// Attempts that it has under way.
    pub attempts_under_way: i64,
    /// Deliveries that wait in the store for it; see [`WAITING_COUNTED_MAX`].
    pub deliveries_waiting: i64,
}

/// So many waiting deliveries are counted at most, over all nodes.
pub const WAITING_COUNTED_MAX: i64 = 1_000_000;

/// What a node tells with each heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeReport {
    /// The version of the configuration that it has in force.
    pub configuration: i64,
    /// See [`NodeRow::oldest_due_at`].
    pub oldest_due_at: Option<i64>,
    /// Deliveries in memory.
    pub deliveries_in_memory: i64,
    /// Attempts under way.
    pub attempts_under_way: i64,
    /// Whether it is stopping, or holds what it has.
    pub draining: bool,
}

/// What a heartbeat found.
#[derive(Clone, Debug, PartialEq)]
pub struct Beat {
    /// Every node that is not free.
    pub nodes: Vec<NodeRow>,
    /// The version of the configuration.
    pub configuration: i64,
    /// By how many microseconds the database's clock was set, if this node is the first to find out; else 0.
    pub clock_set_by: i64,
}

/// What one node tells another. A notice may be lost: whoever waits for one looks by itself from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The configuration changed.
    Configuration,
    /// A node joined, drains or was lost.
    Nodes,
    /// A delivery to this webhook waits in the store for this node.
    Due(i64),
    /// A delivery was ended: whoever has it in memory may forget it.
    Skipped {
        /// Its webhook.
        webhook: i64,
        /// The delivery.
        delivery: i64,
    },
}

/// What a step of adoption brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// How many deliveries.
    pub deliveries: usize,
    /// Their webhooks, and when the first of each is due.
    pub webhooks: Vec<(i64, i64)>,
    /// There may be more to take at once.
    pub more: bool,
    /// Nothing of the lost node is left.
    pub done: bool,
}
