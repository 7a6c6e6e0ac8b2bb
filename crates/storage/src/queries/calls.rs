//! A call of every shared query on a store with many rows, for tests that inspect the statements.

mod changes;
mod reads;
mod work;

use std::ops::AsyncFnOnce;

use diesel::{
    result::{Error, QueryResult},
    sql_query,
};

use super::dialect::{Connection, RunQueryDsl as _};
use crate::plans::{filled::Filled, recorder::Recorder};

/// Makes every call.
pub(crate) async fn all(calls: &mut Calls<'_>) -> QueryResult<()> {
    reads::of_history(calls).await?;
    reads::of_deliveries(calls).await?;
    reads::of_backlog(calls).await?;
    reads::of_configuration(calls).await?;
    reads::of_counts(calls).await?;
    changes::of_configuration(calls).await?;
    changes::of_webhooks(calls).await?;
    changes::of_tokens(calls).await?;
    changes::of_deliveries(calls).await?;
    changes::forgetting(calls).await?;
    work::operations(calls).await?;
    work::steps(calls).await?;
    work::replays(calls).await
}

/// Makes calls on a connection, each in a transaction that is rolled back.
pub(crate) struct Calls<'a> {
    pub(crate) conn: &'a mut Connection,
    pub(crate) recorder: Recorder,
    pub(crate) filled: Filled,
}

impl Calls<'_> {
    pub(crate) async fn call<T>(
        &mut self,
        name: &str,
        query: impl AsyncFnOnce(&mut Connection) -> QueryResult<T>,
    ) -> QueryResult<()> {
        sql_query("BEGIN").execute(self.conn).await?;
        self.recorder.begin(name);
        let done = query(self.conn).await;
        self.recorder.end();
        sql_query("ROLLBACK").execute(self.conn).await?;
        done.map(drop)
            .map_err(|error| Error::QueryBuilderError(format!("{name}: {error}").into()))
    }
}
