//! The store: SQLite embedded, or PostgreSQL, through Diesel.
//!
//! | module | content |
//! | --- | --- |
//! | `store` | [`Store`]: every operation, in the terms of the service; one child module for each subject |
//! | [`rows`], [`batch`], `due`, `records`, `configuration` | the inputs and results |
//! | [`changes`], [`replays`], [`pull`], [`stats`] | changed deliveries, replays, pulled deliveries, and statistics |
//! | `retention`, `vitals` | expired events, and the condition of the store |
//! | [`tokens`], [`audit`] | callers' credentials, and the log of their changes |
//! | [`schema`] | the tables, the same on both stores |
//! | [`clock`], `schedule` | the clocks of a server, and due times that do not depend on a clock that can be set |
//! | [`operations`] | work on many deliveries, in steps |
//! | `waiting` | pending deliveries, page by page |
//! | [`nodes`] | several servers on one PostgreSQL |
//! | [`certificates`] | less strict verification of servers' certificates |
//! | `deliveries`, `troubled`, `blocked`, `walk` | how lists are assembled from rows |
//! | `sqlite`, `postgres` | the differences: connections, migrations, the commit |
//! | `queries` of both | queries that are the same on both, written once |
//! | `seal` | secrets at rest |
//!
//! Invariants:
//!
//! - What [`Store::commit`] returned `Ok` for survives a crash of the process and of the machine. It is stored entirely
//!   or not at all.
//! - One server uses an SQLite file at a time, and one node owns a delivery.
//! - Every operation ends within [`DEADLINE`].

pub mod audit;
pub mod batch;
mod blocked;
pub mod certificates;
pub mod changes;
pub mod clock;
mod configuration;
mod deliveries;
mod due;
mod error;
pub mod fault;
mod migration_log;
pub mod nodes;
pub mod operations;
mod options;
#[cfg(test)]
mod plans;
mod postgres;
pub mod pull;
mod records;
pub mod replays;
mod retention;
mod row_event;
pub mod rows;
mod schedule;
pub mod schema;
mod seal;
mod sqlite;
pub mod stats;
mod store;
pub mod tokens;
mod troubled;
mod unfinished;
mod vitals;
mod waiting;
mod walk;

use std::time::Duration;

pub use batch::{Batch, Committed, NewEvent, Repeat, RequestKey, StoredEvent};
pub use blocked::{BLOCKED_COUNTED, BlockedKeys, BlockedRange};
pub use configuration::{CatalogueRows, ChangedRows, Missing};
pub use due::{DueDelivery, LatestDue, ReadLimits, Refill, Steered, UnfinishedEvent, UnfinishedPage, Waiting};
pub use error::{CommitError, StoreError};
pub use options::StoreOptions;
pub use postgres::remote;
pub use records::{AttemptSummary, Backlog, DeliveryFilter, DeliveryRecord, EventFilter, EventRecord, Replayed};
pub use retention::Expired;
pub use rows::{
    AttemptRow, AuditRow, DELIVERED, Disabling, ENDING_CANCELLED, EndedSessionRow, EndingRow, EventTypeRow, FAILED,
    FOLLOWS, FailingRule, GOES_ON, HealthChange, HealthRow, NextAttempt, OrganizationRow, PAUSED, PendingRow,
    RevokedLinkRow, SchemaRow, SecretRow, TokenRow, UpdateOutcome, WebhookRow,
};
pub use schedule::JUMP_MIN_US;
pub use seal::{MasterKey, UnsealError};
pub use store::{ConfigurationChange, Retention, Store};
pub use vitals::LongTransaction;
pub use waiting::{WaitingPage, WaitingPlace};

/// How long any operation may take.
pub const DEADLINE: Duration = Duration::from_secs(10);
