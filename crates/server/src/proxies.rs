//! The client's address of a request, behind proxies.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The trusted proxies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Parses the operator's list of addresses and networks.
    pub(crate) fn parse(texts: &[String]) -> anyhow::Result<Self> {
        let network = |text: &String| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            let wrong = || anyhow::anyhow!("trusted-proxy `{text}` must be an address or a network such as 10.0.0.0/8");
            text.parse::<IpNet>().or_else(|_| address()).map_err(|_| wrong())
        };
        Ok(Self(texts.iter().map(network).collect::<anyhow::Result<_>>()?))
    }

    /// The client's address: the peer's, or the one that a trusted peer reports in `X-Forwarded-For`, read from the end
    /// while the reported addresses are trusted too.
    pub(crate) fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let told = headers.get_all("x-forwarded-for").iter();
        let told = told
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        let told: Vec<&str> = told.collect();
        let mut address = peer.to_canonical();
        for hop in told.into_iter().rev() {
            let Some(before) = read(hop.trim()).filter(|_| self.trust(address)) else {
                break;
            };
            address = before;
        }
        address
    }

    /// Whether an address is a trusted proxy's.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address, with or without a port.
fn read(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies = Proxies::parse(&["127.0.0.0/8".to_owned(), "10.0.0.7".to_owned()]).unwrap();
        let address = |peer: &str, told: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in told {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            proxies.address(peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(
            address("192.0.2.1", &["198.51.100.9"]),
            "192.0.2.1",
            "a stranger's word"
        );
        assert_eq!(address("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(
            address("127.0.0.1", &["1.1.1.1, 198.51.100.9"]),
            "198.51.100.9",
            "what its client said before"
        );
        assert_eq!(
            address("127.0.0.1", &["198.51.100.9", "10.0.0.7"]),
            "198.51.100.9",
            "two proxies"
        );
        assert_eq!(address("127.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(address("::ffff:127.0.0.1", &["198.51.100.9:80"]), "198.51.100.9");
        assert_eq!(address("127.0.0.1", &["198.51.100.9, unknown"]), "127.0.0.1");
        assert!(Proxies::parse(&["proxy.example".to_owned()]).is_err());
    }
}
