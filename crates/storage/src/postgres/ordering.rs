//! The part of a commit that concerns ordered webhooks. A commit that concerns none of them pays nothing for it.

use std::collections::HashSet;

use diesel::{ExpressionMethods as _, QueryDsl as _, QueryableByName, result::QueryResult, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{dialect, inserts::upsert_pending, statements::UpdatePending};
use crate::{
    batch::{Batch, NewEvent},
    rows::{FOLLOWS, PendingRow},
    schema::delivery_endings,
};

/// Locks the order of every ordered webhook that the batch concerns.
pub(super) async fn lock(conn: &mut AsyncPgConnection, batch: &Batch) -> QueryResult<()> {
    let of_event = |new: &NewEvent| {
        let webhooks = new.ordered.iter().map(|position| new.event.webhooks[*position]);
        webhooks.collect::<Vec<_>>()
    };
    let mut webhooks: Vec<i64> = batch.events.iter().flat_map(of_event).collect();
    webhooks.extend(batch.advance.iter().map(|(webhook, _)| *webhook));
    if webhooks.is_empty() {
        return Ok(());
    }
    dialect::lock_order(conn, &webhooks).await
}

/// Puts new ordered deliveries behind earlier ones of their key: only the first delivery of a key is due.
pub(super) async fn queue_up(conn: &mut AsyncPgConnection, rows: &mut [PendingRow]) -> QueryResult<()> {
    #[derive(QueryableByName)]
    struct Place {
        #[diesel(sql_type = sql_types::BigInt)]
        webhook_id: i64,
        #[diesel(sql_type = sql_types::Text)]
        ordering_key: String,
    }
    let keys = rows
        .iter()
        .filter_map(|row| Some((row.webhook_id, row.ordering_key.clone()?)));
    let (webhooks, keys): (Vec<i64>, Vec<String>) = keys.unzip();
    if keys.is_empty() {
        return Ok(());
    }
    let taken: Vec<Place> = diesel::sql_query(
        "SELECT w.webhook_id, w.ordering_key FROM (SELECT DISTINCT * FROM unnest($1, $2) AS u (webhook_id, ordering_key)) AS w
         WHERE EXISTS (SELECT 1 FROM pending_deliveries d
                       WHERE d.webhook_id = w.webhook_id AND d.ordering_key = w.ordering_key)",
    )
    .bind::<sql_types::Array<sql_types::BigInt>, _>(&webhooks)
    .bind::<sql_types::Array<sql_types::Text>, _>(&keys)
    .load(conn)
    .await?;
    let mut taken: HashSet<(i64, String)> = taken
        .into_iter()
        .map(|place| (place.webhook_id, place.ordering_key))
        .collect();
    for row in rows {
        let Some(key) = &row.ordering_key else { continue };
        if !taken.insert((row.webhook_id, key.clone())) {
            row.due_at = FOLLOWS;
        }
    }
    Ok(())
}

/// Inserts or replaces pending rows, except for deliveries that were ended meanwhile.
pub(super) async fn put_pending(conn: &mut AsyncPgConnection, rows: &[PendingRow], node: i32) -> QueryResult<()> {
    // An ordered delivery has a row, with its position, until it is final.
    let (ordered, mut plain): (Vec<&PendingRow>, Vec<&PendingRow>) =
        rows.iter().partition(|row| row.ordering_key.is_some());
    if !ordered.is_empty() {
        let mut statement = UpdatePending::default();
        for row in ordered {
            statement.delivery_id.push(row.delivery_id);
            statement.due_at.push(row.due_at);
            statement.attempts.push(row.attempts);
        }
        diesel_async::RunQueryDsl::execute(statement, conn).await?;
    }
    if plain.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = plain.iter().map(|row| row.delivery_id).collect();
    let ended: Vec<i64> = delivery_endings::table
        .filter(delivery_endings::delivery_id.eq_any(&ids))
        .select(delivery_endings::delivery_id)
        .load(conn)
        .await?;
    plain.retain(|row| !ended.contains(&row.delivery_id));
    upsert_pending(conn, plain, |_| node).await
}
