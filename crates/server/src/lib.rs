//! The Hookwright server: API, HTTP listener and their dependencies, wired together.
//!
//! | module | contents |
//! | --- | --- |
//! | [`options`], `checks`, `parts` | the settings of a server, their checks, and the settings of its parts |
//! | `starting`, `running` | a server from its start to its stop |
//! | `descriptors` | the limit on open files, and its budget |
//! | `doors` | the two listeners and what they serve |
//! | [`app`] | use cases: authorization, rules, and the work of each call |
//! | `grpc` | the API over [`app`]: only protobuf conversion |
//! | `console` | the web console over [`app`] |
//! | `http` | `/metrics`, `/healthz`, `/readyz` |
//! | `listener`, `proxies` | connections of both listeners, their limits, and the proxies between them and clients |
//! | [`telemetry`] | logs, traces, metrics |
//! | `boot` | the first start |
//!
//! Invariants:
//!
//! - `grpc` and `console` do their work only through [`app`]. Below it they use the listener's types and the settings.
//!   `http` uses only [`telemetry`]. No module imports one that imports it (`scripts/lint-imports`).
//! - A configuration change is durable before it takes effect, and takes effect before its call returns.
//! - Every call except health and reflection needs a token.

pub mod app;
mod boot;
mod checks;
mod console;
mod descriptors;
mod doors;
mod grpc;
mod http;
mod listener;
pub mod options;
mod parts;
mod proxies;
mod reloading;
mod retention;
mod running;
mod starting;
pub mod telemetry;
mod tls;
mod vitals;

use std::time::Duration;

use hookwright_storage::Store;

pub use self::{boot::ADMIN_TOKEN_FILE, reloading::Reload, running::Running};
use self::{options::Options, starting::start_with};

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
            anyhow::bail!("the {part} failed, which is a bug; all unfinished deliveries are in the store, and the next start resumes them")
        }
    }
}

/// Ends the process even if the failed component blocks the ordinary shutdown.
#[expect(
    clippy::disallowed_methods,
    reason = "a separate thread ends a process whose shutdown does not"
)]
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
    boot::data_dir::check_before_creation(&options)?;
    if options.database_url.is_none() {
        boot::data_dir::make(&options.data_dir)?;
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
