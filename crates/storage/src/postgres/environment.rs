//! Settings that a PostgreSQL URL does not set, from the sources that libpq uses: a service file, `PGPASSWORD` and a
//! password file.
//!
//! The URL takes precedence over the service, and the service over the environment. Servers read all of them for each
//! connection, so a password that was changed in its file takes effect.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Once,
    time::Duration,
};

use hookwright_domain::mask::{check_user_info, explain_refusal};
use tokio_postgres::{
    Config,
    config::{Host, TargetSessionAttrs},
};

use super::url::{Draft, Target};

/// Looks up an environment variable. Tests pass their own function.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the process's environment. An empty variable counts as absent.
fn process(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl FromStr for Target {
    type Err = String;

    /// Errors describe the fault of the URL without its password.
    fn from_str(url: &str) -> Result<Self, String> {
        Self::read_with(url, &process)
    }
}

impl Target {
    /// Reads a URL, and adds missing settings from an environment.
    pub(super) fn read_with(url: &str, lookup: Lookup<'_>) -> Result<Self, String> {
        check_user_info(url)?;
        let mut draft = Draft::read(url).map_err(|_| explain_refusal(url, Draft::read))?;
        complete(&mut draft, lookup)?;
        draft.finish()
    }
}

/// Adds the settings that the URL does not set.
///
/// # Errors
/// Fails if a named file cannot be read, or contains an unknown setting. Errors show no values.
fn complete(draft: &mut Draft, lookup: Lookup<'_>) -> Result<(), String> {
    if let Some(name) = draft.service.clone().or_else(|| lookup("PGSERVICE")) {
        for (key, value) in service(&name, lookup)? {
            apply(draft, &key, &value).map_err(|why| format!("service `{name}`: {why}"))?;
        }
        finish_hosts(draft);
    }
    if draft.config.get_password().is_none()
        && let Some(password) = lookup("PGPASSWORD")
    {
        draft.config.password(password);
    }
    if draft.config.get_password().is_none() {
        let named = draft.passfile.clone().or_else(|| lookup("PGPASSFILE"));
        let path = named.map(PathBuf::from).or_else(|| in_home(".pgpass", lookup));
        if let Some(password) = path.and_then(|path| from_file(&path, &draft.config, lookup)) {
            draft.config.password(password);
        }
    }
    Ok(())
}

fn in_home(name: &str, lookup: Lookup<'_>) -> Option<PathBuf> {
    lookup("HOME").map(|home| Path::new(&home).join(name))
}

/// The settings of a service, from the first file that has it: `PGSERVICEFILE`, otherwise `~/.pg_service.conf`; then
/// `pg_service.conf` in `PGSYSCONFDIR`, otherwise in `/etc/postgresql-common`.
fn service(name: &str, lookup: Lookup<'_>) -> Result<Vec<(String, String)>, String> {
    let own = lookup("PGSERVICEFILE").map(PathBuf::from);
    let own = own.or_else(|| in_home(".pg_service.conf", lookup));
    let system = lookup("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".to_owned());
    let system = Path::new(&system).join("pg_service.conf");
    for path in own.iter().chain([&system]) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("the service file {} cannot be read: {error}", path.display())),
        };
        if let Some(found) = section(&text, name).map_err(|line| {
            format!(
                "the service file {} has neither `name=value` nor `[name]` in line {line}",
                path.display()
            )
        })? {
            return Ok(found);
        }
    }
    let looked = own.into_iter().chain([system]).map(|path| path.display().to_string());
    let looked: Vec<String> = looked.collect();
    Err(format!("there is no service `{name}` in {}", looked.join(" or ")))
}

/// The settings of one section, or the number of an invalid line.
fn section(text: &str, name: &str) -> Result<Option<Vec<(String, String)>>, usize> {
    let mut found: Option<Vec<(String, String)>> = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if found.is_some() {
                return Ok(found);
            }
            found = (header == name).then(Vec::new);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(at + 1);
        };
        if let Some(settings) = &mut found {
            settings.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    Ok(found)
}

/// Sets a value that the URL has not set.
fn apply(draft: &mut Draft, key: &str, value: &str) -> Result<(), String> {
    let config = &mut draft.config;
    let bad = |what: &str| format!("`{key}` is not {what}");
    match key {
        "host" if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() => {
            for host in value.split(',') {
                config.host(host.trim());
            }
            draft.has_service_host = true;
        }
        "hostaddr"
            if config.get_hostaddrs().is_empty() && (draft.has_service_host || config.get_hosts().is_empty()) =>
        {
            for address in value.split(',') {
                config.hostaddr(address.trim().parse().map_err(|_| bad("an address"))?);
            }
        }
        "port" if config.get_ports().is_empty() => {
            for port in value.split(',') {
                config.port(port.trim().parse().map_err(|_| bad("a port"))?);
            }
        }
        "user" if config.get_user().is_none() => {
            config.user(value);
        }
        "password" if config.get_password().is_none() => {
            config.password(value);
        }
        "dbname" if config.get_dbname().is_none() => {
            config.dbname(value);
        }
        "options" if config.get_options().is_none() => {
            config.options(value);
        }
        "connect_timeout" if config.get_connect_timeout().is_none() => {
            let seconds = value.parse().map_err(|_| bad("a number of seconds"))?;
            config.connect_timeout(Duration::from_secs(seconds));
        }
        "target_session_attrs" if config.get_target_session_attrs() == TargetSessionAttrs::Any => {
            config.target_session_attrs(match value {
                "any" => TargetSessionAttrs::Any,
                "read-write" => TargetSessionAttrs::ReadWrite,
                "read-only" => TargetSessionAttrs::ReadOnly,
                _ => return Err(bad("any, read-write or read-only")),
            });
        }
        "sslmode" => set(&mut draft.ours.mode, value),
        "sslrootcert" => set(&mut draft.ours.root, value),
        "sslcert" => set(&mut draft.ours.certificate, value),
        "sslkey" => set(&mut draft.ours.key, value),
        "passfile" => set(&mut draft.passfile, value),
        // The URL has set it, or it is only a display name.
        "host"
        | "hostaddr"
        | "port"
        | "user"
        | "password"
        | "dbname"
        | "options"
        | "connect_timeout"
        | "target_session_attrs"
        | "application_name"
        | "fallback_application_name" => {}
        other => return Err(format!("the setting `{other}` is not supported; remove it")),
    }
    Ok(())
}

fn set(slot: &mut Option<String>, value: &str) {
    slot.get_or_insert_with(|| value.to_owned());
}

/// Gives a name to each address that has none.
fn finish_hosts(draft: &mut Draft) {
    if draft.config.get_hosts().is_empty() {
        for address in draft.config.get_hostaddrs().to_vec() {
            draft.config.host(address.to_string());
        }
    }
}

/// The password for a connection, from a file of lines `host:port:database:user:password`.
fn from_file(path: &Path, config: &Config, lookup: Lookup<'_>) -> Option<String> {
    static EXPOSED: Once = Once::new();
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        EXPOSED.call_once(|| {
            tracing::warn!(
                file = %path.display(),
                "the password file is not used: others can read it (mode {mode:03o}); set it to 600 by chmod"
            );
        });
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    let user = config.get_user().map(str::to_owned).or_else(|| lookup("USER"))?;
    let database = config.get_dbname().unwrap_or(&user);
    let ports = config.get_ports();
    config.get_hosts().iter().enumerate().find_map(|(at, host)| {
        let host = match host {
            Host::Tcp(name) => name.as_str(),
            // libpq uses this name for a socket's directory.
            Host::Unix(_) => "localhost",
        };
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432).to_string();
        password(&text, [host, &port, database, &user])
    })
}

/// The password of the first line that matches a connection.
fn password(text: &str, connection: [&str; 4]) -> Option<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(fields).find_map(|fields| match fields.as_slice() {
        [wanted @ .., password] if wanted.len() == connection.len() => {
            let is_for = wanted
                .iter()
                .zip(connection)
                .all(|(wanted, is)| wanted == "*" || wanted == is);
            is_for.then(|| password.clone())
        }
        _ => None,
    })
}

/// The fields of a line. `\:` and `\\` stand for the characters themselves. The fifth field is the rest.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        let last = fields.len() - 1;
        match letter {
            '\\' => fields[last].extend(letters.next()),
            ':' if fields.len() < 5 => fields.push(String::new()),
            other => fields[last].push(other),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;
    use crate::postgres::url::{Mode, Target};

    fn read(url: &str, variables: &[(&str, &str)]) -> Result<Target, String> {
        Target::read_with(url, &|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn password_of(target: &Target) -> Option<&str> {
        target
            .config
            .get_password()
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    #[test]
    fn a_password_comes_from_the_url_the_environment_or_a_file() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".pgpass");
        fs::write(
            &file,
            "# comment\nother:*:*:*:no\nhost:5432:db:me:a\\:b\\\\c\n*:*:*:you:yours\n",
        )
        .unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let home_variable = ("HOME", home.path().to_str().unwrap());
        let environment = [("PGPASSWORD", "env"), home_variable];
        for (url, variables, expected) in [
            ("postgres://me:url@host/db", &environment[..], Some("url")),
            ("postgres://me@host/db", &environment[..], Some("env")),
            ("postgres://me@host/db", &[home_variable], Some("a:b\\c")),
            ("postgres://you@socket:7/other", &[home_variable], Some("yours")),
            ("postgres://me@host:5433/db", &[home_variable], None),
            ("postgres://me@host/db", &[], None),
            (
                "postgres://me@host/db",
                &[("PGPASSFILE", file.to_str().unwrap())],
                Some("a:b\\c"),
            ),
        ] {
            assert_eq!(password_of(&read(url, variables).unwrap()), expected, "{url}");
        }
        let named = format!("postgres://me@host/db?passfile={}", file.display());
        assert_eq!(password_of(&read(&named, &[]).unwrap()), Some("a:b\\c"));
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(
            password_of(&read("postgres://me@host/db", &[home_variable]).unwrap()),
            None
        );
    }

    #[test]
    fn a_service_gives_what_the_url_leaves_open() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("services");
        fs::write(
            &file,
            "[other]\nhost=no\n\n# ours\n[prod]\nhost=a,b\nport=6432\nuser=me\npassword=secret\ndbname=hooks\nsslmode=verify-full\n\
             sslrootcert=/ca.pem\ntarget_session_attrs=read-write\n[last]\nnonsense=1\n[bad]\nsslmode=sometimes\n",
        )
        .unwrap();
        let variable = ("PGSERVICEFILE", file.to_str().unwrap());
        let service = read("postgres://?service=prod", &[variable]).unwrap();
        let host = |name: &str| Host::Tcp(name.to_owned());
        assert_eq!(service.config.get_hosts(), [host("a"), host("b")]);
        assert_eq!(service.config.get_ports(), [6432]);
        assert_eq!(service.config.get_user(), Some("me"));
        assert_eq!(service.config.get_dbname(), Some("hooks"));
        assert_eq!(password_of(&service), Some("secret"));
        assert_eq!(service.mode, Mode::VerifyFull);
        assert_eq!(service.root_certificates, Some("/ca.pem".into()));

        let mixed = read(
            "postgres://you@c/mine?sslmode=require",
            &[variable, ("PGSERVICE", "prod"), ("PGPASSWORD", "env")],
        )
        .unwrap();
        assert_eq!(mixed.config.get_hosts(), [host("c")]);
        assert_eq!(
            (mixed.config.get_user(), mixed.config.get_dbname()),
            (Some("you"), Some("mine"))
        );
        assert_eq!((password_of(&mixed), mixed.mode), (Some("secret"), Mode::Require));

        for (name, told) in [
            ("missing", "there is no service `missing` in"),
            ("last", "service `last`: the setting `nonsense` is not supported"),
            ("bad", "sslmode `sometimes` is not known"),
        ] {
            let error = read(&format!("postgres://?service={name}"), &[variable]).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
