//! The origin of a command's token, which errors about it name.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use hookwright_server::ADMIN_TOKEN_FILE;
use url::{Host, Url};

use super::profile_file::Profile;
use crate::settings::{Environment, default_data_dir};

/// The origin of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenOrigin {
    /// A flag or a variable, by its name.
    Given(&'static str),
    /// The profile itself.
    Profile,
    /// A file that a flag, a variable or the profile names.
    File(PathBuf),
    /// The file of the first admin token in the data directory of this machine.
    DataDirectory(PathBuf),
    /// There is no token. The file of the data directory is named if the command looked for it.
    Missing(Option<PathBuf>),
}

/// How to give another token.
const GIVE: &str = "--token, --token-file, HOOKWRIGHT_TOKEN, HOOKWRIGHT_TOKEN_FILE or a profile";

impl fmt::Display for TokenOrigin {
    /// The fix if the server does not accept the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(name) => write!(
                f,
                "the server does not know the token from {name}, or it is no longer valid: correct it"
            ),
            Self::Profile => f.write_str(
                "the server does not know the token of the profile, or it is no longer valid: set another with `hookwright profiles set`",
            ),
            Self::File(path) => write!(
                f,
                "the server does not know the token from {}, or it is no longer valid: correct the file, or name another",
                path.display()
            ),
            Self::DataDirectory(path) => write!(
                f,
                "the server does not know the token from {}, or it is revoked: give another with {GIVE}",
                path.display()
            ),
            Self::Missing(Some(path)) => write!(f, "give a token with {GIVE}; {} does not exist", path.display()),
            Self::Missing(None) => write!(f, "give a token with {GIVE}"),
        }
    }
}

/// A token, if there is one, and its origin.
#[derive(Debug)]
pub(super) struct FoundToken {
    pub(super) text: Option<String>,
    pub(super) origin: TokenOrigin,
}

impl FoundToken {
    fn text(text: String, origin: TokenOrigin) -> Self {
        Self {
            text: Some(text),
            origin,
        }
    }

    fn file(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read the token file {}", path.display()))?;
        Ok(Self::text(text.trim().to_owned(), TokenOrigin::File(path.to_owned())))
    }

    /// The token of the flags.
    pub(super) fn of_flags(token: Option<String>, file: Option<&Path>) -> anyhow::Result<Option<Self>> {
        match (token, file) {
            (Some(text), _) => Ok(Some(Self::text(text, TokenOrigin::Given("--token")))),
            (None, file) => file.map(Self::file).transpose(),
        }
    }

    /// The token of the environment.
    pub(super) fn of_environment(environment: Environment<'_>) -> anyhow::Result<Option<Self>> {
        match environment("HOOKWRIGHT_TOKEN") {
            Some(text) => Ok(Some(Self::text(text, TokenOrigin::Given("HOOKWRIGHT_TOKEN")))),
            None => {
                let path = environment("HOOKWRIGHT_TOKEN_FILE").map(PathBuf::from);
                path.as_deref().map(Self::file).transpose()
            }
        }
    }

    /// The token of a profile.
    pub(super) fn of_profile(profile: &Profile) -> anyhow::Result<Option<Self>> {
        match &profile.token {
            Some(text) => Ok(Some(Self::text(text.clone(), TokenOrigin::Profile))),
            None => profile.token_file.as_deref().map(Self::file).transpose(),
        }
    }

    /// The token of the data directory, which only a server on this machine may get. Without a token the call is sent
    /// anyway: the server decides whether it needs one.
    pub(super) fn of_this_machine(address: &str, environment: Environment<'_>) -> Self {
        let directory = default_data_dir(environment).filter(|_| is_this_machine(address));
        let Some(path) = directory.map(|directory| directory.join(ADMIN_TOKEN_FILE)) else {
            return Self {
                text: None,
                origin: TokenOrigin::Missing(None),
            };
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::text(text.trim().to_owned(), TokenOrigin::DataDirectory(path)),
            Err(_) => Self {
                text: None,
                origin: TokenOrigin::Missing(Some(path)),
            },
        }
    }
}

/// Whether an address is of this machine.
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
