//! The shared queries, for SQLite.

use diesel::{SqliteConnection, prelude::*};

use crate::{batch::*, row_event::*};

crate::queries::catalogue::catalogue_queries!(SqliteConnection, [], []);
crate::queries::queue::queue_queries!([], []);
crate::queries::history::history_queries!([], []);
crate::queries::retention::retention_queries!([], []);
