//! Adoption: what a lost node owned becomes the others', in batches, each in a transaction of its own.
//!
//! First the lost node is **fenced**: its session is ended, its number's lock taken, its epoch raised. Then any number of
//! nodes adopt at the same time: they turn its unfinished events into pending rows of their own, under the lost node's row
//! lock, page by page with its checkpoint; and take its pending rows, each skipping what another has locked. When nothing is
//! left, checked under a lock that excludes every adopter, the number is free.

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{
    commit::upsert_pending,
    nodes::{NODE_LOCKS, NOW, Number, end_sessions, notify},
    owners, queries,
    scope::KEY_32,
};
use crate::{
    nodes::Adopted,
    rows::{PAUSED, PendingRow},
};

/// How many events one step looks at, and how many pending rows it takes for a webhook.
const EVENTS: i64 = 500;
const ROWS: i64 = 5_000;
/// Of how many waiting deliveries of a webhook a part is given away at most.
const GIVEN_OF: i64 = 50_000;

#[derive(QueryableByName)]
struct Due {
    #[diesel(sql_type = sql_types::BigInt)]
    due_at: i64,
}

/// Makes sure that a node whose lease has ended cannot commit any more, and marks it as lost. False when it is no longer so.
/// Within the caller's transaction.
pub(super) async fn fence(conn: &mut AsyncPgConnection, number: i32, epoch: i64) -> QueryResult<bool> {
    if !is_expired(conn, number, epoch, "").await? {
        return Ok(false);
    }
    // First of all: a session that stopped in a transaction may hold the very locks that follow.
    end_sessions(conn, number, true).await?;
    // Waits until the session is over, for as long as a statement may take: nothing it did can come later.
    diesel::sql_query(format!("SELECT pg_advisory_xact_lock($1 # {KEY_32}, $2)"))
        .bind::<sql_types::Integer, _>(NODE_LOCKS)
        .bind::<sql_types::Integer, _>(number)
        .execute(conn)
        .await?;
    if !is_expired(conn, number, epoch, "FOR UPDATE").await? {
        return Ok(false);
    }
    diesel::sql_query("UPDATE nodes SET state = 3, epoch = epoch + 1 WHERE number = $1")
        .bind::<sql_types::Integer, _>(number)
        .execute(conn)
        .await?;
    notify(conn, "nodes").await?;
    Ok(true)
}

async fn is_expired(conn: &mut AsyncPgConnection, number: i32, epoch: i64, lock: &str) -> QueryResult<bool> {
    let found: Vec<Number> = diesel::sql_query(format!(
        "SELECT epoch AS number FROM nodes
         WHERE number = $1 AND epoch = $2 AND state IN (1, 2) AND lease_until < {NOW} {lock}"
    ))
    .bind::<sql_types::Integer, _>(number)
    .bind::<sql_types::BigInt, _>(epoch)
    .load(conn)
    .await?;
    Ok(!found.is_empty())
}

/// Adopts a page of a lost node's unfinished events: their deliveries become pending rows of this node, due `now` by the
/// schedule clock.
pub(super) async fn adopt_events(conn: &mut AsyncPgConnection, lost: i32, me: i32, now: i64) -> QueryResult<Adopted> {
    let Some(checkpoint) = lost_checkpoint(conn, lost, "FOR NO KEY UPDATE SKIP LOCKED").await? else {
        return Ok(Adopted {
            done: true,
            ..Adopted::default()
        });
    };
    let page = queries::unfinished(conn, lost, checkpoint, i64::MAX, EVENTS).await?;
    if page.last_id == i64::MAX {
        return Ok(Adopted {
            done: true,
            ..Adopted::default()
        });
    }
    let mut rows = Vec::new();
    let mut adopted = Adopted {
        more: true,
        ..Adopted::default()
    };
    for unfinished in &page.events {
        let event = &unfinished.event;
        for position in &unfinished.positions {
            let Some(webhook) = event.webhooks.get(*position) else {
                continue;
            };
            let delivery = hookwright_domain::id::EventId::from_raw(event.id).delivery(*position);
            let row = PendingRow {
                delivery_id: delivery.raw(),
                event_id: event.id,
                organization_id: event.organization_id,
                webhook_id: *webhook,
                due_at: now,
                attempts: 0,
                ordering_key: None,
            };
            rows.push(row);
            adopted.deliveries += 1;
            adopted.webhooks.push((*webhook, now));
        }
    }
    if adopted.deliveries > 0 && !crate::fault::is_planted("forget-adopted-batch") {
        upsert_pending(conn, &rows, |_| me).await?;
    }
    diesel::sql_query("UPDATE nodes SET checkpoint = $2 WHERE number = $1")
        .bind::<sql_types::Integer, _>(lost)
        .bind::<sql_types::BigInt, _>(page.last_id)
        .execute(conn)
        .await?;
    adopted.webhooks.sort_unstable();
    adopted.webhooks.dedup_by_key(|(webhook, _)| *webhook);
    Ok(adopted)
}

/// Takes pending rows of one webhook from a lost node.
pub(super) async fn adopt_pending(
    conn: &mut AsyncPgConnection,
    lost: i32,
    me: i32,
    webhook: i64,
) -> QueryResult<Adopted> {
    // Nobody may declare the number free meanwhile.
    if lost_checkpoint(conn, lost, "FOR KEY SHARE").await?.is_none() {
        return Ok(Adopted::default());
    }
    let owner = owners::successor(conn, webhook, lost, me).await?;
    let taken: Vec<Due> = diesel::sql_query(
        "WITH batch AS (
             SELECT delivery_id FROM pending_deliveries WHERE webhook_id = $1 AND node = $2
             ORDER BY due_at, delivery_id LIMIT $4 FOR UPDATE SKIP LOCKED)
         UPDATE pending_deliveries d SET node = $3 FROM batch WHERE d.delivery_id = batch.delivery_id RETURNING d.due_at",
    )
    .bind::<sql_types::BigInt, _>(webhook)
    .bind::<sql_types::Integer, _>(lost)
    .bind::<sql_types::Integer, _>(owner)
    .bind::<sql_types::BigInt, _>(ROWS)
    .load(conn)
    .await?;
    let Some(first) = taken.iter().map(|row| row.due_at).min() else {
        return Ok(Adopted::default());
    };
    if owner != me {
        notify(conn, &format!("due {owner} {webhook}")).await?;
    }
    Ok(Adopted {
        deliveries: taken.len(),
        webhooks: if owner == me && first < PAUSED {
            vec![(webhook, first)]
        } else {
            Vec::new()
        },
        more: true,
        done: false,
    })
}

/// The checkpoint of a node if it is lost, with a lock on its row if one is given.
async fn lost_checkpoint(conn: &mut AsyncPgConnection, number: i32, lock: &str) -> QueryResult<Option<i64>> {
    let text = format!("SELECT checkpoint AS number FROM nodes WHERE number = $1 AND state = 3 {lock}");
    let found: Vec<Number> = diesel::sql_query(text)
        .bind::<sql_types::Integer, _>(number)
        .load(conn)
        .await?;
    Ok(found.into_iter().next().map(|row| row.number))
}

/// Declares a lost node's number free, if nothing of it is left. Under a lock that no adopter shares.
pub(super) async fn finish(conn: &mut AsyncPgConnection, lost: i32) -> QueryResult<bool> {
    let Some(checkpoint) = lost_checkpoint(conn, lost, "FOR UPDATE SKIP LOCKED").await? else {
        // Somebody else is at it, or has done it.
        return Ok(lost_checkpoint(conn, lost, "").await?.is_none());
    };
    let unfinished = queries::unfinished(conn, lost, checkpoint, i64::MAX, 1).await?;
    if unfinished.last_id != i64::MAX || queries::waiting(conn).await?.iter().any(|waiting| waiting.node == lost) {
        return Ok(false);
    }
    diesel::sql_query("DELETE FROM webhook_owners WHERE node = $1")
        .bind::<sql_types::Integer, _>(lost)
        .execute(conn)
        .await?;
    diesel::sql_query("UPDATE nodes SET state = 0 WHERE number = $1")
        .bind::<sql_types::Integer, _>(lost)
        .execute(conn)
        .await?;
    Ok(true)
}

/// Gives some of what waits for a webhook here to another node; not what is in memory here. Returns how many deliveries.
pub(super) async fn give(
    conn: &mut AsyncPgConnection,
    me: i32,
    to: i32,
    webhook: i64,
    held: &[i64],
    parts: i64,
) -> QueryResult<usize> {
    let serving: Vec<Number> =
        diesel::sql_query("SELECT epoch AS number FROM nodes WHERE number = $1 AND state = 1 FOR KEY SHARE")
            .bind::<sql_types::Integer, _>(to)
            .load(conn)
            .await?;
    if serving.is_empty() {
        return Ok(0);
    }
    let given = diesel::sql_query(
        "WITH batch AS (
             SELECT delivery_id FROM pending_deliveries
             WHERE webhook_id = $1 AND node = $2 AND delivery_id <> ALL($4) ORDER BY due_at DESC, delivery_id DESC
             LIMIT (SELECT count(*) / $5 FROM (
                 SELECT 1 FROM pending_deliveries WHERE webhook_id = $1 AND node = $2 LIMIT $6) AS waiting)
             FOR UPDATE SKIP LOCKED)
         UPDATE pending_deliveries d SET node = $3 FROM batch WHERE d.delivery_id = batch.delivery_id",
    )
    .bind::<sql_types::BigInt, _>(webhook)
    .bind::<sql_types::Integer, _>(me)
    .bind::<sql_types::Integer, _>(to)
    .bind::<sql_types::Array<sql_types::BigInt>, _>(held)
    .bind::<sql_types::BigInt, _>(parts)
    .bind::<sql_types::BigInt, _>(GIVEN_OF)
    .execute(conn)
    .await?;
    if given > 0 {
        notify(conn, &format!("due {to} {webhook}")).await?;
    }
    Ok(given)
}
