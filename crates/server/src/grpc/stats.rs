//! `QueryDeliveryStats`: the messages.

use hookwright_domain::histogram::Histogram;
use hookwright_proto::v1::{
    DeliveryStats, Percentiles, QueryDeliveryStatsRequest, QueryDeliveryStatsResponse, StatsPeriod,
};
use hookwright_storage::stats::Tally;

use super::{
    Api, name,
    time::{duration_us, optional_micros, timestamp},
};
use crate::app::{
    access::Caller,
    error::{AppError, AppResult},
    stats::{StatsQuery, Subject},
};

/// The name of the whole installation.
const INSTALLATION: &str = "-";

impl Api {
    pub(super) async fn stats(
        &self,
        caller: &Caller,
        request: &QueryDeliveryStatsRequest,
    ) -> AppResult<QueryDeliveryStatsResponse> {
        let period = match StatsPeriod::try_from(request.period) {
            Ok(StatsPeriod::Unspecified | StatsPeriod::Minute) => 60,
            Ok(StatsPeriod::Hour) => 3_600,
            Err(_) => {
                let rule = format!("{} is not one of its values", request.period);
                return Err(AppError::invalid("period", "UNKNOWN_VALUE", rule));
            }
        };
        let query = StatsQuery {
            period,
            start: optional_micros("start_time", request.start_time.as_ref())?,
            end: optional_micros("end_time", request.end_time.as_ref())?,
        };
        let (rows, total) = self.app.delivery_stats(caller, subject(&request.name)?, query).await?;
        Ok(QueryDeliveryStatsResponse {
            total: Some(delivery_stats(rows.first().map(|row| row.started_at), &total)),
            periods: rows
                .iter()
                .map(|row| delivery_stats(Some(row.started_at), &row.tally))
                .collect(),
        })
    }
}

fn subject(name: &str) -> AppResult<Subject<'_>> {
    if name == INSTALLATION {
        return Ok(Subject::Installation);
    }
    if name.contains("/webhooks/") {
        let (organization, id) = name::webhook("name", name)?;
        return Ok(Subject::Webhook(organization, id));
    }
    name::organization("name", name).map(Subject::Organization)
}

fn delivery_stats(start: Option<i64>, tally: &Tally) -> DeliveryStats {
    DeliveryStats {
        start_time: start.map(timestamp),
        attempt_count: tally.attempts,
        failed_attempt_count: tally.failed_attempts,
        delivered_count: tally.delivered,
        failed_count: tally.failed,
        attempt_duration: percentiles(&tally.durations),
        delivery_latency: percentiles(&tally.latencies),
    }
}

fn percentiles(histogram: &Histogram) -> Option<Percentiles> {
    let at = |share| {
        let us = histogram.percentile(share)?;
        Some(duration_us(i64::try_from(us).unwrap_or(i64::MAX)))
    };
    Some(Percentiles {
        p50: Some(at(0.5)?),
        p95: at(0.95),
        p99: at(0.99),
    })
}
