//! The server's settings: from flags, environment and one TOML file, in that order of precedence, with defaults.
//!
//! [`table`] lists every setting once. Flags, environment variables, file keys, `--help` and `hookwright config` are
//! generated from it.

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

/// Looks up an environment variable; tests pass their own function.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's environment. An empty variable counts as absent, because containers often set variables to nothing.
pub(crate) fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The origin of a setting's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A command-line flag.
    Flag(String),
    /// An environment variable.
    Environment(String),
    /// The settings file.
    File(PathBuf),
    /// The default.
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

/// A current setting for display: secrets are masked.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The key in the settings file.
    pub(crate) name: String,
    /// The value, or the values of a list.
    pub(crate) values: Vec<String>,
    /// Whether the setting is a list.
    pub(crate) list: bool,
    /// The origin.
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

/// The commit of the binary, which the build script stamps; empty if unknown.
pub(crate) fn commit() -> &'static str {
    match option_env!("HOOKWRIGHT_COMMIT") {
        Some("unknown") | None => "",
        Some(commit) => commit,
    }
}

/// The current settings.
pub(crate) struct Effective {
    /// The options that the server starts with.
    pub(crate) options: Options,
    origins: BTreeMap<&'static str, Origin>,
}

impl Effective {
    /// Combines flags, environment, file and defaults.
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
            Some(path) => format!("settings file {}: {wrong}", path.display()),
            None => wrong.clone(),
        };
        let mut wrong: Vec<String> = from_file.wrong.iter().map(in_file).collect();
        let given = |setting: &Setting| -> Option<(Vec<String>, Origin)> {
            if let Some(values) = args.given.get(setting.name) {
                return Some((values.clone(), Origin::Flag(format!("--{}", setting.flag()))));
            }
            for variable in setting.variables() {
                if let Some(value) = environment(&variable) {
                    return Some((setting.split(&value), Origin::Environment(variable)));
                }
            }
            let path = config.as_ref()?;
            from_file
                .values
                .get(setting.name)
                .map(|values| (values.clone(), Origin::File(path.clone())))
        };

        // `HOME` is needed only if no directory is given.
        let mut options = Options::new(default_data_dir(environment).unwrap_or_default());
        let mut origins = BTreeMap::new();
        for setting in SETTINGS {
            let mut set = setting.variables();
            set.retain(|variable| environment(variable).is_some());
            if set.len() > 1 {
                wrong.push(format!("{} are the same setting: set one of them", set.join(" and ")));
            }
            let Some((values, origin)) = given(setting) else {
                continue;
            };
            if let Err(why) = (setting.write)(&mut options, &values) {
                wrong.push(format!("setting `{}` (from {origin}): {why}", setting.key()));
            }
            origins.insert(setting.name, origin);
        }
        // Reports all errors at once, so that one restart fixes them all.
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

    /// Every setting with its origin, in the order of the table.
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

/// The default data directory of the server, where the client also looks for the admin token.
pub(crate) fn default_data_dir(environment: Environment<'_>) -> Option<PathBuf> {
    if let Some(directory) = environment("HOOKWRIGHT_DATA_DIR") {
        return Some(PathBuf::from(directory));
    }
    // The XDG specification says to ignore relative paths.
    let xdg = environment("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = xdg.or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".local/share")))?;
    Some(base.join("hookwright"))
}

#[cfg(test)]
mod tests;
