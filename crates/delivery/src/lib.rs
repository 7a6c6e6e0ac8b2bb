//! The delivery engine: from a checked event to a signed POST, and what came of it back into the store.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`catalogue`] | the configuration in force: webhooks and organizations, swapped whole |
//! | [`engine`] | the way of an event: inbox, committer, lanes, scheduler, workers, recovery |
//! | [`request`] | the request as receivers see it |
//! | [`sender`] | one attempt over one connection |
//! | `report`, `failure` | what came of an attempt, and why it failed |
//! | [`connector`], [`resolver`], [`tls`] | safe connections: every address checked, only a checked one connected to |
//! | [`details`] | what is recorded of an attempt |
//! | [`metrics`], [`trace`] | numbers and traces |
//! | [`clock`] | the time, as the store keeps it |
//!
//! Invariants: nothing is acknowledged before its commit; every queue is bounded; every wait on the outside world has a
//! deadline; a delivery is in flight at most once; what its lane cannot hold waits in the store.

pub mod catalogue;
pub mod clock;
pub mod connector;
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
