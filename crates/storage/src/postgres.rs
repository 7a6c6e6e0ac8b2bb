//! The store on PostgreSQL: diesel-async over tokio-postgres, with TLS by rustls, and without libpq.
//!
//! Several servers may share a database: each is a node ([`nodes`]). One connection writes the committer's batches, and
//! holds the node's advisory lock as long as it is open. A server that lost the connection cannot commit until it has
//! the lock again, and never after other nodes have taken over.

pub(crate) mod adoption;
mod cancel;
mod commit;
mod compaction;
pub(crate) mod configuration;
mod connect;
mod dialect;
mod environment;
mod identity;
mod inserts;
mod members;
mod migrate;
mod nodes;
mod notices;
mod ordering;
mod owners;
mod partitions;
#[cfg(test)]
mod plans;
mod pooler;
#[expect(
    clippy::duplicate_mod,
    reason = "the queries are the same on both stores; only the module `dialect` differs"
)]
#[path = "queries/mod.rs"]
pub(crate) mod queries;
pub mod remote;
mod schedule;
mod scope;
mod session;
mod sightings;
mod sql;
mod statements;
mod tls;
mod url;
mod vitals;
pub(crate) mod waiting;
mod wire;

use std::{
    ops::AsyncFnOnce,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use diesel::{QueryableByName, result::QueryResult, sql_types};
use diesel_async::{
    AsyncPgConnection, RunQueryDsl as _,
    pooled_connection::{AsyncDieselConnectionManager, deadpool::Pool},
};
use tokio::{sync::Mutex, time::timeout};

pub(crate) use self::migrate::migrate;
use self::{identity::Identity, scope::KEY_64, session::Loan, sightings::Sightings};
use crate::{
    DEADLINE,
    batch::{Batch, Committed, NewEvent},
    clock::reference_us,
    configuration::ConfigurationPart,
    error::StoreError,
    nodes::NodeOptions,
    options::StoreOptions,
    retention::Expired,
    vitals::LongTransaction,
};

/// The advisory lock of retention: an arbitrary number that no other lock uses.
const RETENTION_LOCK: i64 = 0x686f_6f6b_7772_0005;

/// Retries a transaction that PostgreSQL ended because of a conflict with another one.
macro_rules! undisturbed {
    ($transaction:expr) => {{
        let mut tries = 1;
        loop {
            match $transaction {
                Err(error) if $crate::StoreError::is_conflict(&error) && tries < $crate::postgres::TRIES_MAX => {
                    tracing::info!(%error, "two transactions conflicted; retrying this one");
                    tries += 1;
                }
                result => break result,
            }
        }
    }};
}
pub(crate) use undisturbed;

/// How often a conflicting transaction is tried.
pub(crate) const TRIES_MAX: usize = 5;

/// The store on PostgreSQL.
#[derive(Clone)]
pub(crate) struct Postgres {
    url: Arc<str>,
    pool: Pool<AsyncPgConnection>,
    writer: Arc<Mutex<Option<AsyncPgConnection>>>,
    /// The connection that last held the configuration lock, and when it was returned.
    change: Arc<Mutex<Option<(AsyncPgConnection, Instant)>>>,
    /// The version of this node's last configuration change.
    changed: Arc<AtomicI64>,
    /// The connection that receives notices and renews the lease.
    watch: Arc<Mutex<Option<AsyncPgConnection>>>,
    identity: Arc<Identity>,
    node: Arc<NodeOptions>,
    /// Observations of the leases of the other nodes.
    sightings: Arc<Sightings>,
    /// The stored distance of the schedule clock from the database's clock.
    distance: Arc<parking_lot::Mutex<Option<i64>>>,
}

/// Reads a value that the service keeps for itself, without joining the nodes.
pub(crate) async fn peek_setting(url: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let mut conn = connect::connect(url, "hookwright").await?;
    within_deadline(async { Ok(queries::setting(&mut conn, key).await?) }).await
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
            change: Arc::default(),
            changed: Arc::default(),
            watch: Arc::default(),
            identity,
            node: Arc::new(options.node.clone()),
            sightings: Arc::default(),
            distance: Arc::default(),
        };
        let security = connect::refuse_pooler(&store.url).await?;
        tracing::info!("the connection to PostgreSQL is {security}");
        let mut writer = connect::connect(&store.url, "hookwright").await?;
        connect::check_schema(&mut writer).await?;
        check_migrated(&mut writer).await?;
        if !options.allow_unsafe_durability {
            check_durable(&mut writer).await?;
        }
        partitions::make(&mut writer, reference_us()).await?;
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

    /// Reopens the writing connection on the current runtime.
    pub(crate) async fn move_writer(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        // Closing the connection releases its lock.
        drop(writer.take());
        *writer = Some(self.connect_writer().await?);
        Ok(())
    }

    /// Creates the partitions of the coming days.
    pub(crate) async fn make_partitions(&self, now_us: i64) -> Result<(), StoreError> {
        self.on_loan(async |conn| partitions::make(conn, now_us).await).await
    }

    /// A separate session that holds the retention lock; `None` while another session holds it.
    pub(crate) async fn begin_retention(&self) -> Result<Option<AsyncPgConnection>, StoreError> {
        within_deadline(async {
            let mut conn = self.connect().await?;
            let mine: Flag = diesel::sql_query(format!("SELECT pg_try_advisory_lock($1 # {KEY_64}) AS flag"))
                .bind::<sql_types::BigInt, _>(RETENTION_LOCK)
                .get_result(&mut conn)
                .await?;
            Ok(mine.flag.then_some(conn))
        })
        .await
    }

    /// Makes a step of retention, on the session that holds the retention lock.
    pub(crate) async fn expire(
        &self,
        conn: &mut AsyncPgConnection,
        after: i64,
        before: i64,
    ) -> Result<Expired, StoreError> {
        within_deadline(async {
            let step = session::transaction(conn, async |conn| {
                nodes::hold(conn, &self.identity).await?;
                Ok(partitions::expire(conn, after, before).await?)
            });
            match step.await {
                // The tables are in use, or other objects depend on them. Other days need not wait.
                Err(error @ StoreError::Database { .. }) => {
                    Ok(partitions::pass_by(conn, after, before, error.to_string()).await?)
                }
                Err(error) => Err(error),
                Ok(step) => {
                    if let Some(day) = &step.sparse {
                        match compaction::compact(conn, day).await {
                            Err(error @ StoreError::Database { .. }) => {
                                tracing::debug!(%error, day = day.name, "cannot free the space of a day yet");
                            }
                            other => other?,
                        }
                    }
                    Ok(step.expired)
                }
            }
        })
        .await
    }

    pub(crate) async fn longest_transaction(&self) -> Result<Option<LongTransaction>, StoreError> {
        self.read(async |conn| vitals::longest_transaction(conn).await).await
    }

    /// Runs a query that only reads.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    {
        self.on_loan(async |conn| Ok(query(conn).await?)).await
    }

    /// Runs a change of one part of the configuration in a separate transaction, which notifies the other nodes.
    pub(crate) async fn configure<T, F>(
        &self,
        part: ConfigurationPart,
        ping: Option<NewEvent>,
        change: F,
    ) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    {
        let me = self.identity.number();
        let (done, version) = self
            .write(ping, async |conn| {
                let done = change(conn).await?;
                Ok((done, configuration::changed(conn, me, part).await?))
            })
            .await?;
        self.changed.fetch_max(version, Ordering::AcqRel);
        Ok(done)
    }

    /// Runs a change in a separate transaction, if this node has not been lost.
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
        within_deadline(async { Loan::take(&self.pool, &self.url).await?.run(work).await }).await
    }

    pub(crate) async fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let committed = self
            .on_writer(async |conn| {
                let number = self.identity.number();
                undisturbed!(
                    session::transaction(conn, async |conn| Ok(commit::commit(conn, number, batch).await?)).await
                )
            })
            .await;
        // The clock advanced by more days than there are partitions.
        if matches!(&committed, Err(error) if error.is_check_violation()) {
            self.make_partitions(reference_us()).await?;
        }
        committed
    }

    /// Checks on the connection that commits. After a failure that is a new connection, which gets the server's lock
    /// only when the database has ended the previous session, and with it the failed transaction.
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
            match work(&mut conn).await {
                Ok(done) => Ok((conn, done)),
                Err(error) => Err(wire::refine(&mut conn, error)),
            }
        })
        .await;
        // After an error, or when this future is dropped, the connection is not returned: the next use opens a new one.
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
struct Number {
    #[diesel(sql_type = sql_types::BigInt)]
    number: i64,
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

/// Checks that the schema is exactly the one of this version.
async fn check_migrated(conn: &mut AsyncPgConnection) -> Result<(), StoreError> {
    let applied = migrate::applied(conn).await.map_err(|_| StoreError::OlderSchema)?;
    migrate::check_known(&applied, migrate::MIGRATIONS)?;
    if applied.len() < migrate::MIGRATIONS.len() {
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
