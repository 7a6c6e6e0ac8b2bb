//! End to end: the real server as a process, real receivers, the real PostgreSQL, clients over gRPC.
//!
//! | module | what is shown |
//! | --- | --- |
//! | `client` | the Rust client: streams that survive, repeats, deadlines |
//! | `cluster` | several servers on one PostgreSQL |
//! | `command_line` | the binary as its users run it |
//! | `contract` | what receivers see, compared byte for byte |
//! | `subscriptions` | who gets what: wildcard, other types, inactive webhooks, pings |
//! | `durability` | acknowledged means durable: SIGKILL, SIGTERM, many events |
//! | `filters` | which events a filter lets through, and why an event was sent or not |
//! | `isolation` | one bad receiver does not delay another |
//! | `ordering` | ordered webhooks: retries, restarts, pause, skip |
//! | `outcomes` | retries, `Retry-After`, 410, attempts as recorded |
//! | `relay` | from an outbox in the user's PostgreSQL, each event exactly once |
//! | `schemas` | what becomes of events that do not fit their type |
//! | `steering` | finding deliveries, and cancelling them |
//! | `publishing` | batches, streams, request ids |
//! | `bad_input` | errors with field-level details, and nothing stored |
//! | `access` | tokens, health, reflection, metrics, exposure |
//! | `telemetry` | traces as a collector receives them |
//! | `torture` | a short run of the fault harness |
//! | `verifiers` | signatures checked by libraries that others wrote |
//!
//! A test that concerns the store runs on both: `on_both_stores!` makes one test of each.

#![expect(clippy::unwrap_used, reason = "a test fails where what it prepared is not there")]

mod access;
mod bad_input;
mod client;
mod cluster;
mod command_line;
mod contract;
mod durability;
mod filters;
mod isolation;
mod ordering;
mod outcomes;
mod publishing;
mod relay;
mod schemas;
mod steering;
mod subscriptions;
mod support;
mod telemetry;
mod torture;
mod verifiers;
