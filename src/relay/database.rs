//! The connection to the user's PostgreSQL.

use std::{future::poll_fn, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use hookwright_domain::mask::{check_user_info, explain_refusal};
use rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};
use tokio::{sync::Notify, task::JoinHandle, time::timeout};
use tokio_postgres::{AsyncMessage, Client, Connection, Row, Socket, Statement, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::client::failure::UsageError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a statement may take by the server's clock, and by ours, which is for a server that does not answer.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// What a statement is given.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A database to connect to.
pub(super) struct Database {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

/// A connection. It ends with this value.
pub(super) struct Session {
    client: Client,
    /// A notification came since it was last waited for.
    notified: Arc<Notify>,
    connection: JoinHandle<anyhow::Error>,
}

impl Database {
    /// Checks the URL.
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let read = |url: &str| url.parse::<tokio_postgres::Config>().map_err(|error| chain(&error));
        let refused = |why: String| UsageError::new(format!("the database URL cannot be read: {why}"));
        check_user_info(url).map_err(refused)?;
        let mut config = read(url).map_err(|_| refused(explain_refusal(url, read)))?;
        config
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(Duration::from_secs(30));
        Ok(Self {
            config,
            tls: MakeRustlsConnect::new(tls_config()?),
        })
    }

    /// Connects under a name that the database shows.
    pub(super) async fn connect(&self, name: &str) -> anyhow::Result<Session> {
        let mut config = self.config.clone();
        config.application_name(name);
        let connecting = config.connect(self.tls.clone());
        let (client, connection) = timeout(ANSWER_TIMEOUT, connecting)
            .await
            .context("PostgreSQL does not answer")?
            .context("cannot connect to PostgreSQL")?;
        let notified = Arc::new(Notify::new());
        let connection = tokio::spawn(drive(connection, Arc::clone(&notified)));
        let session = Session {
            client,
            notified,
            connection,
        };
        // A relay whose machine is lost gives its place up within half a minute.
        let settings = format!(
            "SET statement_timeout = {}; SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; \
             SET tcp_keepalives_count = 3",
            STATEMENT_TIMEOUT.as_millis()
        );
        session.run(&settings).await.context("cannot set up the session")?;
        Ok(session)
    }
}

impl Session {
    /// Runs statements without parameters.
    pub(super) async fn run(&self, sql: &str) -> anyhow::Result<()> {
        answered(self.client.batch_execute(sql)).await
    }

    /// Prepares a statement.
    pub(super) async fn prepare(&self, sql: &str) -> anyhow::Result<Statement> {
        answered(self.client.prepare(sql)).await
    }

    /// The rows that a statement returns.
    pub(super) async fn query(&self, statement: &Statement, parameters: Parameters<'_>) -> anyhow::Result<Vec<Row>> {
        answered(self.client.query(statement, parameters)).await
    }

    /// The one row that a statement returns.
    pub(super) async fn query_one(&self, sql: &str, parameters: Parameters<'_>) -> anyhow::Result<Row> {
        answered(self.client.query_one(sql, parameters)).await
    }

    /// How many rows a statement changes.
    pub(super) async fn execute(&self, statement: &Statement, parameters: Parameters<'_>) -> anyhow::Result<u64> {
        answered(self.client.execute(statement, parameters)).await
    }

    /// Resolves when a notification has come since the last time; fails when the connection ends.
    pub(super) async fn notified(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            () = self.notified.notified() => Ok(()),
            ended = &mut self.connection => Err(ended.unwrap_or_else(anyhow::Error::from)),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Waits for the answer to a statement, but not for ever.
async fn answered<T>(statement: impl Future<Output = Result<T, tokio_postgres::Error>>) -> anyhow::Result<T> {
    Ok(timeout(ANSWER_TIMEOUT, statement)
        .await
        .context("PostgreSQL does not answer")??)
}

/// Reads what comes until the connection ends, and returns why.
async fn drive<T>(mut connection: Connection<Socket, T>, notified: Arc<Notify>) -> anyhow::Error
where
    Connection<Socket, T>: Send,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(_))) => notified.notify_one(),
            Some(Ok(_)) => {}
            Some(Err(error)) => return anyhow::Error::from(error).context("the connection to PostgreSQL broke"),
            None => return anyhow!("PostgreSQL closed the connection"),
        }
    }
}

fn tls_config() -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |cause| format!("{error}: {}", chain(cause)))
}
