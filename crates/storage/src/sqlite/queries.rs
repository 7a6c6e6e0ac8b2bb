//! The shared queries, for SQLite.

use diesel::{SqliteConnection, prelude::*};

use crate::{batch::*, row_event::*};

crate::queries::catalogue::catalogue_queries!(SqliteConnection, [], []);
crate::queries::queue::queue_queries!([], []);
crate::queries::history::history_queries!([], []);
crate::queries::ordering::ordering_queries!([], []);
crate::queries::retention::retention_queries!([], []);

/// There is one writer at a time.
fn lock_order(_: &mut SqliteConnection, _: &[i64]) -> QueryResult<()> {
    Ok(())
}
