//! The delivery engine: from a checked event to a signed POST, and its outcome back into the store.
//!
//! | module | content |
//! | --- | --- |
//! | [`catalogue`] | the configuration in force: webhooks and organizations, swapped as a whole |
//! | [`engine`] | the path of an event: inbox, committer, lanes, scheduler, workers, recovery |
//! | [`request`] | the request that receivers get |
//! | [`sender`] | one attempt over one connection |
//! | `report`, `failure` | the outcome of an attempt, and why it failed |
//! | [`connector`], [`resolver`], [`tls`] | safe connections: every address is checked, and only checked addresses are connected to |
//! | [`descriptors`] | the budget of file descriptors: permits for connections, eviction of idle ones |
//! | [`details`] | the recorded details of an attempt |
//! | [`metrics`], [`trace`] | metrics and traces |
//! | [`clock`] | the time, according to the store's clocks |
//!
//! Invariants:
//!
//! - Nothing is acknowledged before its commit.
//! - Every queue is bounded.
//! - Every wait for an external system has a deadline.
//! - A delivery is in flight at most once.
//! - Deliveries that their lane cannot hold are in the store.

pub mod catalogue;
pub mod clock;
pub mod connector;
pub mod descriptors;
pub mod details;
pub mod engine;
mod failure;
pub mod metrics;
mod random;
mod report;
pub mod request;
pub mod resolver;
pub mod sender;
pub mod tls;
pub mod trace;
