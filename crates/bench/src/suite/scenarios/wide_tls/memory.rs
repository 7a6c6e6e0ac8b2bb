//! The memory of idle connections, and of attempts in flight, of a server that was just started.

use std::time::{Duration, Instant};

use super::{
    super::{
        super::{
            Figures,
            world::{HOSTS, World, http::sum, publish, sink},
        },
        throughput::{STREAM, settle},
    },
    Scale,
};
use crate::{
    parts::{
        child::Part,
        messages::{Behaviour, How, IdleStats, Publish, Template},
    },
    usage,
};

/// How often the attempts in flight and the memory are read.
const POLL: Duration = Duration::from_millis(100);
/// The limit for the attempts in flight to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Restarts the server, so that earlier work does not count. Before the first reading each webhook has received an event
/// over a connection that its receiver closed, so the growth after it is that of connections and attempts.
pub(super) async fn measure(world: &mut World, scale: &Scale, templates: &[Template]) -> anyhow::Result<Figures> {
    world.server.terminate().await?;
    world.server.restart().await?;
    world.reconnect().await?;
    let mut publisher = world.publisher()?;
    let one_each = Publish::new(How::Unary { callers: 64 }, templates.len(), templates);
    world.sink.close(true).await?;
    deliver(world, &mut publisher, &one_each).await?;
    let empty = Reading::of(world).await?;
    world.sink.close(false).await?;
    deliver(world, &mut publisher, &one_each).await?;
    let idle = Reading::of(world).await?;
    let ms = scale.in_flight_delay_ms;
    world.sink.behave(None, Behaviour::Slow { ms }).await?;
    let events = templates.len() * scale.in_flight_each;
    let (in_flight, busy_mib) = peak(world, &mut publisher, &Publish::new(STREAM, events, templates)).await?;
    let idle_kib = (idle.rss_mib - empty.rss_mib) * 1024.0 / (idle.connections - empty.connections).max(1.0);
    let bare_kib = bare(scale.idle).await?;
    Ok(Figures::from([
        ("rss_empty_mib", empty.rss_mib),
        ("rss_idle_connections_mib", idle.rss_mib),
        ("rss_in_flight_mib", busy_mib),
        ("idle_connections", idle.connections),
        ("idle_connection_kib", idle_kib),
        ("rustls_idle_connection_kib", bare_kib),
        ("idle_connection_kib_beyond_rustls", idle_kib - bare_kib),
        ("attempts_in_flight_max", in_flight),
        (
            "attempt_in_flight_kib",
            (busy_mib - empty.rss_mib) * 1024.0 / in_flight.max(1.0),
        ),
    ]))
}

/// The memory and the open connections of a server without work.
struct Reading {
    rss_mib: f64,
    connections: f64,
}

impl Reading {
    async fn of(world: &mut World) -> anyhow::Result<Self> {
        settle().await;
        Ok(Self {
            rss_mib: usage::rss_mib(world.server.pid(), false)?,
            connections: world.sink.stats().await?.connections as f64,
        })
    }
}

async fn deliver(world: &mut World, publisher: &mut Part, load: &Publish) -> anyhow::Result<()> {
    let before = world.sink.stats().await?.deliveries;
    let published = publish(publisher, load).await?;
    world.wait_for(before + published.deliveries).await?;
    Ok(())
}

/// The most attempts in flight, and the memory at that time. Returns when all have ended.
async fn peak(world: &mut World, publisher: &mut Part, load: &Publish) -> anyhow::Result<(f64, f64)> {
    let before = world.sink.stats().await?.deliveries;
    let owed = publish(publisher, load).await?.deliveries;
    let (mut most, mut rss_mib, begun) = (0.0, 0.0, Instant::now());
    loop {
        let in_flight = sum(&world.metrics().await?, "hookwright_attempts_under_way", |_| true);
        if in_flight > most {
            (most, rss_mib) = (in_flight, usage::rss_mib(world.server.pid(), false)?);
        }
        let arrived = world.sink.stats().await?.deliveries - before;
        if in_flight == 0.0 && arrived >= owed {
            return Ok((most, rss_mib));
        }
        anyhow::ensure!(
            begun.elapsed() < PATIENCE,
            "{arrived} deliveries of {owed} arrived, {in_flight} attempts are in flight after {PATIENCE:?}"
        );
        tokio::time::sleep(POLL).await;
    }
}

/// The memory of an idle connection of a bare client.
async fn bare(connections: usize) -> anyhow::Result<f64> {
    let sink = sink(HOSTS, &["--spread", "--tls", "http1"]).await?;
    let authority = sink
        .authority_file()
        .unwrap_or(std::path::Path::new(""))
        .display()
        .to_string();
    let mut part = Part::start(&[
        "raw-idle",
        "--addresses",
        &sink.addresses.join(","),
        "--authority",
        &authority,
        "--connections",
        &connections.to_string(),
    ])?;
    let stats: IdleStats = part.hear().await?;
    Ok(stats.kib_per_connection)
}
