//! The cost of features, each compared with plain deliveries of the same installation: one event to one unordered
//! webhook, published over streams.

pub(super) mod filters;
pub(super) mod ordered;
pub(super) mod pull;
pub(super) mod relay;
pub(super) mod watch;

use super::{super::Figures, throughput::Measured};

/// The organization whose webhooks use the feature, beside the one with plain webhooks.
const FEATURED: &str = "organizations/featured";

/// The figures with the feature, and the CPU time of server and database as a ratio to a plain delivery.
fn compared(plain: &Measured, featured: &Measured) -> Figures {
    let mut figures = featured.own_figures();
    figures.extend([
        ("plain_deliveries_per_s", plain.per_second()),
        ("plain_cpu_us_per_delivery", plain.cost()),
        ("cpu_us_per_delivery", featured.cost()),
        ("cpu_ratio_to_plain", featured.cost() / plain.cost()),
    ]);
    figures
}
