//! The client commands' connection: address, credentials, deadline and output format.

pub(crate) mod failure;
pub(crate) mod input;
pub(crate) mod names;
pub(crate) mod pages;

use std::{future::Future, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use failure::UsageError;
use hookwright_proto::v1::{
    audit_service_client::AuditServiceClient, delivery_service_client::DeliveryServiceClient,
    event_service_client::EventServiceClient, event_type_service_client::EventTypeServiceClient,
    installation_service_client::InstallationServiceClient, node_service_client::NodeServiceClient,
    organization_service_client::OrganizationServiceClient, portal_service_client::PortalServiceClient,
    token_service_client::TokenServiceClient, webhook_service_client::WebhookServiceClient,
};
use hookwright_server::ADMIN_TOKEN_FILE;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    output::{Format, Output},
    settings::{Environment, default_data_dir, process_environment},
    units::parse_duration,
};

const ADDRESS_DEFAULT: &str = "http://127.0.0.1:50051";
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// An event with the largest payload that an operator may reasonably allow fits.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// How to reach the server. Environment variables are read in [`Client::connect`], so that a flag wins over them wherever
/// on the line it stands.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ClientArgs {
    /// The server's gRPC address [env: HOOKWRIGHT_ADDRESS] [default: http://127.0.0.1:50051]
    #[arg(long, value_name = "URL")]
    pub(crate) address: Option<String>,
    /// API token [env: HOOKWRIGHT_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// File that holds the API token [env: HOOKWRIGHT_TOKEN_FILE] [default: admin-token in the data directory, if it exists]
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file of certificate authorities to trust beside the system's, for https addresses [env: HOOKWRIGHT_CA_FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// How long each call may take, for example 5s or 2m [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Tables for people, or the API's messages as JSON [default: table]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

impl ClientArgs {
    /// Whether the argument of this id is one of these.
    pub(crate) fn owns(id: &str) -> bool {
        ["address", "token", "token_file", "ca_file", "timeout", "output"].contains(&id)
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
        if let Some(deadline) = self.deadline {
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
    /// How long a call may take.
    pub(crate) timeout: Duration,
    /// Where results go.
    pub(crate) output: Output,
}

impl Client {
    /// Prepares the connection, within a runtime. What no flag says comes from the environment, else from the defaults.
    pub(crate) fn connect(args: ClientArgs, environment: Environment<'_>) -> anyhow::Result<Self> {
        let format = args.output.unwrap_or_default();
        let address = args
            .address
            .or_else(|| environment("HOOKWRIGHT_ADDRESS"))
            .unwrap_or_else(|| ADDRESS_DEFAULT.to_owned());
        failure::report_as(format, &address);
        let timeout = args.timeout.unwrap_or(TIMEOUT_DEFAULT);
        if timeout.is_zero() {
            return Err(UsageError::new("--timeout must be more than 0, for example 30s").into());
        }
        let ca_file = args
            .ca_file
            .or_else(|| environment("HOOKWRIGHT_CA_FILE").map(PathBuf::from));
        let token = match token(args.token, args.token_file, environment)? {
            Some(text) => Some(bearer(&text)?),
            None => None,
        };
        // Connected at the first call, so that wrong usage is told first.
        let channel = endpoint(&address, ca_file)?.connect_timeout(timeout).connect_lazy();
        Ok(Self {
            channel,
            token,
            timeout,
            output: Output::new(format),
        })
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

    /// The delivery service.
    pub(crate) fn nodes(&self) -> NodeServiceClient<Service> {
        NodeServiceClient::new(self.service(Some(self.timeout)))
    }

    pub(crate) fn deliveries(&self) -> DeliveryServiceClient<Service> {
        DeliveryServiceClient::new(self.service(Some(self.timeout))).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

fn endpoint(address: &str, ca_file: Option<PathBuf>) -> anyhow::Result<Endpoint> {
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
        let pem = std::fs::read(&path).with_context(|| format!("cannot read --ca-file {}", path.display()))?;
        config = config.ca_certificate(Certificate::from_pem(pem));
    }
    endpoint.tls_config(config).context("cannot set up TLS")
}

fn token(flag: Option<String>, file: Option<PathBuf>, environment: Environment<'_>) -> anyhow::Result<Option<String>> {
    if flag.is_some() {
        return Ok(flag);
    }
    if file.is_none()
        && let Some(token) = environment("HOOKWRIGHT_TOKEN")
    {
        return Ok(Some(token));
    }
    if let Some(path) = file.or_else(|| environment("HOOKWRIGHT_TOKEN_FILE").map(PathBuf::from)) {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read the token file {}", path.display()))?;
        return Ok(Some(text.trim().to_owned()));
    }
    // Without one the call goes out as it is: the server's answer tells whether a token was needed.
    let default = default_data_dir(environment).map(|directory| directory.join(ADMIN_TOKEN_FILE));
    Ok(default
        .and_then(|path| std::fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned()))
}

fn bearer(token: &str) -> anyhow::Result<MetadataValue<Ascii>> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}"))
        .map_err(|_| UsageError::new("the token holds characters that no token has"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_from_the_nearest_place() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("admin-token"), "from-data-dir\n").unwrap();
        std::fs::write(directory.path().join("other"), "from-file\n").unwrap();
        let data_dir = directory.path().to_str().unwrap().to_owned();
        let file = Some(directory.path().join("other"));
        let with_token = |name: &str| match name {
            "HOOKWRIGHT_TOKEN" => Some("from-environment".to_owned()),
            "HOOKWRIGHT_DATA_DIR" => Some(data_dir.clone()),
            _ => None,
        };
        let without_token = |name: &str| (name == "HOOKWRIGHT_DATA_DIR").then(|| data_dir.clone());
        let text = |flag: Option<&str>, file, environment: Environment<'_>| {
            token(flag.map(str::to_owned), file, environment).unwrap().unwrap()
        };
        assert_eq!(text(Some("from-flag"), None, &with_token), "from-flag");
        assert_eq!(text(None, file, &with_token), "from-file");
        assert_eq!(text(None, None, &with_token), "from-environment");
        assert_eq!(text(None, None, &without_token), "from-data-dir");
        assert!(token(None, None, &|_| None).unwrap().is_none());
    }
}
