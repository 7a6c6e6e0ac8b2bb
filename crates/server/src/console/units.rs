//! Durations and times as users type them into forms.

use std::time::Duration;

use time::{PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

const MINUTES: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]");
const SECONDS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// `500ms`, `5s`, `2m`, `1h`, `1d`; a plain number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("`{text}` is not a duration; write it as 500ms, 5s, 2m, 1h or 1d");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

/// A duration in the largest unit without a remainder.
pub(super) fn shown(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit = units
        .iter()
        .find(|(length, _)| millis > 0 && millis.is_multiple_of(*length));
    unit.map_or_else(
        || format!("{millis}ms"),
        |(length, unit)| format!("{}{unit}", millis / length),
    )
}

/// Durations separated by commas or spaces.
pub(super) fn durations(text: &str) -> Result<Vec<Duration>, String> {
    names(text).map(duration).collect()
}

/// Words separated by commas or spaces.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split([',', ' ', '\n', '\t', '\r']);
    parts.filter(|part| !part.is_empty())
}

/// The value of a browser's date and time field, taken as UTC, in microseconds since the epoch.
pub(super) fn instant(text: &str) -> Result<i64, String> {
    let read = PrimitiveDateTime::parse(text, MINUTES).or_else(|_| PrimitiveDateTime::parse(text, SECONDS));
    let time = read.map_err(|_| format!("`{text}` is not a time; write it as 2026-01-31T12:00, in UTC"))?;
    Ok(time.assume_utc().unix_timestamp() * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_values_read_back_unchanged() {
        for text in ["500ms", "5s", "90s", "2m", "1h", "1d", "0ms"] {
            assert_eq!(shown(duration(text).unwrap()), text);
        }
        assert_eq!(durations("5s, 30s 2m").unwrap().len(), 3);
        assert_eq!(names(" a,b\tc\r\n,d ").collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        for bad in [
            "",
            "s",
            "5 years",
            "-1s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(instant("1970-01-01T00:01"), Ok(60_000_000));
        assert_eq!(instant("1970-01-01T00:00:02"), Ok(2_000_000));
        assert!(instant("yesterday").is_err());
    }
}
