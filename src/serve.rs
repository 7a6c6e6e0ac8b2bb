//! `hookwright serve`.

use std::{
    future::Future,
    process::{self, ExitCode},
};

use anyhow::Context as _;
use clap::Args;
use hookwright_server::Reload;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
};

use crate::settings::{Effective, SettingsArgs, process_environment};

const EXAMPLES: &str = "\
Each setting can be a flag, an environment variable or a key of the TOML file, in this order of precedence.
Durations have the form 250ms, 30s, 5m, 1h30m or 5d; sizes 512KiB, 64MiB or a number of bytes.

Examples:
  hookwright serve --allow-target 127.0.0.0/8
  hookwright serve --database-url postgres://hookwright@db/hookwright --config /etc/hookwright.toml
  HOOKWRIGHT_ALLOW_TARGETS=10.1.0.0/16,*.internal hookwright serve

The first SIGTERM or SIGINT stops the server after its attempts in flight; a second one stops it at once. SIGHUP reloads
certificates, authorities, the resolver, the log filter and the allowed targets of webhooks; the log names changed settings
that need a restart.";

/// Run the server
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Serves until a signal arrives.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let effective = Effective::load(&args.settings, &process_environment)?;
    runtime()?.block_on(Box::pin(async {
        let shutdown = shutdown()?;
        let reload = reload(args.settings.clone())?;
        Box::pin(hookwright_server::serve(effective.options, shutdown, reload)).await?;
        Ok(ExitCode::SUCCESS)
    }))
}

/// Reloads the settings on SIGHUP, which no longer ends the process.
fn reload(settings: SettingsArgs) -> anyhow::Result<Reload> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?;
    let (ask, asked) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // One queued signal is enough: its reload reads the latest files.
            let _ = ask.try_send(());
        }
    });
    let load = move || Effective::load(&settings, &process_environment).map(|effective| effective.options);
    Ok(Reload {
        asked,
        load: Box::new(load),
    })
}

/// The runtime that answers callers, with half as many threads as cores. The engine brings its own sending threads, and a
/// call that changes threads waits for another core to wake up.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores / 2).max(1))
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// Resolves on the first signal. A second one ends the process at once, with 128 + its number, as a shell would. Both are
/// watched from now on, so that a hanging startup can be ended too.
pub(crate) fn shutdown() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let (first, told) = oneshot::channel();
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        let _ = first.send(());
        #[expect(clippy::disallowed_methods, reason = "a second signal ends the process at once")]
        process::exit(either(&mut terminate, &mut interrupt).await);
    });
    Ok(async move {
        let _ = told.await;
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> i32 {
    tokio::select! {
        _ = terminate.recv() => 143,
        _ = interrupt.recv() => 130,
    }
}
