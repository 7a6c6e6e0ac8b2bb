//! What a server can be told: one plain struct that the command line fills from flags, environment and file.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;

/// Settings of one server. [`Options::new`] gives the defaults; only the data directory has none.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the embedded store, the master key and the first admin token live.
    pub data_dir: PathBuf,
    /// `postgres://...` to use PostgreSQL; `None` for the embedded SQLite file `hookwright.db` in the data directory.
    pub database_url: Option<String>,
    /// A file that holds `database_url`.
    pub database_url_file: Option<PathBuf>,
    /// Address of the gRPC listener. Port 0 takes a free port.
    pub grpc_address: SocketAddr,
    /// Address of the HTTP listener: the console, `/metrics`, `/healthz`, `/readyz`. Port 0 takes a free port.
    pub http_address: SocketAddr,
    /// PEM files of certificate chain and private key: the HTTP listener then speaks TLS.
    pub http_tls_certificate: Option<PathBuf>,
    /// The private key of `http_tls_certificate`.
    pub http_tls_private_key: Option<PathBuf>,
    /// Where browsers find the console, for example `https://hooks.example.com`, where a proxy stands before the HTTP listener.
    pub console_url: Option<String>,
    /// Origins of pages that may show the portal in a frame, for example `https://app.example.com`.
    pub portal_parents: Vec<String>,
    /// Proxies before the HTTP listener, as addresses or networks: what they say in `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// Listen on an address other than loopback although no TLS is configured.
    pub allow_plaintext: bool,
    /// PEM files of certificate chain and private key: the gRPC listener then speaks TLS.
    pub tls_certificate: Option<PathBuf>,
    /// The private key of `tls_certificate`.
    pub tls_private_key: Option<PathBuf>,
    /// How many connections the gRPC listener keeps at once.
    pub grpc_connections_max: usize,
    /// How many of them one address may have that is neither a trusted proxy nor this machine.
    pub grpc_connections_per_address_max: usize,
    /// How many calls may be in flight on one connection.
    pub grpc_streams_per_connection_max: u32,
    /// How many bytes of request messages may be in flight over all gRPC connections.
    pub grpc_request_bytes_max: usize,
    /// How long a gRPC connection may take for its handshakes and until its first call.
    pub grpc_first_request_timeout: Duration,
    /// How long a gRPC connection may be without a call.
    pub grpc_idle_timeout: Duration,
    /// When a gRPC connection gets GOAWAY.
    pub grpc_connection_age_max: Duration,
    /// CIDRs and host names that webhooks may point at beside public addresses, for example `10.1.0.0/16`.
    pub allow_targets: Vec<String>,
    /// CIDRs and host names that webhooks may not point at.
    pub deny_targets: Vec<String>,
    /// Refuse payload URLs that are not https.
    pub require_https: bool,
    /// Let webhooks switch TLS verification off.
    pub allow_insecure_tls: bool,
    /// A PEM file of certificate authorities to trust beside the system's.
    pub extra_ca_file: Option<PathBuf>,
    /// `http://host:port` of an egress proxy that every attempt goes through by CONNECT.
    pub egress_proxy: Option<String>,
    /// DNS servers in place of the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// Public host names of this installation, which webhooks may not point at.
    pub own_names: Vec<String>,
    /// The prefix of the webhook headers, `TT-Hook-` by default.
    pub header_prefix: String,
    /// The largest payload in bytes.
    pub payload_bytes_max: usize,
    /// How many webhooks an organization may have.
    pub webhooks_per_organization_max: usize,
    /// Delays between the attempts of a delivery.
    pub retry_delays: Vec<Duration>,
    /// A webhook that only failed for this long, over at least 20 attempts, is disabled.
    pub disable_after: Duration,
    /// How many attempts may be under way at once.
    pub concurrent_attempts_max: usize,
    /// How many attempts may be under way at once for one webhook.
    pub concurrent_attempts_per_webhook_max: usize,
    /// How much payload may wait in memory; what exceeds it waits in the store alone.
    pub memory_bytes_max: usize,
    /// Accept events and serve the API, but send nothing and hand nothing out: for a copy of a production database.
    pub hold: bool,
    /// Whether the first start registers the event types `clocking` and `checksheet`, as samples.
    pub sample_event_types: bool,
    /// How long a shutdown waits for attempts under way.
    pub shutdown_timeout: Duration,
    /// For how long the engine may be stalled before the server counts as not ready.
    pub stalled_after: Duration,
    /// A transaction of PostgreSQL that is open for this long is warned of: it holds back the vacuum.
    pub long_transaction_after: Duration,
    /// OTLP endpoint (gRPC) for traces, for example `http://127.0.0.1:4317`; `None` exports nothing.
    pub otlp_endpoint: Option<String>,
    /// Logs as JSON lines instead of text.
    pub log_json: bool,
    /// Which logs to write, in the syntax of `tracing-subscriber`'s `EnvFilter`.
    pub log_filter: String,
    /// A file that is written, as JSON, once the server is ready: the addresses and the place of the admin token.
    pub ready_file: Option<PathBuf>,
    /// The master key as base64 of 32 bytes; `None` reads or makes `master.key` in the data directory.
    pub master_key: Option<String>,
    /// A file that holds `master_key`.
    pub master_key_file: Option<PathBuf>,
    /// This server's name among those that share a PostgreSQL database; `None` reads or makes `node-name` in the data directory.
    pub node_name: Option<String>,
    /// How long the others wait for a server that is silent before they take over its deliveries.
    pub node_lease: Duration,
    /// How long events are kept, with their payloads and attempts; zero keeps them for ever.
    pub retention: Duration,
    /// Run although the store does not promise durability (PostgreSQL with `fsync=off`, for example).
    pub allow_unsafe_durability: bool,
    /// `Hookwright/<version>`, as sent to receivers.
    pub user_agent: String,
    /// What the server tells of itself. No setting: whoever starts the server knows it.
    pub about: About,
}

/// What a server tells of itself to its operators.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The commit that it was built from; empty where that is not known.
    pub commit: String,
    /// Its settings, secrets masked.
    pub settings: Vec<SettingInForce>,
}

/// A setting as it is in force, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingInForce {
    /// Its key in the configuration file.
    pub name: String,
    /// Its value, or one value per element of a list. A secret is masked.
    pub values: Vec<String>,
    /// Whether it is a list.
    pub list: bool,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file of this path.
    File(String),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl Options {
    /// Reads the files that hold other settings.
    ///
    /// # Errors
    /// When a file cannot be read or is empty, or a setting is given in both ways.
    pub(crate) fn read_files(&mut self) -> anyhow::Result<()> {
        for (name, value, file) in [
            ("database-url", &mut self.database_url, &self.database_url_file),
            ("master-key", &mut self.master_key, &self.master_key_file),
        ] {
            let Some(path) = file else { continue };
            anyhow::ensure!(value.is_none(), "{name} and {name}-file are both set; set one of them");
            let text = std::fs::read_to_string(path).with_context(|| format!("{name}-file {}", path.display()))?;
            anyhow::ensure!(!text.trim().is_empty(), "{name}-file {} is empty", path.display());
            *value = Some(text.trim().to_owned());
        }
        Ok(())
    }

    /// The defaults, with everything kept under `data_dir`.
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            database_url: None,
            database_url_file: None,
            grpc_address: SocketAddr::from(([127, 0, 0, 1], 50051)),
            http_address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            http_tls_certificate: None,
            http_tls_private_key: None,
            console_url: None,
            portal_parents: Vec::new(),
            trusted_proxies: ["127.0.0.0/8", "::1/128"].map(str::to_owned).into(),
            allow_plaintext: false,
            tls_certificate: None,
            tls_private_key: None,
            grpc_connections_max: 2_000,
            grpc_connections_per_address_max: 256,
            grpc_streams_per_connection_max: 256,
            grpc_request_bytes_max: 128 << 20,
            grpc_first_request_timeout: Duration::from_secs(30),
            grpc_idle_timeout: Duration::from_secs(900),
            grpc_connection_age_max: Duration::from_secs(3_600),
            allow_targets: Vec::new(),
            deny_targets: Vec::new(),
            require_https: false,
            allow_insecure_tls: false,
            extra_ca_file: None,
            egress_proxy: None,
            dns_servers: Vec::new(),
            own_names: Vec::new(),
            header_prefix: "TT-Hook-".to_owned(),
            payload_bytes_max: 5_242_880,
            webhooks_per_organization_max: 100,
            retry_delays: [5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 86_400]
                .map(Duration::from_secs)
                .to_vec(),
            disable_after: Duration::from_secs(5 * 86_400),
            hold: false,
            sample_event_types: true,
            concurrent_attempts_max: 1024,
            concurrent_attempts_per_webhook_max: 64,
            memory_bytes_max: 64 << 20,
            shutdown_timeout: Duration::from_secs(30),
            stalled_after: Duration::from_secs(60),
            long_transaction_after: Duration::from_secs(600),
            otlp_endpoint: None,
            log_json: false,
            log_filter: "info".to_owned(),
            ready_file: None,
            master_key: None,
            master_key_file: None,
            node_name: None,
            node_lease: hookwright_storage::nodes::LEASE,
            retention: Duration::from_secs(30 * 86_400),
            allow_unsafe_durability: false,
            user_agent: concat!("Hookwright/", env!("CARGO_PKG_VERSION")).to_owned(),
            about: About::default(),
        }
    }
}
