//! Queries that are the same on both stores: written once, mounted as `sqlite::queries` and as `postgres::queries`.
//!
//! Diesel's query builder is the same on both stores. The module `dialect` beside each mount contains the differences:
//! the type of the connection, the trait that runs a query, and a few statements. On SQLite a query has run when its
//! call returns, so no function here ever waits; `sqlite::at_once` relies on it.
//!
//! These modules contain only functions that use a connection, because a type would exist once per mount. Their types,
//! columns and pure functions are in the modules of the same names at the root of the crate.

mod audit;
#[cfg(test)]
pub(crate) mod calls;
mod catalogue;
mod changes;
mod deliveries;
mod history;
mod operations;
mod ordering;
mod passes;
mod pull;
mod queue;
mod replays;
mod retention;
mod states;
mod stats;
mod tokens;
mod troubled;

pub(crate) use self::{
    audit::*, catalogue::*, changes::*, deliveries::*, history::*, operations::*, ordering::*, passes::*, pull::*,
    queue::*, replays::*, retention::*, stats::*, tokens::*, waiting::*,
};
use super::{dialect, waiting};

/// Imports of all these modules.
mod prelude {
    pub(super) use diesel::{
        BoolExpressionMethods as _, ExpressionMethods as _, JoinOnDsl as _, NullableExpressionMethods as _,
        OptionalExtension as _, QueryDsl as _, SelectableHelper as _, result::QueryResult,
    };

    pub(super) use super::dialect::{Connection, RunQueryDsl as _};
}

/// How many rows one step of removal deletes: on SQLite, commits wait for it.
const FORGOTTEN_AT_ONCE: i64 = 500;
/// How many ids one statement contains: SQLite's limit is 32,766.
const ID_CHUNK: usize = 10_000;
/// How many events' payloads one query reads at most.
const PAYLOAD_CHUNK: usize = 64;
