//! Happy Eyeballs (RFC 8305): connects to the first of a host's addresses that accepts, and remembers those that did not.
//!
//! Addresses are tried in alternate families. The next one is tried 250 ms after the last, or as soon as one has failed;
//! the first connection wins. Each address takes a file descriptor, so a further one is tried only while a permit for it is
//! free ([`Permit::another`]): nothing waits for one. An address that failed, or lost against a later one, is tried last for ten minutes.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use hookwright_domain::outcome::ErrorClass;
use moka::sync::Cache;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout_at},
};

use super::{no_descriptors, plain};
use crate::{
    descriptors::{Permit, lacks_descriptors},
    failure::Failure,
};

/// How long after an address the next one is tried (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How long one address may take to accept a connection while others remain to be tried.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);
/// How many addresses are tried at the same time.
const CONCURRENT_MAX: usize = 3;
/// How long a lost address is remembered.
const LOST_FOR: Duration = Duration::from_secs(600);
/// For how many hosts lost addresses are remembered.
const HOSTS_MAX: u64 = 4_096;

/// Opens connections, and remembers lost addresses by host.
pub(super) struct Eyeballs {
    lost: Cache<Box<str>, Arc<[IpAddr]>>,
}

/// The end of a race: the connection and the addresses that lost, or the last failure.
type Race = Result<(TcpStream, SocketAddr, Vec<IpAddr>), Failure>;

impl Default for Eyeballs {
    fn default() -> Self {
        Self {
            lost: Cache::builder().max_capacity(HOSTS_MAX).time_to_live(LOST_FOR).build(),
        }
    }
}

impl Eyeballs {
    /// Connects to one of a host's addresses, which the caller has checked.
    pub(super) async fn connect(
        &self,
        host: &str,
        addresses: &[SocketAddr],
        permit: &Permit,
        deadline: Instant,
    ) -> Result<(TcpStream, SocketAddr), Failure> {
        let known = self.lost.get(host);
        let known = known.as_deref().unwrap_or_default();
        let (stream, winner, lost) = race(&order(addresses, known), permit, deadline).await?;
        // Former addresses of the name are forgotten.
        let known: Vec<IpAddr> = known
            .iter()
            .copied()
            .filter(|known| addresses.iter().any(|address| address.ip() == *known))
            .collect();
        self.remember(host, &known, winner.ip(), lost);
        Ok((stream, winner))
    }

    /// Remembers lost addresses, in addition to those that are known. The winner is no longer among them.
    fn remember(&self, host: &str, known: &[IpAddr], winner: IpAddr, lost: Vec<IpAddr>) {
        let is_new = |address: &IpAddr| !known.contains(address);
        if known.contains(&winner) || lost.iter().any(is_new) {
            let known = known
                .iter()
                .copied()
                .filter(|address| *address != winner && !lost.contains(address));
            let all: Arc<[IpAddr]> = known.chain(lost.iter().copied()).collect();
            self.lost.insert(host.into(), all);
        }
    }
}

/// Alternates the families, and puts addresses last that have lost before.
fn order(addresses: &[SocketAddr], lost: &[IpAddr]) -> Vec<SocketAddr> {
    let is_lost = |address: &&SocketAddr| lost.contains(&address.ip());
    let mut ordered = alternate(addresses.iter().filter(|address| !is_lost(address)));
    ordered.extend(alternate(addresses.iter().filter(is_lost)));
    ordered
}

/// Alternates the families, beginning with that of the first address.
fn alternate<'a>(addresses: impl Iterator<Item = &'a SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses = addresses.copied().peekable();
    let first_is_ipv4 = addresses.peek().is_some_and(SocketAddr::is_ipv4);
    let (mut one, mut other): (Vec<_>, Vec<_>) = addresses.partition(|address| address.is_ipv4() == first_is_ipv4);
    one.reverse();
    other.reverse();
    let mut alternated = Vec::with_capacity(one.len() + other.len());
    while !one.is_empty() || !other.is_empty() {
        alternated.extend(one.pop());
        alternated.extend(other.pop());
    }
    alternated
}

/// Connects to the first address that accepts. The permit is for one descriptor.
async fn race(addresses: &[SocketAddr], permit: &Permit, deadline: Instant) -> Race {
    let mut waiting = addresses.iter().copied().enumerate();
    // Of the concurrent sockets except one. They are released after the sockets are closed.
    let mut others = Vec::new();
    let mut racing = FuturesUnordered::new();
    let mut failed = Vec::new();
    let mut failure = Failure::new(ErrorClass::Connect, "there is no address to connect to");
    loop {
        if racing.len() < CONCURRENT_MAX
            && waiting.len() > 0
            && is_permitted(racing.len(), &mut others, permit)
            && let Some((place, address)) = waiting.next()
        {
            let is_last = place + 1 == addresses.len();
            racing.push(try_address(place, address, is_last, deadline));
        }
        let next_at = if waiting.len() > 0 && racing.len() < CONCURRENT_MAX {
            Instant::now() + ATTEMPT_DELAY
        } else {
            deadline + ATTEMPT_DELAY
        };
        tokio::select! {
            tried = racing.next() => match tried {
                Some((place, Ok(stream))) => {
                    let earlier = addresses[..place].iter().map(SocketAddr::ip);
                    failed.extend(earlier.filter(|address| !failed.contains(address)).collect::<Vec<_>>());
                    return Ok((stream, addresses[place], failed));
                }
                Some((place, Err(why))) => {
                    failed.push(addresses[place].ip());
                    // A fault of the operator's side explains more than a receiver's.
                    if failure.operator.is_none() {
                        failure = why;
                    }
                }
                None => return Err(failure),
            },
            () = sleep_until(next_at) => {}
        }
    }
}

/// Whether a socket may be opened in addition to those that are open: the first one has its permit, each further one takes
/// one if it is free.
fn is_permitted(open: usize, others: &mut Vec<Permit>, permit: &Permit) -> bool {
    if open > others.len() {
        others.extend(permit.another());
    }
    open <= others.len()
}

/// Tries one address. Others get their turn if it takes too long.
async fn try_address(
    place: usize,
    address: SocketAddr,
    is_last: bool,
    deadline: Instant,
) -> (usize, Result<TcpStream, Failure>) {
    let until = if is_last {
        deadline
    } else {
        deadline.min(Instant::now() + ADDRESS_TIMEOUT)
    };
    let tried = match timeout_at(until, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if lacks_descriptors(&error) => Err(no_descriptors(&error)),
        Ok(Err(error)) => Err(Failure::new(
            ErrorClass::Connect,
            format!("cannot connect: {}", plain(&error)),
        )),
        Err(_) => Err(Failure::new(
            ErrorClass::Timeout,
            "the receiver did not accept the connection in time",
        )),
    };
    (place, tried)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter()
            .map(|text| SocketAddr::new(text.parse().unwrap(), 443))
            .collect()
    }

    #[test]
    fn x03_families_alternate_and_lost_addresses_come_last() {
        let all = addresses(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1", "::2"]);
        assert_eq!(
            order(&all, &[]),
            addresses(&["10.0.0.1", "::1", "10.0.0.2", "::2", "10.0.0.3"])
        );
        let lost = ["10.0.0.1".parse().unwrap(), "::2".parse().unwrap()];
        assert_eq!(
            order(&all, &lost),
            addresses(&["10.0.0.2", "::1", "10.0.0.3", "10.0.0.1", "::2"])
        );
        let six_first = addresses(&["::1", "::2", "10.0.0.1"]);
        assert_eq!(order(&six_first, &[]), addresses(&["::1", "10.0.0.1", "::2"]));
    }
}
