//! The shared queries, for SQLite.

use diesel::{SqliteConnection, prelude::*};

pub(crate) use super::waiting::*;
use crate::queries::troubled::TroubledId;
use crate::{audit::*, batch::*, changes::*, operations::*, pull::*, replays::*, row_event::*, stats::*, tokens::*};

crate::queries::catalogue::catalogue_queries!(SqliteConnection, [], []);
crate::queries::audit::audit_queries!([], []);
crate::queries::queue::queue_queries!([], []);
crate::queries::deliveries::deliveries_queries!([], []);
crate::queries::troubled::troubled_queries!([], []);
crate::queries::history::history_queries!([], []);
crate::queries::ordering::ordering_queries!([], []);
crate::queries::retention::retention_queries!([], []);
crate::queries::changes::changes_queries!([], []);
crate::queries::replays::replays_queries!([], []);
crate::queries::operations::operations_queries!([], []);
crate::queries::pull::pull_queries!([], []);
crate::queries::stats::stats_queries!([], []);
crate::queries::tokens::tokens_queries!([], []);

/// How many attempts go into one statement.
const ATTEMPTS_AT_ONCE: usize = 1_000;

/// Writes rows of statistics in place of those that are there.
fn put_stats(conn: &mut SqliteConnection, node: i32, rows: Vec<StatsRow>) -> QueryResult<()> {
    let values: Vec<_> = rows
        .into_iter()
        .map(|row| {
            (
                delivery_stats::subject_id.eq(row.subject),
                delivery_stats::period.eq(row.period),
                delivery_stats::started_at.eq(row.started_at),
                delivery_stats::node.eq(node),
                delivery_stats::attempts.eq(row.tally.attempts),
                delivery_stats::failed_attempts.eq(row.tally.failed_attempts),
                delivery_stats::delivered.eq(row.tally.delivered),
                delivery_stats::failed.eq(row.tally.failed),
                delivery_stats::durations.eq(row.tally.durations.pack()),
                delivery_stats::latencies.eq(row.tally.latencies.pack()),
            )
        })
        .collect();
    diesel::replace_into(delivery_stats::table)
        .values(values)
        .execute(conn)
        .map(drop)
}

/// There is one writer at a time.
fn lock_order(_: &mut SqliteConnection, _: &[i64]) -> QueryResult<()> {
    Ok(())
}

/// There is one stream, for there is one writer.
fn lock_steered(_: &mut SqliteConnection) -> QueryResult<i32> {
    Ok(0)
}

/// Appends attempts; one that is there already stays as it is.
fn insert_attempts(conn: &mut SqliteConnection, rows: &[AttemptRow]) -> QueryResult<()> {
    // Each row has 13 parameters, and a statement 32,766 at most.
    for rows in rows.chunks(ATTEMPTS_AT_ONCE) {
        diesel::insert_or_ignore_into(attempts::table)
            .values(rows)
            .execute(conn)?;
    }
    Ok(())
}

/// Makes the next delivery of each of these webhooks' keys due: see `promote`.
fn promote_all(conn: &mut SqliteConnection, node: i32, keys: &[(i64, String)], now: i64) -> QueryResult<()> {
    for (webhook, key) in keys {
        promote(conn, node, *webhook, key, now)?;
    }
    Ok(())
}

/// These pending rows of a webhook, and when they were leased.
fn locked_rows(conn: &mut SqliteConnection, webhook: i64, ids: &[i64]) -> QueryResult<Vec<(PendingRow, Option<i64>)>> {
    pending_deliveries::table
        .filter(pending_deliveries::delivery_id.eq_any(ids))
        .filter(pending_deliveries::webhook_id.eq(webhook))
        .order(pending_deliveries::delivery_id)
        .select((PendingRow::as_select(), pending_deliveries::leased_at))
        .load(conn)
}

/// Since when a webhook fails, and how often it did.
fn locked_health(conn: &mut SqliteConnection, webhook: i64) -> QueryResult<Option<(i64, i32)>> {
    webhook_health::table
        .find(webhook)
        .select((webhook_health::failing_since, webhook_health::failures))
        .first(conn)
        .optional()
}

/// What is due for a webhook at a node, and when it was leased.
fn due_rows(
    conn: &mut SqliteConnection,
    webhook: i64,
    node: i32,
    now: i64,
    rows: usize,
    discard: Option<Discard>,
) -> QueryResult<Vec<(PendingRow, Option<i64>)>> {
    let (through, due_from) = discard.map_or((0, i64::MIN), |discard| (discard.through, discard.due_from(now)));
    pending_deliveries::table
        .filter(pending_deliveries::webhook_id.eq(webhook))
        .filter(pending_deliveries::node.eq(node))
        .filter(pending_deliveries::due_at.ge(due_from))
        .filter(pending_deliveries::due_at.le(now))
        .filter(pending_deliveries::delivery_id.gt(through))
        .order((pending_deliveries::due_at, pending_deliveries::delivery_id))
        .limit(i64::try_from(rows).unwrap_or(i64::MAX))
        .select((PendingRow::as_select(), pending_deliveries::leased_at))
        .load(conn)
}
