//! A connection to PostgreSQL: TLS where the server offers it (or the URL's `sslmode` demands it), certificates checked.

use std::{sync::Arc, time::Duration};

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};
use tokio::time::timeout;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::session;
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
    let bad = |error: &dyn std::fmt::Display| ConnectionError::BadConnection(error.to_string());
    let mut config: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| bad(&error))?;
    config
        .application_name(name)
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(Duration::from_secs(30));
    let tls = MakeRustlsConnect::new(tls_config().map_err(|error| bad(&error))?);
    let (client, connection) = config
        .connect(tls)
        .await
        .map_err(|error| bad(&DisplayWithCause(&error)))?;
    let mut conn = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
    // The server gives up on a statement when its caller has. No statement here runs for long enough to be worth compiling, though
    // over many partitions some look as if they did: that alone takes a second or two.
    let settings = format!(
        "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = '60s'; SET jit = off",
        DEADLINE.as_millis()
    );
    session::batch(&mut conn, &settings)
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// Asks the server to end what a session is doing.
pub(super) async fn cancel(token: &tokio_postgres::CancelToken) -> Result<(), StoreError> {
    let unreachable = |error: &dyn std::fmt::Display| StoreError::Unreachable(error.to_string());
    let tls = tls_config().map_err(|error| unreachable(&error))?;
    let asked = token.cancel_query(MakeRustlsConnect::new(tls)).await;
    asked.map_err(|error| unreachable(&error))
}

fn tls_config() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// An error with what caused it: alone it says little.
struct DisplayWithCause<'a>(&'a tokio_postgres::Error);

impl std::fmt::Display for DisplayWithCause<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)?;
        match std::error::Error::source(self.0) {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}
