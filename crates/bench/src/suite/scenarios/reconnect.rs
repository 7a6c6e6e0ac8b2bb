//! Receivers that close the connection after each response, over TLS: every delivery needs a handshake. The reference is
//! a bare rustls client that resumes sessions.

use super::{
    super::{
        Figures, Store,
        world::{Setup, Site, World, reconnecting},
    },
    throughput::{STREAM, install, measure},
};
use crate::parts::messages::Publish;

const SINK: &[&str] = &["--spread", "--tls", "http1", "--close"];

pub(super) async fn run(site: &mut Site, store: Store) -> anyhow::Result<Figures> {
    let (seconds, events) = site.profile.pick((0.5, 500), (4.0, 20_000));
    let setup = Setup {
        sink: SINK,
        ..Setup::default()
    };
    let mut world = World::start_as(site, store, &setup).await?;
    let load = Publish::new(STREAM, events, &install(&world, 1).await?);
    let raw = reconnecting(&world.sink, seconds).await?;
    let mut publisher = world.publisher()?;
    let measured = measure(&mut world, &mut publisher, &load).await?;
    let (before, after) = measured.arrivals();
    let (handshakes, resumed) = (after.handshakes - before.handshakes, after.resumed - before.resumed);
    let mut figures = measured.figures(&raw);
    figures.extend([
        ("resumed_share", resumed as f64 / handshakes as f64),
        ("raw_resumed_share", raw.resumed as f64 / raw.requests as f64),
        ("handshakes_per_delivery", handshakes as f64 / after.deliveries as f64),
    ]);
    Ok(figures)
}
