//! The contract in code: pure functions and types, no I/O and no async.
//!
//! | module | contents |
//! | --- | --- |
//! | [`id`] | ids of events, deliveries and other resources: time-ordered numbers and their text form |
//! | [`name`] | names of organizations and event types |
//! | [`subscription`] | the event types of a webhook; the wildcard |
//! | [`filter`] | expressions that select events of those types |
//! | [`secret`], [`signing`] | signing secrets and signatures |
//! | [`retry`] | delays between attempts |
//! | [`outcome`] | closed lists: error classes, delivery states, meanings of a status |
//! | [`reason`] | results of attempts in words, with hints |
//! | [`payload`], [`schema`] | validation of payloads, and of payloads against an event type |
//! | [`url`], [`target`] | payload URLs and allowed targets |
//! | [`mask`] | masking of passwords in URLs |
//! | [`histogram`], [`varint`] | compact statistics and numbers |
//! | [`random`] | random bytes for secrets, nonces and ids |
//! | [`header`], [`limits`] | custom headers, and limits of other settings |
//!
//! Invariants: a value of a type here satisfies its rules, because parsing is the only way to create one. Every error states
//! the rule and the fix, and has a reason in UPPER_SNAKE_CASE. Nothing here panics on input.

mod address;
pub mod filter;
pub mod header;
pub mod histogram;
pub mod id;
pub mod limits;
pub mod mask;
pub mod name;
pub mod outcome;
pub mod payload;
pub mod random;
pub mod reason;
pub mod retry;
pub mod schema;
pub mod secret;
pub mod signing;
pub mod subscription;
pub mod target;
pub mod url;
pub mod varint;
