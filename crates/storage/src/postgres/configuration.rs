//! Configuration changes: one at a time over all nodes, and in force on every node before the call returns.
//!
//! A node holds an advisory lock while it changes something. The change raises the version in its own transaction,
//! records the part that it concerns, and notifies the other nodes. Each of them reads what changed since its own
//! version, and confirms the new version in its own row, at the latest with its next heartbeat. A node that does not
//! confirm loses its lease.
//!
//! A node that is missing more than [`KEPT`] versions, or a version without a record (made by an older server), reads
//! everything.

use std::collections::HashMap;

use diesel::{ExpressionMethods as _, QueryDsl as _, QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{Number, notices::notify, scope::KEY_64};
use crate::{
    configuration::{ChangedParts, ChangedRows, ConfigurationPart, Missing},
    error::StoreError,
    operations::{OPERATION_RUNNING, OperationKind},
    rows::{OrganizationRow, SecretRow, WebhookRow},
    schema::{
        ended_sessions, event_types, operations, organizations, revoked_portal_links, signing_secrets, tokens, webhooks,
    },
};

/// An arbitrary number that no other lock uses.
const LOCK: i64 = 0x686f_6f6b_7772_0004;

/// How many versions keep a record of their change.
const KEPT: i64 = 1_000;
/// How often older records are removed, in versions.
const FORGOTTEN_EVERY: i64 = 100;

/// A lock that is held while the configuration changes. It ends with its connection.
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

/// Raises the version, within the transaction of the change to `part`, and returns it.
pub(super) async fn changed(conn: &mut AsyncPgConnection, me: i32, part: ConfigurationPart) -> QueryResult<i64> {
    let (name, id) = part.stored();
    let raised: Number = diesel::sql_query(
        "WITH raised AS (UPDATE configuration SET version = version + 1 RETURNING version)
         INSERT INTO configuration_changes (version, part, part_id) SELECT version, $1, $2 FROM raised
         RETURNING version AS number",
    )
    .bind::<sql_types::Text, _>(name)
    .bind::<sql_types::BigInt, _>(id)
    .get_result(conn)
    .await?;
    let version = raised.number;
    if version % FORGOTTEN_EVERY == 0 {
        diesel::sql_query("DELETE FROM configuration_changes WHERE version <= $1")
            .bind::<sql_types::BigInt, _>(version - KEPT)
            .execute(conn)
            .await?;
    }
    notify(conn, &format!("configuration {me}")).await?;
    Ok(version)
}

/// The record of a change.
#[derive(QueryableByName)]
struct Noted {
    #[diesel(sql_type = sql_types::Text)]
    part: String,
    #[diesel(sql_type = sql_types::BigInt)]
    part_id: i64,
}

/// The parts that changed after the version `known` up to `version`; `None` if some changes have no record.
async fn changed_parts(conn: &mut AsyncPgConnection, known: i64, version: i64) -> QueryResult<Option<ChangedParts>> {
    if version - known > KEPT {
        return Ok(None);
    }
    let noted: Vec<Noted> = diesel::sql_query(
        "SELECT part, part_id FROM configuration_changes WHERE version > $1 AND version <= $2 ORDER BY version",
    )
    .bind::<sql_types::BigInt, _>(known)
    .bind::<sql_types::BigInt, _>(version)
    .load(conn)
    .await?;
    if i64::try_from(noted.len()) != Ok(version - known) {
        return Ok(None);
    }
    Ok(ChangedParts::of(
        noted
            .iter()
            .map(|noted| ConfigurationPart::read(&noted.part, noted.part_id)),
    ))
}

/// The version in force, and what a node with the version `known` is missing. Rows are read after the version, so they
/// belong to that version or a later one.
pub(super) async fn missing(conn: &mut AsyncPgConnection, known: i64) -> QueryResult<(i64, Missing)> {
    let version = version(conn).await?;
    if version <= known {
        return Ok((version, Missing::Nothing));
    }
    let Some(parts) = changed_parts(conn, known, version).await? else {
        return Ok((version, Missing::Everything));
    };
    let rows = changed_rows(conn, &parts).await?;
    Ok((version, Missing::Parts(Box::new(rows))))
}

async fn changed_rows(conn: &mut AsyncPgConnection, parts: &ChangedParts) -> QueryResult<ChangedRows> {
    let mut rows = ChangedRows {
        discards: operations::table
            .filter(operations::state.eq(OPERATION_RUNNING))
            .filter(operations::kind.eq(OperationKind::DiscardBacklog.as_str()))
            .load(conn)
            .await?,
        organizations: parts.organizations.iter().map(|id| (*id, None)).collect(),
        webhooks: changed_webhooks(conn, parts).await?,
        ..ChangedRows::default()
    };
    if !parts.organizations.is_empty() {
        let found: Vec<OrganizationRow> = organizations::table
            .filter(organizations::id.eq_any(&parts.organizations))
            .filter(organizations::deleted_at.is_null())
            .load(conn)
            .await?;
        rows.organizations
            .extend(found.into_iter().map(|row| (row.id, Some(row))));
    }
    if parts.event_types {
        rows.event_types = Some(event_types::table.load(conn).await?);
    }
    if parts.tokens {
        let tokens = tokens::table.load(conn).await?;
        rows.tokens = Some((tokens, revoked_portal_links::table.load(conn).await?));
    }
    if parts.sessions {
        rows.ended_sessions = Some(ended_sessions::table.load(conn).await?);
    }
    Ok(rows)
}

async fn changed_webhooks(
    conn: &mut AsyncPgConnection,
    parts: &ChangedParts,
) -> QueryResult<HashMap<i64, Option<(WebhookRow, Vec<SecretRow>)>>> {
    let mut changed: HashMap<_, _> = parts.webhooks.iter().map(|id| (*id, None)).collect();
    if parts.webhooks.is_empty() {
        return Ok(changed);
    }
    let found: Vec<WebhookRow> = webhooks::table
        .filter(webhooks::id.eq_any(&parts.webhooks))
        .filter(webhooks::deleted_at.is_null())
        .load(conn)
        .await?;
    let secrets: Vec<SecretRow> = signing_secrets::table
        .filter(signing_secrets::webhook_id.eq_any(&parts.webhooks))
        .order(signing_secrets::id.desc())
        .load(conn)
        .await?;
    let mut secrets_of: HashMap<i64, Vec<SecretRow>> = HashMap::new();
    for secret in secrets {
        secrets_of.entry(secret.webhook_id).or_default().push(secret);
    }
    for row in found {
        let secrets = secrets_of.remove(&row.id).unwrap_or_default();
        changed.insert(row.id, Some((row, secrets)));
    }
    Ok(changed)
}

/// Makes changes wait for this node from now on. Returns the version that must be in force on it at least.
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

/// Records that the version is in force on this node.
pub(super) async fn confirm(conn: &mut AsyncPgConnection, number: i32, version: i64) -> QueryResult<()> {
    diesel::sql_query("UPDATE nodes SET configuration = $2 WHERE number = $1 AND configuration < $2")
        .bind::<sql_types::Integer, _>(number)
        .bind::<sql_types::BigInt, _>(version)
        .execute(conn)
        .await
        .map(drop)
}

/// The other nodes that accept events and have not confirmed the version yet.
pub(super) async fn behind(conn: &mut AsyncPgConnection, me: i32, version: i64) -> QueryResult<Vec<Behind>> {
    diesel::sql_query(
        "SELECT number, epoch, name FROM nodes WHERE state IN (1, 2) AND number <> $1 AND configuration < $2",
    )
    .bind::<sql_types::Integer, _>(me)
    .bind::<sql_types::BigInt, _>(version)
    .load(conn)
    .await
}
