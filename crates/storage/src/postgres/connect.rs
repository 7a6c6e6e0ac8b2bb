//! Connections to PostgreSQL.

use std::{sync::Arc, time::Duration};

use diesel::{ConnectionError, ConnectionResult, QueryableByName, sql_types};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use tokio::time::timeout;
use tokio_postgres::{CancelToken, Client, Connection, Socket};

use super::{
    pooler,
    scope::SUFFIX,
    session,
    tls::{Connector, Stream},
    url::{Mode, Target, leave_tls_to_us},
    wire::{self, LastState, Watched},
};
use crate::{DEADLINE, error::StoreError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects under a name that the database shows, within the deadline.
pub(super) async fn connect(url: &str, name: &str) -> Result<AsyncPgConnection, StoreError> {
    match timeout(DEADLINE, establish(url, name)).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(error)) => Err(StoreError::Unreachable(error.to_string())),
        Err(_) => Err(StoreError::Timeout(DEADLINE.as_secs())),
    }
}

/// Connects, and sets what every session needs.
pub(super) async fn establish(url: &str, name: &str) -> ConnectionResult<AsyncPgConnection> {
    let state = Arc::<LastState>::default();
    let (client, connection) = open(url, &state).await.map_err(ConnectionError::BadConnection)?;
    let mut conn = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
    wire::keep(&mut conn, state);
    // The server gives up on a statement when its caller has. No statement here runs for long enough to be worth compiling, though
    // over many partitions some look as if they did: that alone takes a second or two.
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

/// Sets for how long a statement may run, as every session has it.
pub(super) fn statement_timeout() -> String {
    format!("SET statement_timeout = {}", DEADLINE.as_millis())
}

type Wire = Connection<Socket, Watched<Stream>>;

/// Connects as the URL says; `allow` tries without TLS first.
async fn open(url: &str, state: &Arc<LastState>) -> Result<(Client, Wire), String> {
    let mut target: Target = url.parse()?;
    target
        .config
        .application_name("hookwright")
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(Duration::from_secs(30));
    leave_tls_to_us(&mut target.config);
    let connector = |is_plain| Connector::new(&target, is_plain, Arc::clone(state));
    let first = connector(matches!(target.mode, Mode::Disable | Mode::Allow))?;
    match target.config.connect(first).await {
        Ok(connected) => Ok(connected),
        Err(_) if target.mode == Mode::Allow => {
            let connected = target.config.connect(connector(false)?).await;
            connected.map_err(|error| explain(&target, &error))
        }
        Err(error) => Err(explain(&target, &error)),
    }
}

/// An error with what caused it, and with what to do about a certificate that is not trusted.
fn explain(target: &Target, error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    if text.contains("invalid peer certificate") && target.is_verified() {
        text.push_str(
            "; name the authority that signed the server's certificate with sslrootcert=/path/to/ca.pem in the database URL, or the \
             host that the certificate is for",
        );
    }
    text
}

/// Asks the server to end what a session is doing.
pub(super) async fn cancel(url: &str, token: &CancelToken) -> Result<(), String> {
    let target: Target = url.parse()?;
    let connector = Connector::new(
        &target,
        matches!(target.mode, Mode::Disable | Mode::Allow),
        Arc::default(),
    )?;
    token.cancel_query(connector).await.map_err(|error| error.to_string())
}

/// Refuses a pooler that gives each transaction another session.
///
/// # Errors
/// [`StoreError::Pooler`] then.
pub(super) async fn refuse_pooler(url: &str) -> Result<(), StoreError> {
    let looking = async {
        let one = open(url, &Arc::default()).await?;
        let other = open(url, &Arc::default()).await?;
        let drives = [tokio::spawn(one.1), tokio::spawn(other.1)];
        let found = pooler::is_transaction_mode(&one.0, &other.0).await;
        drop((one.0, other.0));
        for drive in drives {
            drive.abort();
        }
        found.map_err(|error| error.to_string())
    };
    match timeout(DEADLINE, looking).await {
        Ok(Ok(false)) => Ok(()),
        Ok(Ok(true)) => Err(StoreError::Pooler),
        Ok(Err(error)) => Err(StoreError::Unreachable(error)),
        Err(_) => Err(StoreError::Timeout(DEADLINE.as_secs())),
    }
}

/// There must be a schema to work in.
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
