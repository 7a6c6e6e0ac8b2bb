//! Statistics: see [`crate::stats`].

use std::collections::HashMap;

use super::{dialect::put_stats, prelude::*};
use crate::{
    schema::delivery_stats,
    stats::{self, COLUMNS, Columns, PERIODS, StatsRow, Tally},
};

/// Adds to the rows of a node, which no other node writes: one query and one statement.
pub(crate) async fn add_stats(conn: &mut Connection, node: i32, rows: &[StatsRow]) -> QueryResult<()> {
    let subjects: Vec<i64> = rows.iter().map(|row| row.subject).collect();
    let known: Vec<((i64, i64, i64), Columns)> = delivery_stats::table
        .filter(delivery_stats::subject_id.eq_any(&subjects))
        .filter(delivery_stats::period.eq_any(PERIODS.map(|(period, _)| period)))
        .filter(delivery_stats::started_at.eq_any(stats::starts(rows)))
        .filter(delivery_stats::node.eq(node))
        .select((
            (
                delivery_stats::subject_id,
                delivery_stats::period,
                delivery_stats::started_at,
            ),
            COLUMNS,
        ))
        .load(conn)
        .await?;
    put_stats(conn, node, stats::added(rows, known)).await
}

pub(crate) async fn stats(
    conn: &mut Connection,
    subject: i64,
    period: i64,
    start: i64,
    end: i64,
) -> QueryResult<Vec<StatsRow>> {
    let rows: Vec<(i64, Columns)> = delivery_stats::table
        .filter(delivery_stats::subject_id.eq(subject))
        .filter(delivery_stats::period.eq(period))
        .filter(delivery_stats::started_at.ge(start))
        .filter(delivery_stats::started_at.lt(end))
        .order(delivery_stats::started_at)
        .select((delivery_stats::started_at, COLUMNS))
        .load(conn)
        .await?;
    let mut periods: Vec<StatsRow> = Vec::new();
    for (started_at, columns) in rows {
        let tally = stats::tally(columns);
        match periods.last_mut().filter(|last| last.started_at == started_at) {
            // Another node's row of the same period.
            Some(last) => last.tally.add(&tally),
            None => periods.push(StatsRow {
                subject,
                period,
                started_at,
                tally,
            }),
        }
    }
    Ok(periods)
}

pub(crate) async fn stats_of(
    conn: &mut Connection,
    subjects: &[i64],
    period: i64,
    start: i64,
    end: i64,
) -> QueryResult<HashMap<i64, Tally>> {
    let rows: Vec<(i64, Columns)> = delivery_stats::table
        .filter(delivery_stats::subject_id.eq_any(subjects))
        .filter(delivery_stats::period.eq(period))
        .filter(delivery_stats::started_at.ge(start))
        .filter(delivery_stats::started_at.lt(end))
        .select((delivery_stats::subject_id, COLUMNS))
        .load(conn)
        .await?;
    let mut tallies = HashMap::<i64, Tally>::new();
    for (subject, columns) in rows {
        tallies.entry(subject).or_default().add(&stats::tally(columns));
    }
    Ok(tallies)
}

/// Makes a step of removal: one period of each length, over all subjects.
pub(crate) async fn forget_stats(conn: &mut Connection, now: i64) -> QueryResult<usize> {
    let mut forgotten = 0;
    for (period, kept_us) in PERIODS {
        let of_length = delivery_stats::table.filter(delivery_stats::period.eq(period));
        let oldest: Option<i64> = of_length
            .select(diesel::dsl::min(delivery_stats::started_at))
            .first(conn)
            .await?;
        if let Some(oldest) = oldest.filter(|oldest| *oldest < now - kept_us) {
            let old = of_length.filter(delivery_stats::started_at.eq(oldest));
            forgotten += diesel::delete(old).execute(conn).await?;
        }
    }
    Ok(forgotten)
}
