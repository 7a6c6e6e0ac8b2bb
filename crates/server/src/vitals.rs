//! Monitors the store, and warns about a PostgreSQL transaction that holds back the vacuum, which an operator must end. (The
//! store itself warns about a growing write-ahead log of SQLite.)

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use hookwright_storage::{LongTransaction, Store};
use tokio::time::sleep;

/// The minimum and the maximum interval of checks.
const INTERVAL_MIN: Duration = Duration::from_millis(200);
const INTERVAL_MAX: Duration = Duration::from_secs(30);

/// Age of the oldest open transaction, in seconds, as of the last check.
#[derive(Clone, Default)]
pub(crate) struct LongestTransaction(Arc<AtomicI64>);

impl LongestTransaction {
    pub(crate) fn seconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Checks until the server stops. Warns once about each transaction that has been open for `limit`.
pub(crate) async fn run(store: Store, limit: Duration, longest: LongestTransaction) {
    if store.lease().is_none() {
        // SQLite has no sessions.
        return;
    }
    let mut warned: Option<i32> = None;
    loop {
        match store.longest_transaction().await {
            Ok(found) => {
                let seconds = found.as_ref().map_or(0, |session| session.age.as_secs());
                longest
                    .0
                    .store(i64::try_from(seconds).unwrap_or(i64::MAX), Ordering::Relaxed);
                let long = found.filter(|session| session.age >= limit);
                if let Some(session) = &long
                    && warned != Some(session.pid)
                {
                    warn(session);
                }
                warned = long.map(|session| session.pid);
            }
            Err(error) => tracing::debug!(%error, "cannot check for long transactions"),
        }
        sleep((limit / 4).clamp(INTERVAL_MIN, INTERVAL_MAX)).await;
    }
}

fn warn(session: &LongTransaction) {
    tracing::warn!(
        pid = session.pid,
        application_name = session.application_name,
        user = session.user,
        client = session.client,
        state = session.state,
        seconds = session.age.as_secs(),
        "a transaction of PostgreSQL has been open for long: rows cannot be vacuumed, and queries become slower; end it, for example with pg_terminate_backend"
    );
}
