//! The contract in code: pure functions and types, no I/O and no async.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`id`] | ids of events, deliveries and the rest: time-ordered numbers, and how people see them |
//! | [`name`] | names of organizations and event types |
//! | [`subscription`] | which event types a webhook receives; the wildcard |
//! | [`filter`] | which events of those types it receives |
//! | [`secret`], [`signing`] | signing secrets, and the signatures made with them |
//! | [`retry`] | when a failed attempt is repeated |
//! | [`outcome`] | the closed lists: error classes, delivery states, what a status means |
//! | [`payload`], [`schema`] | what can be a payload, and what fits an event type |
//! | [`url`], [`target`] | payload URLs, and where they may lead |
//! | [`mask`] | passwords in URLs, which nothing may show |
//! | [`histogram`], [`varint`] | statistics and numbers in few bytes |
//! | [`header`], [`limits`] | the owner's headers, and the bounds of other settings |
//!
//! Invariants: a value of a type here keeps its rules, for parsing is the only way to make one; every error states the rule
//! and the fix, and names its rule in UPPER_SNAKE_CASE; nothing here panics on input.

pub mod filter;
pub mod header;
pub mod histogram;
pub mod id;
pub mod limits;
pub mod mask;
pub mod name;
pub mod outcome;
pub mod payload;
pub mod retry;
pub mod schema;
pub mod secret;
pub mod signing;
pub mod subscription;
pub mod target;
pub mod url;
pub mod varint;
