//! Allowed targets of webhooks: the built-in rules, and the operator's.
//!
//! By default only public addresses are allowed, on ports 80, 443 and 1024 to 65535. The rules apply to the URL when a
//! webhook is created, and to every resolved address on every attempt.

mod rule;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

pub use rule::{RuleError, TargetRule};

use crate::{address, url::PayloadUrl};

/// Why a target is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// An address of a special range, with the range's name.
    Address(&'static str),
    /// A name of this machine or network.
    Name,
    /// A port that webhooks may not use.
    Port(u16),
    /// Plain http where https is required.
    Plain,
    /// An operator's rule.
    Denied(String),
    /// This installation's own listener or name.
    Own,
}

impl Blocked {
    /// A stable reason in UPPER_SNAKE_CASE.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Address(name) => name,
            Self::Name => "LOCAL_NAME",
            Self::Port(_) => "PORT_NOT_ALLOWED",
            Self::Plain => "HTTPS_REQUIRED",
            Self::Denied(_) => "DENIED_BY_OPERATOR",
            Self::Own => "OWN_ADDRESS",
        }
    }

    /// The rule that decided, for operators: their own rules as they wrote them.
    pub fn rule_text(&self) -> String {
        match self {
            Self::Denied(rule) => format!("deny {rule}"),
            other => other.rule().to_owned(),
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(name) => {
                let range = name.to_ascii_lowercase().replace('_', " ");
                write!(
                    f,
                    "leads to an address that is not public ({range}); use a public address, or ask the operator to allow it (setting `allow-target`)"
                )
            }
            Self::Name => f.write_str(
                "names a host of the local machine or network; use a public name, or ask the operator to allow it (setting `allow-target`)",
            ),
            Self::Port(port) => write!(
                f,
                "uses the port {port}; ports 80, 443 and 1024 to 65535 are allowed, except for a few well-known internal services"
            ),
            Self::Plain => f.write_str("must use https: the operator requires it (setting `require-https`)"),
            Self::Denied(_) => f.write_str("leads to a target that the operator denies (setting `deny-target`)"),
            Self::Own => f.write_str("leads back to this installation"),
        }
    }
}

impl std::error::Error for Blocked {}

/// The current rules.
#[derive(Clone, Debug, Default)]
pub struct TargetPolicy {
    /// The operator's exceptions from the built-in rules.
    pub allow: Vec<TargetRule>,
    /// The operator's denials in addition to the built-in rules.
    pub deny: Vec<TargetRule>,
    /// Rejects plain http.
    pub require_https: bool,
    /// This installation's own listeners, which no rule allows.
    pub own_addresses: Vec<SocketAddr>,
    /// This installation's own host names, lower-case.
    pub own_names: Vec<String>,
}

/// The name of the built-in rule that allows a target.
const PUBLIC: &str = "PUBLIC_ADDRESS";

impl TargetPolicy {
    /// Checks everything that is known without resolving a name.
    ///
    /// # Errors
    /// With the rule that rejects it.
    pub fn check_url(&self, url: &PayloadUrl) -> Result<(), Blocked> {
        self.explain_url(url).map(drop)
    }

    /// As [`Self::check_url`], with the rule that allows it.
    ///
    /// # Errors
    /// With the rule that rejects it.
    pub fn explain_url(&self, url: &PayloadUrl) -> Result<String, Blocked> {
        if self.require_https && !url.is_https() {
            return Err(Blocked::Plain);
        }
        match url.address() {
            Some(address) => self.explain_address(address, url.port()),
            None => {
                check_port(url.port())?;
                self.explain_name(url.host())
            }
        }
    }

    /// Checks an address and port before a connection.
    ///
    /// # Errors
    /// With the rule that rejects it.
    pub fn check_address(&self, address: IpAddr, port: u16) -> Result<(), Blocked> {
        self.explain_address(address, port).map(drop)
    }

    fn explain_address(&self, address: IpAddr, port: u16) -> Result<String, Blocked> {
        check_port(port)?;
        let plain = address.to_canonical();
        if self.is_own(plain, port) {
            return Err(Blocked::Own);
        }
        // The more specific of the operator's rules wins; of two equal ones, the denial.
        let allow = most_specific(&self.allow, |rule| rule.covers_address(plain));
        let deny = most_specific(&self.deny, |rule| rule.covers_address(plain));
        let rule = match (allow, deny) {
            (Some((allow_bits, rule)), Some((deny_bits, _))) if allow_bits > deny_bits => format!("allow {rule}"),
            (_, Some((_, rule))) => return Err(Blocked::Denied(rule.to_string())),
            (Some((_, rule)), None) => format!("allow {rule}"),
            (None, None) => match address::special_range(address) {
                Some(name) => return Err(Blocked::Address(name)),
                None => PUBLIC.to_owned(),
            },
        };
        // A transition address (of a network with NAT64, for example) is allowed if its IPv4 address is.
        if let IpAddr::V6(transition) = plain {
            for embedded in address::embedded(transition).into_iter().flatten() {
                self.explain_address(embedded.into(), port)?;
            }
        }
        Ok(rule)
    }

    /// Checks a host name by its text. Its resolved addresses are checked separately.
    ///
    /// # Errors
    /// With the rule that rejects it.
    pub fn check_name(&self, name: &str) -> Result<(), Blocked> {
        self.explain_name(name).map(drop)
    }

    fn explain_name(&self, name: &str) -> Result<String, Blocked> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if self.own_names.contains(&name) {
            return Err(Blocked::Own);
        }
        let allow = most_specific(&self.allow, |rule| rule.covers_name(&name));
        let deny = most_specific(&self.deny, |rule| rule.covers_name(&name));
        match (allow, deny) {
            (Some((allow_length, rule)), Some((deny_length, _))) if allow_length > deny_length => {
                Ok(format!("allow {rule}"))
            }
            (_, Some((_, rule))) => Err(Blocked::Denied(rule.to_string())),
            (Some((_, rule)), None) => Ok(format!("allow {rule}")),
            (None, None) if is_local_name(&name) => Err(Blocked::Name),
            (None, None) => Ok(PUBLIC.to_owned()),
        }
    }

    fn is_own(&self, address: IpAddr, port: u16) -> bool {
        // A connection to the unspecified address is a connection to this machine.
        let local = |address: IpAddr| address.is_loopback() || address.is_unspecified();
        self.own_addresses.iter().any(|own| {
            let host = own.ip().to_canonical();
            let same_host = host == address
                || (host.is_unspecified() && local(address))
                || (address.is_unspecified() && local(host));
            own.port() == port && same_host
        })
    }
}

fn most_specific(rules: &[TargetRule], covers: impl Fn(&TargetRule) -> Option<usize>) -> Option<(usize, &TargetRule)> {
    rules
        .iter()
        .filter_map(|rule| covers(rule).map(|specific| (specific, rule)))
        .max_by_key(|(specific, _)| *specific)
}

fn check_port(port: u16) -> Result<(), Blocked> {
    // Ports of services that accept commands from anyone who can reach them: NFS, Apple SASL, lockd, X11, Redis, memcached.
    const UNSAFE: [u16; 6] = [2049, 3659, 4045, 6000, 6379, 11_211];
    match port {
        80 | 443 => Ok(()),
        1024.. if !UNSAFE.contains(&port) => Ok(()),
        _ => Err(Blocked::Port(port)),
    }
}

/// Names of this machine, this network or a cloud's internal services.
fn is_local_name(name: &str) -> bool {
    const SUFFIXES: [&str; 9] = [
        ".localhost",
        ".local",
        ".internal",
        ".home.arpa",
        ".lan",
        ".intranet",
        ".corp",
        ".home",
        ".localdomain",
    ];
    !name.contains('.') || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests;
