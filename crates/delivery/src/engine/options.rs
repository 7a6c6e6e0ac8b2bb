//! Options of the engine.

use std::time::Duration;

use crate::request::RequestFormat;

/// The options of the engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Attempts in flight at once, over all webhooks.
    pub concurrent_attempts_max: usize,
    /// Attempts in flight at once for one webhook.
    pub concurrent_attempts_per_webhook_max: usize,
    /// The limit on payload bytes in memory.
    pub memory_bytes_max: usize,
    /// How long a webhook must only fail before it is disabled.
    pub disable_after: Duration,
    /// The format of requests: header prefix and user agent.
    pub format: RequestFormat,
    /// Accept events, and send nothing.
    pub hold: bool,
    /// The version of the configuration that was loaded into the catalogue.
    pub configuration: i64,
}
