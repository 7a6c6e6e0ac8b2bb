//! Notices: how nodes learn at once of what another one did. A notice may be lost; heartbeats replace it.

use diesel::{result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::scope::SUFFIX;

/// The channel of notices, without its suffix ([`SUFFIX`]).
pub(super) const CHANNEL: &str = "hookwright";

/// Notifies every node. A notice in a transaction is sent when that commits.
pub(super) async fn notify(conn: &mut AsyncPgConnection, text: &str) -> QueryResult<()> {
    diesel::sql_query(format!("SELECT pg_notify($1 || {SUFFIX}, $2)"))
        .bind::<sql_types::Text, _>(CHANNEL)
        .bind::<sql_types::Text, _>(text)
        .execute(conn)
        .await
        .map(drop)
}
