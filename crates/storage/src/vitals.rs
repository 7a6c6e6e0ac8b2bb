//! The condition of the store: the size of SQLite's write-ahead log, and the session that holds back PostgreSQL's
//! vacuum.

use std::time::Duration;

/// A session of PostgreSQL whose transaction keeps rows from being vacuumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongTransaction {
    /// The process id of its backend.
    pub pid: i32,
    /// Its application name; empty if it has none, or if its user's sessions are hidden from this one's.
    pub application_name: String,
    /// Its user.
    pub user: String,
    /// Its client's address; empty for a local one.
    pub client: String,
    /// Its state, such as `idle in transaction`.
    pub state: String,
    /// How long its transaction has been open.
    pub age: Duration,
}
