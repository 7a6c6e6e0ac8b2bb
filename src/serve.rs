//! `hookwright serve`.

use std::{
    future::Future,
    process::{self, ExitCode},
};

use anyhow::Context as _;
use clap::Args;
use hookwright_server::Reload;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
};

use crate::settings::{Effective, SettingsArgs, process_environment};

const EXAMPLES: &str = "\
Each setting may be given as a flag, as an environment variable or in the TOML file, in this order of precedence.
Durations are written 250ms, 30s, 5m, 1h30m or 5d; sizes 512KiB, 64MiB or a number of bytes.

Examples:
  hookwright serve --allow-target 127.0.0.0/8
  hookwright serve --database-url postgres://hookwright@db/hookwright --config /etc/hookwright.toml
  HOOKWRIGHT_ALLOW_TARGETS=10.1.0.0/16,*.internal hookwright serve

The first SIGTERM or SIGINT stops the server after the attempts under way; a second one at once. SIGHUP reads the settings again, and
reloads certificates, authorities, the resolver, the log filter, and where webhooks may point; the log names what needs a restart.";

/// Run the server
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Serves until a signal comes.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let effective = Effective::load(&args.settings, &process_environment)?;
    raise_descriptors();
    runtime()?.block_on(Box::pin(async {
        let shutdown = shutdown()?;
        let reload = reload(args.settings.clone())?;
        Box::pin(hookwright_server::serve(effective.options, shutdown, reload)).await?;
        Ok(ExitCode::SUCCESS)
    }))
}

/// Reads the settings again when SIGHUP comes, which ends the process no more from now on.
fn reload(settings: SettingsArgs) -> anyhow::Result<Reload> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?;
    let (ask, asked) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // One that waits is enough: it will read what is there then.
            let _ = ask.try_send(());
        }
    });
    let load = move || Effective::load(&settings, &process_environment).map(|effective| effective.options);
    Ok(Reload {
        asked,
        load: Box::new(load),
    })
}

/// Lets the process open as many connections and files as the system allows it. The usual soft limit of 1,024 is there for programs
/// that call `select`.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Without it the listeners close idle connections earlier.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// The runtime that answers callers: half as many threads as there are cores. The engine brings its own threads to send,
/// and a call that changes threads on its way waits for another core to wake up.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores / 2).max(1))
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// Resolves on the first signal; a second one ends the process at once, with 128 + its number, as a shell would. Both are
/// watched from now on, so that a start that hangs can be ended as well.
pub(crate) fn shutdown() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let (first, told) = oneshot::channel();
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        let _ = first.send(());
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
