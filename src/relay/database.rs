//! The connection to the user's PostgreSQL.

use std::{future::poll_fn, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use hookwright_storage::remote::{self, Link};
use tokio::{sync::Notify, task::JoinHandle, time::timeout};
use tokio_postgres::{AsyncMessage, Client, Row, Statement, types::ToSql};

use crate::client::failure::UsageError;

/// Timeout of a statement, by the server's clock and by ours; ours covers a server that does not answer.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// A statement parameter.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A database to connect to.
pub(super) struct Database {
    url: String,
}

/// A connection. It ends with this value.
pub(super) struct Session {
    client: Client,
    /// Whether it is encrypted and verified, as text.
    security: String,
    /// Notified when a notification has arrived since the last wait.
    notified: Arc<Notify>,
    connection: JoinHandle<anyhow::Error>,
}

impl Database {
    /// Checks the URL, whose parameters are those of the server's database URL.
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let refused = |why: String| UsageError::new(format!("the database URL cannot be read: {why}"));
        remote::check(url).map_err(refused)?;
        Ok(Self { url: url.to_owned() })
    }

    /// Connects with an application name.
    pub(super) async fn connect(&self, name: &str) -> anyhow::Result<Session> {
        let connecting = remote::connect(&self.url, name);
        let (client, connection, security) = timeout(ANSWER_TIMEOUT, connecting)
            .await
            .context("PostgreSQL does not answer")?
            .map_err(|why| anyhow!("cannot connect to PostgreSQL: {why}"))?;
        let notified = Arc::new(Notify::new());
        let connection = tokio::spawn(drive(connection, Arc::clone(&notified)));
        let session = Session {
            client,
            security,
            notified,
            connection,
        };
        // PostgreSQL detects a lost relay machine within half a minute, and its place is free.
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
    /// Whether the connection is encrypted and verified, as text.
    pub(super) fn security(&self) -> &str {
        &self.security
    }

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

    /// The number of rows that a statement changes.
    pub(super) async fn execute(&self, statement: &Statement, parameters: Parameters<'_>) -> anyhow::Result<u64> {
        answered(self.client.execute(statement, parameters)).await
    }

    /// Resolves when a notification has arrived since the last call; fails when the connection ends.
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

/// Waits for a statement's result, with a timeout.
async fn answered<T>(statement: impl Future<Output = Result<T, tokio_postgres::Error>>) -> anyhow::Result<T> {
    Ok(timeout(ANSWER_TIMEOUT, statement)
        .await
        .context("PostgreSQL does not answer")??)
}

/// Reads messages until the connection ends, and returns the reason.
async fn drive(mut connection: Link, notified: Arc<Notify>) -> anyhow::Error {
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(_))) => notified.notify_one(),
            Some(Ok(_)) => {}
            Some(Err(error)) => return anyhow::Error::from(error).context("the connection to PostgreSQL was lost"),
            None => return anyhow!("PostgreSQL closed the connection"),
        }
    }
}
