//! Queries that are the same on both stores, written once.
//!
//! Diesel runs on SQLite synchronously and, by diesel-async, on PostgreSQL asynchronously; the query builder is the same.
//! Each module here is a macro whose parameters are the connection's type and the tokens that make a function wait (`async`
//! and `.await`, or nothing). [`crate::sqlite`] and [`crate::postgres`] each call them once.

pub(crate) mod audit;
pub(crate) mod catalogue;
pub(crate) mod changes;
pub(crate) mod deliveries;
pub(crate) mod history;
pub(crate) mod operations;
pub(crate) mod ordering;
pub(crate) mod pull;
pub(crate) mod queue;
pub(crate) mod replays;
pub(crate) mod retention;
pub(crate) mod stats;
pub(crate) mod tokens;
pub(crate) mod troubled;

/// How many rows one step of forgetting removes: commits wait for it on SQLite.
pub(crate) const FORGOTTEN_AT_ONCE: i64 = 500;
