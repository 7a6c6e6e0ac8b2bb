//! `hookwright relay`: publishes from an outbox table in the user's own PostgreSQL.
//!
//! A service writes its events to the outbox in the transaction of its business change. The relay publishes committed rows,
//! and then removes them. It keeps no position: it publishes every row that is there, so it misses none in whatever order
//! transactions commit. Each row has its own request id, so a row that is published twice, because the relay crashed in
//! between, is stored once.
//!
//! | module | contents |
//! | --- | --- |
//! | `table` | the table's name, and the SQL that creates it |
//! | `database` | the connection to PostgreSQL |
//! | `outbox` | reads and settles rows |
//! | `verdict` | decides about rows after a publish call |
//! | `work` | the loop: one leader, rounds, waiting, backoff |
//! | `progress` | log lines |

mod database;
mod outbox;
mod progress;
mod table;
mod verdict;
mod work;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use self::{database::Database, outbox::Outbox, table::Table, work::Relay};
use crate::{
    client::{self, ClientArgs, failure::UsageError},
    output::{self, Format, fields},
    serve,
    settings::process_environment,
    units::{parse_duration, show_duration},
};

const EXAMPLES: &str = "\
Examples:
  hookwright relay init | psql \"$DATABASE_URL\"
      Create the table, its index and its trigger.
  hookwright relay --database-url postgres://relay@db/shop
      Publish the rows that services insert, until a signal arrives.
  hookwright relay --once
      Publish the present rows, and exit.
  hookwright relay status
  hookwright relay retry-failed

A second relay on the same table stands by and takes over. Connect to PostgreSQL directly, not through a pooler that shares
connections between transactions: the relay's lock and its notifications belong to one connection.

The URL has the parameters of the server's database URL, such as sslmode, sslrootcert and service; docs/guides/postgresql.md
lists them. PGPASSWORD and ~/.pgpass work too.

Exit status: 0 stopped by a signal, or with --once everything was published; 1 with --once if a row was rejected or could not
be published, or the table does not exist; 2 usage error. Without --once the relay waits while PostgreSQL or Hookwright is
unavailable. The guide: docs/guides/outbox.md";

/// Publish events from an outbox table in your own PostgreSQL, each exactly once
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, arg_required_else_help = false)]
pub(crate) struct RelayArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    outbox: OutboxArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(subcommand)]
    command: Option<RelayCommand>,
}

/// Outbox selection.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Outbox")]
struct OutboxArgs {
    /// The PostgreSQL database of the outbox: your service's, not Hookwright's [env: HOOKWRIGHT_RELAY_DATABASE_URL]
    #[arg(long, value_name = "URL", global = true)]
    database_url: Option<String>,
    /// A file that contains the URL [env: HOOKWRIGHT_RELAY_DATABASE_URL_FILE]
    #[arg(long, value_name = "FILE", global = true)]
    database_url_file: Option<PathBuf>,
    /// The table, optionally with its schema: shop.hookwright_outbox [default: hookwright_outbox]
    #[arg(long, value_name = "NAME", global = true, value_parser = Table::parse)]
    table: Option<Table>,
}

impl OutboxArgs {
    fn table(&self) -> Table {
        self.table.clone().unwrap_or_default()
    }

    fn database(&self) -> anyhow::Result<Database> {
        let given = self.database_url.clone();
        let url = given.or_else(|| process_environment("HOOKWRIGHT_RELAY_DATABASE_URL"));
        let file = self.database_url_file.clone();
        let file = file.or_else(|| process_environment("HOOKWRIGHT_RELAY_DATABASE_URL_FILE").map(PathBuf::from));
        let url = match (url, file) {
            (Some(url), None) => url,
            (None, Some(path)) => {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read the file of the database URL {}", path.display()))?;
                text.trim().to_owned()
            }
            (Some(_), Some(_)) => {
                let text = "both the database URL and its file are given: give only one";
                return Err(UsageError::new(text).into());
            }
            (None, None) => {
                let text = "no database given for the outbox: use --database-url or HOOKWRIGHT_RELAY_DATABASE_URL";
                return Err(UsageError::new(text).into());
            }
        };
        Database::new(&url)
    }
}

/// Options of the relay.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Relaying")]
struct RunArgs {
    /// Publish the present rows, and exit
    #[arg(long)]
    once: bool,
    /// Keep published rows, with `published_at` and `event` set, instead of deleting them
    #[arg(long)]
    keep: bool,
    /// Poll interval for rows without a notification [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    poll_interval: Option<Duration>,
    /// Maximum number of rows per call, 1 to 1000 [default: 1000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch_rows: Option<u16>,
}

/// The outbox commands.
#[derive(Debug, Subcommand)]
enum RelayCommand {
    /// Print the SQL that creates the outbox; run it with your migrations
    Init {
        /// Run it on the database instead
        #[arg(long)]
        apply: bool,
        /// Create no trigger that notifies the relay of new rows; the relay then finds them every --poll-interval
        #[arg(long)]
        no_notify: bool,
    },
    /// Show the number and age of pending rows, and the number of rejected ones
    Status,
    /// Put rejected rows back, to be published next
    RetryFailed {
        /// Only the row with this id; repeatable
        #[arg(long = "id", value_name = "ID")]
        ids: Vec<i64>,
    },
}

/// Runs the relay or the subcommand.
pub(crate) fn run(args: RelayArgs, root: ClientArgs) -> anyhow::Result<ExitCode> {
    let connection = args.client.or(root);
    let table = args.outbox.table();
    let Some(command) = args.command else {
        let database = args.outbox.database()?;
        let RunArgs { once, keep, .. } = args.run;
        let options = work::Options {
            once,
            keep,
            poll_interval: args.run.poll_interval.unwrap_or(work::POLL_INTERVAL),
            batch_rows: args.run.batch_rows.unwrap_or(work::BATCH_ROWS),
        };
        if options.poll_interval.is_zero() {
            return Err(UsageError::new("--poll-interval must be more than 0, for example 5s").into());
        }
        return client::run(connection, |client| async move {
            let stop = serve::shutdown()?;
            Relay::new(client.api, database, table, options, stop).run().await
        });
    };
    if args.run != RunArgs::default() {
        let text = "--once, --keep, --poll-interval and --batch-rows are for `hookwright relay` without a subcommand";
        return Err(UsageError::new(text).into());
    }
    let format = connection.output.unwrap_or_default();
    client::failure::report_as(format, "", None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(async {
        match command {
            RelayCommand::Init { apply, no_notify } => init(&args.outbox, &table.create(!no_notify), apply).await,
            RelayCommand::Status => status(&args.outbox, &table, format).await,
            RelayCommand::RetryFailed { ids } => retry_failed(&args.outbox, &table, &ids, format).await,
        }
    })
}

async fn init(args: &OutboxArgs, sql: &str, apply: bool) -> anyhow::Result<ExitCode> {
    if apply {
        let session = args.database()?.connect("hookwright relay init").await?;
        let table = args.table();
        let existed: bool = session
            .query_one(&table.exists(), &[])
            .await
            .context("cannot look for the outbox")?
            .get(0);
        session.run(sql).await.context("cannot create the outbox")?;
        output::note(&if existed {
            format!("the outbox {table} already exists")
        } else {
            format!("created the outbox {table}")
        });
    } else {
        output::print(sql.trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(args: &OutboxArgs, table: &Table, format: Format) -> anyhow::Result<ExitCode> {
    let outbox = open(args, table).await?;
    let status = outbox.status().await?;
    let age = status
        .oldest_seconds
        .map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    if format == Format::Json {
        let status = json!({
            "waiting": status.waiting,
            "oldestSeconds": status.oldest_seconds,
            "failed": status.failed,
            "relayed": status.led,
        });
        output::print(&status.to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    let relayed = if status.led {
        "yes"
    } else {
        "no: no relay serves this table"
    };
    output::print(&fields(vec![
        ("waiting", status.waiting.to_string()),
        ("oldest", age.map(show_duration).unwrap_or_default()),
        ("refused", status.failed.to_string()),
        ("relayed", relayed.to_owned()),
    ]))?;
    Ok(ExitCode::SUCCESS)
}

async fn retry_failed(args: &OutboxArgs, table: &Table, ids: &[i64], format: Format) -> anyhow::Result<ExitCode> {
    let count = open(args, table).await?.retry_failed(ids).await?;
    if format == Format::Json {
        output::print(&json!({ "rows": count }).to_string())?;
    } else {
        output::print(&format!("{} put back", output::counted(count, "row")))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn open(args: &OutboxArgs, table: &Table) -> anyhow::Result<Outbox> {
    let session = args.database()?.connect("hookwright relay").await?;
    Outbox::open(session, table).await
}
