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

    /// The comparison as text: `<= 1.2`.
    fn text(self) -> String {
        match self {
            Self::AtMost(bound) => format!("<= {bound}"),
            Self::AtLeast(bound) => format!(">= {bound}"),
        }
    }

    fn number(self) -> f64 {
        match self {
            Self::AtMost(bound) | Self::AtLeast(bound) => bound,
        }
    }
}

/// The target for one metric.
pub(super) struct Target {
    /// A scenario, or the family of scenarios whose names begin with this and an underscore.
    scenario: &'static str,
    /// `*` for both.
    store: &'static str,
    metric: &'static str,
    bound: Bound,
    stretch: Option<Bound>,
}

/// A figure compared with its target.
pub(super) struct Verdict {
    pub(super) text: String,
    pub(super) missed: bool,
}

impl Target {
    pub(super) fn is_for(&self, scenario: &str, store: &str, metric: &str) -> bool {
        let rest = scenario.strip_prefix(self.scenario);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            && (self.store == "*" || self.store == store)
            && self.metric == metric
    }

    pub(super) fn verdict(&self, value: f64) -> Verdict {
        let missed = !self.bound.holds(value);
        let state = match self.stretch {
            Some(stretch) if stretch.holds(value) => "stretch met",
            _ if missed => "MISSED",
            _ => "met",
        };
        let stretch = self.stretch.map(|stretch| format!(" (stretch {})", stretch.number()));
        Verdict {
            text: format!("{}{}: {state}", self.bound.text(), stretch.unwrap_or_default()),
            missed,
        }
    }

    /// Adds a stretch target.
    const fn stretch(self, number: f64) -> Self {
        let stretch = match self.bound {
            Bound::AtMost(_) => Bound::AtMost(number),
            Bound::AtLeast(_) => Bound::AtLeast(number),
        };
        Self {
            stretch: Some(stretch),
            ..self
        }
    }
}

const fn most(scenario: &'static str, store: &'static str, metric: &'static str, bound: f64) -> Target {
    Target {
        scenario,
        store,
        metric,
        bound: Bound::AtMost(bound),
        stretch: None,
    }
}

const fn least(scenario: &'static str, store: &'static str, metric: &'static str, bound: f64) -> Target {
    Target {
        scenario,
        store,
        metric,
        bound: Bound::AtLeast(bound),
        stretch: None,
    }
}

/// Deliveries per second of the fastest open-source alternative, measured on a similar machine: 64 publishers, fan-out
/// 1.
const PEER: f64 = 860.0;

pub(super) const TARGETS: &[Target] = &[
    most("fanout1_stream", "sqlite", "cpu_ratio_to_raw", 3.5).stretch(2.5),
    most("fanout1_stream", "postgres", "cpu_ratio_to_raw", 4.0).stretch(2.8),
    least("fanout1_stream", "*", "rate_ratio_to_raw", 0.30).stretch(0.45),
    least("fanout1_stream", "*", "deliveries_per_s", 30.0 * PEER).stretch(45.0 * PEER),
    least("fanout1_unary64", "*", "deliveries_per_s", 20.0 * PEER).stretch(30.0 * PEER),
    most("fanout1_stream", "*", "commit_p99_to_p50", 5.0).stretch(3.0),
    most("latency_200", "*", "publish_p50_in_fdatasyncs", 8.0).stretch(5.0),
    most("latency_200", "*", "arrival_p50_in_fdatasyncs", 12.0).stretch(8.0),
    most("noisy_neighbour", "*", "healthy_p99_ratio", 1.2).stretch(1.05),
    most("noisy_backlog", "*", "healthy_p99_ratio", 1.2).stretch(1.05),
    most("backlog_memory", "*", "rss_mib", 150.0).stretch(80.0),
    most("idle", "*", "rss_mib", 25.0).stretch(15.0),
    most("idle", "*", "cpu_percent_of_a_core", 0.2).stretch(0.2),
    most("start_with_backlog", "*", "ready_ms", 1_000.0).stretch(300.0),
    least("aged_store", "*", "rate_ratio_to_empty", 0.9).stretch(0.95),
    most("lists", "*", "list_ms_max", 100.0).stretch(50.0),
    most("lists", "*", "console_ms_max", 100.0).stretch(50.0),
    least("two_nodes", "*", "rate_ratio_to_one_node", 1.7).stretch(1.9),
    // Beyond healthy receivers.
    least("unary_many", "*", "rate_ratio_to_64", 0.8),
    least("create_webhooks", "*", "webhooks_per_s", 300.0),
    most("outage", "*", "healthy_p99_ratio", 1.2),
    most("outage", "*", "onset_p99_ratio", 1.2),
    most("slow_half", "*", "healthy_p99_ratio", 1.2),
    most("flood", "*", "healthy_p99_ratio", 1.5),
    least("wide_tls", "*", "rate_ratio_to_at_once", 0.8),
    least("wide_tls", "*", "attempts_in_flight_max", 10_000.0),
    most("wide_tls", "*", "attempt_in_flight_kib", 24.0),
    most("wide_tls", "*", "idle_connection_kib_beyond_rustls", 16.0),
    most("reconnect", "*", "cpu_ratio_to_raw", 1.5),
    most("few_descriptors", "*", "failed_attempts", 0.0),
    most("few_descriptors", "*", "health_failures", 0.0),
    most("filters", "*", "cpu_ratio_to_plain", 1.5),
    most("ordered", "*", "cpu_ratio_to_plain", 2.0),
    most("pull", "*", "cpu_ratio_to_plain", 2.0),
    most("watch", "*", "cpu_ratio_to_plain", 1.3),
];

/// CPU per delivery at fan-out 10, as a ratio to fan-out 1.
pub(super) const FANOUT: Target = most("fanout10_stream", "*", "cpu_ratio_to_fanout1", 0.7).stretch(0.5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_tell_target_and_stretch() {
        let target = most("outage", "*", "ratio", 4.0);
        assert_eq!(target.verdict(4.0).text, "<= 4: met");
        assert!(target.verdict(4.1).missed && !target.verdict(4.0).missed);
        let target = target.stretch(2.8);
        assert!(target.verdict(2.8).text.ends_with("(stretch 2.8): stretch met"));
        assert!(target.verdict(3.0).text.ends_with(": met"));
        assert!(target.verdict(4.1).text.ends_with(": MISSED"));
        assert!(least("outage", "*", "rate", 0.3).stretch(0.45).verdict(0.2).missed);
    }

    #[test]
    fn targets_are_for_a_scenario_or_its_family() {
        let target = most("wide_tls", "sqlite", "kib", 16.0);
        assert!(target.is_for("wide_tls_http2", "sqlite", "kib"));
        assert!(target.is_for("wide_tls", "sqlite", "kib"));
        assert!(!target.is_for("wide_tlsx", "sqlite", "kib"));
        assert!(!target.is_for("wide_tls_http2", "postgres", "kib"));
    }
}
