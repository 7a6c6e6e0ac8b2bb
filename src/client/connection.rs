//! Resolves connection values: flag, environment, profile, default, in that order.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use hookwright_server::ADMIN_TOKEN_FILE;
use url::{Host, Url};

use super::{ClientArgs, failure::UsageError};
use crate::{
    output::{self, Format},
    profiles::{
        exposed,
        file::{self, Profile, ProfilesFile},
    },
    settings::{Environment, default_data_dir},
};

const ADDRESS_DEFAULT: &str = "http://127.0.0.1:50051";
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// The resolved values of a client command.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) address: String,
    pub(super) token: Option<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) timeout: Duration,
    pub(super) format: Format,
    pub(super) organization: Option<String>,
}

impl Connection {
    /// Resolves the values.
    pub(super) fn resolve(args: ClientArgs, environment: Environment<'_>) -> anyhow::Result<Self> {
        let profile = profile(args.profile, args.client_config, environment)?;
        let timeout = args.timeout.unwrap_or(TIMEOUT_DEFAULT);
        if timeout.is_zero() {
            return Err(UsageError::new("--timeout must be more than 0, for example 30s").into());
        }
        let format = match (args.output, environment("HOOKWRIGHT_OUTPUT")) {
            (Some(format), _) => Some(format),
            (None, Some(text)) => {
                Some(file::format(&text).map_err(|why| UsageError::new(format!("HOOKWRIGHT_OUTPUT {why}")))?)
            }
            (None, None) => profile.output,
        };
        let address = args.address.or_else(|| environment("HOOKWRIGHT_ADDRESS"));
        let address = address.or_else(|| profile.address.clone());
        let address = address.unwrap_or_else(|| ADDRESS_DEFAULT.to_owned());
        let ca_file = args
            .ca_file
            .or_else(|| environment("HOOKWRIGHT_CA_FILE").map(PathBuf::from));
        Ok(Self {
            token: token(args.token, args.token_file, &profile, &address, environment)?,
            address,
            ca_file: ca_file.or(profile.ca_file),
            timeout,
            format: format.unwrap_or_default(),
            organization: environment("HOOKWRIGHT_ORGANIZATION").or(profile.organization),
        })
    }
}

/// The active profile; an empty one if there is none.
fn profile(name: Option<String>, config: Option<PathBuf>, environment: Environment<'_>) -> anyhow::Result<Profile> {
    let name = name.or_else(|| environment("HOOKWRIGHT_PROFILE"));
    let Some((path, named)) = file::locate(config, environment) else {
        return match name {
            Some(name) => Err(UsageError::new(format!(
                "cannot find the profile `{name}`: name its file with --client-config (HOME is not set)"
            ))
            .into()),
            None => Ok(Profile::default()),
        };
    };
    if named && !path.exists() {
        return Err(UsageError::new(format!(
            "the client's configuration file {} does not exist; create it with `hookwright profiles set`",
            path.display()
        ))
        .into());
    }
    let file = ProfilesFile::read(&path)?;
    if file.exposes_token() {
        output::note(&exposed(&file));
    }
    match name.as_deref().or(file.default_name()) {
        Some(name) => file
            .profile(name)
            .map_err(|error| UsageError::new(format!("{error:#}")).into()),
        None => Ok(Profile::default()),
    }
}

/// The token with the highest precedence. Without a token the call is sent anyway: the server decides whether it
/// needs one.
fn token(
    flag: Option<String>,
    flag_file: Option<PathBuf>,
    profile: &Profile,
    address: &str,
    environment: Environment<'_>,
) -> anyhow::Result<Option<String>> {
    if flag.is_some() {
        return Ok(flag);
    }
    if let Some(path) = flag_file {
        return read(&path).map(Some);
    }
    if let Some(token) = environment("HOOKWRIGHT_TOKEN") {
        return Ok(Some(token));
    }
    if let Some(path) = environment("HOOKWRIGHT_TOKEN_FILE") {
        return read(Path::new(&path)).map(Some);
    }
    if profile.token.is_some() {
        return Ok(profile.token.clone());
    }
    if let Some(path) = &profile.token_file {
        return read(path).map(Some);
    }
    // Only a server on this machine may get the local token.
    if !is_this_machine(address) {
        return Ok(None);
    }
    let default = default_data_dir(environment).map(|directory| directory.join(ADMIN_TOKEN_FILE));
    Ok(default
        .and_then(|path| std::fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the token file {}", path.display()))?;
    Ok(text.trim().to_owned())
}

fn is_this_machine(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return false };
    // The host of an unknown scheme is parsed as text, so parse it again.
    let host = url.host_str().map(Host::parse);
    match host {
        Some(Ok(Host::Domain(name))) => name == "localhost",
        Some(Ok(Host::Ipv4(address))) => address.is_loopback(),
        Some(Ok(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
