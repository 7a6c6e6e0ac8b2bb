//! Connections to PostgreSQL.

use std::{fmt, sync::Arc, time::Duration};

use diesel::{ConnectionError, ConnectionResult, QueryableByName, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use tokio::time::timeout;
use tokio_postgres::{Client, Connection, Socket};

use super::{
    pooler,
    scope::SUFFIX,
    session,
    tls::{Connector, Stream},
    url::{Mode, Target, Verification, is_local, leave_tls_to_us},
    wire::{self, LastState, Watched},
};
use crate::{
    DEADLINE,
    certificates::{self, CertificateFault},
    error::StoreError,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects within the deadline, under a name that the database shows.
pub(super) async fn connect(url: &str, name: &str) -> Result<AsyncPgConnection, StoreError> {
    match timeout(DEADLINE, establish(url, name)).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(error)) => Err(StoreError::Unreachable(error.to_string())),
        Err(_) => Err(StoreError::Timeout(DEADLINE.as_secs())),
    }
}

/// Connects, and applies the settings that every session needs.
pub(super) async fn establish(url: &str, name: &str) -> ConnectionResult<AsyncPgConnection> {
    let state = Arc::<LastState>::default();
    let opened = open(url, "hookwright", &state)
        .await
        .map_err(ConnectionError::BadConnection)?;
    let Opened { client, connection, .. } = opened;
    let mut conn = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
    wire::keep(&mut conn, state);
    // The server ends a statement at the deadline of its caller. JIT compilation is off: no statement here runs long
    // enough to benefit. PostgreSQL overestimates some that cover many partitions, and compiling these takes a second
    // or two.
    let settings = format!(
        "{}; SET idle_in_transaction_session_timeout = '60s'; SET jit = off;
         SELECT set_config('application_name', '{name}' || {SUFFIX}, false)",
        statement_timeout()
    );
    session::batch(&mut conn, &settings)
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// The SQL that sets the timeout of statements, the same in every session.
pub(super) fn statement_timeout() -> String {
    format!("SET statement_timeout = {}", DEADLINE.as_millis())
}

pub(super) type Wire = Connection<Socket, Watched<Stream>>;

/// A connection that no task drives yet.
pub(super) struct Opened {
    pub(super) client: Client,
    pub(super) connection: Wire,
    pub(super) security: Security,
}

/// How a connection is secured against eavesdropping and impersonation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Security {
    is_encrypted: bool,
    is_local: bool,
    verification: Verification,
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.is_encrypted, self.verification) {
            (false, _) if self.is_local => "plain, on a socket of this machine",
            (false, _) => "plain: not encrypted",
            (true, Verification::None) => "encrypted, and the server's certificate is not verified",
            (true, Verification::Authority) => {
                "encrypted, and the authority of the server's certificate is verified, but not its host"
            }
            (true, Verification::Host) => "encrypted, and authority and host of the server's certificate are verified",
        })
    }
}

/// Connects to the URL's server. `allow` tries without TLS first.
pub(super) async fn open(url: &str, name: &str, state: &Arc<LastState>) -> Result<Opened, String> {
    let mut target: Target = url.parse()?;
    target
        .config
        .application_name(name)
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(Duration::from_secs(30));
    leave_tls_to_us(&mut target.config);
    let connector = |is_plain| Connector::new(&target, is_plain, Arc::clone(state));
    let mut used = connector(matches!(target.mode, Mode::Disable | Mode::Allow))?;
    let mut connected = target.config.connect(used.clone()).await;
    if connected.is_err() && target.mode == Mode::Allow {
        used = connector(false)?;
        connected = target.config.connect(used.clone()).await;
    }
    let (client, connection) = connected.map_err(|error| explain(&target, &error))?;
    let security = Security {
        is_encrypted: used.is_encrypted(),
        is_local: is_local(&target.config),
        verification: target.verification(),
    };
    Ok(Opened {
        client,
        connection,
        security,
    })
}

/// An error with its causes, and with the fix for a certificate that is not trusted.
fn explain(target: &Target, error: &tokio_postgres::Error) -> String {
    if let Some(tls) = certificates::tls_cause(error) {
        let fix = match certificates::fault(tls) {
            CertificateFault::Authority => {
                "name the authority that signed it with sslrootcert=/path/to/ca.pem in the database URL"
            }
            CertificateFault::Name => {
                "connect to a host that it is for, or, with a private authority, use sslmode=verify-ca and sslrootcert"
            }
            CertificateFault::Time => "renew it, or correct this machine's clock",
            CertificateFault::NotTls => "is this the port of PostgreSQL? sslmode=disable connects without TLS",
            CertificateFault::Other => "see the log of PostgreSQL",
        };
        return format!("{}; {fix}", certificates::explain("PostgreSQL", tls));
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    if target.config.get_hosts().is_empty() {
        text.push_str("; name the host in the database URL, or in the service that it names");
    }
    text
}

/// Refuses a pooler that assigns each transaction to another session. Returns how connections are secured.
///
/// # Errors
/// Returns [`StoreError::Pooler`] for such a pooler.
pub(super) async fn refuse_pooler(url: &str) -> Result<Security, StoreError> {
    let looking = async {
        let one = open(url, "hookwright", &Arc::default()).await?;
        let other = open(url, "hookwright", &Arc::default()).await?;
        let drives = [tokio::spawn(one.connection), tokio::spawn(other.connection)];
        let found = pooler::is_transaction_mode(&one.client, &other.client).await;
        drop((one.client, other.client));
        for drive in drives {
            drive.abort();
        }
        found
            .map(|found| (found, one.security))
            .map_err(|error| error.to_string())
    };
    match timeout(DEADLINE, looking).await {
        Ok(Ok((false, security))) => Ok(security),
        Ok(Ok((true, _))) => Err(StoreError::Pooler),
        Ok(Err(error)) => Err(StoreError::Unreachable(error)),
        Err(_) => Err(StoreError::Timeout(DEADLINE.as_secs())),
    }
}

/// Checks that there is a schema to use.
pub(super) async fn check_schema(conn: &mut AsyncPgConnection) -> Result<(), StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
        schema: Option<String>,
        #[diesel(sql_type = sql_types::Text)]
        path: String,
    }
    let found: Found =
        diesel::sql_query("SELECT current_schema()::text AS schema, current_setting('search_path') AS path")
            .get_result(conn)
            .await?;
    match found.schema {
        Some(_) => Ok(()),
        None => Err(StoreError::NoSchema(found.path)),
    }
}
