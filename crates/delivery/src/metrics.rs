//! Metrics of the engine, for `/metrics` (Prometheus / OpenMetrics text).

use std::time::Duration;

use hookwright_domain::outcome::DeliveryState;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::report::AttemptReport;

/// Labels of attempts.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AttemptLabels {
    /// The error class; `none` for a success.
    error_class: &'static str,
}

/// Labels of deliveries that ended.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct DeliveryLabels {
    state: &'static str,
}

/// The engine's counters. They are registered once, and then only incremented.
#[derive(Debug)]
pub struct Metrics {
    events_published: Counter,
    attempts: Family<AttemptLabels, Counter>,
    deliveries: Family<DeliveryLabels, Counter>,
    retries: Counter,
    attempt_seconds: Histogram,
    commit_seconds: Histogram,
    commit_failures: Counter,
    commits: Counter,
    delivered: Counter,
    succeeded: Counter,
    outcomes: Counter,
    repairs: Counter,
    invariants_broken: Counter,
    due_times_corrected: Counter,
    recovery_running: Gauge,
    deliveries_recovered: Counter,
    adoption_running: Gauge,
    deliveries_adopted: Counter,
}

/// A gauge that is 1 until this is dropped, also if the work is aborted.
#[derive(Debug)]
pub(crate) struct Raised(Gauge);

impl Raised {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Creates the metrics and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let attempts = Family::<AttemptLabels, Counter>::default();
        let deliveries = Family::<DeliveryLabels, Counter>::default();
        let metrics = Self {
            // The labels of success are looked up once, because almost every attempt has them.
            delivered: deliveries.get_or_create_owned(&DeliveryLabels { state: "delivered" }),
            succeeded: attempts.get_or_create_owned(&AttemptLabels { error_class: "none" }),
            attempts,
            deliveries,
            events_published: Counter::default(),
            retries: Counter::default(),
            attempt_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, std::f64::consts::SQRT_2, 32)),
            commit_failures: Counter::default(),
            commits: Counter::default(),
            outcomes: Counter::default(),
            repairs: Counter::default(),
            invariants_broken: Counter::default(),
            due_times_corrected: Counter::default(),
            recovery_running: Gauge::default(),
            deliveries_recovered: Counter::default(),
            adoption_running: Gauge::default(),
            deliveries_adopted: Counter::default(),
        };
        metrics.register_deliveries(registry);
        metrics.register_commits(registry);
        metrics.register_repairs(registry);
        metrics
    }

    fn register_deliveries(&self, registry: &mut Registry) {
        registry.register("events_published", "Events made durable", self.events_published.clone());
        registry.register("attempts", "Attempts made, by error class", self.attempts.clone());
        registry.register(
            "deliveries_ended",
            "Deliveries that reached a final state",
            self.deliveries.clone(),
        );
        registry.register(
            "retries_scheduled",
            "Failed attempts that will be repeated",
            self.retries.clone(),
        );
        registry.register(
            "attempt_seconds",
            "How long attempts took",
            self.attempt_seconds.clone(),
        );
    }

    fn register_commits(&self, registry: &mut Registry) {
        registry.register("commit_seconds", "How long commits took", self.commit_seconds.clone());
        registry.register("commits", "Commits of events and outcomes", self.commits.clone());
        registry.register("commit_failures", "Commits that failed", self.commit_failures.clone());
        registry.register(
            "outcomes_committed",
            "Outcomes of attempts made durable",
            self.outcomes.clone(),
        );
    }

    fn register_repairs(&self, registry: &mut Registry) {
        registry.register(
            "sweep_repairs",
            "Webhooks whose deliveries were due and unknown to their lane until the sweep found them; a lost notice of \
             another node, or a bug",
            self.repairs.clone(),
        );
        registry.register(
            "invariants_broken",
            "Invariants of the engine that did not hold when the sweep looked: a bug",
            self.invariants_broken.clone(),
        );
        registry.register(
            "due_times_corrected",
            "Due times in the store that were impossibly late and were corrected",
            self.due_times_corrected.clone(),
        );
        registry.register(
            "recovery_running",
            "1 while this node looks for deliveries that were in memory when it last ended, otherwise 0",
            self.recovery_running.clone(),
        );
        registry.register(
            "deliveries_recovered",
            "Deliveries that were in memory when this node last ended, and were resumed",
            self.deliveries_recovered.clone(),
        );
        registry.register(
            "adoption_running",
            "1 while this node takes over the deliveries of a lost node, otherwise 0",
            self.adoption_running.clone(),
        );
        registry.register(
            "deliveries_adopted",
            "Deliveries that were taken over from lost nodes",
            self.deliveries_adopted.clone(),
        );
    }

    pub(crate) fn recovery_running(&self) -> Raised {
        Raised::new(&self.recovery_running)
    }

    pub(crate) fn recovered(&self, deliveries: usize) {
        self.deliveries_recovered.inc_by(deliveries as u64);
    }

    pub(crate) fn adoption_running(&self) -> Raised {
        Raised::new(&self.adoption_running)
    }

    pub(crate) fn adopted(&self, deliveries: usize) {
        self.deliveries_adopted.inc_by(deliveries as u64);
    }

    pub(crate) fn repaired(&self) {
        self.repairs.inc();
    }

    pub(crate) fn invariant_broken(&self) {
        self.invariants_broken.inc();
    }

    pub(crate) fn corrected(&self, due_times: usize) {
        self.due_times_corrected.inc_by(due_times as u64);
    }

    pub(crate) fn published(&self, events: usize) {
        self.events_published.inc_by(events as u64);
    }

    pub(crate) fn committed(&self, took: Duration, outcomes: usize) {
        self.commits.inc();
        self.outcomes.inc_by(outcomes as u64);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn commit_failed(&self) {
        self.commit_failures.inc();
    }

    /// Counts an attempt that failed by the operator's fault: it counts for no delivery.
    pub(crate) fn held_back(&self, report: &AttemptReport) {
        if let Some(class) = report.error_class() {
            let error_class = class.as_str();
            self.attempts.get_or_create(&AttemptLabels { error_class }).inc();
        }
    }

    pub(crate) fn attempted(&self, report: &AttemptReport, state: DeliveryState) {
        self.attempt_seconds.observe(report.duration.as_secs_f64());
        match report.error_class() {
            None => self.succeeded.inc(),
            Some(class) => self
                .attempts
                .get_or_create(&AttemptLabels {
                    error_class: class.as_str(),
                })
                .inc(),
        };
        match state {
            DeliveryState::Delivered => self.delivered.inc(),
            DeliveryState::Failed => self.deliveries.get_or_create(&DeliveryLabels { state: "failed" }).inc(),
            _ => self.retries.inc(),
        };
    }
}
