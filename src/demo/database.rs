//! A separate database for the demo, which it drops afterwards.

use anyhow::Context as _;
use tokio_postgres::{Client, NoTls};
use url::Url;

/// A new, empty database on an existing PostgreSQL server.
pub(super) struct ScratchDatabase {
    /// Its URL.
    pub(super) url: String,
    name: String,
    server: String,
}

impl ScratchDatabase {
    /// Creates it on the server that `server` names.
    pub(super) async fn create(server: &str) -> anyhow::Result<Self> {
        let mut url = Url::parse(server).context("the database URL is not a URL")?;
        let name = format!("hookwright_demo_{}_{}", std::process::id(), now_ms());
        let client = connect(server).await?;
        // The name is made of letters and digits, so nothing needs quoting.
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.context(
            "cannot create a database for the demo: use a role that may, or `hookwright demo` with the embedded store",
        )?;
        url.set_path(&name);
        Ok(Self {
            url: url.into(),
            name,
            server: server.to_owned(),
        })
    }

    /// Drops it, with whatever connections are still open.
    pub(super) async fn drop(self) -> anyhow::Result<()> {
        let client = connect(&self.server).await?;
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        client
            .batch_execute(&statement)
            .await
            .with_context(|| format!("cannot drop the demo's database {}", self.name))
    }
}

async fn connect(server: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(server, NoTls)
        .await
        .context("cannot connect to PostgreSQL")?;
    // Ends when the client is dropped; the client's next call reports its errors.
    tokio::spawn(connection);
    Ok(client)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command line has the wall clock of its machine"
)]
fn now_ms() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}
