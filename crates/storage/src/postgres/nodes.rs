//! Membership: how a server joins those that share the database, keeps its lease, and leaves.
//!
//! A node is a number with an epoch that grows whenever the number gets a new owner. Two mechanisms protect what it
//! owns:
//!
//! - Its **lease**, which every heartbeat renews. A node that cannot renew it stops sending before the lease ends, and
//!   no other node takes over earlier. Each node measures both with its boot clock ([`super::sightings`]), so setting a
//!   clock has no effect.
//! - An **advisory lock** on its number, which the session that commits holds as long as it lives. A node that takes
//!   over first ends that session and takes the lock. From then on the old owner cannot commit, however late it
//!   resumes. A commit pays nothing for this.

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use hookwright_domain::id::NODE_MAX;

use super::{
    Number, configuration,
    identity::Identity,
    notices::notify,
    scope::{KEY_32, SUFFIX},
    session,
    sightings::{Mark, Sightings},
};
use crate::{
    clock::boot_us,
    error::StoreError,
    fault,
    nodes::{Beat, NodeOptions, NodeReport, NodeRow, NodeState, WAITING_COUNTED_MAX},
};

/// The first half of a node's advisory lock; the second half is its number.
pub(super) const NODE_LOCKS: i32 = 0x686f_6f6b;
/// The column of a node's watermark, under the name that released nodes use.
pub(super) const WATERMARK: &str = "checkpoint";
/// A starting server has this many lease periods until its first heartbeat.
const START_LEASES: i64 = 4;
/// The configuration version of a node that does not accept events yet, so that no other node waits for it.
const NOT_ACCEPTING: i64 = i64::MAX;
/// How long to wait for the lock of a session that is ending.
const LOCK_PATIENCE: &str = "2s";

/// SQL for the microseconds since the Unix epoch, by the database's clock.
pub(super) fn now() -> String {
    let shift = fault::database_clock_shift_us(boot_us);
    format!("((extract(epoch FROM clock_timestamp()) * 1000000)::bigint + {shift})")
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = sql_types::Integer)]
    number: i32,
    #[diesel(sql_type = sql_types::BigInt)]
    epoch: i64,
    #[diesel(sql_type = sql_types::Integer)]
    state: i32,
    #[diesel(sql_type = sql_types::Text)]
    name: String,
}

/// Joins under the number that a server with this name left, otherwise a free number, otherwise a new one. The session
/// holds the number's lock afterwards.
pub(super) async fn join(
    conn: &mut AsyncPgConnection,
    identity: &Identity,
    options: &NodeOptions,
) -> Result<(), StoreError> {
    loop {
        let known: Vec<Found> =
            diesel::sql_query("SELECT number, epoch, state, name FROM nodes ORDER BY name <> $1, number")
                .bind::<sql_types::Text, _>(&options.name)
                .load(conn)
                .await?;
        let usable = known.iter().filter(|row| row.state == 0 || row.name == options.name);
        for row in usable {
            if lock(conn, row.number, row.state != 0).await? && take(conn, row, identity, options).await? {
                return Ok(());
            }
        }
        let number = (0..=i32::from(NODE_MAX)).find(|number| known.iter().all(|row| row.number != *number));
        let Some(number) = number else {
            return Err(StoreError::AlreadyServed(
                "every node number of this database".to_owned(),
            ));
        };
        if lock(conn, number, false).await? && make(conn, number, identity, options).await? {
            return Ok(());
        }
    }
}

/// Takes the lock of a number. With `wait`, it waits briefly for the session of a process that has just ended.
async fn lock(conn: &mut AsyncPgConnection, number: i32, wait: bool) -> Result<bool, StoreError> {
    if wait {
        return Ok(wait_for_lock(conn, number).await.is_ok());
    }
    let locked: super::Flag = diesel::sql_query(format!("SELECT pg_try_advisory_lock($1 # {KEY_32}, $2) AS flag"))
        .bind::<sql_types::Integer, _>(NODE_LOCKS)
        .bind::<sql_types::Integer, _>(number)
        .get_result(conn)
        .await?;
    Ok(locked.flag)
}

async fn wait_for_lock(conn: &mut AsyncPgConnection, number: i32) -> QueryResult<()> {
    session::batch(conn, &format!("SET lock_timeout = '{LOCK_PATIENCE}'")).await?;
    let locked = diesel::sql_query(format!("SELECT pg_advisory_lock($1 # {KEY_32}, $2)"))
        .bind::<sql_types::Integer, _>(NODE_LOCKS)
        .bind::<sql_types::Integer, _>(number)
        .execute(conn)
        .await;
    session::batch(conn, "RESET lock_timeout").await?;
    locked.map(drop)
}

async fn unlock(conn: &mut AsyncPgConnection, number: i32) -> QueryResult<()> {
    diesel::sql_query(format!("SELECT pg_advisory_unlock($1 # {KEY_32}, $2)"))
        .bind::<sql_types::Integer, _>(NODE_LOCKS)
        .bind::<sql_types::Integer, _>(number)
        .execute(conn)
        .await
        .map(drop)
}

/// Takes over a number whose lock is held, if its row has not changed since it was read.
async fn take(
    conn: &mut AsyncPgConnection,
    row: &Found,
    identity: &Identity,
    options: &NodeOptions,
) -> Result<bool, StoreError> {
    let (state, now) = (state_at_start(options), now());
    // Nothing belongs to a free number any more: its watermark begins at the largest event of the database. FOR UPDATE
    // waits for an adoption in progress, which the update alone would not.
    let text = format!(
        "UPDATE nodes SET epoch = epoch + 1, name = $3, state = {state}, version = $4,
             {WATERMARK} = CASE state WHEN 0 THEN $5 ELSE {WATERMARK} END, grpc_address = $6, started_at = {now}, heartbeat_at = {now}, lease_until = {now} + $7,
             configuration = {NOT_ACCEPTING}, oldest_due_at = NULL, deliveries_in_memory = 0,
             attempts_under_way = 0
         WHERE number = (SELECT number FROM nodes WHERE number = $1 AND epoch = $2 FOR UPDATE)"
    );
    let floor = largest_event(conn).await?;
    let taken = diesel::sql_query(text)
        .bind::<sql_types::Integer, _>(row.number)
        .bind::<sql_types::BigInt, _>(row.epoch)
        .bind::<sql_types::Text, _>(&options.name)
        .bind::<sql_types::Text, _>(&options.version)
        .bind::<sql_types::BigInt, _>(floor)
        .bind::<sql_types::Text, _>(&options.grpc_address)
        .bind::<sql_types::BigInt, _>(START_LEASES * lease_us(options))
        .execute(conn)
        .await?;
    if taken == 0 {
        unlock(conn, row.number).await?;
        return Ok(false);
    }
    identity.set(row.number, row.epoch + 1);
    notify(conn, "nodes").await?;
    Ok(true)
}

/// Creates a new number, unless another server creates it meanwhile.
async fn make(
    conn: &mut AsyncPgConnection,
    number: i32,
    identity: &Identity,
    options: &NodeOptions,
) -> Result<bool, StoreError> {
    let (state, now) = (state_at_start(options), now());
    let text = format!(
        "INSERT INTO nodes (number, epoch, name, state, version, grpc_address, started_at, heartbeat_at, lease_until, {WATERMARK},
             configuration, deliveries_in_memory, attempts_under_way)
         VALUES ($1, 1, $2, {state}, $3, $4, {now}, {now}, {now} + $5, $6, {NOT_ACCEPTING}, 0, 0)
         ON CONFLICT DO NOTHING"
    );
    let floor = largest_event(conn).await?;
    let made = diesel::sql_query(text)
        .bind::<sql_types::Integer, _>(number)
        .bind::<sql_types::Text, _>(&options.name)
        .bind::<sql_types::Text, _>(&options.version)
        .bind::<sql_types::Text, _>(&options.grpc_address)
        .bind::<sql_types::BigInt, _>(START_LEASES * lease_us(options))
        .bind::<sql_types::BigInt, _>(floor)
        .execute(conn)
        .await?;
    if made == 0 {
        unlock(conn, number).await?;
        return Ok(false);
    }
    identity.set(number, 1);
    notify(conn, "nodes").await?;
    Ok(true)
}

/// The state of a node at its start: serving, or the state that keeps other nodes from assigning it work.
fn state_at_start(options: &NodeOptions) -> i32 {
    if options.hold { 2 } else { 1 }
}

async fn largest_event(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
    let found: Vec<Number> = diesel::sql_query("SELECT id AS number FROM events ORDER BY id DESC LIMIT 1")
        .load(conn)
        .await?;
    Ok(found.as_slice().first().map_or(0, |row| row.number))
}

/// Makes a new session the one that commits for this node. Afterwards it holds the number's lock, and the previous
/// session has ended, including a commit whose result is unknown.
///
/// # Errors
/// Returns [`StoreError::LeaseLost`] if the number has a new owner.
pub(super) async fn resume(conn: &mut AsyncPgConnection, identity: &Identity) -> Result<(), StoreError> {
    let number = identity.number();
    check(conn, identity).await?;
    if !lock(conn, number, false).await? {
        // The previous session may wait for a client whose connection is broken.
        end_sessions(conn, number, false).await?;
        wait_for_lock(conn, number).await?;
    }
    check(conn, identity).await
}

async fn check(conn: &mut AsyncPgConnection, identity: &Identity) -> Result<(), StoreError> {
    own(conn, identity, "").await
}

/// Ensures that this node has not been lost, and will not be lost before the caller's transaction ends: rows that a
/// lost node takes would have no owner.
///
/// # Errors
/// Returns [`StoreError::LeaseLost`] if the node was lost.
pub(super) async fn hold(conn: &mut AsyncPgConnection, identity: &Identity) -> Result<(), StoreError> {
    own(conn, identity, "FOR KEY SHARE").await
}

async fn own(conn: &mut AsyncPgConnection, identity: &Identity, lock: &str) -> Result<(), StoreError> {
    let text = format!("SELECT epoch AS number FROM nodes WHERE number = $1 AND epoch = $2 AND state IN (1, 2) {lock}");
    let owned: Vec<Number> = diesel::sql_query(text)
        .bind::<sql_types::Integer, _>(identity.number())
        .bind::<sql_types::BigInt, _>(identity.epoch())
        .load(conn)
        .await?;
    if owned.is_empty() {
        Err(StoreError::LeaseLost)
    } else {
        Ok(())
    }
}

/// The name of a node's sessions, without the suffix that distinguishes installations ([`SUFFIX`]).
pub(super) fn application_name(number: i32) -> String {
    format!("hookwright node {number}")
}

/// Ends the session that holds a number's lock. With `all`, ends every other session of that node, too.
pub(super) async fn end_sessions(conn: &mut AsyncPgConnection, number: i32, all: bool) -> QueryResult<()> {
    // `pg_locks` shows half of a lock's key as unsigned.
    diesel::sql_query(format!(
        "SELECT pg_terminate_backend(pid) FROM pg_locks
         WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND pid <> pg_backend_pid()
           AND classid = (($1 # {KEY_32})::bigint & 4294967295)::oid AND objid = $2::bigint::oid
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
         UNION ALL
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE $3 AND datname = current_database() AND application_name = $4 || {SUFFIX} AND pid <> pg_backend_pid()",
    ))
    .bind::<sql_types::Integer, _>(NODE_LOCKS)
    .bind::<sql_types::BigInt, _>(i64::from(number))
    .bind::<sql_types::Bool, _>(all)
    .bind::<sql_types::Text, _>(application_name(number))
    .execute(conn)
    .await
    .map(drop)
}

/// Renews the lease if there is a report, and returns the state of the nodes.
///
/// # Errors
/// Returns [`StoreError::LeaseLost`] if the number has a new owner.
pub(super) async fn beat(
    conn: &mut AsyncPgConnection,
    identity: &Identity,
    options: &NodeOptions,
    sightings: &Sightings,
    report: Option<&NodeReport>,
) -> Result<Beat, StoreError> {
    match report {
        Some(report) => renew(conn, identity, options, report).await?,
        None => check(conn, identity).await?,
    }
    let nodes = list(conn, sightings).await?;
    let configuration = configuration::version(conn).await?;
    Ok(Beat {
        nodes,
        configuration,
        clock_set_by: 0,
    })
}

async fn renew(
    conn: &mut AsyncPgConnection,
    identity: &Identity,
    options: &NodeOptions,
    report: &NodeReport,
) -> Result<(), StoreError> {
    let now = now();
    let text = format!(
        "UPDATE nodes SET heartbeat_at = {now}, lease_until = {now} + $3, configuration = $4, oldest_due_at = $5,
             deliveries_in_memory = $6, attempts_under_way = $7, state = $8
         WHERE number = $1 AND epoch = $2 AND state IN (1, 2)"
    );
    let renewed = diesel::sql_query(text)
        .bind::<sql_types::Integer, _>(identity.number())
        .bind::<sql_types::BigInt, _>(identity.epoch())
        .bind::<sql_types::BigInt, _>(lease_us(options))
        .bind::<sql_types::BigInt, _>(report.configuration)
        .bind::<sql_types::Nullable<sql_types::BigInt>, _>(report.oldest_due_at)
        .bind::<sql_types::BigInt, _>(report.deliveries_in_memory)
        .bind::<sql_types::BigInt, _>(report.attempts_in_flight)
        .bind::<sql_types::Integer, _>(if report.draining { 2 } else { 1 })
        .execute(conn)
        .await?;
    if renewed == 0 {
        Err(StoreError::LeaseLost)
    } else {
        Ok(())
    }
}

/// The state of a node's lease according to its row; `None` if the number has a new owner.
pub(super) async fn mark(conn: &mut AsyncPgConnection, number: i32, epoch: i64) -> QueryResult<Option<Mark>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::BigInt)]
        heartbeat_at: i64,
        #[diesel(sql_type = sql_types::BigInt)]
        lease_until: i64,
    }
    let text = "SELECT heartbeat_at, lease_until FROM nodes WHERE number = $1 AND epoch = $2 AND state IN (1, 2)";
    let found: Vec<Row> = diesel::sql_query(text)
        .bind::<sql_types::Integer, _>(number)
        .bind::<sql_types::BigInt, _>(epoch)
        .load(conn)
        .await?;
    let mark = |row: &Row| Mark {
        epoch,
        heartbeat_at: row.heartbeat_at,
        lease_until: row.lease_until,
    };
    Ok(found.as_slice().first().map(mark))
}

/// Every node that is not free.
pub(super) async fn list(conn: &mut AsyncPgConnection, sightings: &Sightings) -> QueryResult<Vec<NodeRow>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(embed)]
        found: Found,
        #[diesel(sql_type = sql_types::Text)]
        version: String,
        #[diesel(sql_type = sql_types::Text)]
        grpc_address: String,
        #[diesel(sql_type = sql_types::BigInt)]
        started_at: i64,
        #[diesel(sql_type = sql_types::BigInt)]
        heartbeat_at: i64,
        #[diesel(sql_type = sql_types::BigInt)]
        lease_until: i64,
        #[diesel(sql_type = sql_types::BigInt)]
        configuration: i64,
        #[diesel(sql_type = sql_types::Nullable<sql_types::BigInt>)]
        oldest_due_at: Option<i64>,
        #[diesel(sql_type = sql_types::BigInt)]
        deliveries_in_memory: i64,
        #[diesel(sql_type = sql_types::BigInt)]
        attempts_under_way: i64,
    }
    let text = "SELECT * FROM nodes WHERE state <> 0 ORDER BY number";
    let rows: Vec<Row> = diesel::sql_query(text).load(conn).await?;
    let now = boot_us();
    let has_ended = |row: &Row| {
        let mark = Mark {
            epoch: row.found.epoch,
            heartbeat_at: row.heartbeat_at,
            lease_until: row.lease_until,
        };
        sightings.has_ended(row.found.number, mark, now)
    };
    let node = |row: Row| NodeRow {
        expired: has_ended(&row),
        number: u16::try_from(row.found.number).unwrap_or_default(),
        epoch: row.found.epoch,
        name: row.found.name,
        state: NodeState::from_number(row.found.state),
        version: row.version,
        grpc_address: row.grpc_address,
        started_at: row.started_at,
        heartbeat_at: row.heartbeat_at,
        lease_until: row.lease_until,
        configuration: row.configuration,
        oldest_due_at: row.oldest_due_at,
        deliveries_in_memory: row.deliveries_in_memory,
        attempts_in_flight: row.attempts_under_way,
        deliveries_waiting: 0,
    };
    Ok(rows.into_iter().map(node).collect())
}

/// Adds to each node the number of its pending deliveries in the store.
pub(super) async fn count_waiting(conn: &mut AsyncPgConnection, nodes: &mut [NodeRow]) -> QueryResult<()> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Integer)]
        node: i32,
        #[diesel(sql_type = sql_types::BigInt)]
        count: i64,
    }
    let counts: Vec<Row> = diesel::sql_query(
        "SELECT node, count(*) AS count FROM (SELECT node FROM pending_deliveries LIMIT $1) AS waiting GROUP BY node",
    )
    .bind::<sql_types::BigInt, _>(WAITING_COUNTED_MAX)
    .load(conn)
    .await?;
    for node in nodes {
        let count = counts.iter().find(|row| row.node == i32::from(node.number));
        node.deliveries_waiting = count.map_or(0, |row| row.count);
    }
    Ok(())
}

/// Releases the lease: other nodes can adopt at once what this node owned.
pub(super) async fn leave(conn: &mut AsyncPgConnection, identity: &Identity) -> Result<(), StoreError> {
    let now = now();
    diesel::sql_query(format!(
        "UPDATE nodes SET state = 3, epoch = epoch + 1, lease_until = {now} WHERE number = $1 AND epoch = $2 AND state IN (1, 2)"
    ))
    .bind::<sql_types::Integer, _>(identity.number())
    .bind::<sql_types::BigInt, _>(identity.epoch())
    .execute(conn)
    .await?;
    notify(conn, "nodes").await?;
    Ok(())
}

/// The watermark of this node.
pub(super) async fn watermark(conn: &mut AsyncPgConnection, number: i32) -> QueryResult<i64> {
    let found: Number = diesel::sql_query(format!("SELECT {WATERMARK} AS number FROM nodes WHERE number = $1"))
        .bind::<sql_types::Integer, _>(number)
        .get_result(conn)
        .await?;
    Ok(found.number)
}

/// The lowest watermark of all nodes that own anything.
pub(super) async fn lowest_watermark(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
    let text = format!("SELECT coalesce(min({WATERMARK}), 0) AS number FROM nodes WHERE state <> 0");
    let found: Number = diesel::sql_query(text).get_result(conn).await?;
    Ok(found.number)
}

pub(super) fn lease_us(options: &NodeOptions) -> i64 {
    i64::try_from(options.lease.as_micros()).unwrap_or(i64::MAX / 8)
}
