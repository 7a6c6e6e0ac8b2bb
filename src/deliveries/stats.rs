//! `hookwright deliveries stats`.

use clap::{Args, ValueEnum};
use hookwright_proto::v1::{
    DeliveryStats, Percentiles, QueryDeliveryStatsRequest, QueryDeliveryStatsResponse, StatsPeriod,
};
use prost_types::Timestamp;

use crate::{
    client::{Client, input, names::OrganizationArgs},
    output::{self, List},
};

const EXAMPLES: &str = "\
Examples:
  hookwright deliveries stats --organization acme
  hookwright deliveries stats --organization acme --webhook wh_... --period hour --since 7d
  hookwright deliveries stats --installation --output json

Percentiles are accurate to about 6 %. LATENCY is the time from the publication of an event, or its replay, to its \
delivery.";

/// Subject and time range.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    organization: OrganizationArgs,
    /// Statistics of this webhook: `wh_...` or a resource name
    #[arg(long, value_name = "WEBHOOK", conflicts_with = "installation")]
    webhook: Option<String>,
    /// Statistics of the whole installation; needs a token that is not limited to an organization
    #[arg(long, conflicts_with = "organization")]
    installation: bool,
    /// The length of a period: minutes are kept for 6 hours, hours for 90 days
    #[arg(long, value_name = "PERIOD", default_value = "minute")]
    period: Period,
    /// Only periods that begin at or after this time: RFC 3339, or an age such as 2h [default: the last 60 periods]
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    since: Option<Timestamp>,
    /// Only periods that begin before this time: RFC 3339, or an age such as 2h [default: now]
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    until: Option<Timestamp>,
}

/// The length of a period.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Period {
    /// A minute
    Minute,
    /// An hour
    Hour,
}

/// Shows the statistics.
pub(super) async fn run(client: &Client, args: StatsArgs) -> anyhow::Result<()> {
    let name = match (args.webhook, args.installation) {
        (_, true) => "-".to_owned(),
        (Some(webhook), false) => client.within(&args.organization, "webhooks", &webhook)?,
        (None, false) => client.parent(&args.organization)?,
    };
    let period = match args.period {
        Period::Minute => StatsPeriod::Minute,
        Period::Hour => StatsPeriod::Hour,
    };
    let request = QueryDeliveryStatsRequest {
        name,
        period: period.into(),
        start_time: args.since,
        end_time: args.until,
    };
    let response = client.deliveries().query_delivery_stats(request).await?.into_inner();
    let list = List {
        length: response.periods.len(),
        rest: "",
        empty: "No attempts in this period. Figures are written every ten seconds; extend the range with --since, or use \
                --period hour.",
    };
    client.output.list("QueryDeliveryStatsResponse", &response, list, table)
}

fn table(response: &QueryDeliveryStatsResponse) -> String {
    let headings = [
        "STARTED",
        "ATTEMPTS",
        "FAILED",
        "SUCCESS",
        "DELIVERED",
        "FAILED PERMANENTLY",
        "ATTEMPT P50",
        "P95",
        "P99",
        "LATENCY P50",
        "P95",
        "P99",
    ];
    let periods = response
        .periods
        .iter()
        .map(|one| row(output::time(one.start_time.as_ref()), one));
    let total = response.total.iter().map(|total| row("TOTAL".to_owned(), total));
    output::table(&headings, periods.chain(total).collect())
}

fn row(began: String, stats: &DeliveryStats) -> Vec<String> {
    let mut cells = vec![
        began,
        stats.attempt_count.to_string(),
        stats.failed_attempt_count.to_string(),
        success(stats),
        stats.delivered_count.to_string(),
        stats.failed_count.to_string(),
    ];
    for percentiles in [&stats.attempt_duration, &stats.delivery_latency] {
        cells.extend(durations(percentiles.as_ref()));
    }
    cells
}

/// The share of attempts that succeeded. It is never rounded up to 100 %, which means that none failed.
fn success(stats: &DeliveryStats) -> String {
    if stats.attempt_count == 0 {
        return String::new();
    }
    let succeeded = stats.attempt_count.saturating_sub(stats.failed_attempt_count);
    let tenths = succeeded.saturating_mul(1_000) / stats.attempt_count;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn durations(percentiles: Option<&Percentiles>) -> [String; 3] {
    let none = Percentiles::default();
    let percentiles = percentiles.unwrap_or(&none);
    [&percentiles.p50, &percentiles.p95, &percentiles.p99].map(|duration| output::milliseconds(duration.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_success_is_not_flattered() {
        let rate = |attempt_count, failed_attempt_count| {
            success(&DeliveryStats {
                attempt_count,
                failed_attempt_count,
                ..DeliveryStats::default()
            })
        };
        assert_eq!(rate(0, 0), "");
        assert_eq!(rate(3, 0), "100.0 %");
        assert_eq!(rate(100_000, 1), "99.9 %");
        assert_eq!(rate(3, 1), "66.6 %");
        assert_eq!(rate(7, 7), "0.0 %");
    }
}
