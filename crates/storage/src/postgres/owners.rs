//! Owners of webhooks that only one node may send to: those with a rate limit. Whichever node accepts an event, the
//! delivery to such a webhook belongs to the owner. If the owner drains or is lost, the first node that asks becomes
//! the owner.

use std::collections::{HashMap, HashSet};

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::notices::notify;

#[derive(QueryableByName)]
struct Owner {
    #[diesel(sql_type = sql_types::BigInt)]
    webhook_id: i64,
    #[diesel(sql_type = sql_types::Integer)]
    node: i32,
}

/// The owners of these webhooks. The caller's node becomes the owner of those without one. None of the owners can be
/// declared free until the caller's transaction ends. Notifies the other owners of due deliveries.
pub(super) async fn claim(conn: &mut AsyncPgConnection, me: i32, webhooks: &[i64]) -> QueryResult<HashMap<i64, i32>> {
    if webhooks.is_empty() {
        return Ok(HashMap::new());
    }
    // All nodes use the same order, so that two nodes that claim several webhooks do not deadlock.
    let mut webhooks = webhooks.to_vec();
    webhooks.sort_unstable();
    webhooks.dedup();
    diesel::sql_query(
        "INSERT INTO webhook_owners AS o (webhook_id, node) SELECT w, $2 FROM unnest($1) AS w
         ON CONFLICT (webhook_id) DO UPDATE SET node = excluded.node
         WHERE o.node <> excluded.node
           AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.number = o.node AND n.state = 1)",
    )
    .bind::<sql_types::Array<sql_types::BigInt>, _>(&webhooks)
    .bind::<sql_types::Integer, _>(me)
    .execute(conn)
    .await?;
    let owners: Vec<Owner> = diesel::sql_query(
        "SELECT o.webhook_id, o.node FROM webhook_owners o JOIN nodes n ON n.number = o.node AND n.state <> 0
         WHERE o.webhook_id = ANY($1) FOR KEY SHARE OF n",
    )
    .bind::<sql_types::Array<sql_types::BigInt>, _>(&webhooks)
    .load(conn)
    .await?;
    for owner in owners.iter().filter(|owner| owner.node != me) {
        notify(conn, &format!("due {} {}", owner.node, owner.webhook_id)).await?;
    }
    Ok(owners.into_iter().map(|owner| (owner.webhook_id, owner.node)).collect())
}

/// The webhooks among these that only one node may send to.
pub(super) async fn owned(conn: &mut AsyncPgConnection, webhooks: &[i64]) -> QueryResult<HashSet<i64>> {
    let owners: Vec<Owner> =
        diesel::sql_query("SELECT webhook_id, node FROM webhook_owners WHERE webhook_id = ANY($1)")
            .bind::<sql_types::Array<sql_types::BigInt>, _>(webhooks)
            .load(conn)
            .await?;
    Ok(owners.into_iter().map(|owner| owner.webhook_id).collect())
}

/// The node that gets a lost node's pending deliveries of a webhook: its owner, if it has one, otherwise this node.
pub(super) async fn successor(conn: &mut AsyncPgConnection, webhook: i64, lost: i32, me: i32) -> QueryResult<i32> {
    diesel::sql_query("UPDATE webhook_owners SET node = $3 WHERE webhook_id = $1 AND node = $2")
        .bind::<sql_types::BigInt, _>(webhook)
        .bind::<sql_types::Integer, _>(lost)
        .bind::<sql_types::Integer, _>(me)
        .execute(conn)
        .await?;
    let owners: Vec<Owner> = diesel::sql_query(
        "SELECT o.webhook_id, o.node FROM webhook_owners o JOIN nodes n ON n.number = o.node AND n.state = 1
         WHERE o.webhook_id = $1 FOR KEY SHARE OF n",
    )
    .bind::<sql_types::BigInt, _>(webhook)
    .load(conn)
    .await?;
    Ok(owners.as_slice().first().map_or(me, |owner| owner.node))
}
