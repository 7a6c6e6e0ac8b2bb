//! The servers of a run: started, killed, frozen and restarted, each with its data directory and its connection to the
//! store.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use hookwright_proto::v1::{ListNodesRequest, node_service_client::NodeServiceClient};
use hookwright_testkit::{Past, PostgresCluster, Proxy, TestDatabase, TestServer};
use parking_lot::Mutex;
use tonic::{Request, metadata::MetadataValue, transport::Channel};

use crate::{
    Random,
    history::{Entry, History},
    now_us,
};

/// The master key that all nodes of a run share.
const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
/// The same in bytes.
pub(crate) const MASTER_KEY_BYTES: &[u8; 32] = b"01234567890123456789012345678901";
/// How long a node may take to start. PostgreSQL may be down meanwhile.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How many retries a delivery has: more than the faults of a run can use up.
const RETRIES: usize = 60;

/// The store of a run's nodes.
pub(crate) enum Place {
    /// One file per run, and one node.
    Sqlite { directory: PathBuf },
    /// One database, which the harness can stop and start.
    Postgres {
        cluster: Arc<PostgresCluster>,
        database: TestDatabase,
    },
}

pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) proxy: Option<Proxy>,
    server: Option<TestServer>,
    data: PathBuf,
    /// The number of the node when it was last requested.
    pub(crate) number: Option<u16>,
}

/// The addresses of the nodes, for publishers; `None` for a node that is down.
pub(crate) type Addresses = Arc<Mutex<Vec<Option<String>>>>;

pub(crate) struct Nodes {
    pub(crate) place: Place,
    pub(crate) nodes: Vec<Node>,
    pub(crate) addresses: Addresses,
    token: String,
    /// Flags and values that every node is started with.
    pub(crate) settings: Vec<(&'static str, String)>,
    binary: PathBuf,
    plant: Option<String>,
    history: Arc<History>,
    _directory: tempfile::TempDir,
}

impl Nodes {
    /// Starts `count` nodes on a fresh store in `directory`.
    pub(crate) async fn start(
        directory: tempfile::TempDir,
        binary: PathBuf,
        postgres: bool,
        count: usize,
        plant: Option<String>,
        history: Arc<History>,
    ) -> anyhow::Result<Self> {
        let place = if postgres {
            // PostgreSQL runs as another user.
            std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
            let cluster = Arc::new(PostgresCluster::start_in(directory.path(), &[]).await?);
            let database = cluster.create_database().await?;
            Place::Postgres { cluster, database }
        } else {
            Place::Sqlite {
                directory: directory.path().join("node-0"),
            }
        };
        let mut nodes = Self {
            place,
            nodes: Vec::new(),
            addresses: Arc::new(Mutex::new(vec![None; count])),
            token: String::new(),
            settings: Vec::new(),
            binary,
            plant,
            history,
            _directory: directory,
        };
        for index in 0..count {
            let proxy = match &nodes.place {
                Place::Sqlite { .. } => None,
                Place::Postgres { database, .. } => Some(Proxy::start(host_of(database.url())?).await?),
            };
            let data = nodes._directory.path().join(format!("node-{index}"));
            nodes.nodes.push(Node {
                index,
                proxy,
                server: None,
                data,
                number: None,
            });
            nodes.up(index, None).await?;
        }
        Ok(nodes)
    }

    /// The store, which can be filled while no node runs.
    pub(crate) fn past(&self) -> Past {
        match &self.place {
            Place::Sqlite { directory } => Past::Sqlite(directory.join("hookwright.db")),
            Place::Postgres { database, .. } => Past::Postgres(database.url().to_owned()),
        }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn data_directory(&self, index: usize) -> &std::path::Path {
        &self.nodes[index].data
    }

    pub(crate) fn is_up(&mut self, index: usize) -> bool {
        self.nodes[index].server.as_mut().is_some_and(TestServer::is_running)
    }

    /// Starts a node that is down. With `failpoint`, it dies at that point.
    pub(crate) async fn up(&mut self, index: usize, failpoint: Option<&str>) -> anyhow::Result<()> {
        let begun = std::time::Instant::now();
        self.nodes[index].server = None;
        let server = loop {
            match self.builder(index, failpoint)?.start().await {
                Ok(server) => break server,
                Err(error) if begun.elapsed() > START_PATIENCE => return Err(error.context(format!("node {index}"))),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        if self.token.is_empty() {
            self.token = server.token()?;
        }
        self.addresses.lock()[index] = Some(server.grpc_address().to_owned());
        self.nodes[index].server = Some(server);
        self.nodes[index].number = self.ask_number(index).await.ok();
        Ok(())
    }

    /// Migrates the schema while no node runs, without a time limit: `hookwright migrate`.
    pub(crate) async fn migrate(&self) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(&self.binary);
        command.arg("migrate").kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HOOKWRIGHT_") {
                command.env_remove(name);
            }
        }
        match &self.place {
            Place::Sqlite { directory } => command.arg("--data-dir").arg(directory),
            Place::Postgres { database, .. } => command.arg("--database-url").arg(database.url()),
        };
        let output = command.output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "migrate: {}\n{said}", output.status);
        Ok(())
    }

    fn builder(
        &self,
        index: usize,
        failpoint: Option<&str>,
    ) -> anyhow::Result<hookwright_testkit::server::TestServerBuilder> {
        let node = &self.nodes[index];
        let mut builder = TestServer::builder(&self.binary)
            .allow("127.0.0.0/8")
            .data_directory(&node.data)
            .env("HOOKWRIGHT_MASTER_KEY", MASTER_KEY)
            .env("HOOKWRIGHT_CLOCK_FILE", &self.clock_file(index).to_string_lossy())
            .arg("--node-name", &format!("n{index}"))
            .arg("--log-filter", "warn,hookwright=info")
            .arg("--shutdown-timeout", "10s");
        for _ in 0..RETRIES {
            builder = builder.arg("--retry-delay", "1s");
        }
        if let (Place::Postgres { database, .. }, Some(proxy)) = (&self.place, &node.proxy) {
            let url = database
                .url()
                .replacen(&host_of(database.url())?, &proxy.address().to_string(), 1);
            builder = builder.postgres(&url);
        }
        for (flag, value) in &self.settings {
            builder = builder.arg(flag, value);
        }
        if let Some(plant) = &self.plant {
            builder = builder.env("HOOKWRIGHT_PLANT", plant);
        }
        if let Some(failpoint) = failpoint {
            builder = builder.env("HOOKWRIGHT_FAILPOINT", failpoint);
        }
        Ok(builder)
    }

    fn clock_file(&self, index: usize) -> PathBuf {
        self._directory.path().join(format!("clock-{index}"))
    }

    /// Sets the clock of a node's machine to the right time plus this many seconds.
    pub(crate) fn set_clock(&self, index: usize, seconds: i64) -> anyhow::Result<()> {
        let file = self.clock_file(index);
        let half = file.with_extension("half");
        std::fs::write(&half, (seconds * 1_000_000).to_string())?;
        std::fs::rename(half, file)?;
        self.history.add(&Entry::Clock {
            at: now_us(),
            node: index,
            ahead: seconds * 1_000_000,
        });
        Ok(())
    }

    /// The number of a node, looked up by its name.
    pub(crate) async fn ask_number(&self, index: usize) -> anyhow::Result<u16> {
        let server = self.nodes[index].server.as_ref().context("the node is down")?;
        let mut service = NodeServiceClient::new(channel(server.grpc_address()).await?);
        let request = authorized(ListNodesRequest::default(), &self.token)?;
        let nodes = service.list_nodes(request).await?.into_inner().nodes;
        let name = format!("n{index}");
        let node = nodes.iter().find(|node| node.display_name == name || node.answering);
        let number = node.and_then(|node| node.name.strip_prefix("nodes/")?.parse().ok());
        number.context("the node is not listed")
    }

    pub(crate) async fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        self.addresses.lock()[index] = None;
        if let Some(mut server) = self.nodes[index].server.take() {
            server.kill9().await?;
        }
        Ok(())
    }

    pub(crate) async fn terminate(&mut self, index: usize) -> anyhow::Result<()> {
        if let Some(mut server) = self.nodes[index].server.take() {
            let _ = server.terminate().await;
        }
        self.addresses.lock()[index] = None;
        Ok(())
    }

    pub(crate) fn freeze(&self, index: usize) -> anyhow::Result<()> {
        self.nodes[index].server.as_ref().map_or(Ok(()), TestServer::freeze)
    }

    pub(crate) fn thaw(&self, index: usize) -> anyhow::Result<()> {
        self.nodes[index].server.as_ref().map_or(Ok(()), TestServer::thaw)
    }

    /// Records the resources that every node uses.
    pub(crate) fn note_usage(&self) {
        for node in &self.nodes {
            let Some(server) = &node.server else { continue };
            let pid = server.pid();
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let field = |name: &str| {
                let line = status.lines().find(|line| line.starts_with(name))?;
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            };
            let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count() as u64);
            self.history.add(&Entry::Usage {
                at: now_us(),
                node: node.index,
                rss_mib: field("VmRSS:").unwrap_or(0) >> 10,
                descriptors,
                threads: field("Threads:").unwrap_or(0),
            });
        }
    }

    /// The standard error of the servers that are up.
    pub(crate) fn logs(&self) -> String {
        let of = |node: &Node| {
            let text = node.server.as_ref().map(TestServer::stderr).unwrap_or_default();
            format!("--- node {}\n{text}", node.index)
        };
        self.nodes.iter().map(of).collect()
    }
}

/// `host:port` of a PostgreSQL URL.
fn host_of(url: &str) -> anyhow::Result<String> {
    let rest = url.split_once("://").context("a URL")?.1;
    let authority = rest.split('/').next().context("an authority")?;
    Ok(authority.rsplit('@').next().unwrap_or(authority).to_owned())
}

/// A channel to any node that is up.
pub(crate) async fn any_channel(addresses: &Addresses, random: &mut Random) -> anyhow::Result<Channel> {
    let up: Vec<String> = addresses.lock().iter().flatten().cloned().collect();
    anyhow::ensure!(!up.is_empty(), "no node is up");
    channel(&up[random.below(up.len())]).await
}

pub(crate) async fn channel(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Channel::from_shared(format!("http://{address}"))?
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(15));
    Ok(endpoint.connect().await?)
}

pub(crate) fn authorized<T>(message: T, token: &str) -> anyhow::Result<Request<T>> {
    let mut request = Request::new(message);
    let value: MetadataValue<_> = format!("Bearer {token}").parse()?;
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}
