//! Rows of many deliveries, each kind in one statement.

use diesel::result::QueryResult;
use diesel_async::AsyncPgConnection;

use super::statements::{InsertAttempts, InsertAttemptsAgain, InsertEndings, UpsertPending};
use crate::rows::{AttemptRow, EndingRow, PendingRow};

/// Appends attempts that may be stored already.
pub(super) async fn insert_attempts_again(conn: &mut AsyncPgConnection, rows: &[AttemptRow]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let statement = InsertAttemptsAgain(InsertAttempts::of(rows));
    diesel_async::RunQueryDsl::execute(statement, conn).await.map(drop)
}

/// Writes pending rows. New rows belong to the node that `owner` names for their webhook.
pub(super) async fn upsert_pending<'a>(
    conn: &mut AsyncPgConnection,
    rows: impl IntoIterator<Item = &'a PendingRow>,
    owner: impl Fn(i64) -> i32,
) -> QueryResult<()> {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut statement = UpsertPending::default();
    for row in rows {
        statement.push(row, owner(row.webhook_id));
    }
    diesel_async::RunQueryDsl::execute(statement, conn).await.map(drop)
}

pub(crate) async fn insert_endings(conn: &mut AsyncPgConnection, rows: &[EndingRow]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut statement = InsertEndings::default();
    for row in rows {
        statement.delivery_id.push(row.delivery_id);
        statement.event_id.push(row.event_id);
        statement.organization_id.push(row.organization_id);
        statement.webhook_id.push(row.webhook_id);
        statement.state.push(row.state);
        statement.reason.push(&row.reason);
        statement.ended_at.push(row.ended_at);
    }
    diesel_async::RunQueryDsl::execute(statement, conn).await.map(drop)
}
