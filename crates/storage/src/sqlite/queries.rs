//! The shared queries, for SQLite.

use diesel::{SqliteConnection, prelude::*};

use crate::{batch::*, row_event::*};

catalogue_queries!(SqliteConnection, [], []);
queue_queries!([], []);
history_queries!([], []);
