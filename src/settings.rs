//! The server's settings: from flags, environment and one TOML file, in that order of precedence, else the default.
//!
//! [`table`] lists every setting once; flags, environment variables, file keys, `--help` and `hookwright config` all come
//! from that list.

mod args;
pub(crate) mod document;
mod file;
mod kinds;
mod table;

use std::{collections::BTreeMap, fmt, path::PathBuf};

use anyhow::anyhow;
use hookwright_server::options::{self, About, Options, SettingInForce};

pub(crate) use args::SettingsArgs;
use table::{SETTINGS, Setting};

/// How to look up an environment variable; tests pass their own.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's own environment. An empty variable counts as absent, as containers like to set them so.
pub(crate) fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where a setting's value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag of the command line.
    Flag(String),
    /// An environment variable.
    Environment(String),
    /// The configuration file.
    File(PathBuf),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One setting as it is in effect, ready to be shown: secrets are masked.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The key in the configuration file.
    pub(crate) name: String,
    /// The value, or one value per element of a list.
    pub(crate) values: Vec<String>,
    /// Whether the setting is a list.
    pub(crate) list: bool,
    /// Where it came from.
    pub(crate) origin: Origin,
}

impl From<Shown> for SettingInForce {
    fn from(shown: Shown) -> Self {
        Self {
            name: shown.name,
            values: shown.values,
            list: shown.list,
            origin: match shown.origin {
                Origin::Flag(flag) => options::Origin::Flag(flag),
                Origin::Environment(variable) => options::Origin::Environment(variable),
                Origin::File(path) => options::Origin::File(path.display().to_string()),
                Origin::Default => options::Origin::Default,
            },
        }
    }
}

/// The commit that the binary is built from, stamped by the build script; empty where it is not known.
pub(crate) fn commit() -> &'static str {
    match option_env!("HOOKWRIGHT_COMMIT") {
        Some("unknown") | None => "",
        Some(commit) => commit,
    }
}

/// The settings in effect.
pub(crate) struct Effective {
    /// What the server is started with.
    pub(crate) options: Options,
    origins: BTreeMap<&'static str, Origin>,
}

impl Effective {
    /// Puts flags, environment, file and defaults together.
    pub(crate) fn load(args: &SettingsArgs, environment: Environment<'_>) -> anyhow::Result<Self> {
        let config = args
            .config
            .clone()
            .or_else(|| environment("HOOKWRIGHT_CONFIG").map(PathBuf::from));
        let from_file = match &config {
            Some(path) => file::read(path)?,
            None => file::Contents::default(),
        };
        let in_file = |wrong: &String| match &config {
            Some(path) => format!("configuration file {}: {wrong}", path.display()),
            None => wrong.clone(),
        };
        let mut wrong: Vec<String> = from_file.wrong.iter().map(in_file).collect();
        let given = |setting: &Setting| -> Option<(Vec<String>, Origin)> {
            if let Some(values) = args.given.get(setting.name) {
                return Some((values.clone(), Origin::Flag(format!("--{}", setting.flag()))));
            }
            if let Some(value) = environment(&setting.variable()) {
                return Some((setting.split(&value), Origin::Environment(setting.variable())));
            }
            let path = config.as_ref()?;
            from_file
                .values
                .get(setting.name)
                .map(|values| (values.clone(), Origin::File(path.clone())))
        };

        // `HOME` is only needed where nobody names a directory.
        let mut options = Options::new(default_data_dir(environment).unwrap_or_default());
        let mut origins = BTreeMap::new();
        for setting in SETTINGS {
            let Some((values, origin)) = given(setting) else {
                continue;
            };
            if let Err(why) = (setting.write)(&mut options, &values) {
                wrong.push(format!("setting `{}` (from {origin}): {why}", setting.key()));
            }
            origins.insert(setting.name, origin);
        }
        // All at once: whoever mends one mistake after another restarts as often.
        if !wrong.is_empty() {
            return Err(anyhow!(wrong.join("\n")));
        }
        if options.data_dir.as_os_str().is_empty() {
            return Err(anyhow!(
                "no data directory: set --data-dir or HOOKWRIGHT_DATA_DIR (HOME is not set)"
            ));
        }
        let mut effective = Self { options, origins };
        effective.options.about = About {
            commit: commit().to_owned(),
            settings: effective.shown().into_iter().map(SettingInForce::from).collect(),
        };
        Ok(effective)
    }

    /// Every setting with its origin, in the order of the list.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        SETTINGS
            .iter()
            .map(|setting| Shown {
                name: setting.key(),
                values: setting.shown(&self.options),
                list: setting.is_list(),
                origin: self.origins.get(setting.name).cloned().unwrap_or(Origin::Default),
            })
            .collect()
    }
}

/// Where the server keeps its data, and the client looks for the admin token, when nobody says otherwise.
pub(crate) fn default_data_dir(environment: Environment<'_>) -> Option<PathBuf> {
    if let Some(directory) = environment("HOOKWRIGHT_DATA_DIR") {
        return Some(PathBuf::from(directory));
    }
    // The XDG specification tells to ignore relative paths.
    let xdg = environment("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = xdg.or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".local/share")))?;
    Some(base.join("hookwright"))
}

#[cfg(test)]
mod tests;
