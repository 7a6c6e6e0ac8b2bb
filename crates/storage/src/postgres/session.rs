//! Transactions on PostgreSQL, and connections on loan from the pool.
//!
//! Any future here may be dropped at any moment, because a caller cancels or a deadline passes. Two rules prevent the
//! next user of the connection from committing a half of its work:
//!
//! - [`transaction`] is the only way to open a transaction. It uses the transaction manager of diesel-async, which
//!   detects a connection whose `BEGIN`, `COMMIT` or `ROLLBACK` got no answer.
//! - A [`Loan`] returns its connection to the pool only when its work has ended and no transaction is open. A dropped
//!   loan is cleaned up by [`Abandoned::clean_up`]: the session rolls back, and the connection is closed if its state
//!   is in doubt. Its slot in the pool stays occupied until then, so abandoned sessions never outnumber the pool.

use std::{ops::AsyncFnOnce, sync::Arc, time::Duration};

use diesel::result::QueryResult;
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, SimpleAsyncConnection as _, TransactionManager as _,
    pooled_connection::deadpool::{Object, Pool},
};
use tokio::time::timeout;

use super::{cancel, wire};
use crate::error::StoreError;

/// How long an abandoned statement may run before it is cancelled.
const ABANDONED_PATIENCE: Duration = Duration::from_secs(1);
/// How long a cancelled statement may take to end.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// Runs several constant statements without parameters that open no transaction: settings of a session, DDL.
#[expect(
    clippy::disallowed_methods,
    reason = "only `transaction` opens transactions; this function is for everything else"
)]
pub(super) async fn batch(conn: &mut AsyncPgConnection, text: &str) -> QueryResult<()> {
    conn.batch_execute(text).await
}

/// Runs a transaction. `conn` must be a connection that is closed when this future is dropped: one of a [`Loan`], or
/// one that was taken from its slot and is returned only on success.
pub(super) async fn transaction<T, F>(conn: &mut AsyncPgConnection, work: F) -> Result<T, StoreError>
where
    F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, StoreError>,
{
    if let Err(error) = AnsiTransactionManager::begin_transaction(conn).await {
        return Err(wire::refine(conn, error.into()));
    }
    match work(conn).await {
        Ok(done) => match AnsiTransactionManager::commit_transaction(conn).await {
            Ok(()) => Ok(done),
            Err(error) => Err(wire::refine(conn, error.into())),
        },
        Err(error) => {
            let error = wire::refine(conn, error);
            // From here on, a connection that cannot roll back counts as broken.
            let _ = AnsiTransactionManager::rollback_transaction(conn).await;
            Err(error)
        }
    }
}

/// Returns a connection to the pool. Closes it if a transaction is open, or if the end of one got no answer.
fn settle(conn: Option<Object<AsyncPgConnection>>) {
    let Some(mut conn) = conn else { return };
    if AnsiTransactionManager::is_broken_transaction_manager(&mut *conn) {
        drop(Object::take(conn));
    }
}

/// A connection on loan from the pool.
pub(super) struct Loan {
    conn: Option<Object<AsyncPgConnection>>,
    url: Arc<str>,
}

impl Loan {
    pub(super) async fn take(pool: &Pool<AsyncPgConnection>, url: &Arc<str>) -> Result<Self, StoreError> {
        let got = pool.get().await;
        let conn = got.map_err(|error| StoreError::Unreachable(error.to_string()))?;
        Ok(Self {
            conn: Some(conn),
            url: Arc::clone(url),
        })
    }

    /// Runs work on the connection and returns it to the pool. If the work does not end, the loan does not end either:
    /// see the module.
    pub(super) async fn run<T, F>(mut self, work: F) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, StoreError>,
    {
        let conn = self.conn.as_mut().expect("a loan has its connection until it ends");
        let result = match work(conn).await {
            // A server that accepts no writes may have become a standby: the next connection looks for the primary.
            Err(error) => match wire::refine(conn, error) {
                StoreError::ReadOnly => {
                    drop(self.conn.take().map(Object::take));
                    return Err(StoreError::ReadOnly);
                }
                error => Err(error),
            },
            done => done,
        };
        settle(self.conn.take());
        result
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        let abandoned = Abandoned {
            conn: Some(conn),
            url: Arc::clone(&self.url),
        };
        // Without a runtime, the connection is closed at once.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(abandoned.clean_up());
        }
    }
}

/// A connection whose user is gone, perhaps in the middle of a statement or a transaction.
struct Abandoned {
    conn: Option<Object<AsyncPgConnection>>,
    url: Arc<str>,
}

impl Abandoned {
    /// Ends the session's work and returns the connection to the pool if it is still usable.
    async fn clean_up(mut self) {
        let Some(conn) = self.conn.as_mut() else { return };
        let cancel = conn.cancel_token();
        // The answer arrives after those of all earlier statements of the session.
        let rolled_back = {
            let mut rolling_back = std::pin::pin!(batch(conn, "ROLLBACK"));
            match timeout(ABANDONED_PATIENCE, &mut rolling_back).await {
                Ok(answer) => answer.is_ok(),
                Err(_) => {
                    let cancelled = timeout(CANCEL_PATIENCE, cancel::statement(&self.url, &cancel)).await;
                    if matches!(cancelled, Ok(Ok(()))) {
                        let _ = timeout(CANCEL_PATIENCE, rolling_back).await;
                    }
                    // A late cancellation could hit the next user's statement.
                    false
                }
            }
        };
        if rolled_back {
            settle(self.conn.take());
        }
    }
}

impl Drop for Abandoned {
    /// Closes the connection, which rolls back the uncommitted work of its session.
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            drop(Object::take(conn));
        }
    }
}
