//! The client's configuration file: profiles, and the default profile.
//!
//! Edits keep comments, order and blank lines. The file may contain tokens, so only its owner can read it.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use clap::ValueEnum as _;
use toml_edit::{DocumentMut, Item, Table, TableLike, value};

use crate::{output::Format, settings::Environment};

/// The keys of a profile, in display order.
pub(crate) const KEYS: [&str; 6] = ["address", "token", "token_file", "ca_file", "organization", "output"];
const DEFAULT_PROFILE: &str = "default_profile";
const PROFILES: &str = "profiles";
/// Maximum length of a name.
const NAME_CHARS_MAX: usize = 64;

/// The values of a profile; missing ones have defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) address: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) organization: Option<String>,
    pub(crate) output: Option<Format>,
}

/// The path of the file, and whether the user named it, in which case it must exist.
pub(crate) fn locate(flag: Option<PathBuf>, environment: Environment<'_>) -> Option<(PathBuf, bool)> {
    if let Some(path) = flag.or_else(|| environment("HOOKWRIGHT_CLIENT_CONFIG").map(PathBuf::from)) {
        return Some((path, true));
    }
    // The XDG specification says to ignore relative paths.
    let xdg = environment("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = xdg.or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some((base.join("hookwright/config.toml"), false))
}

/// The file, validated as a whole.
#[derive(Debug)]
pub(crate) struct ProfilesFile {
    /// Its path.
    pub(crate) path: PathBuf,
    document: DocumentMut,
}

impl ProfilesFile {
    /// Reads the file; a missing file has no profiles.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("cannot read the client's configuration file {}", path.display()))?,
        };
        Self::parse(path, &text).with_context(|| format!("client configuration file {}", path.display()))
    }

    fn parse(path: &Path, text: &str) -> anyhow::Result<Self> {
        let document: DocumentMut = text.parse()?;
        let file = Self {
            path: path.to_owned(),
            document,
        };
        for (key, item) in file.document.iter() {
            match key {
                DEFAULT_PROFILE if item.is_str() => {}
                DEFAULT_PROFILE => bail!("`{DEFAULT_PROFILE}` must be the name of a profile, for example \"staging\""),
                PROFILES if item.is_table_like() => {}
                PROFILES => bail!("`{PROFILES}` must be tables: [profiles.NAME]"),
                other => bail!("unknown key `{other}`{}", nearest(other, &[DEFAULT_PROFILE, PROFILES])),
            }
        }
        for name in file.names() {
            file.profile(&name).with_context(|| format!("profile `{name}`"))?;
        }
        if let Some(name) = file.default_name()
            && file.table(name).is_none()
        {
            bail!(
                "`{DEFAULT_PROFILE}` names the profile `{name}`, which does not exist{}",
                file.known()
            );
        }
        Ok(file)
    }

    /// The profiles' names, in the file's order.
    pub(crate) fn names(&self) -> Vec<String> {
        let profiles = self.document.get(PROFILES).and_then(Item::as_table_like);
        profiles
            .map(|table| table.iter().map(|(name, _)| name.to_owned()).collect())
            .unwrap_or_default()
    }

    /// The names, for the end of a message.
    fn known(&self) -> String {
        match self.names().as_slice() {
            [] => "; there are none yet".to_owned(),
            names => format!("; there are: {}", names.join(", ")),
        }
    }

    /// The default profile's name.
    pub(crate) fn default_name(&self) -> Option<&str> {
        self.document.get(DEFAULT_PROFILE)?.as_str()
    }

    fn table(&self, name: &str) -> Option<&Item> {
        self.document.get(PROFILES)?.get(name)
    }

    /// One profile. Relative paths in it are relative to the file's directory; `~/` is the home directory.
    pub(crate) fn profile(&self, name: &str) -> anyhow::Result<Profile> {
        let item = self.table(name).ok_or_else(|| {
            anyhow!(
                "no profile `{name}` in {}{}; create it: hookwright profiles set {name} --address http://HOST:PORT",
                self.path.display(),
                self.known()
            )
        })?;
        let table = item
            .as_table_like()
            .ok_or_else(|| anyhow!("must be a table: [profiles.{name}]"))?;
        let mut profile = Profile::default();
        for (key, item) in table.iter() {
            if !KEYS.contains(&key) {
                bail!("unknown key `{key}`{}", nearest(key, &KEYS));
            }
            let text = item.as_str().filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| anyhow!("`{key}` must be a string, and not empty"))?;
            match key {
                "address" => profile.address = Some(text.to_owned()),
                "token" => profile.token = Some(text.to_owned()),
                "token_file" => profile.token_file = Some(self.resolve(text)),
                "ca_file" => profile.ca_file = Some(self.resolve(text)),
                "organization" => profile.organization = Some(text.to_owned()),
                _ => profile.output = Some(format_of(text).map_err(|why| anyhow!("`{key}` {why}"))?),
            }
        }
        if profile.token.is_some() && profile.token_file.is_some() {
            bail!("`token` and `token_file` are both set: remove one");
        }
        Ok(profile)
    }

    fn resolve(&self, text: &str) -> PathBuf {
        if let Some(rest) = text.strip_prefix("~/")
            && let Some(home) = std::env::home_dir()
        {
            return home.join(rest);
        }
        self.path
            .parent()
            .map_or_else(|| PathBuf::from(text), |base| base.join(text))
    }

    /// Sets a key of a profile, which is created if it is missing; `None` removes the key.
    pub(crate) fn set(&mut self, name: &str, key: &str, text: Option<&str>) -> anyhow::Result<()> {
        check_name(name)?;
        let mut parent = Table::new();
        // Writes only `[profiles.NAME]`, without an empty `[profiles]` before it.
        parent.set_implicit(true);
        let profiles = self.document.entry(PROFILES).or_insert(Item::Table(parent));
        let profiles = profiles
            .as_table_like_mut()
            .context("profiles is a table: it was checked")?;
        let profile = profiles.entry(name).or_insert(Item::Table(Table::new()));
        let profile = profile
            .as_table_like_mut()
            .context("a profile is a table: it was checked")?;
        match text {
            Some(text) => put(profile, key, text),
            None => drop(profile.remove(key)),
        }
        Ok(())
    }

    /// Removes a profile. Returns false if it does not exist.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let profiles = self.document.get_mut(PROFILES).and_then(Item::as_table_like_mut);
        profiles.is_some_and(|profiles| profiles.remove(name).is_some())
    }

    /// Sets or removes the default profile.
    pub(crate) fn set_default(&mut self, name: Option<&str>) -> anyhow::Result<()> {
        let Some(name) = name else {
            self.document.remove(DEFAULT_PROFILE);
            return Ok(());
        };
        self.profile(name)?;
        put(self.document.as_table_mut(), DEFAULT_PROFILE, name);
        Ok(())
    }

    /// Whether it contains a token and others can read it.
    pub(crate) fn exposes_token(&self) -> bool {
        let holds = self
            .names()
            .iter()
            .any(|name| self.table(name).is_some_and(|item| item.get("token").is_some()));
        holds && fs::metadata(&self.path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    }

    /// Writes the file atomically, readable only by its owner.
    pub(crate) fn save(&self) -> anyhow::Result<()> {
        // The written text must be readable again.
        Self::parse(&self.path, &self.document.to_string())?;
        // A symbolic link stays a link, for users who keep such files elsewhere.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let written = || -> io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            let mut file = tempfile::Builder::new()
                .prefix(".config.toml.")
                .permissions(fs::Permissions::from_mode(0o600))
                .tempfile_in(directory)?;
            file.write_all(self.document.to_string().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        written().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Sets a key, in place if it exists, so that a comment after its value stays.
fn put(table: &mut dyn TableLike, key: &str, text: &str) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = text.into();
            *old.decor_mut() = decor;
        }
        None => drop(table.insert(key, value(text))),
    }
}

/// Whether a profile may have this name, which must need no quotes in TOML and shells.
pub(crate) fn check_name(name: &str) -> anyhow::Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(good) {
        bail!("`{name}` cannot be a profile's name: write 1 to {NAME_CHARS_MAX} letters, digits, `-` and `_`");
    }
    Ok(())
}

/// An output format by its name.
pub(crate) fn format_of(text: &str) -> Result<Format, String> {
    Format::from_str(text, false).map_err(|_| {
        let names = Format::value_variants()
            .iter()
            .filter_map(clap::ValueEnum::to_possible_value);
        let names: Vec<String> = names.map(|name| name.get_name().to_owned()).collect();
        format!("must be one of {}; `{text}` is not", names.join(", "))
    })
}

fn nearest(key: &str, known: &[&str]) -> String {
    let key = key.replace('-', "_").to_lowercase();
    let nearest = known.iter().min_by_key(|name| strsim::damerau_levenshtein(&key, name));
    nearest
        .map(|name| format!("; the nearest known one is `{name}` (known: {})", known.join(", ")))
        .unwrap_or_default()
}

/// The warning about a file that others can read.
pub(crate) fn exposed(file: &ProfilesFile) -> String {
    let path = file.path.display();
    format!("warning: {path} contains a token and others can read it; run: chmod 600 {path}")
}

#[cfg(test)]
mod tests;
