//! Logs, traces and metrics: `tracing` to stderr, spans over OTLP if an endpoint is configured, and the data of `/metrics`
//! and `/readyz`.

mod gauges;
mod process;
pub(crate) mod trust;

use std::{
    io::IsTerminal as _,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use hookwright_delivery::{
    clock,
    descriptors::Descriptors as Permits,
    engine::Engine,
    metrics::Metrics,
    trace::{TRACE_TARGET, start_exporting},
};
use hookwright_domain::{id::time_us, mask::mask_passwords, outcome::OperatorPart};
use hookwright_storage::Store;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{gauge::Gauge, info::Info},
    registry::Registry,
};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry as Registered, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use self::{
    gauges::{Gauges, PartLabels, StateLabels},
    process::Process,
    trust::Trust,
};
use crate::{
    app::{App, health::OldestDue},
    descriptors::Descriptors,
    options::Options,
    retention::Overdue,
    vitals::LongestTransaction,
};

/// Timeout for exporting a span before it is dropped.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of the store before the server is not ready.
const READY_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of backlog deliveries to count.
const BACKLOG_MAX: usize = 100_000;
/// Maximum number of blocked keys to count.
const BLOCKED_KEYS_MAX: usize = 10_000;

/// Sets up logs and, if configured, trace export. Returns what must be shut down at the end.
///
/// # Errors
/// When the filter or the endpoint is invalid.
pub fn init(options: &Options) -> anyhow::Result<Option<SdkTracerProvider>> {
    let (filter, handle) = reload::Layer::new(filter(&options.log_filter)?);
    let logs = if options.log_json {
        tracing_subscriber::fmt::layer()
            .json()
            .with_writer(std::io::stderr)
            .with_filter(filter)
            .boxed()
    } else {
        tracing_subscriber::fmt::layer()
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .with_filter(filter)
            .boxed()
    };
    let provider = options.otlp_endpoint.as_deref().map(tracer_provider).transpose()?;
    let spans = provider.as_ref().map(|provider| {
        start_exporting();
        let spans = tracing_subscriber::filter::Targets::new().with_target(TRACE_TARGET, tracing::Level::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("hookwright"))
            .with_filter(spans)
    });
    // A second server in one process (the demo, a test) keeps the first one's logs.
    if tracing_subscriber::registry().with(logs).with(spans).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
    Ok(provider)
}

/// The filter of the process's logs.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registered>> = OnceLock::new();

/// Parses a filter.
pub(crate) fn filter(text: &str) -> anyhow::Result<EnvFilter> {
    let filter = EnvFilter::try_new(text)
        .with_context(|| format!("log-filter `{text}` is not a filter such as `info,hookwright=debug`"))?;
    Ok(filter.add_directive(format!("{TRACE_TARGET}=off").parse()?))
}

/// Changes the filter.
pub(crate) fn set_filter(filter: EnvFilter) {
    if let Some(handle) = FILTER.get()
        && let Err(error) = handle.reload(filter)
    {
        tracing::error!(%error, "the log filter cannot be replaced");
    }
}

fn tracer_provider(endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| {
            let shown = mask_passwords(endpoint);
            let why = error.to_string().replace(endpoint, &shown);
            anyhow::anyhow!("otlp-endpoint `{shown}` cannot be used: {why}")
        })?;
    // Spans are queued up to a bound, and dropped beyond it: a slow collector never slows down a delivery.
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("hookwright").build())
        .build())
}

#[expect(clippy::cast_precision_loss, reason = "a clock difference as text")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

fn age_seconds(since_us: i64) -> i64 {
    (clock::schedule_us().saturating_sub(since_us)).max(0) / 1_000_000
}

/// The metrics, and the state that readiness depends on.
pub(crate) struct Telemetry {
    registry: Mutex<Registry>,
    gauges: Gauges,
    engine: Engine,
    store: Store,
    stalled_after: Duration,
    trust: ArcSwap<Trust>,
    trusted: Gauge,
    vitals: Vitals,
    process: Process,
    app: OnceLock<Arc<App>>,
}

/// Other components' findings about the store and the process.
pub(crate) struct Vitals {
    pub(crate) overdue: Overdue,
    /// How long events are kept; zero keeps them without a limit.
    pub(crate) retention: Duration,
    pub(crate) longest_transaction: LongestTransaction,
    pub(crate) descriptors: Descriptors,
    /// The connections to receivers.
    pub(crate) connections: Permits,
}

/// A registry with the engine's counters.
pub(crate) fn registry(version: &str, commit: &str) -> (Registry, Arc<Metrics>) {
    let mut registry = Registry::with_prefix("hookwright");
    let build = [("version", version), ("commit", commit)].map(|(name, value)| (name.to_owned(), value.to_owned()));
    registry.register("build", "Version and commit of this server", Info::new(build.to_vec()));
    let metrics = Arc::new(Metrics::register(&mut registry));
    (registry, metrics)
}

impl Telemetry {
    pub(crate) fn new(
        mut registry: Registry,
        engine: Engine,
        store: Store,
        stalled_after: Duration,
        trust: Trust,
        vitals: Vitals,
    ) -> Self {
        let trusted = trust.register(&mut registry);
        let gauges = Gauges::register(&mut registry);
        Self {
            registry: Mutex::new(registry),
            gauges,
            engine,
            store,
            stalled_after,
            trust: ArcSwap::from_pointee(trust),
            trusted,
            vitals,
            process: Process::new(),
            app: OnceLock::new(),
        }
    }

    /// Sets the webhooks to count.
    pub(crate) fn look_at(&self, app: Arc<App>) {
        let _ = self.app.set(app);
    }

    /// The backlog in the store, and the states of webhooks. If the store does not answer in time, the former values stay.
    async fn count_states(&self) {
        let backlog = self.store.backlog(BACKLOG_MAX);
        if let Ok(Ok(backlog)) = tokio::time::timeout(READY_TIMEOUT, backlog).await {
            let states = [
                ("pending", backlog.pending),
                ("retrying", backlog.retrying),
                ("following", backlog.following),
                ("paused", backlog.paused),
            ];
            for (state, count) in states {
                self.gauges.backlog.get_or_create(&StateLabels { state }).set(count);
            }
        }
        let Some(app) = self.app.get() else { return };
        if let Ok(Ok(webhooks)) = tokio::time::timeout(READY_TIMEOUT, app.webhook_states()).await {
            let states = [
                ("active", webhooks.active),
                ("failing", webhooks.failing),
                ("disabled", webhooks.disabled),
                ("paused", webhooks.paused),
            ];
            for (state, count) in states {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.gauges.webhooks.get_or_create(&StateLabels { state }).set(count);
            }
        }
    }

    /// Replaces the authorities that verify receivers.
    pub(crate) fn trust(&self, trust: Trust) {
        self.trusted.set(trust.count());
        self.trust.store(Arc::new(trust));
    }

    /// The metrics as OpenMetrics text.
    pub(crate) async fn encode(&self) -> Result<String, std::fmt::Error> {
        let now = self.engine.gauges();
        let set = |gauge: &Gauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.gauges.deliveries_in_memory, now.deliveries_in_memory);
        set(&self.gauges.memory_bytes, now.memory_bytes);
        set(&self.gauges.attempts_in_flight, now.attempts_in_flight);
        set(&self.gauges.lanes, now.lanes);
        let connections = self.vitals.connections.counts();
        set(&self.gauges.receiver_connections, connections.open);
        set(&self.gauges.receiver_connections_idle, connections.idle);
        set(&self.gauges.receiver_connections_max, connections.max);
        set(&self.gauges.attempts_max, self.vitals.descriptors.attempts_max);
        self.gauges.lease_holds.set(i64::from(now.lease_holds));
        let clock = self.engine.clock().await;
        self.gauges
            .clock_jumps
            .set(i64::try_from(clock.jumps).unwrap_or(i64::MAX));
        self.gauges
            .clock_offset_seconds
            .set(seconds(clock.offset_us.unwrap_or_default()));
        self.gauges.ids_ahead_seconds.set(seconds(clock.ids_ahead_us));
        self.gauges.hold.set(i64::from(self.engine.holds()));
        let failing = self.engine.failing_parts();
        let paused = failing.iter().filter(|part| part.pauses).map(|part| part.since).min();
        let stalled = self.engine.stall().map(|stall| stall.since);
        let stalled = stalled.into_iter().chain(paused).min();
        self.gauges.stalled_seconds.set(stalled.map_or(0, age_seconds));
        self.gauges.sending_paused.set(i64::from(paused.is_some()));
        for part in OperatorPart::ALL {
            let fails = failing.iter().any(|failing| failing.part == *part);
            let labels = PartLabels { part: part.as_str() };
            self.gauges.operator_faults.get_or_create(&labels).set(i64::from(fails));
        }
        self.gauges
            .retention_oldest_overdue_seconds
            .set(self.vitals.overdue.seconds(clock::retention_us()));
        self.gauges
            .longest_transaction_seconds
            .set(self.vitals.longest_transaction.seconds());
        let log_bytes = self.store.log_bytes().unwrap_or(0);
        self.gauges
            .sqlite_log_bytes
            .set(i64::try_from(log_bytes).unwrap_or(i64::MAX));
        self.read_oldest_expired().await;
        let oldest = OldestDue::find(&self.store, &self.engine);
        if let Ok(Ok(oldest)) = tokio::time::timeout(READY_TIMEOUT, oldest).await {
            let age = |since: Option<i64>| since.map_or(0, age_seconds);
            self.gauges.oldest_due_seconds.set(age(oldest.here));
            self.gauges.installation_oldest_due_seconds.set(age(oldest.anywhere));
        }
        let paused = self.store.count_blocked_keys(BLOCKED_KEYS_MAX);
        if let Ok(Ok(paused)) = tokio::time::timeout(READY_TIMEOUT, paused).await {
            set(&self.gauges.blocked_keys, paused);
        }
        self.count_states().await;
        let mut text = String::new();
        encode_registry(&mut text, &self.registry.lock())?;
        encode_registry(&mut text, self.process.read())?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    /// Reads when the oldest stored event expired. While the store does not answer, the last value stays.
    async fn read_oldest_expired(&self) {
        let kept_us = i64::try_from(self.vitals.retention.as_micros()).unwrap_or(i64::MAX);
        let oldest = tokio::time::timeout(READY_TIMEOUT, self.store.oldest_event());
        if kept_us > 0
            && let Ok(Ok(oldest)) = oldest.await
        {
            let expired = oldest.map_or(i64::MAX, |event| time_us(event).saturating_add(kept_us));
            let seconds = clock::retention_us().saturating_sub(expired).max(0) / 1_000_000;
            self.gauges.retention_oldest_expired_seconds.set(seconds);
        }
    }

    /// Ready while the store answers, this node has its lease, and the engine keeps up; else the reason. Notes are added to
    /// a ready answer: a failing component of the operator does not make a server unready, because it still accepts events,
    /// and all nodes probably share the component.
    pub(crate) async fn readiness(&self) -> Result<Vec<String>, String> {
        if let Some(part) = self.engine.failed() {
            return Err(format!("not ready: the {part} failed; this process ends"));
        }
        match tokio::time::timeout(READY_TIMEOUT, self.store.ping()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("not ready: the store does not answer: {error}")),
            Err(_) => return Err("not ready: the store does not answer in time".to_owned()),
        }
        if let Err(reason) = self.engine.may_work() {
            return Err(format!("not ready: {reason}"));
        }
        let limit = i64::try_from(self.stalled_after.as_secs()).unwrap_or(i64::MAX);
        match self.engine.stall() {
            Some(stall) if age_seconds(stall.since) >= limit => Err(format!(
                "not ready: stalled for {} s: {}",
                age_seconds(stall.since),
                stall.reason
            )),
            _ => Ok(self.notes().await),
        }
    }

    async fn notes(&self) -> Vec<String> {
        let mut notes = self.engine.clock().await.notes();
        if self.engine.holds() {
            notes.insert(
                0,
                "hold is set: nothing is sent, and no pull deliveries are given out".to_owned(),
            );
        }
        notes.extend(self.trust.load().warning().map(str::to_owned));
        notes.extend(self.vitals.descriptors.warning().map(|warning| warning.to_string()));
        notes.extend(self.faults());
        notes
    }

    /// The failing components of the operator, as text.
    fn faults(&self) -> impl Iterator<Item = String> {
        self.engine.failing_parts().into_iter().map(|failing| {
            let effect = if failing.pauses {
                "sending is paused"
            } else {
                "some deliveries wait"
            };
            let (part, since) = (failing.part, age_seconds(failing.since));
            format!("degraded: {effect}: {part} fails for {since} s: {}", failing.part.fix())
        })
    }
}
