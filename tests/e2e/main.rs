//! End to end: the real server as a process, real receivers, the real PostgreSQL, clients over gRPC.
//!
//! | module | what is shown |
//! | --- | --- |
//! | `clients` | the example clients, used as their READMEs tell |
//! | `client` | the Rust client: streams that survive, repeats, deadlines |
//! | `clocks` | clocks that are set, or wrong |
//! | `cluster` | several servers on one PostgreSQL |
//! | `command_line` | the binary as its users run it |
//! | `console` | the web console |
//! | `contract` | what receivers see, compared byte for byte |
//! | `subscriptions` | who gets what: wildcard, other types, inactive webhooks, pings |
//! | `door` | what the gRPC listener lets strangers, silent connections and large requests take |
//! | `durability` | acknowledged means durable: SIGKILL, SIGTERM, many events |
//! | `filters` | which events a filter lets through, and why an event was sent or not |
//! | `guides` | the commands of docs/guides, and what they say comes out |
//! | `hold` | a server that sends nothing |
//! | `isolation` | one bad receiver does not delay another |
//! | `operations` | large backlogs discarded and deleted in steps; recovery with many webhooks |
//! | `ordering` | ordered webhooks: retries, restarts, pause, skip |
//! | `operators` | what an operator's mistakes come to: told, and not held against receivers |
//! | `outcomes` | retries, `Retry-After`, 410, attempts as recorded |
//! | `reconfiguring` | changes of a webhook while deliveries are in flight |
//! | `relay` | from an outbox in the user's PostgreSQL, each event exactly once |
//! | `reloading` | what a running server reads again, at SIGHUP and when files change |
//! | `response_sizes` | clients that receive 4 MiB; lists that come in pages |
//! | `schemas` | what becomes of events that do not fit their type |
//! | `searching` | events found by key, request id and expression, page by page |
//! | `steering` | finding deliveries, and cancelling them |
//! | `replays` | deliveries made again, and those that a webhook missed |
//! | `pull` | deliveries that receivers fetch |
//! | `watchdog` | parts of the server that fail, and what nobody was told of |
//! | `watching` | deliveries as they change, and what was counted of them |
//! | `publishing` | batches, streams, request ids |
//! | `bad_input` | errors with field-level details, and nothing stored |
//! | `databases` | a PostgreSQL that is not as usual |
//! | `cancelling` | callers that leave in the middle of their calls |
//! | `access` | tokens, health, reflection, metrics, exposure |
//! | `telemetry` | traces as a collector receives them |
//! | `operator_faults` | faults of the operator's own parts |
//! | `store_faults` | a store that refuses rows or slows down |
//! | `disabling` | failing webhooks, and which failures disable them |
//! | `audit` | who changed what, for those who may know |
//! | `portal` | links that let customers into the console |
//! | `installation` | what an installation tells of itself |
//! | `targets` | where webhooks may lead |
//! | `tokens` | creating and revoking them, and what each may do |
//! | `tls_mistakes` | mistakes with TLS, told as what they are |
//! | `torture` | a short run of the fault harness, and a small aged installation |
//! | `verifiers` | signatures checked by libraries that others wrote |
//!
//! A test that concerns the store runs on both: `on_both_stores!` makes one test of each.

#![expect(clippy::unwrap_used, reason = "a test fails where what it prepared is not there")]

mod access;
mod audit;
mod authorization;
mod bad_input;
mod cancelling;
mod client;
mod clients;
mod clocks;
mod cluster;
mod command_line;
mod console;
mod contract;
mod databases;
mod disabling;
mod door;
mod durability;
mod examples;
mod filters;
mod guides;
mod hold;
mod installation;
mod isolation;
mod memory;
mod operations;
mod operator_faults;
mod operators;
mod ordering;
mod outcomes;
mod portal;
mod publishing;
mod pull;
mod reconfiguring;
mod relay;
mod reloading;
mod replays;
mod response_sizes;
mod schemas;
mod searching;
mod steering;
mod store_faults;
mod subscriptions;
mod support;
mod targets;
mod telemetry;
mod tls_mistakes;
mod tokens;
mod torture;
mod verifiers;
mod watchdog;
mod watching;
