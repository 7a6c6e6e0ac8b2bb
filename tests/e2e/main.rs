//! End-to-end tests: the real server as a process, real receivers, the real PostgreSQL, clients over gRPC.
//!
//! | module | what it tests |
//! | --- | --- |
//! | `clients` | the example clients, used as their READMEs describe |
//! | `client` | the Rust client: streams that survive, repeats, deadlines |
//! | `clocks` | clocks that are set, or wrong |
//! | `cluster` | several servers on one PostgreSQL |
//! | `command_line` | the binary as users run it |
//! | `console` | the web console |
//! | `contract` | the requests that receivers get, compared byte for byte |
//! | `subscriptions` | which webhooks get an event: wildcard, other types, inactive webhooks, pings |
//! | `door` | the gRPC listener's limits on strangers, silent connections and large requests |
//! | `durability` | acknowledged means durable: SIGKILL, SIGTERM, many events |
//! | `filters` | the events that match a filter, and why an event was sent or not |
//! | `guides` | the commands of docs/guides, and the output that they show |
//! | `hold` | a server that sends nothing |
//! | `isolation` | one bad receiver does not delay another |
//! | `operations` | large backlogs discarded and deleted in steps; recovery with many webhooks |
//! | `ordering` | ordered webhooks: retries, restarts, pause, skip |
//! | `operators` | operators' mistakes: reported, and not counted against receivers |
//! | `outcomes` | retries, `Retry-After`, 410, recorded attempts |
//! | `reconfiguring` | changes of a webhook while deliveries are in flight |
//! | `relay` | from an outbox in the user's PostgreSQL, each event exactly once |
//! | `reloading` | what a running server reads again, at SIGHUP and when files change |
//! | `response_sizes` | clients that receive 4 MiB; lists that come in pages |
//! | `schemas` | events that do not fit the schema of their type |
//! | `searching` | events found by key, request id and expression, page by page |
//! | `steering` | finding and cancelling deliveries |
//! | `replays` | repeated deliveries, and deliveries that a webhook missed |
//! | `pull` | deliveries that receivers pull |
//! | `watchdog` | failing parts of the server, and deliveries that were lost from memory |
//! | `watching` | streams of changed deliveries, and statistics |
//! | `publishing` | batches, streams, request ids |
//! | `bad_input` | errors with field-level details, and nothing stored |
//! | `databases` | a PostgreSQL that is unavailable, read-only or misconfigured |
//! | `cancelling` | callers that leave in the middle of their calls |
//! | `access` | tokens, health, reflection, metrics, exposure |
//! | `telemetry` | traces as a collector receives them |
//! | `operator_faults` | faults of the operator's own parts |
//! | `store_faults` | a store that refuses rows or slows down |
//! | `descriptors` | a small limit on open files |
//! | `disabling` | failing webhooks, and which failures disable them |
//! | `audit` | who changed what, and which callers may read it |
//! | `portal` | links that give customers access to the console |
//! | `installation` | the status that an installation reports |
//! | `targets` | the operator's rules on webhook URLs |
//! | `tokens` | creating and revoking tokens, and the rights of each |
//! | `tls_mistakes` | mistakes with TLS, each reported by its cause |
//! | `torture` | a short run of the fault harness, and a small aged installation |
//! | `verifiers` | signatures checked by third-party libraries |
//!
//! A test that concerns the store runs on both: `on_both_stores!` makes two tests of it.

#![expect(clippy::unwrap_used, reason = "a test fails if its environment is missing")]

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
mod data_directories;
mod databases;
mod descriptors;
mod disabling;
mod door;
mod durability;
mod examples;
mod filters;
mod guides;
mod hold;
mod http2;
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
