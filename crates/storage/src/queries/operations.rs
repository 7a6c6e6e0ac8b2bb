//! Operations: see [`crate::operations`].

use super::{
    FORGOTTEN_AT_ONCE, ID_CHUNK,
    audit::append_audit,
    dialect::lock_order,
    passes::{deal_with, look, look_at_ordered},
    prelude::*,
};
use crate::{
    clock,
    operations::{
        Begun, COUNTED_MAX, INLINE_LOOKS, INLINE_ROWS, NO_NODE, OPERATION_CANCELLED, OPERATION_RUNNING, OperationKind,
        OperationRow, OperationStep, Place,
    },
    rows::{AuditRow, WebhookRow},
    schema::operations,
};

/// Processes the deliveries of an operation at once if they are few, and otherwise begins the operation.
pub(crate) async fn begin_operation(conn: &mut Connection, row: &OperationRow) -> QueryResult<Begun> {
    supersede(conn, row).await?;
    if row.kind().keeps_webhook() {
        lock_order(conn, row.webhook_id.as_slice()).await?;
    }
    let most = i64::try_from(INLINE_ROWS).unwrap_or(i64::MAX);
    let mut looked = look(conn, row, row.place(), most + 1).await?;
    for _ in 1..INLINE_LOOKS {
        let left = most + 1 - i64::try_from(looked.deliveries.len()).unwrap_or(most);
        if looked.complete || left <= 0 {
            break;
        }
        let more = look(conn, row, looked.place, left).await?;
        looked.deliveries.extend(more.deliveries);
        (looked.place, looked.complete) = (more.place, more.complete);
    }
    if looked.complete {
        let step = deal_with(conn, row, &looked, true).await?;
        return Ok(Begun {
            rows: step.rows,
            operation: false,
        });
    }
    diesel::insert_into(operations::table).values(row).execute(conn).await?;
    Ok(Begun {
        rows: 0,
        operation: true,
    })
}

/// Ends the operations that a later one makes pointless.
async fn supersede(conn: &mut Connection, row: &OperationRow) -> QueryResult<()> {
    let mut running: Vec<(i64, Option<i64>, String)> = operations::table
        .filter(operations::organization_id.eq(row.organization_id))
        .filter(operations::state.eq(OPERATION_RUNNING))
        .select((operations::id, operations::webhook_id, operations::kind))
        .load(conn)
        .await?;
    running.retain(|(_, webhook, kind)| row.replaces(*webhook, kind));
    if running.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = running.into_iter().map(|(id, _, _)| id).collect();
    diesel::update(operations::table.filter(operations::id.eq_any(ids)))
        .set((
            operations::state.eq(OPERATION_CANCELLED),
            operations::error.eq("a later change replaced it"),
            operations::ended_at.eq(row.created_at),
        ))
        .execute(conn)
        .await
        .map(drop)
}

/// Releases the order of a webhook that is no longer ordered: its deliveries no longer wait behind each other. Returns
/// true if an operation does it.
pub(super) async fn release_order(conn: &mut Connection, row: &OperationRow) -> QueryResult<bool> {
    lock_order(conn, row.webhook_id.as_slice()).await?;
    if look_at_ordered(conn, row, 1).await?.deliveries.is_empty() {
        return Ok(false);
    }
    Ok(begin_operation(conn, row).await?.operation)
}

/// Keeps the order of pending deliveries of a webhook that is ordered again.
pub(crate) async fn keep_order(conn: &mut Connection, row: &WebhookRow) -> QueryResult<()> {
    let release = operations::table
        .filter(operations::organization_id.eq(row.organization_id))
        .filter(operations::state.eq(OPERATION_RUNNING))
        .filter(operations::webhook_id.eq(row.id))
        .filter(operations::kind.eq(OperationKind::ReleaseOrder.as_str()));
    diesel::update(release)
        .set((
            operations::state.eq(OPERATION_CANCELLED),
            operations::error.eq("the webhook is ordered again"),
            operations::ended_at.eq(row.updated_at),
        ))
        .execute(conn)
        .await
        .map(drop)
}

pub(crate) async fn get_operation(conn: &mut Connection, id: i64) -> QueryResult<Option<OperationRow>> {
    operations::table.find(id).first(conn).await.optional()
}

pub(crate) async fn list_operations(
    conn: &mut Connection,
    organization: Option<i64>,
    before: i64,
    size: i64,
) -> QueryResult<Vec<OperationRow>> {
    let below = operations::table
        .filter(operations::id.lt(before))
        .order(operations::id.desc())
        .limit(size);
    match organization {
        Some(organization) => {
            below
                .filter(operations::organization_id.eq(organization))
                .load(conn)
                .await
        }
        None => below.load(conn).await,
    }
}

pub(crate) async fn running_operations(
    conn: &mut Connection,
    organization: Option<i64>,
    size: i64,
) -> QueryResult<Vec<OperationRow>> {
    let running = operations::table
        .filter(operations::state.eq(OPERATION_RUNNING))
        .order(operations::id)
        .limit(size);
    match organization {
        Some(organization) => {
            running
                .filter(operations::organization_id.eq(organization))
                .load(conn)
                .await
        }
        None => running.load(conn).await,
    }
}

pub(crate) async fn take_operations(
    conn: &mut Connection,
    node: i32,
    own: bool,
    most: i64,
    lease: i64,
) -> QueryResult<Vec<OperationRow>> {
    let now = clock::schedule_us();
    let owner = if own { node } else { NO_NODE };
    // A node whose clock was ahead, and was corrected since, has stored a lease that is too long.
    let too_long = now.saturating_add(2 * lease);
    let ids: Vec<i64> = operations::table
        .filter(operations::state.eq(OPERATION_RUNNING))
        .filter(
            operations::leased_until
                .lt(now)
                .or(operations::leased_until.gt(too_long))
                .or(operations::node.eq(owner)),
        )
        .order(operations::id)
        .limit(most)
        .select(operations::id)
        .load(conn)
        .await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // Another node may have taken one meanwhile.
    let free = operations::table
        .filter(operations::id.eq_any(ids))
        .filter(operations::state.eq(OPERATION_RUNNING))
        .filter(
            operations::leased_until
                .lt(now)
                .or(operations::leased_until.gt(too_long))
                .or(operations::node.eq(owner)),
        );
    diesel::update(free)
        .set((
            operations::node.eq(node),
            operations::leased_until.eq(now.saturating_add(lease)),
        ))
        .get_results(conn)
        .await
}

pub(crate) async fn count_operation(
    conn: &mut Connection,
    row: &OperationRow,
    from: Place,
) -> QueryResult<(i64, Option<Place>)> {
    let most = i64::try_from(ID_CHUNK).unwrap_or(i64::MAX);
    if row.kind() == OperationKind::ReleaseOrder {
        // Released rows leave the index, so there is no position to continue from, and the total stays unknown.
        return Ok((COUNTED_MAX, None));
    }
    let looked = look(conn, row, from, most).await?;
    let concerned = looked.concerned(row.through).len();
    let next = (!looked.complete).then_some(looked.place);
    Ok((i64::try_from(concerned).unwrap_or(i64::MAX), next))
}

/// Renews the lease of an operation. Returns false if this node no longer holds it.
pub(crate) async fn renew_operation(conn: &mut Connection, id: i64, node: i32, lease: i64) -> QueryResult<bool> {
    let mine = operations::table
        .find(id)
        .filter(operations::state.eq(OPERATION_RUNNING))
        .filter(operations::node.eq(node));
    let renewed = diesel::update(mine)
        .set(operations::leased_until.eq(clock::schedule_us().saturating_add(lease)))
        .execute(conn)
        .await?;
    Ok(renewed > 0)
}

pub(crate) async fn note_total(conn: &mut Connection, id: i64, node: i32, total: i64, lease: i64) -> QueryResult<bool> {
    let until = clock::schedule_us().saturating_add(lease);
    let mine = operations::table
        .find(id)
        .filter(operations::state.eq(OPERATION_RUNNING))
        .filter(operations::node.eq(node));
    let noted = diesel::update(mine)
        .set((
            operations::total.eq((operations::done + total).nullable()),
            operations::leased_until.eq(until),
        ))
        .execute(conn)
        .await?;
    Ok(noted > 0)
}

pub(crate) async fn step_operation(
    conn: &mut Connection,
    id: i64,
    node: i32,
    rows: i64,
    lease: i64,
) -> QueryResult<Option<OperationStep>> {
    let (now, until) = (clock::now_us(), clock::schedule_us().saturating_add(lease));
    let mine = operations::table
        .find(id)
        .filter(operations::state.eq(OPERATION_RUNNING))
        .filter(operations::node.eq(node));
    // Locks the row until the step is stored: a call that ends the operation waits for the step.
    let held: Option<OperationRow> = diesel::update(mine)
        .set((operations::leased_until.eq(until), operations::updated_at.eq(now)))
        .get_result(conn)
        .await
        .optional()?;
    let Some(row) = held else { return Ok(None) };
    if row.kind().keeps_webhook() {
        lock_order(conn, row.webhook_id.as_slice()).await?;
    }
    let looked = look(conn, &row, row.place(), rows).await?;
    let mut step = deal_with(conn, &row, &looked, false).await?;
    let found = row.found + i64::try_from(looked.concerned(row.through).len()).unwrap_or(i64::MAX);
    step.finished = looked.complete && found == 0;
    step.done = row.done + i64::try_from(step.rows).unwrap_or(i64::MAX);
    let (place, found) = if looked.complete {
        (Place::START, 0)
    } else {
        (looked.place, found)
    };
    diesel::update(operations::table.find(id))
        .set((
            operations::at_webhook.eq(place.webhook),
            operations::at_node.eq(place.node),
            operations::at_due.eq(place.due),
            operations::at_delivery.eq(place.delivery),
            operations::found.eq(found),
            operations::done.eq(step.done),
        ))
        .execute(conn)
        .await?;
    Ok(Some(step))
}

pub(crate) async fn end_operation(
    conn: &mut Connection,
    id: i64,
    state: i32,
    now: i64,
    audit: Option<&AuditRow>,
) -> QueryResult<bool> {
    let running = operations::table
        .find(id)
        .filter(operations::state.eq(OPERATION_RUNNING));
    let ended = diesel::update(running)
        .set((
            operations::state.eq(state),
            operations::ended_at.eq(now),
            operations::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    if let (1.., Some(audit)) = (ended, audit) {
        append_audit(conn, audit).await?;
    }
    Ok(ended > 0)
}

pub(crate) async fn forget_operations(conn: &mut Connection, before: i64) -> QueryResult<usize> {
    let ended: Vec<i64> = operations::table
        .filter(operations::ended_at.lt(before))
        .order(operations::ended_at)
        .limit(FORGOTTEN_AT_ONCE)
        .select(operations::id)
        .load(conn)
        .await?;
    diesel::delete(operations::table.filter(operations::id.eq_any(ended)))
        .execute(conn)
        .await
}
