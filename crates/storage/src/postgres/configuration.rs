//! Changes of configuration: one at a time over all nodes, and in force on every node before the call returns.
//!
//! Whoever changes something holds an advisory lock meanwhile. The change raises the version in its own transaction, and tells
//! the others; each reads the configuration again and confirms the version in its own row, at the latest with its next
//! heartbeat. A node that does not confirm loses its lease.

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{
    nodes::{Number, notify},
    scope::KEY_64,
};
use crate::error::StoreError;

/// Any number that nobody else uses.
const LOCK: i64 = 0x686f_6f6b_7772_0004;

/// Held while the configuration changes. The lock goes with its connection.
pub(crate) struct ChangeLock {
    pub(super) conn: AsyncPgConnection,
}

/// A node that has not confirmed a version.
#[derive(QueryableByName)]
pub(super) struct Behind {
    #[diesel(sql_type = sql_types::Integer)]
    pub(super) number: i32,
    #[diesel(sql_type = sql_types::BigInt)]
    pub(super) epoch: i64,
    #[diesel(sql_type = sql_types::Text)]
    pub(super) name: String,
}

pub(super) async fn version(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
    let found: Number = diesel::sql_query("SELECT version AS number FROM configuration")
        .get_result(conn)
        .await?;
    Ok(found.number)
}

pub(super) async fn lock(mut conn: AsyncPgConnection) -> Result<ChangeLock, StoreError> {
    diesel::sql_query(format!("SELECT pg_advisory_lock($1 # {KEY_64})"))
        .bind::<sql_types::BigInt, _>(LOCK)
        .execute(&mut conn)
        .await?;
    Ok(ChangeLock { conn })
}

pub(super) async fn unlock(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    diesel::sql_query(format!("SELECT pg_advisory_unlock($1 # {KEY_64})"))
        .bind::<sql_types::BigInt, _>(LOCK)
        .execute(conn)
        .await
        .map(drop)
}

/// Raises the version, within the transaction of the change.
pub(super) async fn changed(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    diesel::sql_query("UPDATE configuration SET version = version + 1")
        .execute(conn)
        .await?;
    notify(conn, "configuration").await
}

/// From now on whoever changes something waits for this node. Returns the version that it must have in force at least.
pub(super) async fn accept(conn: &mut AsyncPgConnection, number: i32) -> QueryResult<i64> {
    let found: Number = diesel::sql_query(
        "UPDATE nodes SET configuration = (SELECT version FROM configuration) WHERE number = $1
         RETURNING configuration AS number",
    )
    .bind::<sql_types::Integer, _>(number)
    .get_result(conn)
    .await?;
    Ok(found.number)
}

/// This node has the version in force.
pub(super) async fn confirm(conn: &mut AsyncPgConnection, number: i32, version: i64) -> QueryResult<()> {
    diesel::sql_query("UPDATE nodes SET configuration = $2 WHERE number = $1 AND configuration < $2")
        .bind::<sql_types::Integer, _>(number)
        .bind::<sql_types::BigInt, _>(version)
        .execute(conn)
        .await
        .map(drop)
}

/// The other nodes that accept events and do not have the version in force yet.
pub(super) async fn behind(conn: &mut AsyncPgConnection, me: i32, version: i64) -> QueryResult<Vec<Behind>> {
    diesel::sql_query(
        "SELECT number, epoch, name FROM nodes WHERE state IN (1, 2) AND number <> $1 AND configuration < $2",
    )
    .bind::<sql_types::Integer, _>(me)
    .bind::<sql_types::BigInt, _>(version)
    .load(conn)
    .await
}
