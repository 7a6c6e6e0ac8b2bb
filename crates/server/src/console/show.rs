//! Times, sizes, counts and states as text.

use std::fmt;

use askama::filters::HtmlSafe;
pub(super) use hookwright_domain::reason::capitalized;
use hookwright_domain::{
    histogram::Histogram,
    outcome::{DeliveryState, ErrorClass},
};
use time::{
    OffsetDateTime,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

const INSTANT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const PLAIN: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const MINUTE: &[BorrowedFormatItem<'_>] = format_description!("[hour]:[minute]");

/// A time in microseconds since the epoch. Rendered in UTC; the script rewrites it in the reader's zone, and the UTC time
/// stays visible on hover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(pub(super) i64);

impl Time {
    /// From an instant in UTC, as in the audit log.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(time.unix_timestamp_nanos() / 1_000).ok().map(Self)
    }

    fn format(self, items: &[BorrowedFormatItem<'_>]) -> String {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000).ok();
        time.and_then(|time| time.format(items).ok()).unwrap_or_default()
    }

    /// Date and time in UTC, for sentences.
    pub(super) fn plain(self) -> String {
        self.format(PLAIN)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (instant, plain) = (self.format(INSTANT), self.format(PLAIN));
        write!(f, r#"<time datetime="{instant}" title="{instant}">{plain} UTC</time>"#)
    }
}

// It writes digits and its own markup.
impl HtmlSafe for Time {}

/// A time of which only hour and minute are shown, for charts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Minute(pub(super) i64);

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (instant, minute) = (Time(self.0).format(INSTANT), Time(self.0).format(MINUTE));
        write!(
            f,
            r#"<time datetime="{instant}" title="{instant}" data-show="minute">{minute} UTC</time>"#
        )
    }
}

// As for times.
impl HtmlSafe for Minute {}

/// The next step of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Nothing,
    /// It waits for something other than a time.
    Waits(&'static str),
    /// It is due at a time. The script counts down; the UTC time stays visible on hover.
    Due { due: i64, now: i64 },
}

impl Next {
    pub(super) fn is_nothing(self) -> bool {
        self == Self::Nothing
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Nothing => Ok(()),
            Self::Waits(words) => f.write_str(words),
            Self::Due { due, now } => {
                let instant = Time(due).format(INSTANT);
                write!(f, r#"<time datetime="{instant}" title="{instant}" data-show="until">"#)?;
                if due > now {
                    write!(f, "in {}</time>", duration(due - now))
                } else {
                    f.write_str("due now</time>")
                }
            }
        }
    }
}

// It writes digits and our own words.
impl HtmlSafe for Next {}

/// A number with thousands separators.
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 webhook`, `2 webhooks`, `0 deliveries`.
pub(super) fn counted(number: impl TryInto<i64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(i64::MAX);
    let plural = match (number, noun.strip_suffix('y')) {
        (1, _) => noun.to_owned(),
        (_, Some(stem)) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{noun}s"),
    };
    format!("{} {plural}", count(number))
}

/// The same for a bounded count: `more than 1,000 deliveries` if it is above.
pub(super) fn counted_up_to(limit: usize, number: usize, noun: &str) -> String {
    if number > limit {
        format!("more than {}", counted(limit, noun))
    } else {
        counted(number, noun)
    }
}

/// A size: `142 bytes`, `5.0 MiB`.
pub(super) fn size(bytes: i64) -> String {
    match bytes {
        ..1_024 => counted(bytes, "byte"),
        1_024..1_048_576 => tenths(bytes * 10 / 1_024, "KiB"),
        _ => tenths(bytes * 10 / 1_048_576, "MiB"),
    }
}

/// A duration in microseconds: `850 µs`, `12.3 ms`, `1.5 s`, `4 min`, `2 h`, `3 days`.
pub(super) fn duration(us: i64) -> String {
    match us {
        ..1_000 => format!("{us} µs"),
        1_000..1_000_000 => tenths(us / 100, "ms"),
        1_000_000..120_000_000 => tenths(us / 100_000, "s"),
        120_000_000..7_200_000_000 => format!("{} min", us / 60_000_000),
        7_200_000_000..172_800_000_000 => format!("{} h", us / 3_600_000_000),
        _ => format!("{} days", us / 86_400_000_000),
    }
}

/// The duration below which a share of the counted durations lie; a dash if there are none.
pub(super) fn percentile(durations: &Histogram, share: f64) -> String {
    let us = durations.percentile(share);
    us.map_or_else(|| "–".to_owned(), |us| duration(i64::try_from(us).unwrap_or(i64::MAX)))
}

fn tenths(tenths: i64, unit: &str) -> String {
    if tenths % 10 == 0 || tenths >= 1_000 {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// An average per period: `0.9`, `12`.
pub(super) fn rate(number: i64, periods: i64) -> String {
    let tenths = (number.saturating_mul(10) + periods / 2) / periods;
    if tenths < 100 {
        format!("{}.{}", tenths / 10, tenths % 10)
    } else {
        count(tenths / 10)
    }
}

/// A share in percent: `99.8 %`; a dash for a share of nothing.
pub(super) fn percent(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "–".to_owned();
    }
    // Rounded down: less than all is never shown as all.
    let per_mille = part.saturating_mul(1_000) / whole;
    tenths(per_mille, "%")
}

/// A stored name in words: `retry_schedule` becomes `retry schedule`.
pub(super) fn words(stored: &str) -> String {
    stored.replace('_', " ")
}

/// An error class in words; empty for none.
pub(super) fn failure(class: &str) -> String {
    let known = class.parse::<ErrorClass>();
    known.map_or_else(|_| words(class), |known| known.label().to_owned())
}

/// A state as an icon and a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Badge {
    /// The icon's name in the sprite.
    pub(super) icon: &'static str,
    /// The CSS class of its colour.
    pub(super) tone: &'static str,
    pub(super) word: &'static str,
}

impl Badge {
    pub(super) const fn new(icon: &'static str, tone: &'static str, word: &'static str) -> Self {
        Self { icon, tone, word }
    }
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { icon, tone, word } = self;
        write!(
            f,
            r##"<span class="badge {tone}"><svg class="icon" aria-hidden="true"><use href="#i-{icon}"/></svg>{word}</span>"##
        )
    }
}

// It writes our own words.
impl HtmlSafe for Badge {}

/// The badge of a delivery's state.
pub(super) const fn state(state: DeliveryState) -> Badge {
    match state {
        DeliveryState::Pending => Badge::new("clock", "calm", "pending"),
        DeliveryState::Retrying => Badge::new("repeat", "warn", "retrying"),
        DeliveryState::Paused => Badge::new("pause", "warn", "paused"),
        DeliveryState::Delivered => Badge::new("check", "good", "delivered"),
        DeliveryState::Failed => Badge::new("cross", "bad", "failed"),
        DeliveryState::Cancelled => Badge::new("ban", "calm", "cancelled"),
    }
}

/// The first part of a text, and whether there is more.
pub(super) fn beginning(text: &str, bytes_max: usize) -> (&str, bool) {
    if text.len() <= bytes_max {
        return (text, false);
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    (&text[..end], true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_can_read_it() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!((count(-1_000), count(999)), ("-1,000".to_owned(), "999".to_owned()));
        assert_eq!(
            (size(142), size(16_384), size(5_242_880)),
            ("142 bytes".into(), "16 KiB".into(), "5 MiB".into())
        );
        assert_eq!(size(1_500), "1.4 KiB");
        assert_eq!(
            (
                counted(1, "delivery"),
                counted(2, "delivery"),
                counted(0, "webhook"),
                size(1)
            ),
            (
                "1 delivery".into(),
                "2 deliveries".into(),
                "0 webhooks".into(),
                "1 byte".into()
            )
        );
        let durations = [850, 12_345, 1_500_000, 240_000_000, 7_200_000_000, 259_200_000_000].map(duration);
        assert_eq!(durations, ["850 µs", "12.3 ms", "1.5 s", "4 min", "2 h", "3 days"]);
        let numbers = [(1, "delivery"), (2, "delivery"), (2_000, "key")].map(|(number, noun)| counted(number, noun));
        assert_eq!(numbers, ["1 delivery", "2 deliveries", "2,000 keys"]);
        assert_eq!(counted_up_to(1_000, 1_001, "key"), "more than 1,000 keys");
        let rates = [0, 3, 59, 596, 597, 60_000_000].map(|number| rate(number, 60));
        assert_eq!(rates, ["0.0", "0.1", "1.0", "9.9", "10", "1,000,000"]);
        assert_eq!(
            (percent(999, 1_000), percent(9_999, 10_000), percent(1, 0)),
            ("99.9 %".into(), "99.9 %".into(), "–".into())
        );
    }

    #[test]
    fn times_name_their_instant() {
        let shown = Time(1_795_455_823_123_000).to_string();
        assert!(shown.contains(r#"datetime="2026-11-23T17:43:43.123Z""#), "{shown}");
        assert!(shown.contains("2026-11-23 17:43:43 UTC<"), "{shown}");
        let next = |due: i64| {
            Next::Due {
                due,
                now: 1_795_455_823_123_000,
            }
            .to_string()
        };
        let soon = next(1_795_455_826_123_000);
        assert!(
            soon.contains(r#"datetime="2026-11-23T17:43:46.123Z""#) && soon.contains(">in 3 s<"),
            "{soon}"
        );
        assert!(next(0).contains(">due now<"));
        assert!(
            !Time(i64::MAX).to_string().contains('9'),
            "a time that no calendar knows"
        );
    }

    #[test]
    fn letters_are_not_cut() {
        assert_eq!(beginning("aäb", 2), ("a", true));
        assert_eq!(beginning("aäb", 4), ("aäb", false));
    }
}
