//! The messages between the suite and its child processes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The first message of the sink.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listening {
    /// One address for each host that it simulates.
    pub(crate) addresses: Vec<String>,
    /// The certificate authority of its certificates as PEM, if it speaks TLS.
    pub(crate) authority: Option<String>,
}

/// A command to a receiver of deliveries: the sink, the pullers or the watchers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SinkCommand {
    /// Clear all arrivals.
    Reset,
    /// Answer when this many different deliveries have arrived, or when none has arrived for `patience_s`.
    Wait { deliveries: usize, patience_s: u64 },
    /// The arrivals so far.
    Stats,
    /// How one host answers from now on; without a host, how all answer. Only the sink has hosts.
    Behave { host: Option<usize>, how: Behaviour },
    /// Whether to close each connection after one response, from now on. Only the sink has connections.
    Close { close: bool },
    /// Write (delivery id, event id, arrival in microseconds since the epoch) as little-endian numbers.
    Write { path: PathBuf },
}

/// How a host of the sink answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Behaviour {
    /// 200 at once.
    Accept,
    /// 200 after a delay.
    Slow { ms: u32 },
    /// 500 at once.
    Fail,
    /// Does not answer. When the behaviour changes, the requests without an answer end: their connections close, or over
    /// HTTP/2 they get a 503.
    Hang,
}

/// The arrivals.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SinkStats {
    /// Requests without pings, including repeats.
    pub(crate) requests: u64,
    /// Different deliveries.
    pub(crate) deliveries: u64,
    /// Requests for a delivery that had arrived before.
    pub(crate) duplicates: u64,
    /// When the last one arrived, in microseconds since the epoch.
    pub(crate) last_us: i64,
    /// CPU time of the receiver, in microseconds.
    pub(crate) cpu_us: u64,
    /// Open connections.
    pub(crate) connections: u64,
    /// TLS handshakes, and how many of them resumed a session.
    pub(crate) handshakes: u64,
    pub(crate) resumed: u64,
}

/// A command to the publisher.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Publish {
    pub(crate) how: How,
    pub(crate) count: usize,
    /// Events alternate between these.
    pub(crate) templates: Vec<Template>,
    /// Connections to each server.
    pub(crate) connections: usize,
    /// The file for (event id, call, acknowledgement), the times in microseconds since the epoch.
    pub(crate) calls: Option<PathBuf>,
}

impl Publish {
    /// Publishes over one connection, without a record of the calls.
    pub(crate) fn new(how: How, count: usize, templates: &[Template]) -> Self {
        Self {
            how,
            count,
            templates: templates.to_vec(),
            connections: 1,
            calls: None,
        }
    }
}

/// The parts of an event that differ between events; all payloads are equal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Template {
    pub(crate) organization: String,
    pub(crate) event_type: String,
    pub(crate) ordering_key: String,
    pub(crate) attributes: Vec<(String, String)>,
}

impl Template {
    /// An event without an ordering key and attributes.
    pub(crate) fn new(organization: &str, event_type: &str) -> Self {
        Self {
            organization: organization.to_owned(),
            event_type: event_type.to_owned(),
            ordering_key: String::new(),
            attributes: Vec::new(),
        }
    }
}

/// How events are published.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum How {
    /// Over streams, each with this many unacknowledged events.
    Stream { streams: usize, window: usize },
    /// One call per event, from this many concurrent callers.
    Unary { callers: usize },
    /// One call per event, at a steady rate.
    Steady { per_second: f64 },
}

/// The publisher's results.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PublishStats {
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    /// Deliveries that the acknowledged events are owed to.
    pub(crate) deliveries: u64,
    pub(crate) begun_us: i64,
    pub(crate) ended_us: i64,
    pub(crate) cpu_us: u64,
}

/// The raw sender's results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RawStats {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_us: u64,
    /// How many TLS handshakes resumed a session.
    pub(crate) resumed: u64,
}

/// The memory of idle TLS connections of a bare client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct IdleStats {
    pub(crate) kib_per_connection: f64,
}
