//! Ids: 64-bit, time-ordered numbers inside; a type prefix and Crockford base32 outside (`wh_01j9...`).
//!
//! | bits | contents |
//! | --- | --- |
//! | 41 | milliseconds since 2024-01-01T00:00:00Z, valid until 2093 |
//! | 10 | the node that created the id |
//! | 12 | a sequence within the millisecond |
//!
//! The text has 13 digits, so that ids also sort by time as text. It never contains a `.`. Knowing an id grants no access.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicI64, Ordering},
};

/// 2024-01-01T00:00:00Z in milliseconds since the Unix epoch.
const EPOCH_MS: i64 = 1_704_067_200_000;
const NODE_BITS: u32 = 10;
/// The number of bits below the node's number.
pub const SEQUENCE_BITS: u32 = 12;
/// The maximum node number.
pub const NODE_MAX: u16 = (1 << NODE_BITS) - 1;
/// The maximum number of webhooks that one event can be owed to: an event and its deliveries share one millisecond's
/// sequence.
pub const FANOUT_MAX: usize = (1 << SEQUENCE_BITS) - 1;

const DIGITS: usize = 13;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an id; it must be `{prefix}` and {DIGITS} lower-case base32 digits")]
pub struct IdError {
    prefix: &'static str,
}

fn digits(raw: i64) -> [u8; DIGITS] {
    let mut text = [b'0'; DIGITS];
    let mut rest = raw.cast_unsigned();
    for digit in text.iter_mut().rev() {
        *digit = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
    text
}

/// The number of 13 digits, if they are digits and the number is not negative.
fn number(text: &[u8]) -> Option<i64> {
    if text.len() != DIGITS {
        return None;
    }
    let mut value: u64 = 0;
    for byte in text {
        let digit = ALPHABET.iter().position(|digit| digit == byte)?;
        value = value.checked_mul(32)?.checked_add(digit as u64)?;
    }
    i64::try_from(value).ok()
}

macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $name:ident $prefix:literal)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// The prefix of its text.
            pub const PREFIX: &'static str = $prefix;

            /// From the stored number.
            pub const fn from_raw(raw: i64) -> Self {
                Self(raw)
            }

            /// The stored number.
            pub const fn raw(self) -> i64 {
                self.0
            }

            /// When it was created, in microseconds since the Unix epoch.
            pub const fn time_us(self) -> i64 {
                time_us(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = digits(self.0);
                f.write_str($prefix)?;
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .and_then(|digits| number(digits.as_bytes()))
                    .map(Self)
                    .ok_or(IdError { prefix: $prefix })
            }
        }
    )+};
}

ids! {
    /// An organization's internal id; users see its name.
    OrganizationId "org_"
    /// A webhook's id.
    WebhookId "wh_"
    /// An event's id: the header `webhook-id`.
    EventId "evt_"
    /// A delivery's id: the header `TT-Hook-Delivery`.
    DeliveryId "dlv_"
    /// A replay's id.
    ReplayId "rpl_"
    /// The id of an operation.
    OperationId "op_"
    /// A token's id.
    TokenId "tok_"
    /// The id of an audit entry.
    AuditEntryId "aud_"
    /// The id of a portal link.
    PortalLinkId "lnk_"
}

impl EventId {
    /// The delivery to the webhook at `position` in the event's list: the numbers after the event's own are reserved for its
    /// deliveries.
    pub fn delivery(self, position: usize) -> DeliveryId {
        let position = i64::try_from(position).expect("an event is owed to at most FANOUT_MAX webhooks");
        // Ids also come from callers: the largest valid id must not overflow.
        DeliveryId(self.0.saturating_add(1 + position))
    }
}

/// When a raw id was created, in microseconds since the Unix epoch.
pub const fn time_us(raw: i64) -> i64 {
    ((raw >> (NODE_BITS + SEQUENCE_BITS)) + EPOCH_MS) * 1_000
}

/// The smallest raw id at or after a time.
pub const fn first_at(time_us: i64) -> i64 {
    let ms = time_us.div_euclid(1_000) + (time_us.rem_euclid(1_000) != 0) as i64 - EPOCH_MS;
    // A time beyond the range of ids is after every id.
    if ms <= 0 {
        0
    } else if ms > i64::MAX >> (NODE_BITS + SEQUENCE_BITS) {
        i64::MAX
    } else {
        ms << (NODE_BITS + SEQUENCE_BITS)
    }
}

/// Creates ids for one node. They only increase, even if the clock is set back.
#[derive(Debug)]
pub struct IdGenerator {
    node: AtomicI64,
    /// Milliseconds (since our epoch) and sequence of the next id, as one number.
    next: AtomicI64,
}

impl IdGenerator {
    /// For the node `node`; `floor` is the largest raw id in use, 0 for none.
    pub fn new(node: u16, floor: i64) -> Self {
        let used_ms = floor >> (NODE_BITS + SEQUENCE_BITS);
        let next = if floor == 0 { 0 } else { (used_ms + 1) << SEQUENCE_BITS };
        Self {
            node: AtomicI64::new(i64::from(node.min(NODE_MAX))),
            next: AtomicI64::new(next),
        }
    }

    /// Switches to another node's number: later ids are above all earlier ones, and above `floor`.
    pub fn move_to(&self, node: u16, floor: i64) {
        self.node.store(i64::from(node.min(NODE_MAX)), Ordering::Release);
        let above = ((floor >> (NODE_BITS + SEQUENCE_BITS)) + 1) << SEQUENCE_BITS;
        self.next.fetch_max(above, Ordering::AcqRel);
    }

    /// The microseconds by which the next id is ahead of a clock that shows `now_us`; 0 while the clock is ahead.
    pub fn ahead_us(&self, now_us: i64) -> i64 {
        let next_ms = (self.next.load(Ordering::Acquire) >> SEQUENCE_BITS) + EPOCH_MS;
        (next_ms * 1_000).saturating_sub(now_us).max(0)
    }

    /// One raw id.
    pub fn next(&self, now_ms: i64) -> i64 {
        self.reserve(1, now_ms)
    }

    /// The first of `count` consecutive raw ids. A run stays within one millisecond's sequence. If it does not fit, it
    /// begins the next millisecond, which may be slightly in the future.
    ///
    /// # Panics
    /// When `count` is 0 or more than [`FANOUT_MAX`] + 1.
    pub fn reserve(&self, count: usize, now_ms: i64) -> i64 {
        assert!(
            (1..=FANOUT_MAX + 1).contains(&count),
            "a run of ids fits into one millisecond"
        );
        let count = i64::try_from(count).expect("checked above");
        let clock = (now_ms - EPOCH_MS).max(0) << SEQUENCE_BITS;
        let first_of = |next: i64| {
            let first = next.max(clock);
            let ms = first >> SEQUENCE_BITS;
            let last = first + count - 1;
            if last >> SEQUENCE_BITS == ms {
                first
            } else {
                (ms + 1) << SEQUENCE_BITS
            }
        };
        let taken = self
            .next
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |next| Some(first_of(next) + count));
        let first = first_of(taken.unwrap_or_else(|next| next));
        let (ms, sequence) = (first >> SEQUENCE_BITS, first & ((1 << SEQUENCE_BITS) - 1));
        (((ms << NODE_BITS) | self.node.load(Ordering::Acquire)) << SEQUENCE_BITS) | sequence
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_735_689_600_000;

    proptest! {
        #[test]
        fn text_survives_and_sorts_like_the_number(a in 0..i64::MAX, b in 0..i64::MAX) {
            let (one, two) = (EventId::from_raw(a), EventId::from_raw(b));
            prop_assert_eq!(one.to_string().parse::<EventId>().unwrap(), one);
            prop_assert_eq!(one.to_string().cmp(&two.to_string()), a.cmp(&b));
            prop_assert!(!one.to_string().contains('.'));
        }

        #[test]
        fn runs_grow_and_never_overlap(runs in proptest::collection::vec((1usize..=4096, -5_000i64..5_000), 1..50)) {
            let ids = IdGenerator::new(7, 0);
            let mut last = 0;
            for (count, drift) in runs {
                let first = ids.reserve(count, NOW + drift);
                prop_assert!(first > last, "also when the clock goes back");
                let end = first + i64::try_from(count).unwrap() - 1;
                prop_assert_eq!(first >> 12, end >> 12, "a run stays within one millisecond of one node");
                prop_assert_eq!((first >> 12) & 1023, 7);
                last = end;
            }
        }

        #[test]
        fn anything_else_is_no_id(text in "\\PC{0,20}") {
            if let Ok(id) = text.parse::<WebhookId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn continues_above_what_is_in_use() {
        let floor = IdGenerator::new(0, 0).next(NOW + 60_000);
        assert!(
            IdGenerator::new(0, floor).next(NOW) > floor,
            "although the clock was set back a minute"
        );
    }

    #[test]
    fn x10_ids_show_how_far_they_are_ahead_of_a_clock_that_was_set_back() {
        let ids = IdGenerator::new(0, 0);
        assert_eq!(ids.ahead_us(NOW * 1_000), 0, "it has made none");
        ids.next(NOW);
        assert_eq!(ids.ahead_us(NOW * 1_000), 0);
        assert_eq!(ids.ahead_us((NOW - 3_600_000) * 1_000), 3_600_000_000);
    }

    #[test]
    fn tells_its_time() {
        let id = EventId::from_raw(IdGenerator::new(1023, 0).next(NOW));
        assert_eq!(id.time_us(), NOW * 1_000);
        assert!(first_at(NOW * 1_000) <= id.raw() && id.raw() < first_at(NOW * 1_000 + 1));
    }

    #[test]
    fn p07_times_and_ids_at_the_ends_of_their_range() {
        let year_9999 = 253_402_300_799_000_000;
        assert_eq!(first_at(year_9999), i64::MAX, "after every id, not wrapped around");
        assert_eq!(first_at(i64::MAX), i64::MAX);
        assert_eq!(first_at(i64::MIN), 0);
        let last: EventId = "evt_7zzzzzzzzzzzz".parse().unwrap();
        assert_eq!(last.delivery(4_094).raw(), i64::MAX);
    }

    #[test]
    fn g09_upper_case_and_wrong_prefixes_are_refused() {
        let id = WebhookId::from_raw(123_456_789);
        let text = id.to_string();
        assert_eq!(text.len(), 16);
        for bad in [
            text.to_uppercase(),
            text.replace("wh_", "evt_"),
            text[..15].to_owned(),
            format!("{text}0"),
            "wh_zzzzzzzzzzzzz".into(),
        ] {
            assert!(bad.parse::<WebhookId>().is_err(), "{bad}");
        }
    }
}
