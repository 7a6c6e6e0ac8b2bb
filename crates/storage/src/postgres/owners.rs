//! Webhooks that one node alone may send to: those with a rate limit. Whichever node accepts an event for one, its delivery
//! belongs to the owner. A node that drains or is lost is succeeded by whoever asks first.

use std::collections::{HashMap, HashSet};

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::nodes::notify;

#[derive(QueryableByName)]
struct Owner {
    #[diesel(sql_type = sql_types::BigInt)]
    webhook_id: i64,
    #[diesel(sql_type = sql_types::Integer)]
    node: i32,
}

/// The owners of these webhooks: those without one are taken. Until the transaction of the caller ends, none of them can be
/// declared free. Tells other owners that something waits for them.
pub(super) async fn claim(conn: &mut AsyncPgConnection, me: i32, webhooks: &[i64]) -> QueryResult<HashMap<i64, i32>> {
    if webhooks.is_empty() {
        return Ok(HashMap::new());
    }
    // In the same order everywhere: two nodes that take several at once must not wait for each other.
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

/// Those of some webhooks that one node alone may send to.
pub(super) async fn owned(conn: &mut AsyncPgConnection, webhooks: &[i64]) -> QueryResult<HashSet<i64>> {
    let owners: Vec<Owner> =
        diesel::sql_query("SELECT webhook_id, node FROM webhook_owners WHERE webhook_id = ANY($1)")
            .bind::<sql_types::Array<sql_types::BigInt>, _>(webhooks)
            .load(conn)
            .await?;
    Ok(owners.into_iter().map(|owner| owner.webhook_id).collect())
}

/// Who gets what a lost node had waiting for a webhook: its owner, if it has one, else this node.
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
