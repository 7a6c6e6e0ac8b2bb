//! Statistics: see [`crate::stats`].

macro_rules! stats_queries {
    ([$($asynchronous:tt)*], [$($wait:tt)*]) => {
        /// Adds to the rows of a node, which no other node writes: one query and one statement.
        pub(crate) $($asynchronous)* fn add_stats(
            conn: &mut Connection,
            node: i32,
            rows: &[StatsRow],
        ) -> QueryResult<()> {
            let subjects: Vec<i64> = rows.iter().map(|row| row.subject).collect();
            let known: Vec<((i64, i64, i64), $crate::queries::stats::Columns)> = delivery_stats::table
                .filter(delivery_stats::subject_id.eq_any(&subjects))
                .filter(delivery_stats::period.eq_any($crate::stats::PERIODS.map(|(period, _)| period)))
                .filter(delivery_stats::started_at.eq_any($crate::queries::stats::starts(rows)))
                .filter(delivery_stats::node.eq(node))
                .select((
                    (delivery_stats::subject_id, delivery_stats::period, delivery_stats::started_at),
                    $crate::queries::stats::COLUMNS,
                ))
                .load(conn)$($wait)*?;
            put_stats(conn, node, $crate::queries::stats::added(rows, known))$($wait)*
        }

        pub(crate) $($asynchronous)* fn stats(
            conn: &mut Connection,
            subject: i64,
            period: i64,
            start: i64,
            end: i64,
        ) -> QueryResult<Vec<StatsRow>> {
            let rows: Vec<(i64, $crate::queries::stats::Columns)> = delivery_stats::table
                .filter(delivery_stats::subject_id.eq(subject))
                .filter(delivery_stats::period.eq(period))
                .filter(delivery_stats::started_at.ge(start))
                .filter(delivery_stats::started_at.lt(end))
                .order(delivery_stats::started_at)
                .select((delivery_stats::started_at, $crate::queries::stats::COLUMNS))
                .load(conn)$($wait)*?;
            let mut periods: Vec<StatsRow> = Vec::new();
            for (started_at, columns) in rows {
                let tally = $crate::queries::stats::tally(columns);
                match periods.last_mut().filter(|last| last.started_at == started_at) {
                    // Another node's share of the same period.
                    Some(last) => last.tally.add(&tally),
                    None => periods.push(StatsRow { subject, period, started_at, tally }),
                }
            }
            Ok(periods)
        }

        pub(crate) $($asynchronous)* fn stats_of(
            conn: &mut Connection,
            subjects: &[i64],
            period: i64,
            start: i64,
            end: i64,
        ) -> QueryResult<std::collections::HashMap<i64, Tally>> {
            let rows: Vec<(i64, $crate::queries::stats::Columns)> = delivery_stats::table
                .filter(delivery_stats::subject_id.eq_any(subjects))
                .filter(delivery_stats::period.eq(period))
                .filter(delivery_stats::started_at.ge(start))
                .filter(delivery_stats::started_at.lt(end))
                .select((delivery_stats::subject_id, $crate::queries::stats::COLUMNS))
                .load(conn)$($wait)*?;
            let mut tallies = std::collections::HashMap::<i64, Tally>::new();
            for (subject, columns) in rows {
                tallies.entry(subject).or_default().add(&$crate::queries::stats::tally(columns));
            }
            Ok(tallies)
        }

        /// A step of it: one period of each length, with what was counted of everybody.
        pub(crate) $($asynchronous)* fn forget_stats(conn: &mut Connection, now: i64) -> QueryResult<usize> {
            let mut forgotten = 0;
            for (period, kept_us) in $crate::stats::PERIODS {
                let of_length = delivery_stats::table.filter(delivery_stats::period.eq(period));
                let oldest: Option<i64> = of_length
                    .select(diesel::dsl::min(delivery_stats::started_at))
                    .first(conn)$($wait)*?;
                if let Some(oldest) = oldest.filter(|oldest| *oldest < now - kept_us) {
                    let old = of_length.filter(delivery_stats::started_at.eq(oldest));
                    forgotten += diesel::delete(old).execute(conn)$($wait)*?;
                }
            }
            Ok(forgotten)
        }
    };
}
pub(crate) use stats_queries;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hookwright_domain::histogram::Histogram;

use crate::{
    schema::delivery_stats,
    stats::{StatsRow, Tally},
};

/// What a row counts.
pub(crate) type Columns = (i64, i64, i64, i64, Vec<u8>, Vec<u8>);

/// The columns of [`Columns`].
pub(crate) const COLUMNS: (
    delivery_stats::attempts,
    delivery_stats::failed_attempts,
    delivery_stats::delivered,
    delivery_stats::failed,
    delivery_stats::durations,
    delivery_stats::latencies,
) = (
    delivery_stats::attempts,
    delivery_stats::failed_attempts,
    delivery_stats::delivered,
    delivery_stats::failed,
    delivery_stats::durations,
    delivery_stats::latencies,
);

pub(crate) fn tally((attempts, failed_attempts, delivered, failed, durations, latencies): Columns) -> Tally {
    Tally {
        attempts,
        failed_attempts,
        delivered,
        failed,
        durations: Histogram::unpack(&durations),
        latencies: Histogram::unpack(&latencies),
    }
}

/// When the periods of these rows began.
pub(crate) fn starts(rows: &[StatsRow]) -> Vec<i64> {
    let starts: BTreeSet<i64> = rows.iter().map(|row| row.started_at).collect();
    starts.into_iter().collect()
}

/// What is to be stored where rows are added to those that are there: one row a subject and period, in order.
pub(crate) fn added(rows: &[StatsRow], known: Vec<((i64, i64, i64), Columns)>) -> Vec<StatsRow> {
    let mut known: HashMap<(i64, i64, i64), Columns> = known.into_iter().collect();
    let mut added: BTreeMap<(i64, i64, i64), Tally> = BTreeMap::new();
    for row in rows {
        let key = (row.subject, row.period, row.started_at);
        let sum = added
            .entry(key)
            .or_insert_with(|| known.remove(&key).map(tally).unwrap_or_default());
        sum.add(&row.tally);
    }
    let row = |((subject, period, started_at), tally)| StatsRow {
        subject,
        period,
        started_at,
        tally,
    };
    added.into_iter().map(row).collect()
}
