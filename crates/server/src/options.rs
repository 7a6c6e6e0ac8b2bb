//! The options of a server: one plain struct, which the command line fills from flags, environment and file.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use hookwright_domain::payload::PAYLOAD_BYTES_MAX_DEFAULT;

/// Settings of one server. [`Options::new`] has the defaults; only the data directory has none.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the embedded store, the master key and the first admin token.
    pub data_dir: PathBuf,
    /// `postgres://...` for PostgreSQL; `None` for the embedded SQLite file `hookwright.db` in the data directory.
    pub database_url: Option<String>,
    /// A file that contains `database_url`.
    pub database_url_file: Option<PathBuf>,
    /// Address of the gRPC listener. Port 0 selects a free port.
    pub grpc_address: SocketAddr,
    /// Address of the HTTP listener: the console, `/metrics`, `/healthz`, `/readyz`. Port 0 selects a free port.
    pub http_address: SocketAddr,
    /// PEM file of the certificate chain, which enables TLS on the HTTP listener.
    pub http_tls_certificate: Option<PathBuf>,
    /// The private key of `http_tls_certificate`.
    pub http_tls_private_key: Option<PathBuf>,
    /// The public URL of the console behind a proxy, for example `https://hooks.example.com`.
    pub console_url: Option<String>,
    /// Origins of pages that may show the portal in a frame, for example `https://app.example.com`.
    pub portal_parents: Vec<String>,
    /// Trusted proxies of the HTTP listener, as addresses or networks: their `X-Forwarded-For` is used.
    pub trusted_proxies: Vec<String>,
    /// Allows a listener without TLS on an address other than loopback.
    pub allow_plaintext: bool,
    /// PEM file of the certificate chain, which enables TLS on the gRPC listener.
    pub tls_certificate: Option<PathBuf>,
    /// The private key of `tls_certificate`.
    pub tls_private_key: Option<PathBuf>,
    /// Maximum number of gRPC connections.
    pub grpc_connections_max: usize,
    /// Maximum number per address; trusted proxies and this machine are exempt.
    pub grpc_connections_per_address_max: usize,
    /// Maximum number of calls in flight on one connection.
    pub grpc_streams_per_connection_max: u32,
    /// Maximum bytes of request messages in flight over all gRPC connections.
    pub grpc_request_bytes_max: usize,
    /// Timeout for the handshakes of a gRPC connection and until its first call.
    pub grpc_first_request_timeout: Duration,
    /// Idle timeout of a gRPC connection without a call.
    pub grpc_idle_timeout: Duration,
    /// Age at which a gRPC connection gets GOAWAY.
    pub grpc_connection_age_max: Duration,
    /// CIDRs and host names that webhooks may use in addition to public addresses, for example `10.1.0.0/16`.
    pub allow_targets: Vec<String>,
    /// CIDRs and host names that webhooks may not use.
    pub deny_targets: Vec<String>,
    /// Rejects payload URLs that are not https.
    pub require_https: bool,
    /// Allows webhooks to disable TLS verification.
    pub allow_insecure_tls: bool,
    /// A PEM file of certificate authorities to trust in addition to the system's.
    pub extra_ca_file: Option<PathBuf>,
    /// `http://host:port` of a CONNECT proxy for all attempts.
    pub egress_proxy: Option<String>,
    /// DNS servers to use instead of the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// Public host names of this installation, which webhooks may not use.
    pub own_names: Vec<String>,
    /// The prefix of the service's own headers, `TT-Hook-` by default.
    pub header_prefix: String,
    /// Maximum size of a payload in bytes.
    pub payload_bytes_max: usize,
    /// Maximum number of webhooks per organization.
    pub webhooks_per_organization_max: usize,
    /// Delays between the attempts of a delivery.
    pub retry_delays: Vec<Duration>,
    /// Disables a webhook after only failures for this long, over at least 20 attempts.
    pub disable_after: Duration,
    /// Maximum number of attempts in flight.
    pub concurrent_attempts_max: usize,
    /// Maximum number of attempts in flight per webhook.
    pub concurrent_attempts_per_webhook_max: usize,
    /// Maximum bytes of payloads queued in memory; the store keeps the rest.
    pub memory_bytes_max: usize,
    /// Accepts events and serves the API, but sends nothing and gives out no pull deliveries: for a copy of a production
    /// database.
    pub hold: bool,
    /// Whether the first start registers the sample event types `clocking` and `checksheet`.
    pub sample_event_types: bool,
    /// Time that a shutdown waits for attempts in flight.
    pub shutdown_timeout: Duration,
    /// Time that the engine may be stalled before the server is not ready.
    pub stalled_after: Duration,
    /// Age at which an open transaction of PostgreSQL is logged, because it holds back the vacuum.
    pub long_transaction_after: Duration,
    /// OTLP endpoint (gRPC) for traces, for example `http://127.0.0.1:4317`; `None` exports nothing.
    pub otlp_endpoint: Option<String>,
    /// Logs as JSON lines instead of text.
    pub log_json: bool,
    /// The filter of log messages, in the syntax of `tracing-subscriber`'s `EnvFilter`.
    pub log_filter: String,
    /// A file that the server writes when it is ready: JSON with its addresses and the path of the admin token.
    pub ready_file: Option<PathBuf>,
    /// The master key as base64 of 32 bytes; `None` reads or creates `master.key` in the data directory.
    pub master_key: Option<String>,
    /// A file that contains `master_key`.
    pub master_key_file: Option<PathBuf>,
    /// This server's name among those that share a PostgreSQL database; `None` reads or creates `node-name` in the data
    /// directory.
    pub node_name: Option<String>,
    /// The node lease: when a server has been silent for this long, the others take over its deliveries.
    pub node_lease: Duration,
    /// Retention of events, with their payloads and attempts; zero keeps them without a limit.
    pub retention: Duration,
    /// Runs even if the store does not guarantee durability, for example PostgreSQL with `fsync=off`.
    pub allow_unsafe_durability: bool,
    /// `Hookwright/<version>`, as sent to receivers.
    pub user_agent: String,
    /// The server's description of itself. Not a setting: the program that starts the server fills it.
    pub about: About,
}

/// A server's description of itself for its operators.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The commit that it was built from; empty if unknown.
    pub commit: String,
    /// Its settings, secrets masked.
    pub settings: Vec<SettingInForce>,
}

/// A current setting for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingInForce {
    /// Its key in the settings file.
    pub name: String,
    /// Its value, or the values of a list. Secrets are masked.
    pub values: Vec<String>,
    /// Whether it is a list.
    pub list: bool,
    /// Its origin.
    pub origin: Origin,
}

/// The origin of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The default.
    Default,
    /// The settings file with this path.
    File(String),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl Options {
    /// Reads the files that contain other settings.
    ///
    /// # Errors
    /// When a file cannot be read or is empty, or a setting and its file are both given.
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

    /// The defaults, with all files under `data_dir`.
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
            payload_bytes_max: PAYLOAD_BYTES_MAX_DEFAULT,
            webhooks_per_organization_max: 100,
            retry_delays: [5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 86_400]
                .map(Duration::from_secs)
                .to_vec(),
            disable_after: Duration::from_secs(5 * 86_400),
            hold: false,
            sample_event_types: true,
            concurrent_attempts_max: 10_240,
            concurrent_attempts_per_webhook_max: 256,
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
