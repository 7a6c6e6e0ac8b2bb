//! Names to addresses, within bounds: 2 seconds, 16 addresses, and nothing remembered, so that every new connection is made
//! to what the name means now.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    Resolver as HickoryResolver, TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
};
use tokio::time::timeout;

/// How long a name may take to resolve.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How many of a name's addresses are looked at.
const ADDRESSES_MAX: usize = 16;

/// A name that does not resolve, for operators.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ResolveError(String);

/// See the module.
#[derive(Clone)]
pub struct Resolver {
    resolver: TokioResolver,
}

impl Resolver {
    /// With these DNS servers, or the system's where there are none.
    ///
    /// # Errors
    /// When the system's configuration cannot be read.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, ResolveError> {
        let failed = |error: &dyn std::fmt::Display| ResolveError(error.to_string());
        let provider = TokioRuntimeProvider::default();
        let mut builder = if servers.is_empty() {
            // A machine without a readable configuration still delivers to addresses.
            HickoryResolver::builder(provider.clone())
                .unwrap_or_else(|_| HickoryResolver::builder_with_config(ResolverConfig::default(), provider))
        } else {
            let servers = servers.iter().map(name_server).collect();
            HickoryResolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), servers), provider)
        };
        set_options(builder.options_mut());
        Ok(Self {
            resolver: builder.build().map_err(|error| failed(&error))?,
        })
    }

    /// A name's addresses.
    ///
    /// # Errors
    /// When there are none, the servers fail, or the time is over.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        // The dot at the end keeps the system's search domains out.
        let absolute = format!("{}.", name.trim_end_matches('.'));
        let answer = match timeout(TIMEOUT, self.resolver.lookup_ip(absolute)).await {
            Err(_) => return Err(ResolveError(format!("no answer within {} s", TIMEOUT.as_secs()))),
            Ok(Err(error)) => return Err(ResolveError(error.to_string())),
            Ok(Ok(answer)) => answer,
        };
        let addresses: Vec<IpAddr> = answer.iter().take(ADDRESSES_MAX).collect();
        if addresses.is_empty() {
            Err(ResolveError("the name has no address".to_owned()))
        } else {
            Ok(addresses)
        }
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp(address.ip());
    server.connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

fn set_options(options: &mut ResolverOpts) {
    options.timeout = TIMEOUT / 2;
    options.attempts = 1;
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
}
