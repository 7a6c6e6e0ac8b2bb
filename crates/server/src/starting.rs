//! The start of a server: opens the store, starts the engine, and opens the listeners.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use hookwright_delivery::{
    catalogue::Catalogue,
    descriptors::Descriptors as Permits,
    engine::{DisableRequest, Engine},
    sender::Sender,
};
use hookwright_domain::{id::IdGenerator, target::TargetPolicy};
use hookwright_storage::{MasterKey, Store, StoreOptions, nodes::NodeOptions};
use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    app::{App, Limits, Parts, operations::OperationMetrics},
    boot::{self, AdminToken, data_dir},
    checks::{check_exposure, check_limits},
    descriptors::Descriptors,
    doors::{DoorMetrics, Doors},
    grpc::{calls::CallMetrics, in_flight::RequestMetrics},
    listener::meters::ListenerMetrics,
    options::Options,
    parts::{connector_options, console_options, engine_options, limits, target_policy},
    reloading::{Reload, Reloader},
    retention,
    running::{Running, announce},
    telemetry::{self, Telemetry, Vitals, trust::Trust},
    vitals,
};

pub(crate) async fn start_with(mut options: Options, reload: Option<Reload>) -> anyhow::Result<Running> {
    options.read_files()?;
    check_exposure(&options)?;
    check_limits(&options)?;
    boot::check_key_text(&options)?;
    let traces = telemetry::init(&options)?;
    let descriptors = Descriptors::claim(&options)?;
    let doors = Doors::open(&options, descriptors.budget.listeners).await?;
    let opened = open(&options, doors.grpc_address).await?;
    let console = console_options(&options, doors.http_address)?;
    let limits = limits(&options, &console)?;
    let own = [doors.grpc_address, doors.http_address];
    let targets = Arc::new(ArcSwap::from_pointee(target_policy(&options, &own)?));
    let working = work(&options, &opened, &limits, &targets, descriptors).await?;

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
    run_tasks_of(&app, &engine, working.disable_requests);

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
        _lock: opened.lock,
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

/// Runs the tasks of the use cases, which end with the engine.
fn run_tasks_of(app: &Arc<App>, engine: &Engine, disable_requests: mpsc::Receiver<DisableRequest>) {
    engine.supervise(
        "disabling of webhooks",
        Arc::clone(app).disable_as_asked(disable_requests),
    );
    let versions = engine.configurations();
    engine.supervise(
        "follower of the configuration",
        Arc::clone(app).follow_configuration(versions),
    );
    engine.supervise("runner of replays", Arc::clone(app).run_replays());
    engine.supervise("runner of operations", Arc::clone(app).run_operations());
}

/// The store, with the contents of a first start.
struct Opened {
    store: Store,
    node: NodeOptions,
    key: Arc<MasterKey>,
    ids: Arc<IdGenerator>,
    admin_token: Option<AdminToken>,
    lock: data_dir::Lock,
}

async fn open(options: &Options, grpc_address: SocketAddr) -> anyhow::Result<Opened> {
    let store_options = boot::store_options(options);
    data_dir::check_before_creation(options)?;
    if options.database_url.is_none() {
        data_dir::make(&options.data_dir)?;
    }
    Store::migrate(&store_options).await?;
    // A server with a wrong key leaves no file behind, and no node in the database.
    boot::check_key(options, &store_options).await?;
    data_dir::make(&options.data_dir)?;
    let lock = data_dir::Lock::take(&options.data_dir)?;
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
        lock,
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

async fn work(
    options: &Options,
    opened: &Opened,
    limits: &Limits,
    targets: &ArcSwap<TargetPolicy>,
    descriptors: Descriptors,
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
    let permits = Permits::new(descriptors.budget.connections);
    permits.register(&mut registry);
    let sender = Sender::limited(connector_options(options)?, targets.load_full(), permits.clone())?;
    let trust = Trust::of(&sender.authorities());
    let operations = OperationMetrics::register(&mut registry);
    let (engine, disable_requests) = Engine::start(
        store.clone(),
        Arc::clone(&catalogue),
        Arc::clone(&opened.ids),
        sender.clone(),
        metrics,
        engine_options(options, descriptors.attempts_max, configuration),
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
            descriptors,
            connections: permits,
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
