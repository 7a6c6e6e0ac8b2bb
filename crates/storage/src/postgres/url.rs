//! The TLS parameters of a PostgreSQL URL, with their meaning in libpq. tokio-postgres reads all other parameters.
//!
//! There is one difference: without `sslrootcert`, `verify-ca` and `verify-full` trust the authorities of the system,
//! where libpq looks for `~/.postgresql/root.crt`.

use std::path::PathBuf;

use hookwright_domain::name::nearest;
use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{Host, SslMode, SslNegotiation},
};

/// The level of TLS that a connection needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// No TLS.
    Disable,
    /// TLS only if the server refuses a connection without it, with any certificate.
    Allow,
    /// TLS if the server offers it, with any certificate.
    Prefer,
    /// TLS with any certificate. With a file of authorities, one of them must have signed it.
    Require,
    /// TLS with a certificate of a trusted authority, for any host.
    VerifyCa,
    /// TLS with a certificate of a trusted authority that is valid for the host.
    VerifyFull,
}

/// The checks of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verification {
    /// Nothing.
    None,
    /// Its authority.
    Authority,
    /// Its authority and its host.
    Host,
}

/// The address of a database, and the TLS that it needs.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) mode: Mode,
    /// Whether TLS begins at once, without a request in PostgreSQL's protocol.
    pub(super) is_direct: bool,
    /// The file with the authorities to trust, instead of those that the system trusts.
    pub(super) root_certificates: Option<PathBuf>,
    /// The files with this client's certificate and its private key.
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
}

impl Target {
    /// The checks of the server's certificate.
    pub(super) fn verification(&self) -> Verification {
        match self.mode {
            Mode::Disable | Mode::Allow | Mode::Prefer => Verification::None,
            Mode::Require if self.root_certificates.is_none() => Verification::None,
            Mode::Require | Mode::VerifyCa => Verification::Authority,
            Mode::VerifyFull => Verification::Host,
        }
    }
}

/// The settings of a URL, before missing ones are added.
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) ours: Ours,
    /// The section of a service file.
    pub(super) service: Option<String>,
    /// The file with passwords.
    pub(super) passfile: Option<String>,
    /// Whether the hosts are those of the service.
    pub(super) has_service_host: bool,
}

impl Draft {
    pub(super) fn read(url: &str) -> Result<Self, String> {
        let (rest, mut ours) = split(url)?;
        let mut config: Config = rest.parse().map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!(
                "the database URL cannot be read: {}",
                cause.unwrap_or_else(|| error.to_string())
            )
        })?;
        // An invalid mode is reported together with the URL's errors.
        ours.mode.as_deref().map(mode).transpose()?;
        // Gives a host name to each address for the checks that need one.
        if config.get_hosts().is_empty() {
            for address in config.get_hostaddrs().to_vec() {
                config.host(address.to_string());
            }
        }
        Ok(Self {
            config,
            service: ours.service.take(),
            passfile: ours.passfile.take(),
            ours,
            has_service_host: false,
        })
    }

    pub(super) fn finish(self) -> Result<Target, String> {
        let Self { config, ours, .. } = self;
        let is_system = ours.root.as_deref() == Some("system");
        let default = if is_system { Mode::VerifyFull } else { Mode::Prefer };
        let mode = ours.mode.as_deref().map_or(Ok(default), mode)?;
        if is_system && mode != Mode::VerifyFull {
            // Anyone can get a certificate from such an authority.
            return Err("sslrootcert=system needs sslmode=verify-full".to_owned());
        }
        let certificate = match (ours.certificate, ours.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (Some(_), None) => return Err("sslcert needs sslkey: the file with its private key".to_owned()),
            (None, Some(_)) => return Err("sslkey needs sslcert: the file with the certificate".to_owned()),
        };
        let is_direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
        if is_direct && matches!(mode, Mode::Disable | Mode::Allow | Mode::Prefer) {
            return Err("sslnegotiation=direct needs sslmode=require, verify-ca or verify-full".to_owned());
        }
        Ok(Target {
            config,
            mode,
            is_direct,
            // `system` is libpq's name for our behaviour without the parameter.
            root_certificates: ours.root.filter(|root| root != "system").map(Into::into),
            certificate,
        })
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    Ok(match text {
        "prefer" => Mode::Prefer,
        "disable" => Mode::Disable,
        "allow" => Mode::Allow,
        "require" => Mode::Require,
        "verify-ca" => Mode::VerifyCa,
        "verify-full" => Mode::VerifyFull,
        other => {
            return Err(format!(
                "sslmode `{other}` is not known; use disable, allow, prefer, require, verify-ca or verify-full"
            ));
        }
    })
}

/// The parameters that tokio-postgres does not know.
#[derive(Default)]
pub(super) struct Ours {
    pub(super) mode: Option<String>,
    pub(super) root: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    service: Option<String>,
    passfile: Option<String>,
}

/// The supported parameters.
const PARAMETERS: [&str; 24] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "service",
    "passfile",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// Rejects an unknown parameter, with the nearest known one.
fn check_known(name: &str) -> Result<(), String> {
    let decoded = decode(name);
    let name = decoded.as_deref().unwrap_or(name);
    // The `?` of a password that is not percent-encoded begins no parameters: the other parser reads such a URL.
    if PARAMETERS.contains(&name) || name.contains('@') {
        return Ok(());
    }
    let near = nearest(name, PARAMETERS.into_iter(), 1);
    let hint = near.first().map(|near| format!("; did you mean `{near}`?"));
    Err(format!(
        "the database URL's parameter `{name}` is not known{}",
        hint.unwrap_or_default()
    ))
}

/// Splits our parameters from a URL.
fn split(url: &str) -> Result<(String, Ours), String> {
    let mut ours = Ours::default();
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), ours));
    };
    let mut left = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let kept = match name {
            "sslmode" => &mut ours.mode,
            "sslrootcert" => &mut ours.root,
            "sslcert" => &mut ours.certificate,
            "sslkey" => &mut ours.key,
            "service" => &mut ours.service,
            "passfile" => &mut ours.passfile,
            "sslcrl"
            | "sslcrldir"
            | "sslpassword"
            | "sslcertmode"
            | "ssl_min_protocol_version"
            | "ssl_max_protocol_version"
            | "gssencmode"
            | "requiressl" => {
                return Err(format!(
                    "the database URL's parameter `{name}` is not supported; remove it"
                ));
            }
            _ => {
                check_known(name)?;
                left.push(pair);
                continue;
            }
        };
        *kept = Some(decode(value).ok_or_else(|| format!("the database URL's parameter `{name}` is not UTF-8"))?);
    }
    let rest = if left.is_empty() {
        base.to_owned()
    } else {
        format!("{base}?{}", left.join("&"))
    };
    Ok((rest, ours))
}

/// Text without percent-encoding; `None` for an incomplete escape, and for what is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let is_escape = |after: &str| {
        let digits = after.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    // The decoder leaves incomplete escapes as they are.
    if !text.split('%').skip(1).all(is_escape) {
        return None;
    }
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// Whether all hosts are sockets of this machine, which use no TLS.
pub(super) fn is_local(config: &Config) -> bool {
    let hosts = config.get_hosts();
    !hosts.is_empty() && hosts.iter().all(|host| matches!(host, Host::Unix(_)))
}

/// Sets the mode in which tokio-postgres leaves everything about TLS to our connector.
pub(super) fn leave_tls_to_us(config: &mut Config) {
    if is_local(config) {
        config.ssl_mode(SslMode::Disable);
    } else {
        config.ssl_mode(SslMode::Require);
        config.ssl_negotiation(SslNegotiation::Direct);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Target, String> {
        format!("postgres://me:a%2Fb@host:6432/db{query}").parse()
    }

    #[test]
    fn b06_parameters_have_the_meaning_that_libpq_gives_them() {
        for (query, mode, root) in [
            ("", Mode::Prefer, None),
            ("?sslmode=disable", Mode::Disable, None),
            ("?sslmode=allow&connect_timeout=3", Mode::Allow, None),
            ("?sslmode=require", Mode::Require, None),
            (
                "?sslmode=verify-ca&sslrootcert=%2Fetc%2Fca.pem",
                Mode::VerifyCa,
                Some("/etc/ca.pem"),
            ),
            ("?sslmode=verify-full&sslrootcert=system", Mode::VerifyFull, None),
            ("?sslrootcert=system", Mode::VerifyFull, None),
            (
                "?sslrootcert=/ca.pem&options=-csearch_path%3Da&sslmode=verify-full",
                Mode::VerifyFull,
                Some("/ca.pem"),
            ),
        ] {
            let target = read(query).unwrap();
            assert_eq!(target.mode, mode, "{query}");
            assert_eq!(target.root_certificates, root.map(PathBuf::from), "{query}");
            assert_eq!(target.config.get_dbname(), Some("db"));
            assert_eq!(target.config.get_password(), Some(&b"a/b"[..]));
        }
        let with_options = read("?sslmode=require&options=-csearch_path%3Da").unwrap();
        assert_eq!(with_options.config.get_options(), Some("-csearch_path=a"));
        let client = read("?sslmode=require&sslcert=/c.pem&sslkey=/k.pem").unwrap();
        assert_eq!(client.certificate, Some(("/c.pem".into(), "/k.pem".into())));
    }

    #[test]
    fn b06_unsupported_parameters_are_named_with_the_fix() {
        for (query, told) in [
            (
                "?sslmode=veryfull",
                "sslmode `veryfull` is not known; use disable, allow",
            ),
            ("?sslcrl=/crl.pem", "`sslcrl` is not supported; remove it"),
            ("?sslcert=/c.pem", "sslcert needs sslkey"),
            ("?sslkey=/k.pem", "sslkey needs sslcert"),
            ("?nonsense=1", "parameter `nonsense` is not known"),
            (
                "?sslmod=disable",
                "parameter `sslmod` is not known; did you mean `sslmode`?",
            ),
            ("?sslnegotiation=direct", "needs sslmode=require"),
            ("?sslmode=require&sslrootcert=system", "needs sslmode=verify-full"),
            ("?sslrootcert=%zz", "`sslrootcert` is not UTF-8"),
        ] {
            let error = read(query).unwrap_err();
            assert!(error.contains(told), "{query}: {error}");
        }
    }

    #[test]
    fn an_error_shows_nothing_of_the_password() {
        for url in [
            "postgres://u:sec@ret@host/db",
            "postgres://u:sec@ret:x@host/db",
            "postgres://u:sec/ret",
            "postgres://host/db?user=u&password=sec&ret=1",
            "postgres://u:sec?ret@host/db?sslmode=none",
        ] {
            let error = url.parse::<Target>().unwrap_err();
            assert!(!error.contains("sec") && !error.contains("ret"), "{error}");
        }
        assert!("postgres://u:sec/r%2Fet?@host/db".parse::<Target>().is_ok());
    }
}
