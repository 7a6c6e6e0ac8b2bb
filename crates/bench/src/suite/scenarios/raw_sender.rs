//! The lower bound: requests that are signed and sent, without a store.

use super::super::{
    Figures, Store,
    world::{HOSTS, Site, raw, sink},
};

pub(super) async fn run(site: &mut Site, _: Store) -> anyhow::Result<Figures> {
    let sink = sink(HOSTS, &[]).await?;
    let stats = raw(&sink.addresses, site.profile.pick(2.0, 5.0)).await?;
    Ok(Figures::from([
        ("raw_requests_per_s", stats.requests as f64 / stats.seconds),
        ("raw_cpu_us_per_request", stats.cpu_us as f64 / stats.requests as f64),
        ("lost", 0.0),
    ]))
}
