//! The Hookwright server: API, HTTP listener and their dependencies, wired together.
//!
//! | module | contents |
//! | --- | --- |
//! | [`options`] | the settings of a server |
//! | [`app`] | use cases: authorization, rules, and the work of each call |
//! | `grpc` | the API over [`app`]: only protobuf conversion |
//! | `console` | the web console over [`app`] |
//! | `http` | `/metrics`, `/healthz`, `/readyz` |
//! | `listener` | connections of both listeners, and their limits |
//! | [`telemetry`] | logs, traces, metrics |
//! | `boot` | the first start |
//!
//! Invariants: `grpc`, `console` and `http` use only `app` and `telemetry`. A configuration change is durable before it
//! takes effect, and takes effect before its call returns. Every call except health and reflection needs a token.

pub mod app;
mod boot;
mod console;
mod grpc;
mod http;
mod listener;
pub mod options;
mod reloading;
mod retention;
pub mod telemetry;
mod tls;
mod vitals;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use futures::{FutureExt as _, future::BoxFuture};
use hookwright_delivery::{
    catalogue::Catalogue,
    clock,
    connector::ConnectorOptions,
    engine::{DisableRequest, Engine, EngineOptions},
    request::RequestFormat,
    sender::Sender,
};
use hookwright_domain::{
    id::{FANOUT_MAX, IdGenerator},
    mask::mask_passwords,
    retry::RetrySchedule,
    target::TargetPolicy,
};
use hookwright_storage::{MasterKey, Store, StoreOptions, nodes::NodeOptions};
use prometheus_client::metrics::counter::Counter;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};

use self::{
    app::{App, Limits, Parts, operations::OperationMetrics},
    boot::AdminToken,
    console::ConsoleOptions,
    grpc::{
        calls::CallMetrics,
        in_flight::{BUDGET_BYTES_MIN, RequestMetrics},
    },
    http::proxies::Proxies,
    listener::{Limits as ListenerLimits, Listener, meters::ListenerMetrics},
    options::Options,
    reloading::Reloader,
    telemetry::{Telemetry, Vitals, trust::Trust},
    tls::Certificates,
};
pub use self::{boot::ADMIN_TOKEN_FILE, reloading::Reload};

/// A running server.
pub struct Running {
    grpc_address: SocketAddr,
    http_address: SocketAddr,
    admin_token: Option<AdminToken>,
    engine: Engine,
    shutdown: watch::Sender<bool>,
    housekeeping: [JoinHandle<()>; 2],
    listeners: [JoinHandle<()>; 2],
    shutdown_timeout: Duration,
    traces: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

impl Running {
    /// The address of the gRPC listener.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// The address of the HTTP listener.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// The first admin token; empty if its file is gone.
    pub fn admin_token(&self) -> String {
        self.admin_token
            .as_ref()
            .map(|first| first.token.clone())
            .unwrap_or_default()
    }

    /// The file of the first admin token, if it exists.
    pub fn admin_token_file(&self) -> Option<&Path> {
        self.admin_token.as_ref().map(|first| first.file.as_path())
    }

    /// Stops in order: no new calls; calls in flight finish; attempts in flight finish or are left for the next start; known
    /// outcomes are committed.
    pub async fn stop(self) {
        self.engine.let_end();
        for part in &self.housekeeping {
            part.abort();
        }
        tracing::info!("stopping");
        let _ = self.shutdown.send(true);
        let calls = async {
            for listener in self.listeners {
                // One that panicked has said so.
                let _ = listener.await;
            }
        };
        // Clients may keep streams open: they get part of the time, then the engine stops.
        let _ = tokio::time::timeout(self.shutdown_timeout / 4, calls).await;
        let durable = self.engine.stop(self.shutdown_timeout).await;
        if !durable {
            tracing::error!("some outcomes could not be stored; their attempts will be repeated after the next start");
        }
        if let Some(traces) = self.traces {
            let flushed = tokio::task::spawn_blocking(move || traces.shutdown()).await;
            if !matches!(flushed, Ok(Ok(()))) {
                tracing::warn!("some spans could not be exported");
            }
        }
        tracing::info!("stopped");
    }
}

/// Runs a server until `shutdown` resolves, or a component fails. Reloads its settings on `reload`.
///
/// # Errors
/// When the server cannot start; the message says how to fix it. When a component has failed.
pub async fn serve(
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
    reload: Reload,
) -> anyhow::Result<()> {
    let running = start_with(options, Some(reload)).await?;
    let engine = running.engine.clone();
    tokio::select! {
        () = shutdown => {
            running.stop().await;
            Ok(())
        }
        part = engine.failure() => {
            end_in_any_case(running.shutdown_timeout);
            running.stop().await;
            anyhow::bail!("the {part} failed, which is a bug; all owed deliveries are in the store, and the next start resumes them")
        }
    }
}

/// Ends the process even if the failed component blocks the ordinary shutdown.
fn end_in_any_case(shutdown_timeout: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(shutdown_timeout * 2 + Duration::from_secs(5));
        tracing::error!("the server did not stop in time after a failure");
        std::process::exit(1);
    });
}

/// Migrates the store's schema. Returns a description of the changes.
///
/// # Errors
/// When the store cannot be opened, or was written by a newer version.
pub async fn migrate(mut options: Options) -> anyhow::Result<String> {
    options.read_files()?;
    if options.database_url.is_none() {
        boot::make_data_dir(&options.data_dir)?;
    }
    let applied = Store::migrate(&boot::store_options(&options)).await?;
    Ok(match applied.as_slice() {
        [] => "the schema is up to date".to_owned(),
        applied => format!("applied {}: {}", applied.len(), applied.join(", ")),
    })
}

/// Starts a server on the current runtime and returns when it is ready.
///
/// # Errors
/// When it cannot start; the message says how to fix it.
pub async fn start(options: Options) -> anyhow::Result<Running> {
    start_with(options, None).await
}

async fn start_with(mut options: Options, reload: Option<Reload>) -> anyhow::Result<Running> {
    options.read_files()?;
    check_exposure(&options)?;
    check_limits(&options)?;
    boot::check_key_text(&options)?;
    let traces = telemetry::init(&options)?;
    let doors = Doors::open(&options).await?;
    let opened = open(&options, doors.grpc_address).await?;
    let console = console_options(&options, doors.http_address)?;
    let limits = limits(&options, &console)?;
    let own = [doors.grpc_address, doors.http_address];
    let targets = Arc::new(ArcSwap::from_pointee(target_policy(&options, &own)?));
    let working = work(&options, &opened, &limits, &targets).await?;

    let (shutdown, stopped) = watch::channel(false);
    let engine = working.engine.clone();
    let app = Arc::new(
        App::new(Parts {
            store: opened.store,
            engine: working.engine,
            catalogue: working.catalogue,
            ids: opened.ids,
            key: opened.key,
            limits,
            targets: Arc::clone(&targets),
            configuration: working.configuration,
            node: opened.node,
            about: options.about.clone(),
            schema_mismatches: working.schema_mismatches,
            operations: working.operations,
            stopping: stopped.clone(),
        })
        .await?,
    );
    engine.supervise(
        "disabling of webhooks",
        Arc::clone(&app).disable_as_asked(working.disable_requests),
    );
    let versions = engine.configurations();
    engine.supervise(
        "follower of the configuration",
        Arc::clone(&app).follow_configuration(versions),
    );
    engine.supervise("runner of replays", Arc::clone(&app).run_replays());
    engine.supervise("runner of operations", Arc::clone(&app).run_operations());

    let reloader = Reloader {
        options: options.clone(),
        own,
        sender: working.sender,
        targets,
        certificates: doors.certificates.clone(),
        telemetry: Arc::clone(&working.telemetry),
        app: Arc::clone(&app),
    };
    let reloading = engine.supervise("reloading of settings", reloader.run(reload));

    let (grpc_address, http_address) = (doors.grpc_address, doors.http_address);
    let [calls, requests] = doors
        .let_in(&options, app, console, working.door, working.telemetry, &stopped)
        .await?;
    let running = Running {
        grpc_address,
        http_address,
        admin_token: opened.admin_token,
        // Without them the server looks alive, and nobody can reach it.
        listeners: [
            engine.supervise("gRPC listener", calls),
            engine.supervise("HTTP listener", requests),
        ],
        engine,
        housekeeping: [working.housekeeping, reloading],
        shutdown,
        shutdown_timeout: options.shutdown_timeout,
        traces,
    };
    announce(&options, &running)?;
    Ok(running)
}

/// The store, with the contents of a first start.
struct Opened {
    store: Store,
    node: NodeOptions,
    key: Arc<MasterKey>,
    ids: Arc<IdGenerator>,
    admin_token: Option<AdminToken>,
}

async fn open(options: &Options, grpc_address: SocketAddr) -> anyhow::Result<Opened> {
    let store_options = boot::store_options(options);
    if options.database_url.is_none() {
        boot::make_data_dir(&options.data_dir)?;
    }
    Store::migrate(&store_options).await?;
    // A server with a wrong key leaves no file behind, and no node in the database.
    boot::check_key(options, &store_options).await?;
    boot::make_data_dir(&options.data_dir)?;
    let store_options = StoreOptions {
        node: boot::node(options, grpc_address)?,
        ..store_options
    };
    let store = Store::open(&store_options).await?;
    let set_back = store.start_clock().await?;
    if set_back > 0 {
        tracing::warn!(
            seconds = set_back / 1_000_000,
            "a clock was set back since the server last ran; due times keep their distance"
        );
    }
    let ids = Arc::new(IdGenerator::new(store.node(), store.largest_id().await?));
    // Servers that start at once create these contents in turn.
    let first_start = store.change_configuration().await?;
    let key = Arc::new(boot::master_key(options, &store).await?);
    boot::seed_event_types(options, &store, &ids).await?;
    let admin_token = boot::admin_token(options, &store, &ids).await?;
    drop(first_start);
    Ok(Opened {
        store,
        node: store_options.node,
        key,
        ids,
        admin_token,
    })
}

/// The running engine with the effective configuration, and its metrics.
struct Working {
    engine: Engine,
    sender: Sender,
    catalogue: Arc<Catalogue>,
    /// The version of the configuration.
    configuration: i64,
    disable_requests: mpsc::Receiver<DisableRequest>,
    schema_mismatches: Counter,
    door: DoorMetrics,
    operations: OperationMetrics,
    telemetry: Arc<Telemetry>,
    housekeeping: JoinHandle<()>,
}

/// Metrics of the listeners.
struct DoorMetrics {
    listeners: ListenerMetrics,
    requests: RequestMetrics,
    calls: CallMetrics,
}

async fn work(
    options: &Options,
    opened: &Opened,
    limits: &Limits,
    targets: &ArcSwap<TargetPolicy>,
) -> anyhow::Result<Working> {
    let store = &opened.store;
    let catalogue = Arc::new(Catalogue::default());
    let configuration = store.accept_configuration().await?;
    App::load(store, &opened.key, limits, &catalogue).await?;
    let (mut registry, metrics) = telemetry::registry(env!("CARGO_PKG_VERSION"), &options.about.commit);
    let (figures, schema_mismatches) = (retention::Figures::default(), Counter::default());
    registry.register("events_expired", "Events removed by retention", figures.removed.clone());
    let help = "Events whose payload did not fit the schema of their type, rejected or published with a warning";
    registry.register("schema_mismatches", help, schema_mismatches.clone());
    let door = DoorMetrics {
        listeners: ListenerMetrics::register(&mut registry),
        requests: RequestMetrics::register(&mut registry),
        calls: CallMetrics::register(&mut registry),
    };
    let sender = Sender::new(connector_options(options)?, targets.load_full())?;
    let trust = Trust::of(&sender.authorities());
    let operations = OperationMetrics::register(&mut registry);
    let (engine, disable_requests) = Engine::start(
        store.clone(),
        Arc::clone(&catalogue),
        Arc::clone(&opened.ids),
        sender.clone(),
        metrics,
        engine_options(options, configuration),
    )
    .await?;
    let longest_transaction = vitals::LongestTransaction::default();
    let watch = vitals::run(
        store.clone(),
        options.long_transaction_after,
        longest_transaction.clone(),
    );
    let expiry = retention::run(store.clone(), options.retention, figures.clone());
    let housekeeping = async move {
        tokio::join!(expiry, watch);
    };
    let telemetry = Telemetry::new(
        registry,
        engine.clone(),
        store.clone(),
        options.stalled_after,
        trust,
        Vitals {
            overdue: figures.overdue.clone(),
            retention: options.retention,
            longest_transaction: longest_transaction.clone(),
        },
    );
    Ok(Working {
        housekeeping: engine.supervise("housekeeping", housekeeping),
        engine,
        sender,
        catalogue,
        configuration,
        disable_requests,
        schema_mismatches,
        door,
        operations,
        telemetry: Arc::new(telemetry),
    })
}

/// The listeners, which accept no connections yet.
struct Doors {
    grpc: TcpListener,
    http: TcpListener,
    grpc_address: SocketAddr,
    http_address: SocketAddr,
    /// The gRPC listener's and the HTTP listener's.
    certificates: [Option<Arc<Certificates>>; 2],
}

impl Doors {
    async fn open(options: &Options) -> anyhow::Result<Self> {
        let grpc = bind(options.grpc_address, "grpc-address").await?;
        let http = bind(options.http_address, "http-address").await?;
        Ok(Self {
            grpc_address: grpc.local_addr()?,
            http_address: http.local_addr()?,
            certificates: [tls::grpc(options)?, tls::http(options)?],
            grpc,
            http,
        })
    }

    /// Serves callers and browsers until the server stops.
    async fn let_in(
        self,
        options: &Options,
        app: Arc<App>,
        console: ConsoleOptions,
        metrics: DoorMetrics,
        telemetry: Arc<Telemetry>,
        stopped: &watch::Receiver<bool>,
    ) -> anyhow::Result<[BoxFuture<'static, ()>; 2]> {
        let [grpc_tls, http_tls] = &self.certificates;
        let grpc_tls = grpc_tls.as_ref().map(|tls| tls::acceptor(tls, &[b"h2"])).transpose()?;
        let http_tls = http_tls
            .as_ref()
            .map(|tls| tls::acceptor(tls, &[b"h2", b"http/1.1"]))
            .transpose()?;
        let grpc = Listener {
            tcp: self.grpc,
            tls: grpc_tls,
            proxies: console.proxies.clone(),
            limits: grpc::limits(options),
            meters: metrics.listeners.of("grpc"),
        };
        let http = Listener {
            tcp: self.http,
            tls: http_tls,
            proxies: console.proxies.clone(),
            limits: ListenerLimits::http(),
            meters: metrics.listeners.of("http"),
        };
        let pages = console::router(Arc::clone(&app), console);
        telemetry.look_at(Arc::clone(&app));
        let router = http::router(telemetry).merge(pages).with_state(());
        let routes = grpc::routes(Arc::clone(&app)).await?;
        let bytes_max = options.grpc_request_bytes_max;
        let guard = grpc::guard::Guard::new(app, routes, bytes_max, metrics.requests, &metrics.calls)?;
        let calls = grpc.serve(guard, wait(stopped.clone()));
        let requests = http.serve(router, wait(stopped.clone()));
        Ok([calls.boxed(), requests.boxed()])
    }
}

/// Limits that would admit no connection or message are errors.
fn check_limits(options: &Options) -> anyhow::Result<()> {
    let bytes = options.grpc_request_bytes_max;
    anyhow::ensure!(
        (BUDGET_BYTES_MIN..=u32::MAX as usize).contains(&bytes),
        "grpc-request-bytes-max is {bytes} bytes; set {} MiB to 4095 MiB: less cannot hold one message of the maximum size",
        BUDGET_BYTES_MIN >> 20
    );
    let webhooks = options.webhooks_per_organization_max;
    anyhow::ensure!(
        webhooks <= FANOUT_MAX,
        "webhooks-per-organization-max is {webhooks}; set {FANOUT_MAX} or less: one event can be owed to at most that many webhooks"
    );
    for (setting, value) in [
        ("grpc-connections-max", options.grpc_connections_max),
        (
            "grpc-connections-per-address-max",
            options.grpc_connections_per_address_max,
        ),
        (
            "grpc-streams-per-connection-max",
            options.grpc_streams_per_connection_max as usize,
        ),
    ] {
        anyhow::ensure!(
            value > 0,
            "{setting} is 0, which would admit no connection; set 1 or more"
        );
    }
    for (setting, value) in [
        ("grpc-first-request-timeout", options.grpc_first_request_timeout),
        ("grpc-idle-timeout", options.grpc_idle_timeout),
        ("grpc-connection-age-max", options.grpc_connection_age_max),
    ] {
        anyhow::ensure!(
            value >= Duration::from_secs(1),
            "{setting} is {value:?}; set 1s or more"
        );
    }
    Ok(())
}

/// A listener on a public address needs TLS, unless `allow-plaintext` is set.
fn check_exposure(options: &Options) -> anyhow::Result<()> {
    let is_open = |address: SocketAddr| !address.ip().is_loopback() && !options.allow_plaintext;
    anyhow::ensure!(
        options.tls_certificate.is_some() || !is_open(options.grpc_address),
        "grpc-address {} is not a loopback address: configure tls-certificate and tls-private-key, or set allow-plaintext to serve tokens and payloads unencrypted",
        options.grpc_address
    );
    anyhow::ensure!(
        options.http_tls_certificate.is_some() || !is_open(options.http_address),
        "http-address {} is not a loopback address: configure http-tls-certificate and http-tls-private-key, put a proxy in front of it, or set allow-plaintext to serve the console and its sign-in unencrypted",
        options.http_address
    );
    Ok(())
}

async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another {setting}"))
}

fn target_policy(options: &Options, own: &[SocketAddr]) -> anyhow::Result<TargetPolicy> {
    let rules = |setting: &str, texts: &[String]| {
        texts
            .iter()
            .map(|text| {
                text.parse()
                    .map_err(|error| anyhow::anyhow!("{setting} `{text}`: {error}"))
            })
            .collect::<anyhow::Result<Vec<_>>>()
    };
    Ok(TargetPolicy {
        allow: rules("allow-target", &options.allow_targets)?,
        deny: rules("deny-target", &options.deny_targets)?,
        require_https: options.require_https,
        own_addresses: own.to_vec(),
        own_names: options.own_names.iter().map(|name| name.to_ascii_lowercase()).collect(),
    })
}

fn limits(options: &Options, console: &ConsoleOptions) -> anyhow::Result<Limits> {
    let schedule = RetrySchedule::new(options.retry_delays.clone()).context("retry-delay")?;
    Ok(Limits {
        payload_bytes_max: options.payload_bytes_max,
        webhooks_per_organization_max: options.webhooks_per_organization_max,
        allow_insecure_tls: options.allow_insecure_tls,
        header_prefix: options.header_prefix.clone(),
        schedule: Arc::new(schedule),
        retention: options.retention,
        console_url: console.origin.clone(),
    })
}

/// The URL of the web console, without a trailing slash.
fn console_url(options: &Options, http_address: SocketAddr) -> anyhow::Result<String> {
    let scheme = if options.http_tls_certificate.is_some() {
        "https"
    } else {
        "http"
    };
    match &options.console_url {
        Some(text) => origin("console-url", text),
        None => Ok(format!("{scheme}://{http_address}")),
    }
}

fn console_options(options: &Options, http_address: SocketAddr) -> anyhow::Result<ConsoleOptions> {
    let parents = options.portal_parents.iter().map(|text| origin("portal-parent", text));
    Ok(ConsoleOptions {
        origin: console_url(options, http_address)?,
        portal_parents: parents.collect::<anyhow::Result<_>>()?,
        proxies: Proxies::parse(&options.trusted_proxies)?,
    })
}

/// The scheme, host and port of a setting that may contain nothing else.
fn origin(setting: &str, text: &str) -> anyhow::Result<String> {
    let url = url::Url::parse(text).ok().filter(|url| {
        let is_plain =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain && url.path() == "/"
    });
    let url = url.with_context(|| {
        let text = mask_passwords(text);
        format!("{setting} `{text}` must be only a scheme and a host, for example https://hooks.example.com")
    })?;
    Ok(url.origin().ascii_serialization())
}

fn connector_options(options: &Options) -> anyhow::Result<ConnectorOptions> {
    let extra_ca = options
        .extra_ca_file
        .as_ref()
        .map(std::fs::read)
        .transpose()
        .context("extra-ca-file")?;
    Ok(ConnectorOptions {
        dns_servers: options.dns_servers.clone(),
        egress_proxy: options.egress_proxy.clone(),
        extra_ca,
    })
}

fn engine_options(options: &Options, configuration: i64) -> EngineOptions {
    EngineOptions {
        concurrent_attempts_max: options.concurrent_attempts_max,
        concurrent_attempts_per_webhook_max: options.concurrent_attempts_per_webhook_max,
        memory_bytes_max: options.memory_bytes_max,
        disable_after: options.disable_after,
        hold: options.hold,
        format: RequestFormat::new(&options.header_prefix, &options.user_agent),
        configuration,
    }
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Reports all addresses, in the log and in the ready file.
fn announce(options: &Options, running: &Running) -> anyhow::Result<()> {
    tracing::info!(grpc = %running.grpc_address, http = %running.http_address, data_dir = %options.data_dir.display(), "ready");
    match running.admin_token_file() {
        Some(file) => tracing::info!(
            file = %file.display(),
            "the first admin token is in this file; create your own tokens with it, then revoke it and delete the file"
        ),
        None => tracing::info!(
            "this data directory has no valid admin token: use another token, or create one as in docs/guides/keys-and-tokens.md"
        ),
    }
    if options.hold {
        tracing::warn!(
            "hold is set: this server sends nothing and gives out no pull deliveries; restart it without hold to send pending deliveries"
        );
    }
    if !options.allow_targets.is_empty() {
        tracing::info!(
            targets = options.allow_targets.join(", "),
            "webhooks may use these targets in addition to public addresses"
        );
    }
    let Some(path) = &options.ready_file else { return Ok(()) };
    let mut ready = serde_json::json!({
        "grpc_address": running.grpc_address.to_string(),
        "http_address": running.http_address.to_string(),
        "ready_at_us": clock::now_us(),
    });
    if let Some(file) = running.admin_token_file() {
        ready["admin_token_file"] = file.display().to_string().into();
    }
    // Written under another name first, so that no reader sees half of it.
    let half = path.with_extension("tmp");
    std::fs::write(&half, ready.to_string())
        .and_then(|()| std::fs::rename(&half, path))
        .context("ready-file")
}
