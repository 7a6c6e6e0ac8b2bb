//! Use cases: what callers can do, independent of the protocol. Each authorizes the caller, validates the input, changes the
//! store, and makes the change effective before it returns.
//!
//! The configuration is mirrored in memory (`registry`): reads never query the store, and the hot path sees a change as soon
//! as its call returns. Changes are made one at a time, under one lock, store first.

pub mod access;
pub mod audit;
mod changes;
pub(crate) mod completion;
pub mod deliveries;
pub mod error;
pub mod event_types;
pub mod events;
pub mod explain;
pub mod health;
pub mod installation;
mod leased;
pub mod nodes;
pub mod operations;
pub mod organizations;
pub(crate) mod permits;
pub mod portal;
pub mod problems;
pub mod pull;
mod registry;
pub mod replays;
mod sealed;
pub mod secrets;
pub mod sessions;
pub mod stats;
pub mod texts;
pub mod tokens;
pub mod watch;
pub mod webhook_name;
pub mod webhooks;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use hookwright_delivery::{
    catalogue::Catalogue,
    clock,
    engine::{DisableRequest, Engine},
};
use hookwright_domain::{id::IdGenerator, retry::RetrySchedule, target::TargetPolicy};
use hookwright_storage::{MasterKey, Store, nodes::NodeOptions};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Notify, mpsc};

use self::{
    access::{Caller, Tokens},
    changes::Changes,
    completion::Completion,
    error::AppResult,
    operations::OperationMetrics,
    registry::Registry,
    sealed::Seal,
};
use crate::options::About;

/// The limits and policies of the use cases.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The maximum payload size in bytes.
    pub payload_bytes_max: usize,
    /// The maximum number of webhooks per organization.
    pub webhooks_per_organization_max: usize,
    /// Whether webhooks may disable TLS verification.
    pub allow_insecure_tls: bool,
    /// The prefix of the service's own headers, which owners may not use.
    pub header_prefix: String,
    /// The default retry schedule.
    pub schedule: Arc<RetrySchedule>,
    /// The retention of events.
    pub retention: std::time::Duration,
    /// The URL of the web console, without a trailing slash.
    pub console_url: String,
}

/// The use cases over one store and one engine.
pub struct App {
    store: Store,
    engine: Engine,
    ids: Arc<IdGenerator>,
    key: Arc<MasterKey>,
    registry: Registry,
    tokens: Tokens,
    limits: Limits,
    targets: Arc<ArcSwap<TargetPolicy>>,
    changes: Changes,
    /// Runs changes to completion even if their callers disconnect.
    pub(crate) completion: Completion,
    node: NodeOptions,
    about: ArcSwap<About>,
    portal_seal: Seal,
    session_seal: Seal,
    started_at: i64,
    schema_mismatches: Counter,
    /// Notified when a replay is requested.
    replays_begun: Notify,
    /// Notified when an operation begins.
    operations_begun: Notify,
    operation_metrics: OperationMetrics,
    /// Permits for watchers.
    watchers: permits::Permits,
    ended_sessions: sessions::Ended,
    ended_portal_sessions: sessions::Ended,
    /// True when the server is stopping: waiting calls end.
    stopping: tokio::sync::watch::Receiver<bool>,
}

/// The dependencies of the use cases.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// The running engine.
    pub engine: Engine,
    /// The snapshot that the engine reads.
    pub catalogue: Arc<Catalogue>,
    /// Generates ids.
    pub ids: Arc<IdGenerator>,
    /// Encrypts and decrypts secrets.
    pub key: Arc<MasterKey>,
    /// Limits and policies.
    pub limits: Limits,
    /// The target policy.
    pub targets: Arc<ArcSwap<TargetPolicy>>,
    /// The configuration version of the catalogue's contents.
    pub configuration: i64,
    /// This server's identity among those that share the store.
    pub node: NodeOptions,
    /// This server's description of itself.
    pub about: About,
    /// Counts the events whose payload did not fit the schema of their type.
    pub schema_mismatches: Counter,
    /// Metrics of operations.
    pub(crate) operations: OperationMetrics,
    /// Becomes true when the server stops.
    pub stopping: tokio::sync::watch::Receiver<bool>,
}

impl App {
    /// Replaces this server's description after a reload of its settings.
    pub(crate) fn describe(&self, about: About) {
        self.about.store(Arc::new(about));
    }

    /// The prefix of the service's own headers.
    pub fn header_prefix(&self) -> &str {
        &self.limits.header_prefix
    }

    /// Creates the use cases over the store's contents. [`App::load`] must have filled the catalogue.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn new(parts: Parts) -> AppResult<Self> {
        let mut rows = parts.store.load_catalogue().await?;
        let tokens = Tokens::default();
        tokens.replace(&rows.tokens, &rows.revoked_links);
        let ended_sessions = sessions::Ended::default();
        ended_sessions.replace(std::mem::take(&mut rows.ended_sessions));
        let registry = Registry::new(rows, Arc::clone(&parts.key), &parts.limits, parts.catalogue);
        Ok(Self {
            portal_seal: portal::seal(&parts.key),
            session_seal: sessions::seal(&parts.key),
            about: ArcSwap::from_pointee(parts.about),
            store: parts.store,
            engine: parts.engine,
            ids: parts.ids,
            key: parts.key,
            registry,
            tokens,
            limits: parts.limits,
            targets: parts.targets,
            changes: Changes::new(parts.configuration),
            completion: Completion::default(),
            node: parts.node,
            started_at: clock::now_us(),
            schema_mismatches: parts.schema_mismatches,
            replays_begun: Notify::new(),
            operations_begun: Notify::new(),
            operation_metrics: parts.operations,
            watchers: watch::permits(),
            ended_sessions,
            ended_portal_sessions: sessions::Ended::default(),
            stopping: parts.stopping,
        })
    }

    /// Fills a catalogue from the store, before the engine starts.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(
        store: &Store,
        key: &Arc<MasterKey>,
        limits: &Limits,
        catalogue: &Arc<Catalogue>,
    ) -> AppResult<()> {
        let rows = store.load_catalogue().await?;
        Registry::new(rows, Arc::clone(key), limits, Arc::clone(catalogue));
        Ok(())
    }

    /// The caller with this value of `authorization`.
    ///
    /// # Errors
    /// When the token is missing or not valid.
    pub fn authenticate(&self, authorization: Option<&str>) -> AppResult<Caller> {
        self.tokens.authenticate(authorization, clock::now_us())
    }

    /// Disables webhooks at the engine's request, until the engine ends.
    pub async fn disable_as_asked(self: Arc<Self>, mut requests: mpsc::Receiver<DisableRequest>) {
        while let Some(request) = requests.recv().await {
            while let Err(error) = self.disable_webhook(request.webhook, request.reason).await {
                tracing::error!(webhook = %request.webhook, %error, "cannot disable the webhook yet; will retry");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// Whether this server holds: it sends nothing.
    pub fn holds(&self) -> bool {
        self.engine.holds()
    }

    fn next_id(&self) -> i64 {
        self.ids.next(clock::reference_us() / 1_000)
    }
}

/// Removes the extra item of a list, and returns the position of the last remaining one if there was an extra item.
fn page<T>(mut items: Vec<T>, size: usize, place: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
    let next = if items.len() > size {
        items.truncate(size);
        items.last().map(place)
    } else {
        None
    };
    (items, next)
}
