//! The gauges of `/metrics` that are set when it is read.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

/// A gauge with its name and help text.
type Named<'a> = (&'static str, &'static str, &'a Gauge);

/// The gauges.
#[derive(Default)]
pub(super) struct Gauges {
    pub(super) deliveries_in_memory: Gauge,
    pub(super) memory_bytes: Gauge,
    pub(super) attempts_in_flight: Gauge,
    pub(super) attempts_max: Gauge,
    pub(super) receiver_connections: Gauge,
    pub(super) receiver_connections_idle: Gauge,
    pub(super) receiver_connections_max: Gauge,
    pub(super) lanes: Gauge,
    pub(super) oldest_due_seconds: Gauge,
    pub(super) installation_oldest_due_seconds: Gauge,
    pub(super) stalled_seconds: Gauge,
    pub(super) lease_holds: Gauge,
    pub(super) blocked_keys: Gauge,
    pub(super) backlog: Family<StateLabels, Gauge>,
    pub(super) webhooks: Family<StateLabels, Gauge>,
    pub(super) clock_jumps: Gauge,
    pub(super) clock_offset_seconds: Gauge<f64, AtomicU64>,
    pub(super) ids_ahead_seconds: Gauge<f64, AtomicU64>,
    pub(super) hold: Gauge,
    pub(super) retention_oldest_overdue_seconds: Gauge,
    pub(super) retention_oldest_expired_seconds: Gauge,
    pub(super) longest_transaction_seconds: Gauge,
    pub(super) sqlite_log_bytes: Gauge,
    pub(super) sending_paused: Gauge,
    pub(super) operator_faults: Family<PartLabels, Gauge>,
}

/// A component of the operator.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct PartLabels {
    pub(super) part: &'static str,
}

/// A state.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct StateLabels {
    pub(super) state: &'static str,
}

impl Gauges {
    /// Adds the gauges to a registry.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let gauges = Self::default();
        for (name, help, gauge) in gauges.all() {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "clock_offset_seconds",
            "Time by which this machine's clock is ahead of the database's, or on SQLite of most receivers'; 0 while unknown",
            gauges.clock_offset_seconds.clone(),
        );
        registry.register(
            "ids_ahead_seconds",
            "Time by which new ids are ahead of the clock after it was set back",
            gauges.ids_ahead_seconds.clone(),
        );
        registry.register(
            "backlog",
            "Deliveries in the store that are not final, over all nodes, by state: pending, retrying, following, paused; the sum stops at 100,000",
            gauges.backlog.clone(),
        );
        registry.register(
            "webhooks",
            "Webhooks of the installation by state: active, failing, disabled, paused",
            gauges.webhooks.clone(),
        );
        registry.register(
            "operator_faults",
            "1 while attempts fail because of a component of the operator: proxy, resolver, master_key, descriptors, internal",
            gauges.operator_faults.clone(),
        );
        gauges
    }

    fn all(&self) -> impl Iterator<Item = Named<'_>> {
        let (deliveries, connections) = (self.of_deliveries(), self.of_connections());
        deliveries.into_iter().chain(connections).chain(self.of_node())
    }

    fn of_connections(&self) -> [Named<'_>; 4] {
        [
            (
                "attempts_max",
                "Maximum number of attempts in flight: concurrent-attempts-max, or less if the limit on open files is low",
                &self.attempts_max,
            ),
            (
                "receiver_connections",
                "Open connections to receivers, with the sockets of DNS queries",
                &self.receiver_connections,
            ),
            (
                "receiver_connections_idle",
                "Connections to receivers that are kept for later attempts: idle ones, and HTTP/2 connections, which may be in use",
                &self.receiver_connections_idle,
            ),
            (
                "receiver_connections_max",
                "Maximum number of connections to receivers, as the limit on open files allows",
                &self.receiver_connections_max,
            ),
        ]
    }

    fn of_deliveries(&self) -> [Named<'_>; 7] {
        [
            (
                "deliveries_in_memory",
                "Deliveries held in memory",
                &self.deliveries_in_memory,
            ),
            (
                "memory_bytes",
                "Bytes of deliveries in memory, which memory-bytes-max limits",
                &self.memory_bytes,
            ),
            ("attempts_under_way", "Attempts in flight", &self.attempts_in_flight),
            ("lanes", "Webhooks with a lane in memory", &self.lanes),
            (
                "oldest_due_seconds",
                "Age of the oldest overdue delivery to an active webhook on this node",
                &self.oldest_due_seconds,
            ),
            (
                "installation_oldest_due_seconds",
                "The same over all nodes for deliveries in the store, and on this node",
                &self.installation_oldest_due_seconds,
            ),
            (
                "stalled_seconds",
                "Time for which a due delivery could be attempted and is not, commits have failed, or sending has been paused; 0 while this node keeps up",
                &self.stalled_seconds,
            ),
        ]
    }

    fn of_node(&self) -> [Named<'_>; 9] {
        [
            (
                "lease_holds",
                "1 while this node may send, 0 while its lease has ended",
                &self.lease_holds,
            ),
            (
                "blocked_keys",
                "Ordering keys over all nodes that are blocked until someone retries or skips a permanently failed delivery; counted up to 10,000",
                &self.blocked_keys,
            ),
            (
                "clock_jumps",
                "Number of times that the clock of this machine, or of the database, was set since startup",
                &self.clock_jumps,
            ),
            (
                "hold",
                "1 while this node sends nothing because the setting hold is on, else 0",
                &self.hold,
            ),
            (
                "longest_transaction_seconds",
                "Time for which the oldest transaction has held back PostgreSQL's vacuum; 0 on SQLite",
                &self.longest_transaction_seconds,
            ),
            (
                "sqlite_log_bytes",
                "Size of SQLite's write-ahead log; 0 on PostgreSQL",
                &self.sqlite_log_bytes,
            ),
            (
                "sending_paused",
                "1 while sending is paused because a component of the operator fails",
                &self.sending_paused,
            ),
            (
                "retention_oldest_overdue_seconds",
                "Time since the expiry of the oldest expired event without a pending delivery that is still stored, as seen by this node's retention; 0 if there is none",
                &self.retention_oldest_overdue_seconds,
            ),
            (
                "retention_oldest_expired_seconds",
                "Time since the expiry of the oldest stored event, also if a pending delivery keeps it; 0 if no stored event has expired",
                &self.retention_oldest_expired_seconds,
            ),
        ]
    }
}
