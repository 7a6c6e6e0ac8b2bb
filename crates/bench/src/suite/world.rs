//! The environment of a scenario: a new server on a new store, a sink, a publisher, and calls to set things up.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use hookwright_proto::v1::{
    CreateEventTypeRequest, CreateOrganizationRequest, CreateWebhookRequest, EventType, Webhook,
    event_type_service_client::EventTypeServiceClient, organization_service_client::OrganizationServiceClient,
    webhook_service_client::WebhookServiceClient,
};
use hookwright_testkit::{Past, PostgresCluster, TestDatabase, TestServer};
use tonic::{Request, transport::Channel};

use super::{Profile, Store};
use crate::{
    parts::{
        child::Part,
        messages::{Behaviour, Listening, Publish, PublishStats, RawStats, SinkCommand, SinkStats},
    },
    usage,
};

/// The organization of all scenarios.
pub(super) const ORGANIZATION: &str = "organizations/bench";
/// How many hosts the sink simulates.
pub(super) const HOSTS: usize = 16;
/// Bytes of a payload.
pub(super) const PAYLOAD_BYTES: usize = 1024;

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

    /// The cluster, and the parent process of all its other processes.
    async fn cluster(&mut self) -> anyhow::Result<&(PostgresCluster, u32)> {
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

/// A running installation with the processes around it.
pub(super) struct World {
    pub(super) server: TestServer,
    pub(super) database: Option<TestDatabase>,
    postmaster: Option<u32>,
    pub(super) sink: Part,
    pub(super) addresses: Vec<String>,
    pub(super) directory: tempfile::TempDir,
    channel: Channel,
    token: String,
}

impl World {
    /// A new installation with the default settings, except that the sink on loopback is an allowed target.
    pub(super) async fn start(site: &mut Site, store: Store) -> anyhow::Result<Self> {
        Self::start_with(site, store, HOSTS, &[]).await
    }

    pub(super) async fn start_with(
        site: &mut Site,
        store: Store,
        hosts: usize,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut builder = TestServer::builder(&site.server).allow("127.0.0.0/8");
        builder = builder.data_directory(directory.path().join("data"));
        for (flag, value) in settings {
            builder = builder.arg(flag, value);
        }
        let (builder, database, postmaster) = match store {
            Store::Sqlite => (builder.sqlite(), None, None),
            Store::Postgres => {
                let (cluster, postmaster) = site.cluster().await?;
                let database = cluster.create_database().await?;
                (builder.postgres(database.url()), Some(database), Some(*postmaster))
            }
        };
        let server = builder.start().await?;
        let (sink, addresses) = sink(hosts).await?;
        let token = server.token()?;
        let channel = Channel::from_shared(format!("http://{}", server.grpc_address()))?
            .connect()
            .await?;
        let world = Self {
            server,
            database,
            postmaster,
            sink,
            addresses,
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

    /// Creates an organization with this name: `organizations/acme`.
    pub(super) async fn organization(&self, name: &str) -> anyhow::Result<()> {
        let request = CreateOrganizationRequest {
            organization_id: name.trim_start_matches("organizations/").to_owned(),
            organization: None,
        };
        let mut client = OrganizationServiceClient::new(self.channel.clone());
        client.create_organization(self.request(request)?).await?;
        Ok(())
    }

    /// Registers event types `bench.0`, `bench.1` and so on, and returns their names.
    pub(super) async fn event_types(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let mut client = EventTypeServiceClient::new(self.channel.clone());
        let mut names = Vec::with_capacity(count);
        for number in 0..count {
            let name = format!("bench.{number}");
            let request = CreateEventTypeRequest {
                event_type_id: name.clone(),
                event_type: Some(EventType::default()),
            };
            client.create_event_type(self.request(request)?).await?;
            names.push(name);
        }
        Ok(names)
    }

    /// Installs a webhook on a host of the sink for one event type.
    pub(super) async fn webhook(&self, host: usize, event_type: &str) -> anyhow::Result<Webhook> {
        self.webhook_of(ORGANIZATION, host, event_type).await
    }

    /// The same for any organization.
    pub(super) async fn webhook_of(
        &self,
        organization: &str,
        host: usize,
        event_type: &str,
    ) -> anyhow::Result<Webhook> {
        let webhook = Webhook {
            payload_url: format!("http://{}/payload", self.addresses[host]),
            events: vec![event_type.to_owned()],
            ..Webhook::default()
        };
        let request = CreateWebhookRequest {
            parent: organization.to_owned(),
            webhook: Some(webhook),
        };
        let mut client = WebhookServiceClient::new(self.channel.clone());
        Ok(client.create_webhook(self.request(request)?).await?.into_inner())
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
        let _: SinkStats = self.sink.ask(&SinkCommand::Behave { host, how }).await?;
        Ok(())
    }

    /// Waits until this many deliveries have arrived. Returns an error if fewer have arrived and none arrives for long,
    /// because the others are lost.
    pub(super) async fn wait_for(&mut self, deliveries: u64) -> anyhow::Result<SinkStats> {
        let wait = SinkCommand::Wait {
            deliveries: usize::try_from(deliveries)?,
            patience_s: 60,
        };
        let stats: SinkStats = self.sink.ask(&wait).await?;
        anyhow::ensure!(
            stats.deliveries >= deliveries,
            "{} deliveries of {deliveries} arrived; no figure is reported",
            stats.deliveries
        );
        Ok(stats)
    }

    pub(super) async fn reset_sink(&mut self) -> anyhow::Result<SinkStats> {
        self.sink.ask(&SinkCommand::Reset).await
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
        let hosts = &self.addresses[..HOSTS.min(self.addresses.len())];
        raw(hosts, seconds).await
    }

    pub(super) fn cpu(&self) -> anyhow::Result<CpuTimes> {
        Ok(CpuTimes {
            server: usage::cpu(self.server.pid())?,
            database: self.postmaster.map_or(Ok(Duration::ZERO), usage::cpu_of_tree)?,
        })
    }

    /// Text of the server's `/metrics`.
    pub(super) async fn metrics(&self) -> anyhow::Result<String> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.server.http_address()).await?;
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }
}

/// Starts a sink.
pub(super) async fn sink(hosts: usize) -> anyhow::Result<(Part, Vec<String>)> {
    let mut sink = Part::start(&["sink", "--hosts", &hosts.to_string()])?;
    let listening: Listening = sink.hear().await?;
    Ok((sink, listening.addresses))
}

/// Runs the raw sender.
pub(super) async fn raw(addresses: &[String], seconds: f64) -> anyhow::Result<RawStats> {
    let (addresses, seconds) = (addresses.join(","), seconds.to_string());
    let mut raw = Part::start(&["raw", "--addresses", &addresses, "--seconds", &seconds])?;
    raw.hear().await
}

/// Publishes, and fails unless everything was accepted.
pub(super) async fn publish(publisher: &mut Part, publish: &Publish) -> anyhow::Result<PublishStats> {
    let stats: PublishStats = publisher.ask(publish).await?;
    anyhow::ensure!(stats.refused == 0, "{} events were refused", stats.refused);
    Ok(stats)
}
