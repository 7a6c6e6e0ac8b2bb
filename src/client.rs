//! The client commands' connection: address, credentials, deadline and output format.

mod connection;
pub(crate) mod failure;
pub(crate) mod input;
pub(crate) mod names;
pub(crate) mod pages;
pub(crate) mod patience;
pub(crate) mod profile_file;
pub(crate) mod token;

use std::{future::Future, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use connection::Connection;
use failure::UsageError;
use hookwright_client::{ConnectError, Transport};
use hookwright_proto::v1::{
    audit_service_client::AuditServiceClient, delivery_service_client::DeliveryServiceClient,
    event_service_client::EventServiceClient, event_type_service_client::EventTypeServiceClient,
    installation_service_client::InstallationServiceClient, node_service_client::NodeServiceClient,
    operation_service_client::OperationServiceClient, organization_service_client::OrganizationServiceClient,
    portal_service_client::PortalServiceClient, pull_service_client::PullServiceClient,
    replay_service_client::ReplayServiceClient, token_service_client::TokenServiceClient,
    webhook_service_client::WebhookServiceClient,
};
use names::OrganizationArgs;
use tonic::Request;

use crate::{
    output::{Format, Output},
    settings::{Environment, process_environment},
    units::parse_duration,
};

/// Connection flags. [`Client::connect`] reads environment variables and the profile, so that a flag overrides them anywhere
/// on the command line.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ClientArgs {
    /// The server's gRPC address [env: HOOKWRIGHT_ADDRESS] [default: the profile's, else http://127.0.0.1:50051]
    #[arg(long, value_name = "URL")]
    pub(crate) address: Option<String>,
    /// API token [env: HOOKWRIGHT_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// File that contains the API token [env: HOOKWRIGHT_TOKEN_FILE] [default: the profile's token; for a server on this
    /// machine admin-token in the data directory, if it exists]
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file of certificate authorities to trust in addition to the system's, for https addresses [env:
    /// HOOKWRIGHT_CA_FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Timeout of each call, for example 5s or 2m [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Tables for people, or the API's messages for programs [env: HOOKWRIGHT_OUTPUT] [default: the profile's, else table]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// The profile to use, see `hookwright profiles` [env: HOOKWRIGHT_PROFILE] [default: the default profile, if there is one]
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The file that stores the profiles [env: HOOKWRIGHT_CLIENT_CONFIG] [default: ~/.config/hookwright/config.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) client_config: Option<PathBuf>,
}

impl ClientArgs {
    /// Whether the argument of this id is a connection flag.
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

    /// Takes unset values from `outer`, the flags further left.
    pub(crate) fn or(self, outer: Self) -> Self {
        // A token flag of either kind replaces both outer token flags.
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
    // A read of standard input may still be in progress; do not wait for it.
    runtime.shutdown_background();
    result
}

/// A connected client.
pub(crate) struct Client {
    /// The connection.
    pub(crate) api: hookwright_client::Client,
    /// The server's address.
    pub(crate) address: String,
    /// The certificate authorities that are trusted in addition to the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// The organization of commands without the flag.
    organization: Option<String>,
    /// The timeout of a call.
    pub(crate) timeout: Duration,
    /// The output.
    pub(crate) output: Output,
}

impl Client {
    /// Prepares the connection; needs a runtime.
    pub(crate) fn connect(args: ClientArgs, environment: Environment<'_>) -> anyhow::Result<Self> {
        let format = args.output;
        let connection = Connection::resolve(args, environment)
            .inspect_err(|_| failure::report_as(format.unwrap_or_default(), "", None))?;
        let origin = connection.token_origin.clone();
        failure::report_as(connection.format, &connection.address, Some(origin));
        let api = connect(&connection)?;
        Ok(Self {
            api,
            address: connection.address,
            ca_file: connection.ca_file,
            organization: connection.organization,
            timeout: connection.timeout,
            output: Output::new(connection.format),
        })
    }

    /// The organization of a command, as a resource name.
    pub(crate) fn parent(&self, args: &OrganizationArgs) -> Result<String, UsageError> {
        match args.given(self.organization.as_deref()) {
            Some(text) => names::organization(text),
            None => Err(UsageError::new(
                "no organization given: use --organization, set HOOKWRIGHT_ORGANIZATION, or store it in a profile: \
                 hookwright profiles set NAME --organization acme",
            )),
        }
    }

    /// An id within that organization, or a full resource name, as a resource name.
    pub(crate) fn within(&self, args: &OrganizationArgs, collection: &str, text: &str) -> Result<String, UsageError> {
        names::within(args.given(self.organization.as_deref()), collection, text)
    }

    /// The organization service.
    pub(crate) fn organizations(&self) -> OrganizationServiceClient<Transport> {
        self.api.organizations()
    }

    /// The event type service.
    pub(crate) fn event_types(&self) -> EventTypeServiceClient<Transport> {
        self.api.event_types()
    }

    /// The token service.
    pub(crate) fn tokens(&self) -> TokenServiceClient<Transport> {
        self.api.tokens()
    }

    /// The audit service.
    pub(crate) fn audit(&self) -> AuditServiceClient<Transport> {
        self.api.audit()
    }

    /// The portal service.
    pub(crate) fn portal(&self) -> PortalServiceClient<Transport> {
        self.api.portal()
    }

    /// The installation service.
    pub(crate) fn installation(&self) -> InstallationServiceClient<Transport> {
        self.api.installation()
    }

    /// The webhook service.
    pub(crate) fn webhooks(&self) -> WebhookServiceClient<Transport> {
        self.api.webhooks()
    }

    /// The event service.
    pub(crate) fn events(&self) -> EventServiceClient<Transport> {
        self.api.events()
    }

    /// The node service.
    pub(crate) fn nodes(&self) -> NodeServiceClient<Transport> {
        self.api.nodes()
    }

    /// The delivery service.
    pub(crate) fn deliveries(&self) -> DeliveryServiceClient<Transport> {
        self.api.deliveries()
    }

    /// The replay service.
    pub(crate) fn replays(&self) -> ReplayServiceClient<Transport> {
        self.api.replays()
    }

    /// The operation service.
    pub(crate) fn operations(&self) -> OperationServiceClient<Transport> {
        self.api.operations()
    }

    /// The pull service.
    pub(crate) fn pulls(&self) -> PullServiceClient<Transport> {
        self.api.pull()
    }

    /// Sends a call during which the server may wait for `wait`, in addition to the call's timeout.
    pub(crate) fn waiting<M>(&self, message: M, wait: Duration) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout.saturating_add(wait));
        request
    }
}

/// Prepares the connection. The first call opens it, so usage errors come first. Commands are not retried, because the user
/// waits for the result.
fn connect(connection: &Connection) -> anyhow::Result<hookwright_client::Client> {
    let mut builder = hookwright_client::Client::builder(&connection.address)
        .timeout(connection.timeout)
        .connect_timeout(connection.timeout)
        .user_agent(concat!("hookwright/", env!("CARGO_PKG_VERSION")))
        .no_retry();
    if let Some(token) = &connection.token {
        builder = builder.token(token);
    }
    if let Some(path) = &connection.ca_file {
        builder = builder.ca_file(path);
    }
    builder.connect().map_err(|error| match error {
        ConnectError::Address(_) | ConnectError::Token | ConnectError::NoCertificate(_) => {
            UsageError::new(error.to_string()).into()
        }
        other => other.into(),
    })
}
