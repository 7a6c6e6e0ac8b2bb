//! Options of the engine.

use std::time::Duration;

use crate::request::RequestFormat;

/// What the engine can be told.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Attempts in flight at once, over all webhooks.
    pub concurrent_attempts_max: usize,
    /// Attempts in flight at once for one webhook.
    pub concurrent_attempts_per_webhook_max: usize,
    /// Bytes of payload that may wait in memory.
    pub memory_bytes_max: usize,
    /// A webhook that only failed for this long is disabled.
    pub disable_after: Duration,
    /// How the webhook's request looks: header prefix and user agent.
    pub format: RequestFormat,
    /// Accept events, and send nothing.
    pub hold: bool,
    /// The version of the configuration that the catalogue was filled from.
    pub configuration: i64,
}
