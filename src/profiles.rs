//! `hookwright profiles ...`: named sets of connection settings, in the client's configuration file.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use crate::{
    client::{
        ClientArgs,
        failure::UsageError,
        input,
        profile_file::{KEYS, Profile, ProfilesFile, exposed, locate},
    },
    output::{self, Format, Output},
    settings::{Environment, process_environment},
};

const EXAMPLES: &str = "\
A profile stores values of client flags: address, token or token file, certificate authorities, organization, output \
             format. A flag overrides an environment variable, which overrides the profile, which overrides the default. With the flag --profile, \
             the profile overrides the variables.

Examples:
  hookwright profiles set production --address https://hooks.example.com:50051 \\
      --token-file ~/.secrets/hookwright --organization acme
  hookwright profiles use production
  hookwright --profile production deliveries list --state failed
  hookwright profiles set production --unset organization
  hookwright profiles list";

/// The file, and the profile commands.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct ProfilesArgs {
    /// The client's configuration file [env: HOOKWRIGHT_CLIENT_CONFIG] [default: ~/.config/hookwright/config.toml]
    #[arg(long, value_name = "FILE", global = true)]
    client_config: Option<PathBuf>,
    #[command(subcommand)]
    command: ProfilesCommand,
}

/// The profile commands.
#[derive(Debug, Subcommand)]
enum ProfilesCommand {
    /// List the profiles; the default one is marked
    List {
        /// A table for people, or a document for programs
        #[arg(long, value_name = "FORMAT")]
        output: Option<Format>,
    },
    /// Show one profile
    Show {
        /// Its name [default: the default profile]
        name: Option<String>,
        /// Show the token too
        #[arg(long)]
        show_token: bool,
        /// A table for people, or a document for programs
        #[arg(long, value_name = "FORMAT")]
        output: Option<Format>,
    },
    /// Create a profile, or change the given values of one
    Set {
        /// Its name: letters, digits, `-` and `_`
        name: String,
        #[command(flatten)]
        values: Values,
    },
    /// Remove a profile
    Remove {
        /// Its name
        name: String,
    },
    /// Make a profile the default
    Use {
        /// Its name
        #[arg(required_unless_present = "none", conflicts_with = "none")]
        name: Option<String>,
        /// Remove the default profile
        #[arg(long)]
        none: bool,
    },
}

/// The values of a profile.
#[derive(Args, Debug)]
struct Values {
    /// The server's gRPC address
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// API token: text, @FILE, or - for standard input; stored in the file, which only its owner can read
    #[arg(long, value_name = "TOKEN|@FILE|-", conflicts_with = "token_file")]
    token: Option<String>,
    /// File that contains the API token, read by every command
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// PEM file of certificate authorities to trust in addition to the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,
    /// The organization of commands without the flag
    #[arg(long, value_name = "ORGANIZATION")]
    organization: Option<String>,
    /// The output format
    #[arg(long, value_name = "FORMAT")]
    output: Option<Format>,
    /// Remove a key from the profile; repeatable
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    unset: Vec<Key>,
}

/// A key of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Key {
    Address,
    Token,
    TokenFile,
    CaFile,
    Organization,
    Output,
}

impl Key {
    fn name(self) -> &'static str {
        KEYS[self as usize]
    }
}

impl Values {
    /// The given keys with their new values; no value for removed keys.
    fn changes(self) -> anyhow::Result<Vec<(Key, Option<String>)>> {
        let output = self.output.and_then(|format| format.to_possible_value());
        let given = [
            (Key::Address, self.address),
            (Key::Token, self.token.map(|text| input::read_line(&text)).transpose()?),
            (Key::TokenFile, self.token_file.map(absolute).transpose()?),
            (Key::CaFile, self.ca_file.map(absolute).transpose()?),
            (Key::Organization, self.organization),
            (Key::Output, output.map(|value| value.get_name().to_owned())),
        ];
        let mut changes = Vec::new();
        for (key, value) in given {
            if value.is_some() && self.unset.contains(&key) {
                return Err(UsageError::new(format!("`{}` is both set and unset", key.name())).into());
            }
            if value.is_some() || self.unset.contains(&key) {
                changes.push((key, value));
            }
        }
        // A token flag of either kind replaces the other.
        for (new, old) in [(Key::Token, Key::TokenFile), (Key::TokenFile, Key::Token)] {
            if changes.iter().any(|(key, value)| *key == new && value.is_some()) {
                changes.push((old, None));
            }
        }
        if changes.is_empty() {
            return Err(UsageError::new("nothing to set: give --address, --organization or another value").into());
        }
        Ok(changes)
    }
}

/// A relative path is stored as an absolute one, so that it is valid in every directory; `~/` is kept.
fn absolute(path: String) -> anyhow::Result<String> {
    if path.starts_with("~/") {
        return Ok(path);
    }
    let path = std::path::absolute(&path)?;
    path.into_os_string()
        .into_string()
        .map_err(|path| anyhow!("the path {} is not UTF-8", path.display()))
}

/// Prints a warning if a file does not exist. The profile is saved anyway, because the file may be created later.
fn warn_about_missing(key: Key, path: &str, environment: Environment<'_>) {
    let home = path.strip_prefix("~/").zip(environment("HOME"));
    let file = home.map_or_else(|| PathBuf::from(path), |(rest, home)| PathBuf::from(home).join(rest));
    if !file.exists() {
        output::note(&format!(
            "warning: {} does not exist; commands with this profile fail without it ({})",
            file.display(),
            key.name()
        ));
    }
}

/// Runs the command. `root` has the flags further left.
pub(crate) fn run(args: ProfilesArgs, root: &ClientArgs) -> anyhow::Result<ExitCode> {
    let environment: Environment<'_> = &process_environment;
    let flag = args.client_config.or_else(|| root.client_config.clone());
    let (path, _) = locate(flag, environment)
        .ok_or_else(|| UsageError::new("no configuration file: set --client-config (HOME is not set)"))?;
    let mut file = ProfilesFile::read(&path)?;
    if file.exposes_token() {
        output::note(&exposed(&file));
    }
    let format = |output: Option<Format>| output.or(root.output).unwrap_or_default();
    match args.command {
        ProfilesCommand::List { output } => list(&file, Output::new(format(output)))?,
        ProfilesCommand::Show {
            name,
            show_token,
            output,
        } => {
            let name = name.or_else(|| root.profile.clone());
            let name = name.or_else(|| file.default_name().map(str::to_owned));
            let name = name.ok_or_else(|| UsageError::new("no profile given, and there is no default profile"))?;
            show(&file, &name, show_token, Output::new(format(output)))?;
        }
        ProfilesCommand::Set { name, values } => {
            for (key, value) in values.changes()? {
                if let (Key::TokenFile | Key::CaFile, Some(path)) = (key, &value) {
                    warn_about_missing(key, path, environment);
                }
                if value.as_deref() == Some("") {
                    bail!("`{}` is empty: use --unset to remove it", key.name());
                }
                file.set(&name, key.name(), value.as_deref())?;
            }
            file.save()?;
            output::print(&format!("Saved the profile {name} in {}.", path.display()))?;
        }
        ProfilesCommand::Remove { name } => {
            if !file.remove(&name) {
                file.profile(&name)?;
            }
            if file.default_name() == Some(&name) {
                file.set_default(None)?;
                output::note("It was the default profile; now there is none.");
            }
            file.save()?;
            output::print(&format!("Removed the profile {name} from {}.", path.display()))?;
        }
        ProfilesCommand::Use { name, .. } => {
            file.set_default(name.as_deref())?;
            file.save()?;
            output::print(&match name {
                Some(name) => format!("The default profile is now {name}."),
                None => "There is no default profile now.".to_owned(),
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(file: &ProfilesFile, output: Output) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for name in file.names() {
        let profile = file.profile(&name)?;
        let is_default = file.default_name() == Some(&name);
        rows.push(vec![
            if is_default { format!("{name}*") } else { name.clone() },
            profile.address.clone().unwrap_or_default(),
            profile.organization.clone().unwrap_or_default(),
        ]);
        let mut value = document(&name, &profile, false);
        value.insert("default".to_owned(), json!(is_default));
        values.push(Value::Object(value));
    }
    output.document(&json!({ "profiles": values }), || {
        if rows.is_empty() {
            return format!(
                "No profiles in {}. Create one: hookwright profiles set local --organization acme",
                file.path.display()
            );
        }
        output::table(&["PROFILE", "ADDRESS", "ORGANIZATION"], rows)
    })
}

fn show(file: &ProfilesFile, name: &str, show_token: bool, output: Output) -> anyhow::Result<()> {
    let profile = file.profile(name)?;
    let value = document(name, &profile, show_token);
    output.document(&Value::Object(value.clone()), || {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let keys = std::iter::once("name").chain(KEYS);
        output::fields(keys.map(|key| (key, text(key))).collect())
    })
}

fn document(name: &str, profile: &Profile, show_token: bool) -> Map<String, Value> {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let token = profile.token.as_ref();
    let values = [
        token.map(|token| {
            if show_token {
                token.clone()
            } else {
                "(set, not shown)".to_owned()
            }
        }),
        path(&profile.token_file),
        path(&profile.ca_file),
        profile.organization.clone(),
        profile
            .output
            .and_then(|format| Some(format.to_possible_value()?.get_name().to_owned())),
    ];
    let values = std::iter::once(profile.address.clone()).chain(values);
    let named = KEYS.iter().zip(values);
    std::iter::once(("name".to_owned(), json!(name)))
        .chain(named.filter_map(|(key, value)| Some(((*key).to_owned(), json!(value?)))))
        .collect()
}
