//! Changes of deliveries: see [`crate::changes`].

use std::collections::BTreeSet;

use super::{
    FORGOTTEN_AT_ONCE, ID_CHUNK,
    dialect::lock_steered,
    prelude::*,
    states::{delivery_records, outlines_of},
};
use crate::{
    changes::{self, Changes, Positions},
    clock,
    records::{DeliveryFilter, DeliveryRecord},
    schema::{attempts, delivery_changes, delivery_endings},
};

/// The current end of every stream: one index look-up for each.
pub(crate) async fn change_positions(conn: &mut Connection) -> QueryResult<Positions> {
    let mut positions = Positions::new();
    let mut after = i32::MIN;
    loop {
        let next: Option<i32> = delivery_changes::table
            .filter(delivery_changes::stream.gt(after))
            .order(delivery_changes::stream)
            .select(delivery_changes::stream)
            .first(conn)
            .await
            .optional()?;
        let Some(stream) = next else { return Ok(positions) };
        let end: Option<i64> = delivery_changes::table
            .filter(delivery_changes::stream.eq(stream))
            .select(diesel::dsl::max(delivery_changes::position))
            .first(conn)
            .await?;
        positions.insert(stream, end.unwrap_or(0));
        after = stream;
    }
}

/// Appends a row to a stream, in the transaction of the changes.
pub(crate) async fn append_changes(conn: &mut Connection, stream: i32, deliveries: &[u8]) -> QueryResult<()> {
    let end: Option<i64> = delivery_changes::table
        .filter(delivery_changes::stream.eq(stream))
        .select(diesel::dsl::max(delivery_changes::position))
        .first(conn)
        .await?;
    let position = end.map_or(0, |end| end + 1).max(clock::now_us());
    diesel::insert_into(delivery_changes::table)
        .values((
            delivery_changes::stream.eq(stream),
            delivery_changes::position.eq(position),
            delivery_changes::deliveries.eq(deliveries),
        ))
        .execute(conn)
        .await
        .map(drop)
}

/// Records a caller's changes of deliveries.
pub(super) async fn note_changes(conn: &mut Connection, organization: i64, deliveries: &[i64]) -> QueryResult<()> {
    let Some(packed) = changes::pack(deliveries.iter().map(|delivery| (organization, *delivery))) else {
        return Ok(());
    };
    let stream = lock_steered(conn).await?;
    append_changes(conn, stream, &packed).await
}

pub(crate) async fn changes_after(
    conn: &mut Connection,
    organization: i64,
    filter: &DeliveryFilter,
    positions: &Positions,
    limit: i64,
) -> QueryResult<Changes> {
    let mut changes = Changes {
        positions: positions.clone(),
        ..Changes::default()
    };
    let mut ids = Vec::new();
    for (stream, end) in change_positions(conn).await? {
        let after = positions.get(&stream).copied().unwrap_or(0);
        if end <= after {
            continue;
        }
        let rows: Vec<(i64, Vec<u8>)> = delivery_changes::table
            .filter(delivery_changes::stream.eq(stream))
            .filter(delivery_changes::position.gt(after))
            .order(delivery_changes::position)
            .limit(limit)
            .select((delivery_changes::position, delivery_changes::deliveries))
            .load(conn)
            .await?;
        for (position, deliveries) in rows {
            ids.extend(changes::unpack(&deliveries, organization));
            changes.positions.insert(stream, position);
        }
        changes.more |= changes.positions.get(&stream).is_some_and(|position| *position < end);
    }
    changes.deliveries = deliveries_by_id(conn, organization, ids).await?;
    changes.deliveries.retain(|record| filter.matches(record));
    Ok(changes)
}

/// Deliveries with an attempt or an ending, by id.
async fn deliveries_by_id(
    conn: &mut Connection,
    organization: i64,
    mut ids: Vec<i64>,
) -> QueryResult<Vec<DeliveryRecord>> {
    ids.sort_unstable();
    ids.dedup();
    let mut of = BTreeSet::new();
    for ids in ids.chunks(ID_CHUNK) {
        let attempted: Vec<i64> = attempts::table
            .filter(attempts::delivery_id.eq_any(ids))
            .filter(attempts::organization_id.eq(organization))
            .select(attempts::event_id)
            .load(conn)
            .await?;
        let ended: Vec<i64> = delivery_endings::table
            .filter(delivery_endings::delivery_id.eq_any(ids))
            .filter(delivery_endings::organization_id.eq(organization))
            .select(delivery_endings::event_id)
            .load(conn)
            .await?;
        of.extend(attempted.into_iter().chain(ended));
    }
    let of: Vec<i64> = of.into_iter().collect();
    let outlines = outlines_of(conn, &of).await?;
    let mut records = delivery_records(conn, outlines).await?;
    records.retain(|record| ids.binary_search(&record.delivery_id).is_ok());
    Ok(records)
}

/// Removes changes before a time, by position, which is a time too. Each call removes a limited number of rows from each stream.
pub(crate) async fn forget_changes(conn: &mut Connection, before: i64) -> QueryResult<usize> {
    let mut forgotten = 0;
    for (stream, end) in change_positions(conn).await? {
        let of_stream = delivery_changes::table.filter(delivery_changes::stream.eq(stream));
        let step: Option<i64> = of_stream
            .order(delivery_changes::position)
            .offset(FORGOTTEN_AT_ONCE)
            .select(delivery_changes::position)
            .first(conn)
            .await
            .optional()?;
        // The last row of a stream stays, so that positions always grow.
        let before = before.min(end).min(step.unwrap_or(i64::MAX));
        forgotten += diesel::delete(of_stream.filter(delivery_changes::position.lt(before)))
            .execute(conn)
            .await?;
    }
    Ok(forgotten)
}
