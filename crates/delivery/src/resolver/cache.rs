//! The answers of DNS servers, kept for as long as their TTL says, within bounds.
//!
//! | answer | kept for |
//! | --- | --- |
//! | addresses | the shortest TTL of the records, 1 s to 60 s |
//! | addresses of one family, and no answer for the other | the same, at most 5 s |
//! | the name does not exist, or has no address | the negative TTL, 1 s to 5 s |
//! | no answer, or an error | not kept |
//!
//! A receiver whose addresses do not accept connections is looked up again: [`Cache::forget`].

use std::{net::IpAddr, time::Duration};

use hickory_resolver::net::{DnsError, NetError};
use moka::sync::Cache as Entries;
use tokio::time::Instant;

use super::{Answer, ResolveError};

/// How long an answer is kept at least, so that a burst of connections needs one look-up.
const KEPT_MIN: Duration = Duration::from_secs(1);
/// How long addresses are kept at most.
const KEPT_MAX: Duration = Duration::from_secs(60);
/// The same for an answer without addresses, or for one family only.
const DOUBTFUL_MAX: Duration = Duration::from_secs(5);
/// How many names are kept.
const NAMES_MAX: u64 = 8_192;

/// The result of a look-up.
pub(super) type Outcome = Result<Vec<IpAddr>, ResolveError>;

/// The answers by name.
pub(super) struct Cache(Entries<Box<str>, Entry>);

#[derive(Clone)]
struct Entry {
    since: Instant,
    until: Instant,
    outcome: Outcome,
}

impl Default for Cache {
    fn default() -> Self {
        Self(
            Entries::builder()
                .max_capacity(NAMES_MAX)
                .time_to_live(KEPT_MAX)
                .build(),
        )
    }
}

impl Cache {
    /// A name's answer, if it is still valid.
    pub(super) fn get(&self, name: &str, now: Instant) -> Option<Outcome> {
        let entry = self.0.get(name)?;
        (now < entry.until).then_some(entry.outcome)
    }

    pub(super) fn keep(&self, name: &str, outcome: &Outcome, lifetime: Duration, now: Instant) {
        let entry = Entry {
            since: now,
            until: now + lifetime,
            outcome: outcome.clone(),
        };
        self.0.insert(name.into(), entry);
    }

    /// Forgets a name's answer, unless it is quite new. The names of receivers that are down are therefore looked up at
    /// most once in [`KEPT_MIN`].
    pub(super) fn forget(&self, name: &str, now: Instant) {
        let is_old = |entry: Entry| now.saturating_duration_since(entry.since) >= KEPT_MIN;
        if self.0.get(name).is_some_and(is_old) {
            self.0.invalidate(name);
        }
    }
}

/// How long the answers for both families are kept together.
pub(super) fn lifetime(ipv4: Option<&Answer>, ipv6: Option<&Answer>) -> Option<Duration> {
    let both = [ipv4, ipv6].map(|answer| answer.map_or(Kept::No, Kept::of));
    let shortest = |of: fn(Kept) -> Option<Duration>| both.into_iter().filter_map(of).min();
    let is_doubtful = both.contains(&Kept::No);
    if let Some(ttl) = shortest(Kept::addresses) {
        let max = if is_doubtful { DOUBTFUL_MAX } else { KEPT_MAX };
        return Some(ttl.clamp(KEPT_MIN, max));
    }
    let ttl = shortest(Kept::nothing).filter(|_| !is_doubtful)?;
    Some(ttl.clamp(KEPT_MIN, DOUBTFUL_MAX))
}

/// How long one family's answer may be kept, according to the servers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Addresses(Duration),
    Nothing(Duration),
    No,
}

impl Kept {
    fn of(answer: &Answer) -> Self {
        match answer {
            Ok(found) => Self::Addresses(found.ttl),
            Err(NetError::Dns(DnsError::NoRecordsFound(nothing))) => {
                Self::Nothing(Duration::from_secs(nothing.negative_ttl.unwrap_or(0).into()))
            }
            Err(_) => Self::No,
        }
    }

    fn addresses(self) -> Option<Duration> {
        match self {
            Self::Addresses(ttl) => Some(ttl),
            Self::Nothing(_) | Self::No => None,
        }
    }

    fn nothing(self) -> Option<Duration> {
        match self {
            Self::Nothing(ttl) => Some(ttl),
            Self::Addresses(_) | Self::No => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::{
        net::NoRecords,
        proto::{
            op::{Query, ResponseCode},
            rr::RecordType,
        },
    };

    use super::{super::Found, *};

    const SECOND: Duration = Duration::from_secs(1);

    fn addresses(ttl: u64) -> Answer {
        Ok(Found {
            addresses: vec![[192, 0, 2, 1].into()],
            ttl: Duration::from_secs(ttl),
        })
    }

    fn nothing(negative_ttl: Option<u32>) -> Answer {
        let query = Query::query("hook.example.".parse().unwrap(), RecordType::A);
        let mut nothing = NoRecords::new(query, ResponseCode::NXDomain);
        nothing.negative_ttl = negative_ttl;
        Err(DnsError::NoRecordsFound(nothing).into())
    }

    #[test]
    fn lifetimes_follow_the_ttl_within_bounds() {
        let kept = |ipv4: Answer, ipv6: Answer| lifetime(Some(&ipv4), Some(&ipv6)).map(|kept| kept.as_secs());
        assert_eq!(kept(addresses(30), addresses(20)), Some(20));
        assert_eq!(kept(addresses(0), addresses(20)), Some(1));
        assert_eq!(kept(addresses(3_600), addresses(7_200)), Some(60));
        assert_eq!(
            kept(addresses(30), nothing(Some(2))),
            Some(30),
            "IPv6 is known not to exist"
        );
        assert_eq!(kept(addresses(30), Err(NetError::Timeout)), Some(5));
        assert_eq!(kept(nothing(Some(3_600)), nothing(Some(3_600))), Some(5));
        assert_eq!(kept(nothing(None), nothing(None)), Some(1));
        assert_eq!(kept(nothing(Some(5)), Err(NetError::Timeout)), None);
        assert_eq!(lifetime(Some(&addresses(30)), None).map(|kept| kept.as_secs()), Some(5));
        assert_eq!(lifetime(None, None), None);
    }

    #[test]
    fn an_answer_is_used_until_its_lifetime_ends_or_it_is_forgotten() {
        let (cache, now) = (Cache::default(), Instant::now());
        let outcome: Outcome = Ok(vec![[192, 0, 2, 1].into()]);
        let known = |after: Duration| cache.get("hook.example", now + after).is_some();
        cache.keep("hook.example", &outcome, SECOND * 20, now);
        assert!(known(Duration::ZERO) && known(SECOND * 19) && !known(SECOND * 20));
        assert!(cache.get("other.example", now).is_none());
        cache.forget("hook.example", now + SECOND / 2);
        assert!(known(Duration::ZERO), "it is new");
        cache.forget("hook.example", now + SECOND);
        assert!(!known(Duration::ZERO));
    }
}
