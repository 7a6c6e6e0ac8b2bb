//! Resolves connection values: flag, environment, profile, default, in that order.
//!
//! With the flag `--profile`, the profile comes before the environment, so that it does not send the environment's token to
//! the profile's server.

use std::{path::PathBuf, time::Duration};

use super::{
    ClientArgs,
    failure::UsageError,
    profile_file::{Profile, ProfilesFile, exposed, format_of, locate},
    token::{FoundToken, TokenOrigin},
};
use crate::{
    output::{self, Format},
    settings::Environment,
};

const ADDRESS_DEFAULT: &str = "http://127.0.0.1:50051";
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// The resolved values of a client command.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) address: String,
    pub(super) token: Option<String>,
    pub(super) token_origin: TokenOrigin,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) timeout: Duration,
    pub(super) format: Format,
    pub(super) organization: Option<String>,
}

impl Connection {
    /// Resolves the values.
    pub(super) fn resolve(args: ClientArgs, environment: Environment<'_>) -> anyhow::Result<Self> {
        let named = args.profile.is_some();
        let profile = profile(args.profile, args.client_config, environment)?;
        let timeout = args.timeout.unwrap_or(TIMEOUT_DEFAULT);
        if timeout.is_zero() {
            return Err(UsageError::new("--timeout must be more than 0, for example 30s").into());
        }
        let format_of_environment = match environment("HOOKWRIGHT_OUTPUT").filter(|_| args.output.is_none()) {
            Some(text) => Some(format_of(&text).map_err(|why| UsageError::new(format!("HOOKWRIGHT_OUTPUT {why}")))?),
            None => None,
        };
        let format = args.output.or(first(named, format_of_environment, profile.output));
        let address = first(named, environment("HOOKWRIGHT_ADDRESS"), profile.address.clone());
        let address = args.address.or(address).unwrap_or_else(|| ADDRESS_DEFAULT.to_owned());
        let ca_file = first(
            named,
            environment("HOOKWRIGHT_CA_FILE").map(PathBuf::from),
            profile.ca_file.clone(),
        );
        let token = match FoundToken::of_flags(args.token, args.token_file.as_deref())? {
            Some(found) => Some(found),
            None if named => match FoundToken::of_profile(&profile)? {
                Some(found) => Some(found),
                None => FoundToken::of_environment(environment)?,
            },
            None => match FoundToken::of_environment(environment)? {
                Some(found) => Some(found),
                None => FoundToken::of_profile(&profile)?,
            },
        };
        let token = token.unwrap_or_else(|| FoundToken::of_this_machine(&address, environment));
        Ok(Self {
            token: token.text,
            token_origin: token.origin,
            address,
            ca_file: args.ca_file.or(ca_file),
            timeout,
            format: format.unwrap_or_default(),
            organization: first(named, environment("HOOKWRIGHT_ORGANIZATION"), profile.organization),
        })
    }
}

/// The value of the environment or of the profile, whichever comes first.
fn first<T>(named: bool, environment: Option<T>, profile: Option<T>) -> Option<T> {
    if named {
        profile.or(environment)
    } else {
        environment.or(profile)
    }
}

/// The active profile; an empty one if there is none.
fn profile(name: Option<String>, config: Option<PathBuf>, environment: Environment<'_>) -> anyhow::Result<Profile> {
    let name = name.or_else(|| environment("HOOKWRIGHT_PROFILE"));
    let Some((path, named)) = locate(config, environment) else {
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

#[cfg(test)]
mod tests;
