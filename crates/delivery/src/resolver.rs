//! Name resolution: from a host name to addresses, within limits (2 seconds, 16 addresses). Answers are cached (`cache`).
//!
//! IPv4 and IPv6 addresses are requested at the same time. A name resolves as soon as one family is known. If the
//! answer for the other family is late, missing or an error, that costs a short delay (RFC 8305, section 3) and never
//! the known address.

mod cache;
mod system;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    Resolver as HickoryResolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};
use tokio::time::{Instant, sleep_until, timeout};

use self::{cache::Cache, system::System};
use crate::descriptors::lacks_descriptors;

/// How long a name may take to resolve.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long DNS servers that did not answer for a name may take to answer for the root.
const ROOT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long IPv6 addresses are awaited once an IPv4 address is known (RFC 8305, section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// How many of a name's addresses are used.
const ADDRESSES_MAX: usize = 16;
/// IPv4 and IPv6.
const FAMILIES: usize = 2;
/// How many servers get a query at the same time.
const CONCURRENT_SERVERS: usize = 2;

/// The error of a name that does not resolve, for operators.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{problem}")]
pub struct ResolveError {
    problem: String,
    name_incomplete: bool,
    servers_are_silent: bool,
    lacks_descriptors: bool,
}

impl ResolveError {
    fn new(problem: impl ToString) -> Self {
        Self {
            problem: problem.to_string(),
            name_incomplete: false,
            servers_are_silent: false,
            lacks_descriptors: false,
        }
    }

    /// Whether the name looks like one that needs search domains.
    pub fn is_name_incomplete(&self) -> bool {
        self.name_incomplete
    }

    /// Whether the DNS servers do not answer at all. The fault is then the operator's, not the name's.
    pub fn servers_are_silent(&self) -> bool {
        self.servers_are_silent
    }

    /// Whether the system refused a socket for the queries.
    pub fn lacks_descriptors(&self) -> bool {
        self.lacks_descriptors
    }
}

/// The addresses of one family, at least one, and how long they are valid.
struct Found {
    addresses: Vec<IpAddr>,
    ttl: Duration,
}

/// The answer for one family.
type Answer = Result<Found, NetError>;

/// Servers, and their answers.
struct Asked {
    servers: TokioResolver,
    /// How many servers there are.
    count: usize,
    cache: Cache,
}

/// The resolver.
#[derive(Clone)]
pub struct Resolver {
    servers: Servers,
}

#[derive(Clone)]
enum Servers {
    /// The servers that the operator set.
    Fixed(Arc<Asked>),
    /// The servers of the system.
    System(Arc<System>),
}

impl Resolver {
    /// Uses these DNS servers, or the system's if there are none.
    ///
    /// # Errors
    /// Fails if no resolver can be created with them.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, ResolveError> {
        if servers.is_empty() {
            return Ok(Self::of_system(System::new()?));
        }
        Ok(Self {
            servers: Servers::Fixed(Arc::new(Asked::of(servers)?)),
        })
    }

    fn of_system(system: System) -> Self {
        Self {
            servers: Servers::System(Arc::new(system)),
        }
    }

    /// How many sockets are needed to resolve a name: none if its answer is cached, otherwise one for each family and server
    /// that is asked at the same time. A query that is repeated because its answer is late uses one more for a moment.
    pub(crate) fn sockets(&self, name: &str) -> usize {
        match &self.servers {
            Servers::Fixed(asked) => asked.sockets(name),
            Servers::System(system) => system.current().asked.sockets(name),
        }
    }

    /// A name's addresses, IPv4 first, by the deadline or after 2 seconds.
    ///
    /// # Errors
    /// Fails if no address is known by then.
    pub async fn resolve(&self, name: &str, deadline: Instant) -> Result<Vec<IpAddr>, ResolveError> {
        match &self.servers {
            Servers::Fixed(asked) => asked.resolve(name, 1, deadline).await,
            Servers::System(system) => {
                let current = system.current();
                current.asked.resolve(name, current.dots_min, deadline).await
            }
        }
    }

    /// Looks a name up again soon, because its addresses do not accept connections.
    pub fn forget(&self, name: &str) {
        let now = Instant::now();
        match &self.servers {
            Servers::Fixed(asked) => asked.cache.forget(name, now),
            Servers::System(system) => system.current().asked.cache.forget(name, now),
        }
    }
}

impl Asked {
    /// Asks these servers.
    fn of(servers: &[SocketAddr]) -> Result<Self, ResolveError> {
        Ok(Self {
            servers: build(servers)?,
            count: servers.len(),
            cache: Cache::default(),
        })
    }

    fn sockets(&self, name: &str) -> usize {
        let is_known = self.cache.get(name, Instant::now()).is_some();
        if is_known {
            0
        } else {
            FAMILIES * self.count.clamp(1, CONCURRENT_SERVERS)
        }
    }

    async fn resolve(&self, name: &str, dots_min: usize, deadline: Instant) -> Result<Vec<IpAddr>, ResolveError> {
        let now = Instant::now();
        if let Some(known) = self.cache.get(name, now) {
            return known;
        }
        // The final dot prevents the use of the system's search domains.
        let absolute = format!("{}.", name.trim_end_matches('.'));
        let (ipv4, ipv6) = ask_for_both(&self.servers, &absolute, deadline.min(now + TIMEOUT)).await;
        let lifetime = cache::lifetime(ipv4.as_ref(), ipv6.as_ref());
        let is_unanswered = [&ipv4, &ipv6].into_iter().all(|answer| match answer {
            None => true,
            Some(answer) => answer.as_ref().err().is_some_and(is_silence),
        });
        let lacks_descriptors = [&ipv4, &ipv6].into_iter().flatten().any(is_refusal);
        let failed = ipv4.as_ref().or(ipv6.as_ref()).and_then(|answer| answer.as_ref().err());
        let failed = failed.map(ToString::to_string);
        let found = [ipv4, ipv6].into_iter().flatten().flatten();
        let addresses = found.flat_map(|found| found.addresses);
        let addresses: Vec<IpAddr> = addresses.take(ADDRESSES_MAX).collect();
        let outcome = if addresses.is_empty() {
            Err(ResolveError {
                problem: failed.unwrap_or_else(|| "no answer in time".to_owned()),
                servers_are_silent: is_unanswered && !lacks_descriptors && is_silent(&self.servers).await,
                lacks_descriptors,
                name_incomplete: !name.ends_with('.') && name.matches('.').count() < dots_min,
            })
        } else {
            Ok(addresses)
        };
        if let Some(lifetime) = lifetime {
            self.cache.keep(name, &outcome, lifetime, Instant::now());
        }
        outcome
    }
}

/// Whether the servers do not answer for the root either. If only a name's own servers are down, working servers do not
/// answer in time for that name.
async fn is_silent(resolver: &TokioResolver) -> bool {
    match timeout(ROOT_TIMEOUT, resolver.lookup(".", RecordType::NS)).await {
        Err(_) => true,
        Ok(Err(error)) => is_silence(&error),
        Ok(Ok(_)) => false,
    }
}

/// Whether no server answered, as opposed to a negative answer.
fn is_silence(error: &NetError) -> bool {
    matches!(error, NetError::Timeout | NetError::NoConnections | NetError::Io(_))
}

/// Whether the system refused a socket.
fn is_refusal(answer: &Answer) -> bool {
    matches!(answer, Err(NetError::Io(error)) if lacks_descriptors(error))
}

/// The answers for both families, or for one if the other takes too long. `None` is no answer.
async fn ask_for_both(resolver: &TokioResolver, name: &str, limit: Instant) -> (Option<Answer>, Option<Answer>) {
    let (asking_ipv4, asking_ipv6) = (
        ask(resolver, name, RecordType::A),
        ask(resolver, name, RecordType::AAAA),
    );
    tokio::pin!(asking_ipv4, asking_ipv6);
    let (mut ipv4, mut ipv6) = (None, None);
    let mut until = limit;
    while ipv4.is_none() || ipv6.is_none() {
        tokio::select! {
            answer = &mut asking_ipv4, if ipv4.is_none() => {
                if answer.is_ok() {
                    until = until.min(Instant::now() + RESOLUTION_DELAY);
                }
                ipv4 = Some(answer);
            }
            answer = &mut asking_ipv6, if ipv6.is_none() => {
                // A machine without IPv6 needs the other answer, so it gets more time. Half of the time is left for
                // connecting.
                if answer.is_ok() {
                    let now = Instant::now();
                    until = until.min(now + limit.saturating_duration_since(now) / 2);
                }
                ipv6 = Some(answer);
            }
            () = sleep_until(until) => break,
        }
    }
    (ipv4, ipv6)
}

/// The addresses of one family.
async fn ask(resolver: &TokioResolver, name: &str, family: RecordType) -> Answer {
    let answer = resolver.lookup(name, family).await?;
    let records = answer.answers();
    let addresses = records.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    });
    let addresses: Vec<IpAddr> = addresses.collect();
    if addresses.is_empty() {
        return Err(NetError::Message("the name has no address"));
    }
    // An alias may change before its target does.
    let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    Ok(Found {
        addresses,
        ttl: Duration::from_secs(ttl.into()),
    })
}

/// A resolver that queries these servers, and reads the system's hosts file.
fn build(servers: &[SocketAddr]) -> Result<TokioResolver, ResolveError> {
    let servers = servers.iter().map(name_server).collect();
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut builder = HickoryResolver::builder_with_config(config, TokioRuntimeProvider::default());
    set_options(builder.options_mut());
    builder.build().map_err(ResolveError::new)
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
    // Answers are cached by name, for both families together.
    options.cache_size = 0;
    options.num_concurrent_reqs = CONCURRENT_SERVERS;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x02_a_socket_that_the_system_refused_is_not_silence_of_the_servers() {
        let refused = |code: i32| Err(NetError::from(std::io::Error::from_raw_os_error(code)));
        assert!(is_refusal(&refused(24)) && is_refusal(&refused(23)));
        assert!(!is_refusal(&refused(111)) && !is_refusal(&Err(NetError::Timeout)));
    }

    #[test]
    fn x02_queries_use_a_socket_for_each_family_and_up_to_two_servers_until_the_answer_is_known() {
        let address = SocketAddr::from(([192, 0, 2, 1], 53));
        for (servers, sockets) in [(1, 2), (2, 4), (5, 4)] {
            let resolver = Resolver::new(&vec![address; servers]).unwrap();
            assert_eq!(resolver.sockets("hook.example"), sockets);
            let Servers::Fixed(asked) = &resolver.servers else {
                panic!("it uses the system's servers");
            };
            let (now, minute) = (Instant::now(), Duration::from_secs(60));
            asked.cache.keep("hook.example", &Ok(vec![address.ip()]), minute, now);
            assert_eq!(resolver.sockets("hook.example"), 0);
        }
    }
}
