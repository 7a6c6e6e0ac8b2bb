//! The gRPC listener and the HTTP listener, and what they serve.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use futures::{FutureExt as _, future::BoxFuture};
use hookwright_delivery::descriptors::Listeners;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    app::App,
    console::{self, ConsoleOptions},
    grpc::{self, calls::CallMetrics, in_flight::RequestMetrics},
    http,
    listener::{Limits as ListenerLimits, Listener, meters::ListenerMetrics},
    options::Options,
    telemetry::Telemetry,
    tls::{self, Certificates},
};

/// Metrics of the listeners.
pub(crate) struct DoorMetrics {
    pub(crate) listeners: ListenerMetrics,
    pub(crate) requests: RequestMetrics,
    pub(crate) calls: CallMetrics,
}

/// The listeners, which accept no connections yet.
pub(crate) struct Doors {
    grpc: TcpListener,
    http: TcpListener,
    pub(crate) grpc_address: SocketAddr,
    pub(crate) http_address: SocketAddr,
    connections: Listeners,
    /// The gRPC listener's and the HTTP listener's.
    pub(crate) certificates: [Option<Arc<Certificates>>; 2],
}

impl Doors {
    /// Binds the listeners, which will accept at most this many connections.
    pub(crate) async fn open(options: &Options, connections: Listeners) -> anyhow::Result<Self> {
        let grpc = bind(options.grpc_address, "grpc-address").await?;
        let http = bind(options.http_address, "http-address").await?;
        Ok(Self {
            grpc_address: grpc.local_addr()?,
            http_address: http.local_addr()?,
            connections,
            certificates: [tls::grpc(options)?, tls::http(options)?],
            grpc,
            http,
        })
    }

    /// Serves callers and browsers until the server stops.
    pub(crate) async fn let_in(
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
            limits: grpc::limits(options).within(self.connections.grpc),
            meters: metrics.listeners.of("grpc"),
        };
        let http = Listener {
            tcp: self.http,
            tls: http_tls,
            proxies: console.proxies.clone(),
            limits: ListenerLimits::http().within(self.connections.http),
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

async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another with --{setting}"))
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
