//! The messages between the suite and its child processes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The first message of the sink.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listening {
    /// One address for each host that it simulates.
    pub(crate) addresses: Vec<String>,
}

/// A command to the sink.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SinkCommand {
    /// Clear all arrivals.
    Reset,
    /// Answer when this many different deliveries have arrived, or when none has arrived for `patience_s`.
    Wait { deliveries: usize, patience_s: u64 },
    /// The arrivals so far.
    Stats,
    /// How one host answers from now on.
    Behave { host: usize, how: Behaviour },
    /// Write (delivery id, event id, arrival in microseconds since the epoch) as little-endian numbers.
    Write { path: PathBuf },
}

/// How a host of the sink answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Behaviour {
    /// 200 at once.
    Accept,
    /// 500 at once.
    Fail,
    /// Does not answer.
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
    /// CPU time of the sink, in microseconds.
    pub(crate) cpu_us: u64,
}

/// A command to the publisher.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Publish {
    pub(crate) how: How,
    pub(crate) count: usize,
    pub(crate) organization: String,
    /// Events alternate between these types.
    pub(crate) event_types: Vec<String>,
    pub(crate) payload_bytes: usize,
    /// The file for (event id, call, acknowledgement), the times in microseconds since the epoch.
    pub(crate) calls: Option<PathBuf>,
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
}
