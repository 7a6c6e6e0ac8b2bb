//! What the suite says to its child processes, and what they answer.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the sink says first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listening {
    /// One address for each host that it plays.
    pub(crate) addresses: Vec<String>,
}

/// A command to the sink.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SinkCommand {
    /// Forget all arrivals.
    Reset,
    /// Answer when so many different deliveries have arrived, or when nothing has arrived for the patience.
    Wait { deliveries: usize, patience_s: u64 },
    /// What has arrived so far.
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
    /// Never.
    Hang,
}

/// What has arrived.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SinkStats {
    /// Requests but for pings, repeats included.
    pub(crate) requests: u64,
    /// Different deliveries.
    pub(crate) deliveries: u64,
    /// Requests for a delivery that had arrived before.
    pub(crate) duplicates: u64,
    /// When the last one arrived, microseconds since the epoch.
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
    /// Events take turns among these types.
    pub(crate) event_types: Vec<String>,
    pub(crate) payload_bytes: usize,
    /// Where to write (event id, called, acknowledged), the times in microseconds since the epoch.
    pub(crate) calls: Option<PathBuf>,
}

/// How events are published.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum How {
    /// Over streams, with so many events on each that are not acknowledged yet.
    Stream { streams: usize, window: usize },
    /// One call an event, from so many callers at once.
    Unary { callers: usize },
    /// One call an event, at a steady rate.
    Steady { per_second: f64 },
}

/// What the publisher did.
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

/// What the raw sender did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RawStats {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_us: u64,
}
