//! Converts times and durations between the store's microseconds and protobuf's well-known types.

use std::time::Duration;

use prost_types::{Duration as ProtoDuration, Timestamp};

use crate::app::error::{AppError, AppResult};

/// Microseconds since the epoch as a timestamp.
pub(super) fn timestamp(us: i64) -> Timestamp {
    let nanos = us.rem_euclid(1_000_000) * 1_000;
    Timestamp {
        seconds: us.div_euclid(1_000_000),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// A timestamp as microseconds since the epoch, in the years 2000 to 2100.
pub(super) fn micros(field: &str, timestamp: &Timestamp) -> AppResult<i64> {
    const YEAR_2000: i64 = 946_684_800;
    const YEAR_2101: i64 = 4_133_980_800;
    let wrong = |what: &str| {
        AppError::invalid(
            field,
            "INVALID_TIME",
            format!("{what}; it must be in the years 2000 to 2100"),
        )
    };
    if !(0..1_000_000_000).contains(&timestamp.nanos) {
        return Err(wrong("nanos must be from 0 to 999,999,999"));
    }
    if !(YEAR_2000..YEAR_2101).contains(&timestamp.seconds) {
        return Err(wrong("the time is out of range"));
    }
    Ok(timestamp.seconds * 1_000_000 + i64::from(timestamp.nanos) / 1_000)
}

/// An optional timestamp, as microseconds since the epoch.
pub(super) fn optional_micros(field: &str, time: Option<&Timestamp>) -> AppResult<Option<i64>> {
    time.map(|time| micros(field, time)).transpose()
}

/// A duration from microseconds.
pub(super) fn duration_us(us: i64) -> ProtoDuration {
    let nanos = us.rem_euclid(1_000_000) * 1_000;
    ProtoDuration {
        seconds: us.div_euclid(1_000_000),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// A duration from the standard library's type.
pub(super) fn proto_duration(duration: Duration) -> ProtoDuration {
    duration_us(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

/// A non-negative duration.
pub(super) fn std_duration(field: &str, duration: &ProtoDuration) -> AppResult<Duration> {
    match (u64::try_from(duration.seconds), u32::try_from(duration.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => Err(AppError::invalid(field, "INVALID_DURATION", "must not be negative")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p07_event_times_out_of_range() {
        let at = |seconds, nanos| Timestamp { seconds, nanos };
        assert_eq!(
            micros("event_time", &at(1_514_797_313, 5_000)).unwrap(),
            1_514_797_313_000_005
        );
        // The years 1 and 9999, and nanoseconds out of range.
        for bad in [
            at(-62_135_596_800, 0),
            at(253_402_300_799, 0),
            at(1_514_797_313, -1),
            at(1_514_797_313, 1_000_000_000),
        ] {
            assert!(micros("event_time", &bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn microseconds_survive() {
        for us in [0, 1, 999_999, 1_000_000, 1_735_689_600_123_456] {
            let back = timestamp(us);
            assert_eq!(back.seconds * 1_000_000 + i64::from(back.nanos) / 1_000, us);
        }
    }
}
