//! Databases that exist as long as a test.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use crate::DEADLINE;

/// A database for one test, which is dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
    cluster_url: String,
}

impl TestDatabase {
    pub(super) async fn create(cluster_url: &str, template: Option<&str>) -> anyhow::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Unique among the processes that share a cluster, and within this process.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let (server, _) = cluster_url
            .rsplit_once('/')
            .context("a PostgreSQL URL ends in /DATABASE")?;
        let url = format!("{server}/{name}");

        let client = connect(cluster_url).await?;
        // A process id can be reused, and its former owner may have been killed.
        let drop_old = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        client.batch_execute(&drop_old).await?;
        let mut create = format!("CREATE DATABASE {name}");
        if let Some(template) = template {
            create.push_str(&format!(" TEMPLATE {template}"));
        }
        client.batch_execute(&create).await.with_context(|| create.clone())?;
        Ok(Self {
            name,
            url,
            cluster_url: cluster_url.to_owned(),
        })
    }

    /// Where to connect: `postgres://user:password@127.0.0.1:port/name`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    /// Drops the database, even if it has connections. It uses a thread with its own runtime, because a value can be
    /// dropped inside a runtime, outside one, or while one is shutting down.
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let url = self.cluster_url.clone();
        let dropping = std::thread::spawn(move || -> anyhow::Result<()> {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(async {
                    let client = connect(&url).await?;
                    client.batch_execute(&statement).await?;
                    Ok(())
                })
        });
        // A cluster that is stopped or gone has no databases to drop.
        let _ = dropping.join();
    }
}

/// Connects, and drives the connection in the background until the client is dropped.
pub(super) async fn connect(url: &str) -> anyhow::Result<Client> {
    let connecting = tokio_postgres::connect(url, NoTls);
    let (client, connection) = timeout(DEADLINE, connecting)
        .await
        .context("connecting to PostgreSQL")?
        .context("connecting to PostgreSQL")?;
    tokio::spawn(connection);
    Ok(client)
}
