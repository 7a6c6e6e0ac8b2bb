//! The client commands' connection: address, credentials, deadline and output format.

mod connection;
pub(crate) mod failure;
pub(crate) mod input;
pub(crate) mod names;
pub(crate) mod pages;
pub(crate) mod patience;

use std::{
    future::Future,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use connection::Connection;
use failure::UsageError;
use hookwright_proto::v1::{
    audit_service_client::AuditServiceClient, delivery_service_client::DeliveryServiceClient,
    event_service_client::EventServiceClient, event_type_service_client::EventTypeServiceClient,
    installation_service_client::InstallationServiceClient, node_service_client::NodeServiceClient,
    organization_service_client::OrganizationServiceClient, portal_service_client::PortalServiceClient,
    pull_service_client::PullServiceClient, replay_service_client::ReplayServiceClient,
    token_service_client::TokenServiceClient, webhook_service_client::WebhookServiceClient,
};
use names::OrganizationArgs;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    output::{Format, Output},
    settings::{Environment, process_environment},
    units::parse_duration,
};

/// An event with the largest payload that an operator may reasonably allow fits.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// How to reach the server. Environment variables and the profile are read in [`Client::connect`], so that a flag wins over
/// them wherever on the line it stands.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ClientArgs {
    /// The server's gRPC address [env: HOOKWRIGHT_ADDRESS] [default: the profile's, else http://127.0.0.1:50051]
    #[arg(long, value_name = "URL")]
    pub(crate) address: Option<String>,
    /// API token [env: HOOKWRIGHT_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// File that holds the API token [env: HOOKWRIGHT_TOKEN_FILE] [default: the profile's token; for a server on this machine
    /// admin-token in the data directory, if it exists]
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file of certificate authorities to trust beside the system's, for https addresses [env: HOOKWRIGHT_CA_FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// How long each call may take, for example 5s or 2m [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Tables for people, or the API's messages for programs [env: HOOKWRIGHT_OUTPUT] [default: the profile's, else table]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// The profile to use, see `hookwright profiles` [env: HOOKWRIGHT_PROFILE] [default: the default profile, if there is one]
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The file that holds the profiles [env: HOOKWRIGHT_CLIENT_CONFIG] [default: ~/.config/hookwright/config.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) client_config: Option<PathBuf>,
}

impl ClientArgs {
    /// Whether the argument of this id is one of these.
    pub(crate) fn owns(id: &str) -> bool {
        const IDS: [&str; 8] = [
            "address",
            "token",
            "token_file",
            "ca_file",
            "timeout",
            "output",
            "profile",
            "client_config",
        ];
        IDS.contains(&id)
    }

    /// Takes what is not set here from `outer`, the flags that stood further left.
    pub(crate) fn or(self, outer: Self) -> Self {
        // Of the two ways to give a token, an inner one replaces an outer one as a whole.
        let (token, token_file) = match (self.token, self.token_file) {
            (None, None) => (outer.token, outer.token_file),
            inner => inner,
        };
        Self {
            address: self.address.or(outer.address),
            token,
            token_file,
            ca_file: self.ca_file.or(outer.ca_file),
            timeout: self.timeout.or(outer.timeout),
            output: self.output.or(outer.output),
            profile: self.profile.or(outer.profile),
            client_config: self.client_config.or(outer.client_config),
        }
    }
}

/// Runs one client command against the server that `args` names.
pub(crate) fn run<F, C>(args: ClientArgs, command: F) -> anyhow::Result<ExitCode>
where
    F: FnOnce(Client) -> C,
    C: Future<Output = anyhow::Result<ExitCode>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let result = runtime.block_on(Box::pin(async {
        let client = Client::connect(args, &process_environment)?;
        command(client).await
    }));
    // A read of standard input may still be under way; nothing waits for it.
    runtime.shutdown_background();
    result
}

/// Adds token and deadline to each call.
#[derive(Clone)]
pub(crate) struct Credentials {
    token: Option<MetadataValue<Ascii>>,
    deadline: Option<Duration>,
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        // A call that takes longer brings its own.
        if let Some(deadline) = self
            .deadline
            .filter(|_| !request.metadata().contains_key("grpc-timeout"))
        {
            request.set_timeout(deadline);
        }
        Ok(request)
    }
}

type Service = InterceptedService<Channel, Credentials>;

/// A connected client.
pub(crate) struct Client {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
    /// Where it is connected to.
    pub(crate) address: String,
    /// Which authorities it trusts beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// The organization of commands that name none.
    organization: Option<String>,
    /// How long a call may take.
    pub(crate) timeout: Duration,
    /// Where results go.
    pub(crate) output: Output,
}

impl Client {
    /// Prepares the connection, within a runtime. What no flag says comes from the environment, else from the profile, else
    /// from the defaults.
    pub(crate) fn connect(args: ClientArgs, environment: Environment<'_>) -> anyhow::Result<Self> {
        let format = args.output;
        let connection = Connection::resolve(args, environment)
            .inspect_err(|_| failure::report_as(format.unwrap_or_default(), ""))?;
        failure::report_as(connection.format, &connection.address);
        let token = connection.token.as_deref().map(bearer).transpose()?;
        // Connected at the first call, so that wrong usage is told first.
        let channel = endpoint(&connection.address, connection.ca_file.as_deref())?
            .connect_timeout(connection.timeout)
            .connect_lazy();
        Ok(Self {
            channel,
            token,
            address: connection.address,
            ca_file: connection.ca_file,
            organization: connection.organization,
            timeout: connection.timeout,
            output: Output::new(connection.format),
        })
    }

    /// The organization that a command is about, as a resource name.
    pub(crate) fn parent(&self, args: &OrganizationArgs) -> Result<String, UsageError> {
        match args.given(self.organization.as_deref()) {
            Some(text) => names::organization(text),
            None => Err(UsageError::new(
                "which organization? Give --organization, set HOOKWRIGHT_ORGANIZATION, or keep it in a profile: \
                 hookwright profiles set NAME --organization acme",
            )),
        }
    }

    /// An id within that organization, or a full resource name, as a resource name.
    pub(crate) fn within(&self, args: &OrganizationArgs, collection: &str, text: &str) -> Result<String, UsageError> {
        names::within(args.given(self.organization.as_deref()), collection, text)
    }

    fn service(&self, deadline: Option<Duration>) -> Service {
        InterceptedService::new(
            self.channel.clone(),
            Credentials {
                token: self.token.clone(),
                deadline,
            },
        )
    }

    /// The organization service.
    pub(crate) fn organizations(&self) -> OrganizationServiceClient<Service> {
        OrganizationServiceClient::new(self.service(Some(self.timeout))).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The event type service.
    pub(crate) fn event_types(&self) -> EventTypeServiceClient<Service> {
        EventTypeServiceClient::new(self.service(Some(self.timeout))).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The token service.
    pub(crate) fn tokens(&self) -> TokenServiceClient<Service> {
        TokenServiceClient::new(self.service(Some(self.timeout)))
    }

    /// The audit service.
    pub(crate) fn audit(&self) -> AuditServiceClient<Service> {
        AuditServiceClient::new(self.service(Some(self.timeout))).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The portal service.
    pub(crate) fn portal(&self) -> PortalServiceClient<Service> {
        PortalServiceClient::new(self.service(Some(self.timeout)))
    }

    /// The installation service.
    pub(crate) fn installation(&self) -> InstallationServiceClient<Service> {
        InstallationServiceClient::new(self.service(Some(self.timeout)))
    }

    /// The webhook service.
    pub(crate) fn webhooks(&self) -> WebhookServiceClient<Service> {
        WebhookServiceClient::new(self.service(Some(self.timeout))).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The event service.
    pub(crate) fn events(&self) -> EventServiceClient<Service> {
        EventServiceClient::new(self.service(Some(self.timeout))).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The event service without a deadline, for streams: they last as long as there are events, and their caller watches
    /// that they go on.
    pub(crate) fn event_stream(&self) -> EventServiceClient<Service> {
        EventServiceClient::new(self.service(None)).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The node service.
    pub(crate) fn nodes(&self) -> NodeServiceClient<Service> {
        NodeServiceClient::new(self.service(Some(self.timeout)))
    }

    /// The delivery service.
    pub(crate) fn deliveries(&self) -> DeliveryServiceClient<Service> {
        DeliveryServiceClient::new(self.service(Some(self.timeout))).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The delivery service without a deadline, for the stream of [`WatchDeliveries`]: its caller watches that it goes on.
    ///
    /// [`WatchDeliveries`]: DeliveryServiceClient::watch_deliveries
    pub(crate) fn delivery_stream(&self) -> DeliveryServiceClient<Service> {
        DeliveryServiceClient::new(self.service(None)).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The replay service.
    pub(crate) fn replays(&self) -> ReplayServiceClient<Service> {
        ReplayServiceClient::new(self.service(Some(self.timeout)))
    }

    /// The pull service.
    pub(crate) fn pulls(&self) -> PullServiceClient<Service> {
        PullServiceClient::new(self.service(Some(self.timeout))).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// A call during which the server may wait for so long, in addition to what every call may take.
    pub(crate) fn waiting<M>(&self, message: M, wait: Duration) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout.saturating_add(wait));
        request
    }
}

fn endpoint(address: &str, ca_file: Option<&Path>) -> anyhow::Result<Endpoint> {
    let tls = address.starts_with("https://");
    if !tls && !address.starts_with("http://") {
        return Err(UsageError::new(format!(
            "`{address}` is not an address: write http://HOST:PORT or https://HOST:PORT"
        ))
        .into());
    }
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|error| UsageError::new(format!("`{address}` is not an address: {error}")))?;
    if !tls {
        return Ok(endpoint);
    }
    let mut config = ClientTlsConfig::new().with_native_roots();
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).with_context(|| format!("cannot read --ca-file {}", path.display()))?;
        config = config.ca_certificate(Certificate::from_pem(pem));
    }
    endpoint.tls_config(config).context("cannot set up TLS")
}

fn bearer(token: &str) -> anyhow::Result<MetadataValue<Ascii>> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}"))
        .map_err(|_| UsageError::new("the token holds characters that no token has"))?;
    value.set_sensitive(true);
    Ok(value)
}
