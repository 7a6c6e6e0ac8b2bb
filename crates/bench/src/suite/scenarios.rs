//! The scenarios by name.
//!
//! | module | content |
//! | --- | --- |
//! | `raw_sender`, `throughput`, `latency` | the floor, the rate and the cost of a delivery, its latency |
//! | `unary_many`, `create_webhooks` | many callers, callers that change the configuration |
//! | `neighbours`, `isolation` | healthy webhooks beside one that hangs, beside many, beside a loud organization |
//! | `wide_tls`, `reconnect`, `few_descriptors` | connections to many receivers, to receivers that close them, with few descriptors |
//! | `features` | the cost of filters, order, pulling, watching and the relay, compared with a plain delivery |
//! | `backlog`, `idle`, `aged`, `lists` | large backlogs, an idle server, a large store |
//! | `two_nodes` | two servers on one database |

mod aged;
mod backlog;
mod create_webhooks;
mod features;
mod few_descriptors;
mod idle;
mod isolation;
mod latency;
mod lists;
mod neighbours;
mod raw_sender;
mod reconnect;
mod throughput;
mod two_nodes;
mod unary_many;
mod wide_tls;

use futures::future::LocalBoxFuture;

use super::{Figures, Store, world::Site};
use crate::parts::messages::Publish;

/// One scenario.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// How often it runs by default.
    pub(super) runs: usize,
    /// Whether the quick profile runs it unasked.
    pub(super) quick: bool,
    on: On,
    run: for<'a> fn(&'a mut Site, Store) -> LocalBoxFuture<'a, anyhow::Result<Figures>>,
}

/// The stores that a scenario runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    /// No store: it runs once, listed under the first store.
    None,
    Both,
    Postgres,
}

impl Scenario {
    pub(super) fn runs_on(&self, store: Store) -> bool {
        match self.on {
            On::Both => true,
            On::None => store == Store::Sqlite,
            On::Postgres => store == Store::Postgres,
        }
    }

    /// Whether this is its name, or the name of its family.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let rest = self.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    }

    pub(super) async fn run(&self, site: &mut Site, store: Store) -> anyhow::Result<Figures> {
        (self.run)(site, store).await
    }
}

macro_rules! scenario {
    ($name:literal, $runs:literal, $on:ident, $run:path) => {
        scenario!($name, $runs, $on, $run, true)
    };
    ($name:literal, $runs:literal, $on:ident, $run:path, $quick:literal) => {
        Scenario {
            name: $name,
            runs: $runs,
            quick: $quick,
            on: On::$on,
            run: |site, store| Box::pin($run(site, store)),
        }
    };
}

/// In the order in which they run.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!("raw_sender", 3, None, raw_sender::run),
    scenario!("fanout1_stream", 3, Both, throughput::fanout1_stream),
    scenario!("fanout1_unary64", 3, Both, throughput::fanout1_unary64),
    scenario!("fanout10_stream", 3, Both, throughput::fanout10_stream),
    scenario!("unary_many", 3, Both, unary_many::run, false),
    scenario!("create_webhooks", 3, Both, create_webhooks::run, false),
    scenario!("latency_200", 3, Both, latency::run),
    scenario!("noisy_neighbour", 3, Both, neighbours::noisy_neighbour),
    scenario!("noisy_backlog", 3, Both, neighbours::noisy_backlog),
    scenario!("outage", 3, Both, isolation::outage::run, false),
    scenario!("slow_half", 3, Both, isolation::slow_half::run, false),
    scenario!("flood", 3, Both, isolation::flood::run, false),
    scenario!("wide_tls_http1", 3, Both, wide_tls::http1, false),
    scenario!("wide_tls_http2", 3, Both, wide_tls::http2, false),
    scenario!("reconnect", 3, Both, reconnect::run, false),
    scenario!("few_descriptors", 3, Both, few_descriptors::run, false),
    scenario!("filters", 3, Both, features::filters::run, false),
    scenario!("ordered", 3, Both, features::ordered::run, false),
    scenario!("pull", 3, Both, features::pull::run, false),
    scenario!("watch", 3, Both, features::watch::run, false),
    scenario!("relay", 3, Both, features::relay::run, false),
    scenario!("backlog_memory", 1, Both, backlog::memory),
    scenario!("start_with_backlog", 1, Both, backlog::start),
    scenario!("idle", 1, Both, idle::run),
    scenario!("aged_store", 1, Both, aged::run),
    scenario!("lists", 1, Both, lists::run),
    scenario!("two_nodes", 3, Postgres, two_nodes::run),
];

/// CPU time per delivery as ratios to the raw sender, each measured right before its counterpart.
pub(super) async fn guarded(world: &mut super::world::World, pairs: usize) -> anyhow::Result<Vec<f64>> {
    let templates = throughput::install(world, 1).await?;
    let load = Publish::new(throughput::STREAM, 20_000, &templates);
    let mut publisher = world.publisher()?;
    let mut ratios = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        let raw = world.raw(1.0).await?;
        let measured = throughput::measure(world, &mut publisher, &load).await?;
        ratios.push(measured.figures(&raw)["cpu_ratio_to_raw"]);
    }
    Ok(ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_found_by_name_and_by_family() {
        let named = |name: &str| {
            let found = SCENARIOS.iter().filter(|scenario| scenario.is_named(name));
            found.map(|scenario| scenario.name).collect::<Vec<_>>()
        };
        assert_eq!(named("wide_tls"), ["wide_tls_http1", "wide_tls_http2"]);
        assert_eq!(named("outage"), ["outage"]);
        assert_eq!(named("out"), [""; 0]);
    }
}
