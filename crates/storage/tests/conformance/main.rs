//! One suite for both stores: what holds on one holds on the other.

#![expect(clippy::unwrap_used, reason = "a test fails where what it prepared is not there")]

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
