//! Real PostgreSQL clusters for tests.
//!
//! Most tests use [`PostgresCluster::shared`]: the cluster that `scripts/with-postgres` started before the test run
//! (its URL is in `HOOKWRIGHT_TEST_POSTGRES`), otherwise one for this process. Tests that stop, restart or configure
//! their cluster use [`PostgresCluster::start`].
//!
//! `scripts/with-postgres --hold`, at the other end of a pipe, owns a cluster that is started here. When this process
//! ends, even by a crash, the pipe closes and the script stops the cluster. The settings for durability are
//! PostgreSQL's defaults (fsync and synchronous_commit on) unless a test changes them.

mod database;

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;

pub use database::TestDatabase;

use crate::{DEADLINE, workspace_directory};

/// The environment variable with the URL of a running cluster.
pub const POSTGRES_VARIABLE: &str = "HOOKWRIGHT_TEST_POSTGRES";

/// A running PostgreSQL cluster on loopback.
#[derive(Debug)]
pub struct PostgresCluster {
    url: String,
    /// `None` for a cluster that another process started.
    holder: Option<Mutex<Holder>>,
}

impl PostgresCluster {
    /// The cluster that all tests share: the one that the environment names, otherwise one that this process starts on
    /// first use and that ends with it.
    ///
    /// # Errors
    /// Fails if PostgreSQL is not installed or does not start.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceCell<PostgresCluster> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| async {
                match std::env::var(POSTGRES_VARIABLE) {
                    Ok(url) if !url.is_empty() => Ok(Self { url, holder: None }),
                    _ => Self::start().await,
                }
            })
            .await
    }

    /// Starts a separate cluster for the test.
    ///
    /// # Errors
    /// Fails if PostgreSQL is not installed or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a separate cluster for the test with settings such as `("fsync", "off")`.
    ///
    /// # Errors
    /// Fails if PostgreSQL is not installed or does not start with these settings.
    pub async fn start_with(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::start_in(&std::env::temp_dir(), settings).await
    }

    /// Starts a separate cluster for the test whose data is in a directory, such as one on a separate file system.
    /// PostgreSQL's user must have access to the directory.
    ///
    /// # Errors
    /// Fails if PostgreSQL is not installed or does not start with these settings.
    pub async fn start_in(directory: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let (url, holder) = Holder::start(directory, settings).await?;
        Ok(Self {
            url,
            holder: Some(Mutex::new(holder)),
        })
    }

    /// The URL of the cluster's maintenance database, as a superuser.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates an empty database. Dropping the returned value ends its connections and drops it.
    ///
    /// # Errors
    /// Fails if the cluster cannot be reached or refuses.
    pub async fn create_database(&self) -> anyhow::Result<TestDatabase> {
        TestDatabase::create(&self.url, None).await
    }

    /// Creates a copy of another database, which is much cheaper than migrating an empty one. The template must have no
    /// connections while it is copied.
    ///
    /// # Errors
    /// Fails if the cluster cannot be reached or refuses.
    pub async fn create_database_from(&self, template: &TestDatabase) -> anyhow::Result<TestDatabase> {
        TestDatabase::create(&self.url, Some(template.name())).await
    }

    /// Stops the server according to `mode`. The data and the port are kept for [`Self::resume`].
    ///
    /// # Errors
    /// Fails if the cluster is a shared one from outside, or its holder is gone.
    pub async fn stop(&self, mode: StopMode) -> anyhow::Result<()> {
        let verb = match mode {
            StopMode::Fast => "stop fast",
            StopMode::Immediate => "stop immediate",
        };
        self.command(verb).await
    }

    /// Starts the stopped server again on the same port, and returns when it accepts connections.
    ///
    /// # Errors
    /// Fails if the cluster is a shared one from outside, or does not start.
    pub async fn resume(&self) -> anyhow::Result<()> {
        self.command("start").await
    }

    async fn command(&self, line: &str) -> anyhow::Result<()> {
        let Some(holder) = &self.holder else {
            bail!("a test must not stop the shared cluster: use PostgresCluster::start instead");
        };
        holder.lock().await.command(line).await
    }
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// Ends connections and writes everything: an orderly restart.
    Fast,
    /// Stops at once, without a checkpoint: the next start runs crash recovery.
    Immediate,
}

/// The script that owns the server, at the other end of a pipe.
#[derive(Debug)]
struct Holder {
    /// Closing it ends the script, and so the cluster.
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _script: Child,
}

impl Holder {
    async fn start(directory: &Path, settings: &[(&str, &str)]) -> anyhow::Result<(String, Self)> {
        let script = workspace_directory().join("scripts/with-postgres");
        let errors = tempfile::NamedTempFile::new()?;
        // The script runs in its own session: a test runner that kills the test's process group must not kill the
        // script, which then cleans up because its input has ended.
        let mut child = Command::new("setsid")
            .arg(&script)
            .args(
                settings
                    .iter()
                    .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]),
            )
            .arg("--hold")
            .env("TMPDIR", directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.reopen()?)
            .spawn()
            .with_context(|| format!("starting {}", script.display()))?;
        let input = child.stdin.take().context("the script's input")?;
        let output = child.stdout.take().context("the script's output")?;
        let mut output = BufReader::new(output).lines();

        let first = timeout(DEADLINE, output.next_line()).await;
        if let Ok(Ok(Some(line))) = &first
            && let Some(url) = line.strip_prefix("ready ")
        {
            let holder = Self {
                input,
                output,
                _script: child,
            };
            return Ok((url.to_owned(), holder));
        }
        let errors = std::fs::read_to_string(errors.path()).unwrap_or_default();
        bail!("no PostgreSQL cluster: {first:?}\n{errors}");
    }

    async fn command(&mut self, line: &str) -> anyhow::Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        self.input.flush().await?;
        let answer = timeout(DEADLINE, self.output.next_line())
            .await
            .with_context(|| format!("waiting for the cluster to {line}"))??;
        ensure!(
            answer.as_deref() == Some("ok"),
            "the cluster did not {line}: {answer:?}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn one(url: &str, query: &str) -> anyhow::Result<String> {
        let client = database::connect(url).await?;
        let rows = client.simple_query(query).await?;
        let value = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        value.context("no row")
    }

    #[tokio::test]
    async fn databases_are_separate_durable_and_dropped() -> anyhow::Result<()> {
        let cluster = PostgresCluster::shared().await?;
        let first = cluster.create_database().await?;
        let second = cluster.create_database().await?;
        assert_ne!(first.url(), second.url());
        one(first.url(), "CREATE TABLE marks (id int); SELECT 1").await?;
        assert!(one(second.url(), "SELECT * FROM marks").await.is_err());
        for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
            assert_eq!(one(first.url(), &format!("SHOW {setting}")).await?, "on");
        }

        let copy = cluster.create_database_from(&first).await?;
        assert_eq!(one(copy.url(), "SELECT count(*) FROM marks").await?, "0");

        let name = second.name().to_owned();
        drop(second);
        let query = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
        assert_eq!(one(cluster.url(), &query).await?, "0");
        Ok(())
    }

    #[tokio::test]
    async fn a_separate_cluster_stops_and_resumes_with_its_data() -> anyhow::Result<()> {
        let cluster = PostgresCluster::start_with(&[("synchronous_commit", "off")]).await?;
        let database = cluster.create_database().await?;
        assert_eq!(one(database.url(), "SHOW synchronous_commit").await?, "off");
        for mode in [StopMode::Fast, StopMode::Immediate] {
            cluster.stop(mode).await?;
            assert!(database::connect(cluster.url()).await.is_err());
            cluster.resume().await?;
            assert_eq!(one(database.url(), "SELECT 7").await?, "7");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_cluster_ends_with_its_handle() -> anyhow::Result<()> {
        let cluster = PostgresCluster::start().await?;
        let url = cluster.url().to_owned();
        drop(cluster);
        timeout(DEADLINE, async {
            while database::connect(&url).await.is_ok() {
                tokio::time::sleep(crate::POLL).await;
            }
        })
        .await?;
        Ok(())
    }

    #[tokio::test]
    async fn a_cluster_that_cannot_start_says_why() {
        let error = PostgresCluster::start_with(&[("no_such_setting", "1")])
            .await
            .expect_err("PostgreSQL refuses unknown settings");
        assert!(error.to_string().contains("no_such_setting"), "{error}");
    }
}
