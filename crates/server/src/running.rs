//! A running server: its addresses, its first token, and its stop.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use hookwright_delivery::{clock, engine::Engine};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    boot::{AdminToken, data_dir::Lock},
    options::Options,
};

/// A running server.
pub struct Running {
    pub(crate) grpc_address: SocketAddr,
    pub(crate) http_address: SocketAddr,
    pub(crate) admin_token: Option<AdminToken>,
    pub(crate) engine: Engine,
    pub(crate) shutdown: watch::Sender<bool>,
    pub(crate) housekeeping: [JoinHandle<()>; 2],
    pub(crate) listeners: [JoinHandle<()>; 2],
    pub(crate) shutdown_timeout: Duration,
    pub(crate) traces: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
    /// Held until the server has stopped.
    pub(crate) _lock: Lock,
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

/// Reports all addresses, in the log and in the ready file.
pub(crate) fn announce(options: &Options, running: &Running) -> anyhow::Result<()> {
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
