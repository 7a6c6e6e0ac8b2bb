//! The number of deliveries per second, and the cost of each.

use std::time::Duration;

use super::super::{
    Figures, Store,
    world::{CpuTimes, HOSTS, ORGANIZATION, PAYLOAD_BYTES, Site, World, publish},
};
use crate::parts::{
    child::Part,
    messages::{How, Publish, RawStats, SinkStats},
};

/// Four streams, each with this many unacknowledged events.
pub(super) const STREAM: How = How::Stream {
    streams: 4,
    window: 500,
};
const UNARY: How = How::Unary { callers: 64 };

pub(super) async fn fanout1_stream(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let events = site.profile.pick(100_000, 400_000);
    run(site, store, STREAM, 1, events).await
}

pub(super) async fn fanout1_unary64(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let events = site.profile.pick(40_000, 200_000);
    run(site, store, UNARY, 1, events).await
}

pub(super) async fn fanout10_stream(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let events = site.profile.pick(15_000, 60_000);
    run(site, store, STREAM, 10, events).await
}

async fn run(site: &mut Site, store: Store, how: How, fanout: usize, events: usize) -> anyhow::Result<Figures> {
    let raw_seconds = site.profile.pick(1.5, 3.0);
    let mut world = World::start(site, store).await?;
    let event_types = install(&world, fanout).await?;
    let mut publisher = world.publisher()?;
    let raw = world.raw(raw_seconds).await?;
    let measured = measure(&mut world, &mut publisher, how, &event_types, events).await?;
    let mut figures = measured.figures(&raw);
    figures.extend(commits(&world.metrics().await?));
    Ok(figures)
}

/// Event types and webhooks such that every event is owed to `fanout` webhooks, on 16 hosts in turn.
pub(super) async fn install(world: &World, fanout: usize) -> anyhow::Result<Vec<String>> {
    let event_types = world.event_types(if fanout == 1 { HOSTS } else { 8 }).await?;
    for (number, event_type) in event_types.iter().enumerate() {
        for copy in 0..fanout {
            world.webhook((number * fanout + copy) % HOSTS, event_type).await?;
        }
    }
    Ok(event_types)
}

/// The results of one period of publishing.
pub(super) struct Measured {
    deliveries: u64,
    seconds: f64,
    before: CpuTimes,
    after: CpuTimes,
    sink: (SinkStats, SinkStats),
    publisher_cpu_us: u64,
}

/// Warms up, then publishes, waits for every arrival and for the commits of the outcomes, and reads the CPU time of
/// each process.
pub(super) async fn measure(
    world: &mut World,
    publisher: &mut Part,
    how: How,
    event_types: &[String],
    events: usize,
) -> anyhow::Result<Measured> {
    let mut command = Publish {
        how,
        count: 2_000,
        organization: ORGANIZATION.to_owned(),
        event_types: event_types.to_vec(),
        payload_bytes: PAYLOAD_BYTES,
        calls: None,
    };
    let warm = publish(publisher, &command).await?;
    world.wait_for(warm.deliveries).await?;
    settle().await;
    let sink_before = world.reset_sink().await?;
    let before = world.cpu()?;
    command.count = events;
    let published = publish(publisher, &command).await?;
    let sink_after = world.wait_for(published.deliveries).await?;
    settle().await;
    Ok(Measured {
        deliveries: published.deliveries,
        seconds: (sink_after.last_us - published.begun_us) as f64 / 1e6,
        before,
        after: world.cpu()?,
        sink: (sink_before, sink_after),
        publisher_cpu_us: published.cpu_us,
    })
}

/// Waits until the last outcomes are committed: the committer collects outcomes for at most 20 ms.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

impl Measured {
    pub(super) fn per_second(&self) -> f64 {
        self.deliveries as f64 / self.seconds
    }

    pub(super) fn figures(&self, raw: &RawStats) -> Figures {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / self.deliveries as f64;
        let server = each(self.after.server - self.before.server);
        let database = each(self.after.database.saturating_sub(self.before.database));
        let raw_cpu = raw.cpu_us as f64 / raw.requests as f64;
        let raw_rate = raw.requests as f64 / raw.seconds;
        let sink_cpu = self.sink.1.cpu_us - self.sink.0.cpu_us;
        Figures::from([
            ("deliveries_per_s", self.per_second()),
            ("server_cpu_us_per_delivery", server),
            ("database_cpu_us_per_delivery", database),
            ("sink_cpu_us_per_delivery", sink_cpu as f64 / self.deliveries as f64),
            (
                "publisher_cpu_us_per_delivery",
                self.publisher_cpu_us as f64 / self.deliveries as f64,
            ),
            ("raw_requests_per_s", raw_rate),
            ("raw_cpu_us_per_request", raw_cpu),
            ("cpu_ratio_to_raw", (server + database) / raw_cpu),
            ("rate_ratio_to_raw", self.per_second() / raw_rate),
            ("lost", 0.0),
            ("duplicates", self.sink.1.duplicates as f64),
        ])
    }
}

/// The median and the 99th percentile of the commits so far, from the server's histogram.
fn commits(metrics: &str) -> Figures {
    let bucket = |line: &str| {
        let rest = line.strip_prefix("hookwright_commit_seconds_bucket{le=\"")?;
        let (bound, rest) = rest.split_once('"')?;
        let count = rest.split_whitespace().nth(1)?.parse::<f64>().ok()?;
        Some((bound.parse::<f64>().unwrap_or(f64::INFINITY), count))
    };
    let buckets: Vec<(f64, f64)> = metrics.lines().filter_map(bucket).collect();
    let total = buckets.last().map_or(0.0, |last| last.1);
    let at = |part: f64| {
        let wanted = part * total;
        let place = buckets.iter().position(|(_, count)| *count >= wanted)?;
        let (bound, count) = buckets[place];
        let (low, below) = place.checked_sub(1).map_or((0.0, 0.0), |place| buckets[place]);
        // Interpolates within the bucket, like Prometheus.
        bound
            .is_finite()
            .then(|| (low + (bound - low) * (wanted - below) / (count - below).max(1.0)) * 1e6)
    };
    let mut figures = Figures::new();
    if let (Some(p50), Some(p99)) = (at(0.5), at(0.99)) {
        figures.extend([
            ("commit_p50_us", p50),
            ("commit_p99_us", p99),
            ("commit_p99_to_p50", p99 / p50),
        ]);
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_read_from_the_histogram() {
        let text = "hookwright_commit_seconds_bucket{le=\"0.001\"} 50\n\
                    hookwright_commit_seconds_bucket{le=\"0.002\"} 100\n\
                    hookwright_commit_seconds_bucket{le=\"+Inf\"} 100\n";
        let figures = commits(text);
        assert_eq!(figures["commit_p50_us"], 1_000.0);
        assert_eq!(figures["commit_p99_us"], 1_980.0);
    }
}
