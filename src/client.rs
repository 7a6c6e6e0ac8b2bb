//! The client commands' connection: address, credentials, deadline and output format.

pub(crate) mod failure;
pub(crate) mod input;
pub(crate) mod names;
pub(crate) mod pages;

use std::{future::Future, path::PathBuf, process::ExitCode, time::Duration};

use crate::{
    output::{Format, Output},
    settings::{Environment, default_data_dir, process_environment},
    units::parse_duration,
};
use anyhow::Context as _;
use clap::Args;
use failure::UsageError;
use hookwright_client::{ConnectError, Transport};
use hookwright_proto::v1::{
    delivery_service_client::DeliveryServiceClient, event_service_client::EventServiceClient,
    event_type_service_client::EventTypeServiceClient, node_service_client::NodeServiceClient,
    organization_service_client::OrganizationServiceClient, webhook_service_client::WebhookServiceClient,
};
use hookwright_server::ADMIN_TOKEN_FILE;

const ADDRESS_DEFAULT: &str = "http://127.0.0.1:50051";
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

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

/// A connected client.
pub(crate) struct Client {
    /// The connection.
    pub(crate) api: hookwright_client::Client,
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
        let token = token(args.token, args.token_file, environment)?;
        Ok(Self {
            api: connect(address, token, ca_file, timeout)?,
            timeout,
            output: Output::new(format),
        })
    }

    /// The organization service.
    pub(crate) fn organizations(&self) -> OrganizationServiceClient<Transport> {
        self.api.organizations()
    }

    /// The event type service.
    pub(crate) fn event_types(&self) -> EventTypeServiceClient<Transport> {
        self.api.event_types()
    }

    /// The webhook service.
    pub(crate) fn webhooks(&self) -> WebhookServiceClient<Transport> {
        self.api.webhooks()
    }

    /// The event service.
    pub(crate) fn events(&self) -> EventServiceClient<Transport> {
        self.api.events()
    }

    /// The delivery service.
    pub(crate) fn deliveries(&self) -> DeliveryServiceClient<Transport> {
        self.api.deliveries()
    }

    /// The node service.
    pub(crate) fn nodes(&self) -> NodeServiceClient<Transport> {
        self.api.nodes()
    }
}

/// Prepares the connection, which is made at the first call. A command is not repeated: whoever typed it wants to know at once.
fn connect(
    address: String,
    token: Option<String>,
    ca_file: Option<PathBuf>,
    timeout: Duration,
) -> anyhow::Result<hookwright_client::Client> {
    let mut builder = hookwright_client::Client::builder(address)
        .timeout(timeout)
        .connect_timeout(timeout)
        .user_agent(concat!("hookwright/", env!("CARGO_PKG_VERSION")))
        .no_retry();
    if let Some(token) = token {
        builder = builder.token(token);
    }
    if let Some(path) = ca_file {
        builder = builder.ca_file(path);
    }
    builder.connect().map_err(|error| match error {
        ConnectError::Address(_) | ConnectError::Token => UsageError::new(error.to_string()).into(),
        other => other.into(),
    })
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
