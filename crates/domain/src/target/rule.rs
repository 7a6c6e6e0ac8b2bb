//! An operator's rule: a CIDR, an address, a host name, or `*.` and a domain.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net};

/// Why a text is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a CIDR such as 10.1.0.0/16, an address, a host name, or `*.` and a domain")]
pub struct RuleError;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRule(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Network(IpNet),
    Name(String),
    /// The domain with its leading dot.
    Below(String),
}

impl FromStr for TargetRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self(Kind::Network(canonical(network.trunc()))));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(Kind::Network(address.to_canonical().into())));
        }
        let lower = text.to_ascii_lowercase();
        let (below, name) = lower
            .strip_prefix("*.")
            .map_or((false, lower.as_str()), |name| (true, name));
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let numeric = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if !name.split('.').all(label) || numeric {
            return Err(RuleError);
        }
        Ok(Self(if below {
            Kind::Below(format!(".{name}"))
        } else {
            Kind::Name(name.to_owned())
        }))
    }
}

/// Addresses are compared in canonical form, so a range of IPv4-mapped addresses is an IPv4 range.
fn canonical(network: IpNet) -> IpNet {
    let bits = network.prefix_len().checked_sub(96);
    match (network.addr().to_canonical(), bits) {
        (IpAddr::V4(address), Some(bits)) if network.addr().is_ipv6() => {
            Ipv4Net::new(address, bits).map_or(network, IpNet::V4)
        }
        _ => network,
    }
}

impl TargetRule {
    /// How specifically the rule covers an address; `None` if it does not.
    pub(super) fn covers_address(&self, address: IpAddr) -> Option<usize> {
        match &self.0 {
            Kind::Network(network) if network.contains(&address) => Some(usize::from(network.prefix_len())),
            _ => None,
        }
    }

    /// How specifically the rule covers a host name; `None` if it does not.
    pub(super) fn covers_name(&self, name: &str) -> Option<usize> {
        match &self.0 {
            // An exact name wins over any domain, however long.
            Kind::Name(exact) if exact == name => Some(usize::MAX),
            Kind::Below(suffix) if name.ends_with(suffix.as_str()) => Some(suffix.len()),
            _ => None,
        }
    }
}

impl fmt::Display for TargetRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Network(network) => network.fmt(f),
            Kind::Name(name) => f.write_str(name),
            Kind::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}
