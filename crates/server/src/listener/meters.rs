//! Metrics of the listeners: open connections, and refused or closed ones by reason.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Why a connection was refused or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its address has reached its limit.
    Address,
    /// All slots are taken.
    Total,
    /// The system could not accept it.
    System,
    /// An idle connection was replaced by a new one.
    Evicted,
    /// Its TLS handshake timed out.
    Handshake,
    /// It sent no request in time.
    Idle,
    /// Its peer stopped sending a request or reading an answer.
    Stalled,
    /// It reached the maximum age.
    Age,
}

impl Cause {
    const fn label(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Total => "total",
            Self::System => "system",
            Self::Evicted => "evicted",
            Self::Handshake => "handshake",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Age => "age",
        }
    }
}

/// The reasons for refusing connections.
const REFUSED: [Cause; 3] = [Cause::Address, Cause::Total, Cause::System];
/// The reasons for closing connections.
const CLOSED: [Cause; 5] = [
    Cause::Evicted,
    Cause::Handshake,
    Cause::Idle,
    Cause::Stalled,
    Cause::Age,
];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ListenerLabel {
    listener: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReasonLabels {
    listener: &'static str,
    reason: &'static str,
}

/// The metrics of all listeners.
#[derive(Clone, Default)]
pub(crate) struct ListenerMetrics {
    connections: Family<ListenerLabel, Gauge>,
    refused: Family<ReasonLabels, Counter>,
    closed: Family<ReasonLabels, Counter>,
}

impl ListenerMetrics {
    /// Creates and registers the metrics.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Open connections of a listener";
        registry.register("listener_connections", help, metrics.connections.clone());
        let help = "Connections refused by a listener, by reason: address, total or system";
        registry.register("listener_connections_refused", help, metrics.refused.clone());
        let help = "Connections closed by a listener, by reason: evicted, handshake, idle, stalled or age";
        registry.register("listener_connections_closed", help, metrics.closed.clone());
        metrics
    }

    /// The metrics of one listener. Counters exist from the start with 0, so that their first increase is visible.
    pub(crate) fn of(&self, listener: &'static str) -> Meters {
        let meters = Meters {
            connections: self.connections.get_or_create_owned(&ListenerLabel { listener }),
            listener,
            metrics: self.clone(),
        };
        for cause in REFUSED {
            drop(self.refused.get_or_create(&meters.labels(cause)));
        }
        for cause in CLOSED {
            drop(self.closed.get_or_create(&meters.labels(cause)));
        }
        meters
    }
}

/// The metrics of one listener.
#[derive(Clone)]
pub(crate) struct Meters {
    connections: Gauge,
    listener: &'static str,
    metrics: ListenerMetrics,
}

impl Meters {
    /// Counts a connection until the value is dropped.
    pub(super) fn open(&self) -> Open {
        self.connections.inc();
        Open(self.connections.clone())
    }

    pub(super) fn refused(&self, cause: Cause) {
        self.metrics.refused.get_or_create(&self.labels(cause)).inc();
    }

    pub(super) fn closed(&self, cause: Cause) {
        self.metrics.closed.get_or_create(&self.labels(cause)).inc();
    }

    fn labels(&self, cause: Cause) -> ReasonLabels {
        ReasonLabels {
            listener: self.listener,
            reason: cause.label(),
        }
    }
}

/// An open connection.
pub(super) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
