//! Limits on failed sign-ins per address, and on sign-ins per token.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{app::access::Actor, listener::slots::network};

/// See the module.
pub(super) struct SignInLimits {
    addresses: Limit<IpAddr>,
    tokens: Limit<Actor>,
}

impl Default for SignInLimits {
    fn default() -> Self {
        Self {
            addresses: Limit::new(10, Duration::from_secs(60)),
            // Each new session may be ended, which every node must remember.
            tokens: Limit::new(120, Duration::from_secs(3_600)),
        }
    }
}

impl SignInLimits {
    /// Counts an attempt of an address as failed; an attempt in progress counts too.
    ///
    /// # Errors
    /// With the delay for the address, if too many failed.
    pub(super) fn attempt(&self, address: IpAddr, now: Instant) -> Result<Attempt<'_>, Duration> {
        let address = network(address);
        let since = self.addresses.count(address, now)?;
        Ok(Attempt {
            limits: self,
            address,
            since,
        })
    }
}

/// A counted attempt.
pub(super) struct Attempt<'a> {
    limits: &'a SignInLimits,
    address: IpAddr,
    since: Instant,
}

impl Attempt<'_> {
    /// The attempt succeeded: counts it for its token instead.
    ///
    /// # Errors
    /// With the delay for the token, if too many succeeded.
    pub(super) fn succeeded(self, token: Actor, now: Instant) -> Result<(), Duration> {
        self.limits.addresses.release(self.address, self.since);
        self.limits.tokens.count(token, now).map(drop)
    }
}

/// The limit per window, for each of a bounded number of keys.
struct Limit<K> {
    max: u32,
    window: Duration,
    known: Mutex<HashMap<K, Counted>>,
}

struct Counted {
    since: Instant,
    count: u32,
}

impl<K: Copy + Eq + Hash> Limit<K> {
    /// Maximum number of keys.
    const KEYS_MAX: usize = 4_096;

    fn new(max: u32, window: Duration) -> Self {
        Self {
            max,
            window,
            known: Mutex::default(),
        }
    }

    /// Counts one more, and returns when its window began, or the delay if there were too many.
    fn count(&self, key: K, now: Instant) -> Result<Instant, Duration> {
        let mut known = self.known.lock();
        let passed = |counted: &Counted| now.saturating_duration_since(counted.since);
        if known.len() >= Self::KEYS_MAX && !known.contains_key(&key) {
            known.retain(|_, counted| passed(counted) < self.window);
            let oldest = known
                .iter()
                .min_by_key(|(_, counted)| counted.since)
                .map(|(key, _)| *key);
            if let Some(oldest) = oldest.filter(|_| known.len() >= Self::KEYS_MAX) {
                known.remove(&oldest);
            }
        }
        let counted = known.entry(key).or_insert(Counted { since: now, count: 0 });
        if passed(counted) >= self.window {
            *counted = Counted { since: now, count: 0 };
        }
        if counted.count >= self.max {
            return Err(self.window - passed(counted));
        }
        counted.count += 1;
        Ok(counted.since)
    }

    /// Takes one back, in the window that began at a time.
    fn release(&self, key: K, since: Instant) {
        let mut known = self.known.lock();
        if let Some(counted) = known.get_mut(&key).filter(|counted| counted.since == since) {
            counted.count = counted.count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use hookwright_domain::id::TokenId;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_failures_in_a_minute_are_enough() {
        let limits = SignInLimits::default();
        let (now, here) = (Instant::now(), address("2001:db8::1"));
        let attempt = |address, at| limits.attempt(address, at).map(drop);
        (0..9).for_each(|_| attempt(here, now).unwrap());
        attempt(address("2001:db8::ffff"), now).unwrap();
        assert_eq!(attempt(here, now), Err(MINUTE), "the network counts, not the address");
        assert_eq!(attempt(address("192.0.2.1"), now), Ok(()), "others are not concerned");
        (0..10).for_each(|_| attempt(here, now + MINUTE).unwrap());
        assert_eq!(attempt(here, now + MINUTE), Err(MINUTE), "a new window began");
    }

    #[test]
    fn an_attempt_counts_before_it_is_known_to_fail() {
        let limits = SignInLimits::default();
        let (now, here) = (Instant::now(), address("192.0.2.1"));
        let mut in_flight: Vec<Attempt<'_>> = (0..10).map(|_| limits.attempt(here, now).ok().unwrap()).collect();
        assert!(limits.attempt(here, now).is_err(), "all may still fail");
        let token = Actor::Token(TokenId::from_raw(1));
        in_flight.pop().unwrap().succeeded(token, now).unwrap();
        assert!(limits.attempt(here, now).is_ok(), "one did not");
        drop(in_flight);
        assert!(limits.attempt(here, now).is_err(), "those that were given up count");
    }

    #[test]
    fn a_token_is_signed_in_with_so_often() {
        let limits = SignInLimits::default();
        let (now, here) = (Instant::now(), address("192.0.2.1"));
        let sign_in = |token: i64| {
            let token = Actor::Token(TokenId::from_raw(token));
            limits.attempt(here, now).ok().unwrap().succeeded(token, now)
        };
        (0..120).for_each(|_| sign_in(1).unwrap());
        assert_eq!(sign_in(1), Err(60 * MINUTE));
        assert_eq!(sign_in(2), Ok(()), "another token is not concerned");
    }

    #[test]
    fn the_record_of_failures_is_bounded() {
        let limit = Limit::new(1, MINUTE);
        let now = Instant::now();
        let keys = 2 * Limit::<usize>::KEYS_MAX;
        for key in 0..keys {
            assert!(limit.count(key, now).is_ok());
        }
        assert_eq!(limit.known.lock().len(), Limit::<usize>::KEYS_MAX);
    }
}
