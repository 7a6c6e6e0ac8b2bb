//! Statistics: the counts of each minute and hour, in small rows that are added to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hookwright_domain::histogram::Histogram;

use crate::schema::delivery_stats;

/// The lengths of periods in seconds, and how long each kind is kept, in microseconds.
pub const PERIODS: [(i64, i64); 2] = [(60, 6 * 3_600_000_000), (3_600, 90 * 86_400_000_000)];
/// The subject that stands for the whole installation.
pub const INSTALLATION: i64 = 0;

/// Counts and durations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts made.
    pub attempts: i64,
    /// Attempts that failed.
    pub failed_attempts: i64,
    /// Deliveries that were delivered.
    pub delivered: i64,
    /// Deliveries that failed permanently.
    pub failed: i64,
    /// The durations of attempts, in microseconds.
    pub durations: Histogram,
    /// The times from publication to delivery, in microseconds.
    pub latencies: Histogram,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.failed_attempts += other.failed_attempts;
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.durations.add(&other.durations);
        self.latencies.add(&other.latencies);
    }
}

/// The statistics of a subject in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsRow {
    /// A webhook, an organization, or [`INSTALLATION`].
    pub subject: i64,
    /// The period's length in seconds.
    pub period: i64,
    /// When it began.
    pub started_at: i64,
    /// The counts.
    pub tally: Tally,
}

/// The values of a row.
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

/// The beginnings of these rows' periods.
pub(crate) fn starts(rows: &[StatsRow]) -> Vec<i64> {
    let starts: BTreeSet<i64> = rows.iter().map(|row| row.started_at).collect();
    starts.into_iter().collect()
}

/// The rows to store after an addition to existing ones: one per subject and period, in order.
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
