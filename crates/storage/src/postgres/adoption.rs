//! Adoption: the other nodes take over what a lost node owned, in batches, each in a separate transaction.
//!
//! First the lost node is **fenced**: its session is ended, its number's lock is taken, and its epoch is raised. Then
//! any number of nodes adopt at the same time. They turn its unfinished events into pending rows of their own, page by
//! page together with its watermark, under a lock on the lost node's row. They also take its pending rows, and each
//! skips rows that another has locked. The number becomes free when nothing is left, which is checked under a lock that
//! excludes every adopter.

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{
    Number,
    inserts::upsert_pending,
    nodes::{NODE_LOCKS, WATERMARK, end_sessions},
    notices::notify,
    owners, queries,
    scope::KEY_32,
    sightings::Mark,
};
use crate::{
    nodes::Adopted,
    rows::{PAUSED, PendingRow},
};

/// How many events one step adopts, and how many pending rows it takes or gives.
const EVENTS: i64 = 500;
const ROWS: i64 = 5_000;
/// How many owned webhooks one step processes: each needs separate statements.
const OWNED: usize = 20;
/// How many pairs of webhook and node one page of pending work contains.
pub(super) const PAGE: i64 = 1_000;
/// The limit on counting a webhook's pending deliveries, a part of which is given away.
const GIVEN_OF: i64 = 50_000;

/// A pending row that was taken.
#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = sql_types::BigInt)]
    webhook_id: i64,
    #[diesel(sql_type = sql_types::BigInt)]
    due_at: i64,
}

/// Takes pending rows of some webhooks. The last argument limits the rows of each webhook, and of all together.
pub(crate) const TAKE_PENDING: &str = "\
UPDATE pending_deliveries SET node = $3 WHERE delivery_id = ANY(ARRAY(
    SELECT p.delivery_id FROM unnest($1) AS w (id) CROSS JOIN LATERAL (
        SELECT delivery_id FROM pending_deliveries WHERE webhook_id = w.id AND node = $2
        ORDER BY due_at, delivery_id LIMIT $4 FOR UPDATE SKIP LOCKED) AS p
    LIMIT $4))
RETURNING webhook_id, due_at";

/// Ensures that a node whose lease has ended cannot commit any more, and marks it as lost, within the caller's
/// transaction. Returns false if its row has changed since `as_seen`.
pub(super) async fn fence(conn: &mut AsyncPgConnection, number: i32, as_seen: Mark) -> QueryResult<bool> {
    if !is_unchanged(conn, number, as_seen, "").await? {
        return Ok(false);
    }
    // This comes first: a session that stopped in a transaction may hold the locks that are needed next.
    end_sessions(conn, number, true).await?;
    // Waits until the session has ended, at most for the statement timeout. It cannot write anything later.
    diesel::sql_query(format!("SELECT pg_advisory_xact_lock($1 # {KEY_32}, $2)"))
        .bind::<sql_types::Integer, _>(NODE_LOCKS)
        .bind::<sql_types::Integer, _>(number)
        .execute(conn)
        .await?;
    if !is_unchanged(conn, number, as_seen, "FOR UPDATE").await? {
        return Ok(false);
    }
    diesel::sql_query("UPDATE nodes SET state = 3, epoch = epoch + 1 WHERE number = $1")
        .bind::<sql_types::Integer, _>(number)
        .execute(conn)
        .await?;
    notify(conn, "nodes").await?;
    Ok(true)
}

async fn is_unchanged(conn: &mut AsyncPgConnection, number: i32, as_seen: Mark, lock: &str) -> QueryResult<bool> {
    let found: Vec<Number> = diesel::sql_query(format!(
        "SELECT epoch AS number FROM nodes
         WHERE number = $1 AND epoch = $2 AND state IN (1, 2) AND heartbeat_at = $3 AND lease_until = $4 {lock}"
    ))
    .bind::<sql_types::Integer, _>(number)
    .bind::<sql_types::BigInt, _>(as_seen.epoch)
    .bind::<sql_types::BigInt, _>(as_seen.heartbeat_at)
    .bind::<sql_types::BigInt, _>(as_seen.lease_until)
    .load(conn)
    .await?;
    Ok(!found.is_empty())
}

/// Adopts a page of a lost node's unfinished events: their deliveries become pending rows of this node, due at the time
/// `now` of the schedule clock.
pub(super) async fn adopt_events(conn: &mut AsyncPgConnection, lost: i32, me: i32, now: i64) -> QueryResult<Adopted> {
    let Some(watermark) = lost_watermark(conn, lost, "FOR NO KEY UPDATE SKIP LOCKED").await? else {
        return Ok(Adopted {
            done: true,
            ..Adopted::default()
        });
    };
    // Payloads are not read: the rows contain only ids.
    let page = queries::unfinished_outlines(conn, lost, watermark, i64::MAX, EVENTS).await?;
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
    for event in &page.events {
        for position in &event.positions {
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
    diesel::sql_query(format!("UPDATE nodes SET {WATERMARK} = $2 WHERE number = $1"))
        .bind::<sql_types::Integer, _>(lost)
        .bind::<sql_types::BigInt, _>(page.last_id)
        .execute(conn)
        .await?;
    adopted.webhooks.sort_unstable();
    adopted.webhooks.dedup_by_key(|(webhook, _)| *webhook);
    Ok(adopted)
}

/// Takes pending rows of some webhooks from a lost node.
pub(super) async fn adopt_pending(
    conn: &mut AsyncPgConnection,
    lost: i32,
    me: i32,
    webhooks: &[i64],
) -> QueryResult<Adopted> {
    // Prevents other nodes from declaring the number free meanwhile.
    if lost_watermark(conn, lost, "FOR KEY SHARE").await?.is_none() {
        return Ok(Adopted::default());
    }
    let owned = owners::owned(conn, webhooks).await?;
    let (owned, free): (Vec<i64>, Vec<i64>) = webhooks.iter().partition(|webhook| owned.contains(webhook));
    let mut adopted = Adopted::default();
    let taken = take_pending(conn, &free, (lost, me)).await?;
    note_taken(&mut adopted, &taken, true);
    for webhook in owned.into_iter().take(OWNED) {
        let owner = owners::successor(conn, webhook, lost, me).await?;
        let taken = take_pending(conn, &[webhook], (lost, owner)).await?;
        note_taken(&mut adopted, &taken, owner == me);
        if owner != me && !taken.is_empty() {
            notify(conn, &format!("due {owner} {webhook}")).await?;
        }
    }
    Ok(adopted)
}

async fn take_pending(
    conn: &mut AsyncPgConnection,
    webhooks: &[i64],
    (from, to): (i32, i32),
) -> QueryResult<Vec<Taken>> {
    if webhooks.is_empty() {
        return Ok(Vec::new());
    }
    diesel::sql_query(TAKE_PENDING)
        .bind::<sql_types::Array<sql_types::BigInt>, _>(webhooks)
        .bind::<sql_types::Integer, _>(from)
        .bind::<sql_types::Integer, _>(to)
        .bind::<sql_types::BigInt, _>(ROWS)
        .load(conn)
        .await
}

fn note_taken(adopted: &mut Adopted, taken: &[Taken], mine: bool) {
    adopted.deliveries += taken.len();
    adopted.more |= !taken.is_empty();
    let due = taken.iter().filter(|row| mine && row.due_at < PAUSED);
    adopted.webhooks.extend(due.map(|row| (row.webhook_id, row.due_at)));
    // The first pair of each webhook has its earliest due time.
    adopted.webhooks.sort_unstable();
    adopted.webhooks.dedup_by_key(|(webhook, _)| *webhook);
}

/// The watermark of a node if it is lost. The row is locked if `lock` names a lock.
async fn lost_watermark(conn: &mut AsyncPgConnection, number: i32, lock: &str) -> QueryResult<Option<i64>> {
    let text = format!("SELECT {WATERMARK} AS number FROM nodes WHERE number = $1 AND state = 3 {lock}");
    let found: Vec<Number> = diesel::sql_query(text)
        .bind::<sql_types::Integer, _>(number)
        .load(conn)
        .await?;
    Ok(found.into_iter().next().map(|row| row.number))
}

/// Declares a lost node's number free, if it owns nothing any more. The row lock excludes all adopters.
pub(super) async fn finish(conn: &mut AsyncPgConnection, lost: i32) -> QueryResult<bool> {
    let Some(watermark) = lost_watermark(conn, lost, "FOR UPDATE SKIP LOCKED").await? else {
        // Another node is declaring it free, or has done so.
        return Ok(lost_watermark(conn, lost, "").await?.is_none());
    };
    let unfinished = queries::unfinished_outlines(conn, lost, watermark, i64::MAX, 1).await?;
    if unfinished.last_id != i64::MAX || owns_pending(conn, lost).await? {
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

/// Whether a node has pending deliveries.
async fn owns_pending(conn: &mut AsyncPgConnection, node: i32) -> QueryResult<bool> {
    let mut after = (i64::MIN, i32::MIN);
    loop {
        let page = queries::waiting_page(conn, after, PAGE).await?;
        if page.waiting.iter().any(|waiting| waiting.node == node) {
            return Ok(true);
        }
        let Some(next) = page.next else { return Ok(false) };
        after = next;
    }
}

/// The size of one part in `parts` of a webhook's pending deliveries at a node, counted up to a limit.
pub(super) async fn share(conn: &mut AsyncPgConnection, node: i32, webhook: i64, parts: i64) -> QueryResult<i64> {
    let counted: Number = diesel::sql_query(
        "SELECT count(*) / $3 AS number FROM (
             SELECT 1 FROM pending_deliveries WHERE webhook_id = $1 AND node = $2 LIMIT $4) AS waiting",
    )
    .bind::<sql_types::BigInt, _>(webhook)
    .bind::<sql_types::Integer, _>(node)
    .bind::<sql_types::BigInt, _>(parts)
    .bind::<sql_types::BigInt, _>(GIVEN_OF)
    .get_result(conn)
    .await?;
    Ok(counted.number)
}

/// Gives some of a webhook's pending deliveries at this node to another node, except those in memory here, with a limit
/// per step. Returns how many deliveries.
pub(super) async fn give(
    conn: &mut AsyncPgConnection,
    me: i32,
    to: i32,
    webhook: i64,
    held: &[i64],
    most: i64,
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
        "UPDATE pending_deliveries SET node = $3 WHERE delivery_id = ANY(ARRAY(
             SELECT delivery_id FROM pending_deliveries
             WHERE webhook_id = $1 AND node = $2 AND delivery_id <> ALL($4) ORDER BY due_at DESC, delivery_id DESC
             LIMIT $5 FOR UPDATE SKIP LOCKED))",
    )
    .bind::<sql_types::BigInt, _>(webhook)
    .bind::<sql_types::Integer, _>(me)
    .bind::<sql_types::Integer, _>(to)
    .bind::<sql_types::Array<sql_types::BigInt>, _>(held)
    .bind::<sql_types::BigInt, _>(most.min(ROWS))
    .execute(conn)
    .await?;
    if given > 0 {
        notify(conn, &format!("due {to} {webhook}")).await?;
    }
    Ok(given)
}
