//! One suite for both stores, which must behave the same.

#![expect(clippy::unwrap_used, reason = "a test fails if its environment is missing")]

mod audit;
mod cancelled;
mod catalogue;
mod changes;
mod commit;
mod configuration;
mod databases;
mod health;
mod history;
mod nodes;
mod nodes_model;
mod opening;
mod operations;
mod ordering;
mod pull;
mod queue;
mod rare;
mod replays;
mod retention;
mod stats;
mod support;
mod tokens;
mod vitals;
