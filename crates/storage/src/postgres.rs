//! PostgreSQL: by diesel-async over tokio-postgres, with TLS by rustls; no libpq.
//!
//! Several servers may share a database: each is a node ([`nodes`]). One connection writes the committer's batches. It holds
//! the node's advisory lock for as long as it lives: a server that lost the connection cannot commit before it has the lock
//! again, and never does once others have taken over.

mod adoption;
mod commit;
pub(crate) mod configuration;
mod connect;
mod identity;
mod members;
mod nodes;
mod ordering;
mod owners;
mod partitions;
pub(crate) mod queries;
mod session;
mod statements;

use std::{ops::AsyncFnOnce, sync::Arc};

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{
    AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl as _,
    pooled_connection::{AsyncDieselConnectionManager, deadpool::Pool},
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use tokio::{sync::Mutex, time::timeout};

use self::{identity::Identity, session::Loan};
use crate::{
    DEADLINE,
    batch::{Batch, Committed, Expired, NewEvent},
    error::StoreError,
    nodes::NodeOptions,
    now_us,
    store::StoreOptions,
};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");
/// The advisory locks of migrations and of retention. Any two numbers that nobody else uses.
const MIGRATION_LOCK: i64 = 0x686f_6f6b_7772_0002;
const RETENTION_LOCK: i64 = 0x686f_6f6b_7772_0005;

/// See the module.
#[derive(Clone)]
pub(crate) struct Postgres {
    url: Arc<str>,
    pool: Pool<AsyncPgConnection>,
    writer: Arc<Mutex<Option<AsyncPgConnection>>>,
    /// The connection that hears notices and renews the lease.
    watch: Arc<Mutex<Option<AsyncPgConnection>>>,
    identity: Arc<Identity>,
    node: Arc<NodeOptions>,
}

/// Runs the migrations that are missing. They run on a thread of their own, for Diesel's migrations block.
pub(crate) async fn migrate(url: &str) -> Result<Vec<String>, StoreError> {
    let url = url.to_owned();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| StoreError::Unreachable(error.to_string()))?;
        runtime.block_on(async {
            let mut conn = connect::connect(&url, "hookwright migrate").await?;
            // Two servers that start at once take turns.
            diesel::sql_query("SELECT pg_advisory_lock($1)")
                .bind::<sql_types::BigInt, _>(MIGRATION_LOCK)
                .execute(&mut conn)
                .await?;
            run_migrations(conn)
        })
    };
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| StoreError::Migration(error.to_string()))?
}

fn run_migrations(conn: AsyncPgConnection) -> Result<Vec<String>, StoreError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| StoreError::Migration(error.to_string());
    let mut harness = AsyncMigrationHarness::new(conn);
    crate::sqlite::known_versions(&harness.applied_migrations().map_err(failed)?)?;
    crate::fault::point("migration");
    let applied = harness.run_pending_migrations(MIGRATIONS).map_err(failed)?;
    crate::fault::point("migration");
    Ok(applied.iter().map(ToString::to_string).collect())
}

impl Postgres {
    pub(crate) async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let mut config = diesel_async::pooled_connection::ManagerConfig::default();
        let identity = Arc::new(Identity::default());
        let known = Arc::clone(&identity);
        config.custom_setup = Box::new(move |url| {
            let name = nodes::application_name(known.number());
            Box::pin(async move { connect::establish(url, &name).await })
        });
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(&options.url, config);
        let pool = Pool::builder(manager).max_size(options.readers.max(1));
        let pool = pool
            .build()
            .map_err(|error| StoreError::Unreachable(error.to_string()))?;
        let store = Self {
            url: options.url.as_str().into(),
            pool,
            writer: Arc::default(),
            watch: Arc::default(),
            identity,
            node: Arc::new(options.node.clone()),
        };
        let mut writer = connect::connect(&store.url, "hookwright").await?;
        check_migrated(&mut writer).await?;
        if !options.allow_unsafe_durability {
            check_durable(&mut writer).await?;
        }
        partitions::make(&mut writer, now_us()).await?;
        nodes::join(&mut writer, &store.identity, &store.node).await?;
        *store.writer.lock().await = Some(writer);
        Ok(store)
    }

    async fn connect(&self) -> Result<AsyncPgConnection, StoreError> {
        connect::connect(&self.url, &nodes::application_name(self.identity.number())).await
    }

    /// A connection that holds the node's lock.
    async fn connect_writer(&self) -> Result<AsyncPgConnection, StoreError> {
        let mut conn = self.connect().await?;
        nodes::resume(&mut conn, &self.identity).await?;
        Ok(conn)
    }

    /// Opens the writing connection anew, on the runtime that this is called on.
    pub(crate) async fn move_writer(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        // With the connection goes its lock.
        drop(writer.take());
        *writer = Some(self.connect_writer().await?);
        Ok(())
    }

    /// Makes the partitions of the days to come.
    pub(crate) async fn make_partitions(&self, now_us: i64) -> Result<(), StoreError> {
        self.on_loan(async |conn| partitions::make(conn, now_us).await).await
    }

    /// Drops the oldest partition before an id; event by event where something of it is still pending.
    pub(crate) async fn expire(&self, after: i64, before: i64, limit: i64) -> Result<Expired, StoreError> {
        self.write(None, async |conn| {
            let mine: Flag = diesel::sql_query("SELECT pg_try_advisory_xact_lock($1) AS flag")
                .bind::<sql_types::BigInt, _>(RETENTION_LOCK)
                .get_result(conn)
                .await?;
            if !mine.flag {
                // Another node is at it.
                return Ok(Expired::default());
            }
            let Some(partition) = partitions::oldest(conn, before).await? else {
                return Ok(Expired::default());
            };
            if !partition.pending {
                let events = partitions::drop_partition(conn, &partition).await?;
                return Ok(Expired {
                    events,
                    next: Some(partition.end_id - 1),
                });
            }
            let step = queries::expire_stretch(conn, after, partition.end_id, limit).await?;
            Ok(step)
        })
        .await
    }

    /// Runs a query that only reads.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    {
        self.on_loan(async |conn| Ok(query(conn).await?)).await
    }

    /// Runs a change of configuration in a transaction of its own: the other nodes hear of it.
    pub(crate) async fn configure<T, F>(&self, ping: Option<NewEvent>, change: F) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    {
        self.write(ping, async |conn| {
            let done = change(conn).await?;
            configuration::changed(conn).await?;
            Ok(done)
        })
        .await
    }

    /// Runs a change in a transaction of its own, as a node that has not been lost.
    pub(crate) async fn write<T, F>(&self, ping: Option<NewEvent>, change: F) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    {
        self.transaction(async |conn| {
            nodes::hold(conn, &self.identity).await?;
            let done = change(conn).await?;
            if let Some(ping) = &ping {
                let node = self.identity.number();
                commit::insert_events(conn, std::slice::from_ref(ping), |_| node).await?;
            }
            Ok(done)
        })
        .await
    }

    /// Runs a transaction.
    pub(crate) async fn transaction<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, StoreError>,
    {
        self.on_loan(async |conn| session::transaction(conn, work).await).await
    }

    /// Runs work on a connection of the pool.
    async fn on_loan<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, StoreError>,
    {
        within_deadline(async { Loan::take(&self.pool).await?.run(work).await }).await
    }

    pub(crate) async fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let committed = self
            .on_writer(async |conn| {
                let number = self.identity.number();
                session::transaction(conn, async |conn| Ok(commit::commit(conn, number, batch).await?)).await
            })
            .await;
        // The clock went forward by more days than there are partitions.
        if matches!(&committed, Err(error) if error.to_string().contains("no partition of relation")) {
            self.make_partitions(now_us()).await?;
        }
        committed
    }

    /// Asks on the connection that commits: after a failure that is a new one, which has the server's lock only once the
    /// database has ended the session before it, and with it the transaction that failed.
    pub(crate) async fn events_exist(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
        self.on_writer(async |conn| Ok(queries::events_exist(conn, ids).await?))
            .await
    }

    async fn on_writer<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, StoreError>,
    {
        let mut writer = self.writer.lock().await;
        let result = within_deadline(async {
            let mut conn = match writer.take() {
                Some(conn) => conn,
                None => self.connect_writer().await?,
            };
            let done = work(&mut conn).await?;
            Ok((conn, done))
        })
        .await;
        // After any error, or when this future is dropped, the connection is not put back: the next use begins with a new one.
        let (conn, done) = result?;
        *writer = Some(conn);
        Ok(done)
    }
}

async fn within_deadline<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(DEADLINE, work)
        .await
        .unwrap_or(Err(StoreError::Timeout(DEADLINE.as_secs())))
}

#[derive(QueryableByName)]
struct Flag {
    #[diesel(sql_type = sql_types::Bool)]
    flag: bool,
}

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = sql_types::Text)]
    name: String,
    #[diesel(sql_type = sql_types::Text)]
    setting: String,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = sql_types::Text)]
    version: String,
}

/// The schema must be exactly what this version knows.
async fn check_migrated(conn: &mut AsyncPgConnection) -> Result<(), StoreError> {
    use diesel::migration::MigrationSource as _;
    let applied: Vec<Version> = diesel::sql_query("SELECT version::text AS version FROM __diesel_schema_migrations")
        .load(conn)
        .await
        .map_err(|_| StoreError::OlderSchema)?;
    let applied: Vec<_> = applied.into_iter().map(|row| row.version.into()).collect();
    crate::sqlite::known_versions(&applied)?;
    let known: Vec<Box<dyn diesel::migration::Migration<diesel::sqlite::Sqlite>>> = MIGRATIONS
        .migrations()
        .map_err(|error| StoreError::Migration(error.to_string()))?;
    if applied.len() < known.len() {
        Err(StoreError::OlderSchema)
    } else {
        Ok(())
    }
}

async fn check_durable(conn: &mut AsyncPgConnection) -> Result<(), StoreError> {
    let settings: Vec<Setting> = diesel::sql_query(
        "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')",
    )
    .load(conn)
    .await?;
    match settings.iter().find(|row| row.setting == "off") {
        Some(row) => Err(StoreError::NotDurable(format!("PostgreSQL runs with {}=off", row.name))),
        None => Ok(()),
    }
}
