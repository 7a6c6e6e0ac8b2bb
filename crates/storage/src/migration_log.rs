//! The log of migrations. An existing schema has a line at the start and the end of each migration, because each can take
//! long. A new schema has one line after the last migration; the others are logged at the level DEBUG.

use std::time::Instant;

pub(crate) struct MigrationLog {
    is_new: bool,
    count: usize,
}

impl MigrationLog {
    /// For `count` missing migrations of a schema that has `applied` others.
    pub(crate) fn new(applied: usize, count: usize) -> Self {
        Self {
            is_new: applied == 0,
            count,
        }
    }

    /// Logs the start of the migration at `index`.
    pub(crate) fn started(&self, index: usize, name: &str) -> Instant {
        let (number, count) = (index + 1, self.count);
        if self.is_new {
            tracing::debug!(migration = name, "running migration {number} of {count}");
        } else {
            tracing::info!(migration = name, "running migration {number} of {count}");
        }
        Instant::now()
    }

    /// Logs the end of a migration that began at `begun`.
    pub(crate) fn done(&self, name: &str, begun: Instant) {
        let took = begun.elapsed().as_secs_f64();
        if self.is_new {
            tracing::debug!(migration = name, "migration done in {took:.1} s");
        } else {
            tracing::info!(migration = name, "migration done in {took:.1} s");
        }
    }

    /// Logs the end of all migrations.
    pub(crate) fn ended(&self) {
        if self.is_new {
            tracing::info!("created the schema ({} migrations)", self.count);
        }
    }
}
