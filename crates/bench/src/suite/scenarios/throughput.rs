//! The number of deliveries per second, and the cost of each.

use std::time::Duration;

use super::super::{
    Figures, Store,
    world::{CpuTimes, HOSTS, Meter, Site, World, publish, templates, wait_for},
};
use crate::parts::{
    child::Part,
    messages::{How, Publish, RawStats, SinkCommand, SinkStats, Template},
};

/// Four streams, each with this many unacknowledged events.
pub(super) const STREAM: How = How::Stream {
    streams: 4,
    window: 500,
};
pub(super) const UNARY: How = How::Unary { callers: 64 };

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
    let load = Publish::new(how, events, &install(&world, fanout).await?);
    let mut publisher = world.publisher()?;
    let raw = world.raw(raw_seconds).await?;
    let measured = measure(&mut world, &mut publisher, &load).await?;
    let mut figures = measured.figures(&raw);
    figures.extend(commits(&world.metrics().await?));
    Ok(figures)
}

/// Event types and webhooks such that every event is owed to `fanout` webhooks, on 16 hosts in turn.
pub(super) async fn install(world: &World, fanout: usize) -> anyhow::Result<Vec<Template>> {
    let event_types = world.event_types(if fanout == 1 { HOSTS } else { 8 }).await?;
    for (number, event_type) in event_types.iter().enumerate() {
        for copy in 0..fanout {
            world.webhook((number * fanout + copy) % HOSTS, event_type).await?;
        }
    }
    Ok(templates(&event_types))
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

/// Warms up, then publishes, waits for every arrival at the sink and for the commits of the outcomes, and reads the CPU
/// time of each process.
pub(super) async fn measure(world: &mut World, publisher: &mut Part, load: &Publish) -> anyhow::Result<Measured> {
    measure_at(world.meter(), &mut [&mut world.sink.part], publisher, load).await
}

/// The same with other receivers, each of which gets every delivery. The figures are those of the first.
pub(super) async fn measure_at(
    meter: Meter,
    receivers: &mut [&mut Part],
    publisher: &mut Part,
    load: &Publish,
) -> anyhow::Result<Measured> {
    let warm = Publish {
        count: (load.count / 5).min(2_000),
        ..load.clone()
    };
    reset(receivers).await?;
    let warm = publish(publisher, &warm).await?;
    for receiver in &mut *receivers {
        wait_for(receiver, warm.deliveries).await?;
    }
    settle().await;
    let mut stats = reset(receivers).await?;
    let before = meter.read()?;
    let published = publish(publisher, load).await?;
    let mut arrived = Vec::with_capacity(receivers.len());
    for receiver in &mut *receivers {
        arrived.push(wait_for(receiver, published.deliveries).await?);
    }
    settle().await;
    let sink = (stats.swap_remove(0), arrived.swap_remove(0));
    Ok(Measured {
        deliveries: published.deliveries,
        seconds: (sink.1.last_us - published.begun_us) as f64 / 1e6,
        before,
        after: meter.read()?,
        sink,
        publisher_cpu_us: published.cpu_us,
    })
}

async fn reset(receivers: &mut [&mut Part]) -> anyhow::Result<Vec<SinkStats>> {
    let mut stats = Vec::with_capacity(receivers.len());
    for receiver in receivers {
        stats.push(receiver.ask(&SinkCommand::Reset).await?);
    }
    Ok(stats)
}

/// Waits until the last outcomes are committed: the committer collects outcomes for at most 20 ms.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

impl Measured {
    pub(super) fn per_second(&self) -> f64 {
        self.deliveries as f64 / self.seconds
    }

    /// CPU time of the server and of the database per delivery, in microseconds.
    fn costs(&self) -> (f64, f64) {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / self.deliveries as f64;
        (
            each(self.after.server - self.before.server),
            each(self.after.database.saturating_sub(self.before.database)),
        )
    }

    /// CPU time of the server and the database together per delivery, in microseconds.
    pub(super) fn cost(&self) -> f64 {
        let (server, database) = self.costs();
        server + database
    }

    /// The figures, with those of the raw sender.
    pub(super) fn figures(&self, raw: &RawStats) -> Figures {
        let raw_cpu = raw.cpu_us as f64 / raw.requests as f64;
        let raw_rate = raw.requests as f64 / raw.seconds;
        let mut figures = self.own_figures();
        figures.extend([
            ("raw_requests_per_s", raw_rate),
            ("raw_cpu_us_per_request", raw_cpu),
            ("cpu_ratio_to_raw", self.cost() / raw_cpu),
            ("rate_ratio_to_raw", self.per_second() / raw_rate),
        ]);
        figures
    }

    /// The figures without a reference.
    pub(super) fn own_figures(&self) -> Figures {
        let (server, database) = self.costs();
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
            ("lost", 0.0),
            ("duplicates", self.sink.1.duplicates as f64),
        ])
    }

    /// Requests that the receiver counted in this period.
    pub(super) fn arrivals(&self) -> (&SinkStats, &SinkStats) {
        (&self.sink.0, &self.sink.1)
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
