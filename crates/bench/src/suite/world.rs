//! The environment of a scenario: a new server on a new store, a sink, a publisher, and the measurement of processes.
//!
//! | module | content |
//! | --- | --- |
//! | `setup` | what is started, and how |
//! | `resources` | the organizations, event types and webhooks of a world |
//! | `parts` | the child processes of a world |
//! | `http` | the pages of the server's HTTP listener |

pub(super) mod http;
mod parts;
mod resources;
mod setup;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use hookwright_testkit::{Past, PostgresCluster, TestDatabase, TestServer};
use tonic::{Request, transport::Channel};

pub(super) use self::{
    parts::{Sink, publish, raw, reconnecting, sink, wait_for},
    resources::{subscription, templates},
    setup::Setup,
};
use super::{Profile, Store};
use crate::{
    parts::{
        child::Part,
        messages::{Behaviour, RawStats, SinkStats},
    },
    usage,
};

/// The organization of all scenarios.
pub(super) const ORGANIZATION: &str = "organizations/bench";
/// How many hosts the sink simulates.
pub(super) const HOSTS: usize = 16;

/// The resources that scenarios share: the binary, and one PostgreSQL cluster once it is needed.
pub(super) struct Site {
    server: PathBuf,
    pub(super) profile: Profile,
    cluster: Option<(PostgresCluster, u32)>,
}

impl Site {
    pub(super) fn new(server: PathBuf, profile: Profile) -> Self {
        Self {
            server,
            profile,
            cluster: None,
        }
    }

    /// The binary.
    pub(super) fn server(&self) -> &Path {
        &self.server
    }

    /// The cluster, and the parent process of all its other processes.
    pub(super) async fn cluster(&mut self) -> anyhow::Result<&(PostgresCluster, u32)> {
        if self.cluster.is_none() {
            let cluster = PostgresCluster::start().await?;
            let postmaster = postmaster(cluster.url()).await?;
            self.cluster = Some((cluster, postmaster));
        }
        self.cluster.as_ref().context("the cluster was started")
    }
}

/// Connects to PostgreSQL.
pub(super) async fn connect(url: &str) -> anyhow::Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn postmaster(url: &str) -> anyhow::Result<u32> {
    // The backend ends with its client.
    let client = connect(url).await?;
    let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    usage::parent(backend.unsigned_abs()).context("the backend has a parent")
}

/// The CPU times of all processes at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct CpuTimes {
    pub(super) server: Duration,
    pub(super) database: Duration,
}

/// Reads the CPU times of a world's processes, while its other fields are in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    server: u32,
    postmaster: Option<u32>,
}

impl Meter {
    pub(super) fn read(self) -> anyhow::Result<CpuTimes> {
        Ok(CpuTimes {
            server: usage::cpu(self.server)?,
            database: self.postmaster.map_or(Ok(Duration::ZERO), usage::cpu_of_tree)?,
        })
    }
}

/// A running installation with the processes around it.
pub(super) struct World {
    pub(super) server: TestServer,
    pub(super) database: Option<TestDatabase>,
    postmaster: Option<u32>,
    pub(super) sink: Sink,
    pub(super) directory: tempfile::TempDir,
    channel: Channel,
    token: String,
}

impl World {
    /// A new installation with the default settings, except that the sink on loopback is an allowed target.
    pub(super) async fn start(site: &mut Site, store: Store) -> anyhow::Result<Self> {
        Self::start_as(site, store, &Setup::default()).await
    }

    pub(super) async fn start_as(site: &mut Site, store: Store, setup: &Setup<'_>) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let sink = sink(setup.hosts, setup.sink).await?;
        let mut builder = setup.builder(&site.server, directory.path(), &sink)?;
        let (mut database, mut postmaster) = (None, None);
        if store == Store::Postgres {
            let (cluster, parent) = site.cluster().await?;
            let created = cluster.create_database().await?;
            builder = builder.postgres(created.url());
            (database, postmaster) = (Some(created), Some(*parent));
        }
        let server = builder.start().await?;
        let token = server.token()?;
        let channel = Channel::from_shared(format!("http://{}", server.grpc_address()))?
            .connect()
            .await?;
        let world = Self {
            server,
            database,
            postmaster,
            sink,
            directory,
            channel,
            token,
        };
        world.organization(ORGANIZATION).await?;
        Ok(world)
    }

    /// Reconnects after the server was restarted.
    pub(super) async fn reconnect(&mut self) -> anyhow::Result<()> {
        self.channel = Channel::from_shared(format!("http://{}", self.server.grpc_address()))?
            .connect()
            .await?;
        Ok(())
    }

    /// The connection to the server, for clients of its services.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The admin token.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// A call with the admin token.
    pub(super) fn request<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.token).parse()?;
        request.metadata_mut().insert("authorization", bearer);
        Ok(request)
    }

    /// A publisher for this server.
    pub(super) fn publisher(&self) -> anyhow::Result<Part> {
        self.publisher_of(&[self.server.grpc_address()])
    }

    /// A publisher that uses several servers in turn.
    pub(super) fn publisher_of(&self, servers: &[&str]) -> anyhow::Result<Part> {
        Part::start(&["publisher", "--servers", &servers.join(","), "--token", &self.token])
    }

    /// Another server on the same database.
    pub(super) async fn second_server(&self, site: &Site, settings: &[(&str, &str)]) -> anyhow::Result<TestServer> {
        let database = self.database.as_ref().context("several servers need PostgreSQL")?;
        let mut builder = TestServer::builder(&site.server)
            .allow("127.0.0.0/8")
            .postgres(database.url());
        for (flag, value) in settings {
            builder = builder.arg(flag, value);
        }
        builder.start().await
    }

    pub(super) async fn behave(&mut self, host: usize, how: Behaviour) -> anyhow::Result<()> {
        self.sink.behave(Some(host), how).await
    }

    /// Waits until this many deliveries have arrived at the sink.
    pub(super) async fn wait_for(&mut self, deliveries: u64) -> anyhow::Result<SinkStats> {
        wait_for(&mut self.sink.part, deliveries).await
    }

    pub(super) async fn reset_sink(&mut self) -> anyhow::Result<SinkStats> {
        self.sink.reset().await
    }

    /// The store, which can be filled while the server is stopped.
    pub(super) fn past(&self) -> Past {
        match &self.database {
            Some(database) => Past::Postgres(database.url().to_owned()),
            None => Past::Sqlite(self.server.data_directory().join("hookwright.db")),
        }
    }

    /// Runs the raw sender against this world's sink.
    pub(super) async fn raw(&self, seconds: f64) -> anyhow::Result<RawStats> {
        let hosts = &self.sink.addresses[..HOSTS.min(self.sink.addresses.len())];
        raw(hosts, seconds).await
    }

    pub(super) fn meter(&self) -> Meter {
        Meter {
            server: self.server.pid(),
            postmaster: self.postmaster,
        }
    }

    pub(super) fn cpu(&self) -> anyhow::Result<CpuTimes> {
        self.meter().read()
    }

    /// Text of the server's `/metrics`.
    pub(super) async fn metrics(&self) -> anyhow::Result<String> {
        http::get(self.server.http_address(), "/metrics").await
    }
}
