//! The performance targets of all figures.

/// The side of the value on which a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }

    /// Compares a figure with this target and its stretch target.
    pub(super) fn verdict(self, value: f64, stretch: Self) -> String {
        let state = match (self.holds(value), stretch.holds(value)) {
            (_, true) => "stretch met",
            (true, false) => "met",
            (false, false) => "MISSED",
        };
        let (sign, target, stretch) = match (self, stretch) {
            (Self::AtMost(target), Self::AtMost(stretch) | Self::AtLeast(stretch)) => ("<=", target, stretch),
            (Self::AtLeast(target), Self::AtMost(stretch) | Self::AtLeast(stretch)) => (">=", target, stretch),
        };
        format!("{sign} {target} (stretch {stretch}): {state}")
    }
}

/// The target for one metric.
pub(super) struct Target {
    scenario: &'static str,
    /// `*` for both.
    store: &'static str,
    metric: &'static str,
    bound: Bound,
    stretch: Bound,
}

impl Target {
    pub(super) fn is_for(&self, scenario: &str, store: &str, metric: &str) -> bool {
        self.scenario == scenario && (self.store == "*" || self.store == store) && self.metric == metric
    }

    pub(super) fn verdict(&self, value: f64) -> String {
        self.bound.verdict(value, self.stretch)
    }
}

const fn most(scenario: &'static str, store: &'static str, metric: &'static str, bound: f64, stretch: f64) -> Target {
    Target {
        scenario,
        store,
        metric,
        bound: Bound::AtMost(bound),
        stretch: Bound::AtMost(stretch),
    }
}

const fn least(scenario: &'static str, store: &'static str, metric: &'static str, bound: f64, stretch: f64) -> Target {
    Target {
        scenario,
        store,
        metric,
        bound: Bound::AtLeast(bound),
        stretch: Bound::AtLeast(stretch),
    }
}

/// Deliveries per second of the fastest open-source alternative, measured on a similar machine: 64 publishers, fan-out
/// 1.
const PEER: f64 = 860.0;

pub(super) const TARGETS: &[Target] = &[
    most("fanout1_stream", "sqlite", "cpu_ratio_to_raw", 3.5, 2.5),
    most("fanout1_stream", "postgres", "cpu_ratio_to_raw", 4.0, 2.8),
    least("fanout1_stream", "*", "rate_ratio_to_raw", 0.30, 0.45),
    least("fanout1_stream", "*", "deliveries_per_s", 30.0 * PEER, 45.0 * PEER),
    least("fanout1_unary64", "*", "deliveries_per_s", 20.0 * PEER, 30.0 * PEER),
    most("fanout1_stream", "*", "commit_p99_to_p50", 5.0, 3.0),
    most("latency_200", "*", "publish_p50_in_fdatasyncs", 8.0, 5.0),
    most("latency_200", "*", "arrival_p50_in_fdatasyncs", 12.0, 8.0),
    most("noisy_neighbour", "*", "healthy_p99_ratio", 1.2, 1.05),
    most("noisy_backlog", "*", "healthy_p99_ratio", 1.2, 1.05),
    most("backlog_memory", "*", "rss_mib", 150.0, 80.0),
    most("idle", "*", "rss_mib", 25.0, 15.0),
    most("idle", "*", "cpu_percent_of_a_core", 0.2, 0.2),
    most("start_with_backlog", "*", "ready_ms", 1_000.0, 300.0),
    least("aged_store", "*", "rate_ratio_to_empty", 0.9, 0.95),
    most("lists", "*", "list_ms_max", 100.0, 50.0),
    most("lists", "*", "console_ms_max", 100.0, 50.0),
    least("two_nodes", "*", "rate_ratio_to_one_node", 1.7, 1.9),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_tell_target_and_stretch() {
        let (bound, stretch) = (Bound::AtMost(4.0), Bound::AtMost(2.8));
        assert!(bound.verdict(2.8, stretch).ends_with("stretch met"));
        assert!(bound.verdict(3.0, stretch).ends_with(": met"));
        assert!(bound.verdict(4.1, stretch).ends_with("MISSED"));
        assert!(
            Bound::AtLeast(0.3)
                .verdict(0.2, Bound::AtLeast(0.45))
                .ends_with("MISSED")
        );
    }
}
