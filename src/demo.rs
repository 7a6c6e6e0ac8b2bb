//! `hookwright demo`: shows the path of an event on one machine, in a few seconds.

mod database;
mod steps;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use database::ScratchDatabase;
use hookwright_server::{Running, options::Options};

use crate::{client::failure::UsageError, output::print, serve};

/// The timeout of the whole demo.
const DEADLINE: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  hookwright demo
  hookwright demo --keep                 leave the server running, to try the calls yourself
  hookwright demo --store postgres --database-url postgres://postgres@localhost/postgres

Everything is temporary: the data directory, the ports, and on PostgreSQL a separate database, which the demo drops.
The exit status is 0 only if the ping and the event arrive within 30 s and all their signatures verify.";

/// Run a demo: start a server and a receiver, publish an event and show its signed delivery
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// The store to use
    #[arg(long, value_name = "STORE", default_value = "sqlite")]
    store: Store,
    /// A PostgreSQL server, with a role that may create databases [env: HOOKWRIGHT_DATABASE_URL, HOOKWRIGHT_TEST_POSTGRES]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Leave the server and the receiver running until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// The store of the demo's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Store {
    /// The embedded store.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

/// Runs the demo, and always cleans up.
pub(crate) fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    serve::runtime()?.block_on(Box::pin(demo(args)))
}

async fn demo(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let directory = tempfile::Builder::new()
        .prefix("hookwright-demo-")
        .tempdir()
        .context("cannot create a directory")?;
    let database = match args.store {
        Store::Sqlite => None,
        Store::Postgres => Some(ScratchDatabase::create(&database_url(&args)?).await?),
    };
    let url = database.as_ref().map(|database| database.url.clone());
    let played = play(options(directory.path().to_owned(), url), args.keep).await;
    let dropped = match database {
        Some(database) => database.drop().await,
        None => Ok(()),
    };
    directory.close().context("cannot remove the demo's directory")?;
    played?;
    dropped?;
    Ok(ExitCode::SUCCESS)
}

fn database_url(args: &DemoArgs) -> Result<String, UsageError> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let given = args
        .database_url
        .clone()
        .or_else(|| variable("HOOKWRIGHT_DATABASE_URL"));
    given.or_else(|| variable("HOOKWRIGHT_TEST_POSTGRES")).ok_or_else(|| {
        UsageError::new("--store postgres needs a server: --database-url postgres://user:password@host/database")
    })
}

fn options(data_dir: PathBuf, database_url: Option<String>) -> Options {
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    Options {
        database_url,
        grpc_address: loopback,
        http_address: loopback,
        allow_targets: vec!["127.0.0.0/8".to_owned()],
        log_filter: "error".to_owned(),
        shutdown_timeout: Duration::from_secs(5),
        ..Options::new(data_dir)
    }
}

async fn play(options: Options, keep: bool) -> anyhow::Result<()> {
    let data_dir = options.data_dir.clone();
    let store = if options.database_url.is_some() {
        "PostgreSQL"
    } else {
        "SQLite"
    };
    let starting = tokio::time::timeout(DEADLINE, Box::pin(hookwright_server::start(options)));
    let server: Running = starting
        .await
        .map_err(|_| anyhow!("the server did not start within 30 s"))??;
    print(&format!(
        "1. The server runs with {store}, on free ports, with its data in a temporary directory.\n\n   \
         hookwright serve --allow-target 127.0.0.0/8 --data-dir {}\n",
        data_dir.display()
    ))?;
    let result = tokio::select! {
        result = Box::pin(tokio::time::timeout(DEADLINE, steps::play(&server))) => match result {
            Ok(result) => result,
            Err(_) => Err(anyhow!("the demo did not finish within 30 s")),
        },
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).and(Err(anyhow!("interrupted"))),
    };
    let receiver = match result {
        Ok(receiver) if keep => {
            print(
                "\nThe server and the receiver keep running: try the calls in another terminal. Press Ctrl-C to stop.\n",
            )?;
            Box::pin(receiver.show_until_interrupted()).await.map(|()| None)
        }
        Ok(receiver) => Ok(Some(receiver)),
        Err(error) => Err(error),
    };
    server.stop().await;
    receiver.map(drop)
}
