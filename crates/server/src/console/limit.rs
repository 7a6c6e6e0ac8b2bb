//! How often an address may fail to sign in.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// So many failures in a window are borne.
const FAILURES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// So many addresses are remembered.
const ADDRESSES_MAX: usize = 4_096;

/// Failures by address.
#[derive(Default)]
pub(super) struct SignInLimit(Mutex<HashMap<IpAddr, Failures>>);

struct Failures {
    since: Instant,
    count: u32,
}

impl SignInLimit {
    /// For how long the address must wait before it may try again.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let known = self.0.lock();
        let failures = known.get(&network(address))?;
        let passed = now.saturating_duration_since(failures.since);
        (failures.count >= FAILURES_MAX && passed < WINDOW).then(|| WINDOW - passed)
    }

    /// Notes a failure.
    pub(super) fn failed(&self, address: IpAddr, now: Instant) {
        let mut known = self.0.lock();
        let address = network(address);
        if known.len() >= ADDRESSES_MAX && !known.contains_key(&address) {
            known.retain(|_, failures| now.saturating_duration_since(failures.since) < WINDOW);
            if known.len() >= ADDRESSES_MAX
                && let Some(oldest) = known
                    .iter()
                    .min_by_key(|(_, failures)| failures.since)
                    .map(|(at, _)| *at)
            {
                known.remove(&oldest);
            }
        }
        let failures = known.entry(address).or_insert(Failures { since: now, count: 0 });
        if now.saturating_duration_since(failures.since) >= WINDOW {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count += 1;
    }
}

/// Whoever has an IPv6 address has the 2^64 beside it too.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_failures_in_a_minute_are_enough() {
        let limit = SignInLimit::default();
        let now = Instant::now();
        let here = address("2001:db8::1");
        (0..FAILURES_MAX - 1).for_each(|_| limit.failed(here, now));
        assert_eq!(limit.wait(here, now), None);
        limit.failed(address("2001:db8::ffff"), now);
        assert_eq!(
            limit.wait(here, now),
            Some(WINDOW),
            "the network counts, not the address"
        );
        assert_eq!(limit.wait(address("192.0.2.1"), now), None, "others are not concerned");
        assert_eq!(limit.wait(here, now + WINDOW), None);
        limit.failed(here, now + WINDOW);
        assert_eq!(limit.wait(here, now + WINDOW), None, "the count begins anew");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let limit = SignInLimit::default();
        let now = Instant::now();
        for number in 0..2 * u32::try_from(ADDRESSES_MAX).unwrap() {
            limit.failed(IpAddr::V4(number.into()), now);
        }
        assert_eq!(limit.0.lock().len(), ADDRESSES_MAX);
    }
}
