//! Figures and chart of the last hour, with a table of the chart's figures.

use hookwright_delivery::clock;
use hookwright_storage::stats::{StatsRow, Tally};

use super::{
    Console,
    fault::Fault,
    session::Visitor,
    show::{Minute, Time, count, counted, percent, percentile, rate},
};
use crate::app::stats::{StatsQuery, Subject};

/// Number of minutes.
const MINUTES: i64 = 60;
const MINUTE_US: i64 = 60_000_000;
/// The chart's measures.
const WIDTH: i64 = 720;
const HEIGHT: i64 = 120;
/// The gap between deliveries and failures, so that they differ by more than colour.
const GAP: i64 = 2;
/// Minimum height of a non-zero bar: failures are striped, and no bar may lie between two stripes.
const HEIGHT_MIN: i64 = 2;

/// The last hour.
pub(super) struct Summary {
    pub(super) delivered: String,
    pub(super) failed: String,
    pub(super) attempts: String,
    pub(super) per_minute: String,
    pub(super) success: String,
    pub(super) p50: String,
    pub(super) p99: String,
    pub(super) chart: Chart,
    /// The age of the oldest overdue delivery, if it is shown.
    pub(super) oldest_due: Option<String>,
}

/// Deliveries per minute.
pub(super) struct Chart {
    pub(super) bars: Vec<Bar>,
    pub(super) measures: Measures,
    pub(super) most: String,
    pub(super) first: Minute,
    pub(super) last: Minute,
    pub(super) description: String,
    /// Minutes with activity, newest first.
    pub(super) rows: Vec<Row>,
}

/// The measures of the drawing.
pub(super) struct Measures {
    pub(super) width: i64,
    pub(super) height: i64,
    pub(super) bar_width: i64,
}

/// One minute: deliveries below, failed attempts above.
pub(super) struct Bar {
    pub(super) x: i64,
    pub(super) good_y: i64,
    pub(super) good_height: i64,
    pub(super) bad_y: i64,
    pub(super) bad_height: i64,
    pub(super) minute: Minute,
    pub(super) title: String,
}

/// One minute in figures.
pub(super) struct Row {
    pub(super) time: Time,
    pub(super) delivered: String,
    pub(super) failed_attempts: String,
    pub(super) p50: String,
    pub(super) p99: String,
}

impl Console {
    /// The counts of a subject over the last hour.
    pub(super) async fn summary(&self, visitor: &Visitor, subject: Subject<'_>) -> Result<Summary, Fault> {
        let now = clock::now_us();
        let first = now / MINUTE_US * MINUTE_US - (MINUTES - 1) * MINUTE_US;
        let query = StatsQuery {
            period: 60,
            start: Some(first),
            end: Some(now),
        };
        let (rows, total) = self.app.delivery_stats(visitor.caller(), subject, query).await?;
        Ok(summary(&rows, &total, first))
    }
}

fn summary(rows: &[StatsRow], total: &Tally, first: i64) -> Summary {
    let delivered = total.delivered;
    Summary {
        delivered: count(delivered),
        failed: count(total.failed),
        attempts: count(total.attempts),
        per_minute: rate(delivered, MINUTES),
        success: percent(total.attempts - total.failed_attempts, total.attempts),
        p50: percentile(&total.latencies, 0.5),
        p99: percentile(&total.latencies, 0.99),
        chart: chart(rows, first),
        oldest_due: None,
    }
}

fn chart(rows: &[StatsRow], first: i64) -> Chart {
    let amount = |row: &StatsRow| row.tally.delivered + row.tally.failed_attempts;
    let most = rows.iter().map(amount).max().unwrap_or(0).max(1);
    let height = |amount: i64| match amount {
        0 => 0,
        _ => (amount * (HEIGHT - GAP - HEIGHT_MIN) / most).max(HEIGHT_MIN),
    };
    let step = WIDTH / MINUTES;
    let bars = rows.iter().map(|row| {
        let (good, bad) = (height(row.tally.delivered), height(row.tally.failed_attempts));
        let good_y = HEIGHT - good;
        Bar {
            x: (row.started_at - first) / MINUTE_US * step + 1,
            good_y,
            good_height: good,
            bad_y: good_y - bad - if good > 0 { GAP } else { 0 },
            bad_height: bad,
            minute: Minute(row.started_at),
            title: format!(
                "{} delivered, {} failed attempts",
                count(row.tally.delivered),
                count(row.tally.failed_attempts)
            ),
        }
    });
    let total: i64 = rows.iter().map(|row| row.tally.delivered).sum();
    let failed: i64 = rows.iter().map(|row| row.tally.failed_attempts).sum();
    let told = rows
        .iter()
        .rev()
        .filter(|row| row.tally.attempts > 0 || row.tally.delivered > 0);
    Chart {
        bars: bars.collect(),
        measures: Measures {
            width: WIDTH,
            height: HEIGHT,
            bar_width: step - GAP,
        },
        most: count(most),
        first: Minute(first),
        last: Minute(first + (MINUTES - 1) * MINUTE_US),
        description: format!(
            "{} and {} in {MINUTES} minutes; at most {} in one minute.",
            counted(total, "delivery"),
            counted(failed, "failed attempt"),
            count(if total + failed == 0 { 0 } else { most })
        ),
        rows: told.map(minute).collect(),
    }
}

fn minute(row: &StatsRow) -> Row {
    Row {
        time: Time(row.started_at),
        delivered: count(row.tally.delivered),
        failed_attempts: count(row.tally.failed_attempts),
        p50: percentile(&row.tally.latencies, 0.5),
        p99: percentile(&row.tally.latencies, 0.99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stay_within_the_chart() {
        let row = |minute: i64, delivered, failed_attempts| StatsRow {
            subject: 0,
            period: 60,
            started_at: minute * MINUTE_US,
            tally: Tally {
                delivered,
                failed_attempts,
                attempts: delivered + failed_attempts,
                ..Tally::default()
            },
        };
        let chart = chart(&[row(0, 3, 0), row(1, 0, 7), row(59, 1, 1_000_000)], 0);
        for bar in &chart.bars {
            assert!(
                bar.bad_y >= 0 && bar.bad_y + bar.bad_height <= bar.good_y && bar.good_y + bar.good_height == HEIGHT,
                "{}",
                bar.title
            );
            assert!(bar.x >= 0 && bar.x < WIDTH);
        }
        assert!(chart.bars[0].good_height > 0, "what is small is still seen");
        let both = &chart.bars[2];
        assert_eq!(both.good_y - both.bad_y - both.bad_height, GAP, "they do not touch");
    }
}
