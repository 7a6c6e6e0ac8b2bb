//! Healthy webhooks beside others: many that hang, many that are slow, or an organization that publishes all it can. The
//! healthy ones belong to the sink of the world, the others to a second sink, which is another process.

pub(super) mod flood;
pub(super) mod outage;
pub(super) mod slow_half;

use super::{
    super::{
        Figures,
        figures::percentile,
        world::{Sink, World},
    },
    latency::{Times, arrivals},
};

/// Publishes for this long before the measurement begins, in seconds.
const WARM_S: usize = 2;

/// The healthy webhooks' times without the others, and beside them.
fn compared<'a>(alone: &[Times], beside: impl IntoIterator<Item = &'a Times>) -> Figures {
    let (alone, beside) = (arrivals(alone), arrivals(beside));
    let (alone_p99, p99) = (percentile(&alone, 0.99), percentile(&beside, 0.99));
    Figures::from([
        ("arrival_alone_p50_us", percentile(&alone, 0.5)),
        ("arrival_alone_p99_us", alone_p99),
        ("arrival_p50_us", percentile(&beside, 0.5)),
        ("arrival_p99_us", p99),
        ("healthy_p99_ratio", p99 / alone_p99),
    ])
}

/// Every accepted event has arrived; the repeats at both sinks.
async fn verified(world: &mut World, others: &mut Sink) -> anyhow::Result<Figures> {
    let duplicates = world.sink.stats().await?.duplicates + others.stats().await?.duplicates;
    Ok(Figures::from([("lost", 0.0), ("duplicates", duplicates as f64)]))
}
