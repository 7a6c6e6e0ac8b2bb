//! Retry schedules and `Retry-After`.

use std::time::{Duration, SystemTime};

const STEPS_MAX: usize = 100;
const DELAY_MIN: Duration = Duration::from_secs(1);
/// The maximum delay of a schedule.
pub const DELAY_MAX: Duration = Duration::from_secs(7 * 86_400);
/// The maximum delay of a receiver's `Retry-After`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// Why delays are not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// None, or too many.
    #[error("must have 1 to {STEPS_MAX} delays; it has {0}")]
    Steps(usize),
    /// Out of range.
    #[error("the delay at position {0} must be from 1 s to 7 days")]
    Delay(usize),
}

impl ScheduleError {
    /// A stable reason in UPPER_SNAKE_CASE.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Steps(_) => "RETRY_SCHEDULE_LENGTH",
            Self::Delay(_) => "RETRY_DELAY_RANGE",
        }
    }
}

/// The delays between the attempts of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySchedule {
    delays: Vec<Duration>,
}

impl Default for RetrySchedule {
    /// 5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 3 h, 6 h, 12 h, 24 h, 24 h: about three days.
    fn default() -> Self {
        let seconds = [5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 86_400];
        Self {
            delays: seconds.into_iter().map(Duration::from_secs).collect(),
        }
    }
}

impl RetrySchedule {
    /// From delays: 1 to 100 of them, each from 1 s to 7 days.
    ///
    /// # Errors
    /// When there are too few or too many, or one is out of range.
    pub fn new(delays: Vec<Duration>) -> Result<Self, ScheduleError> {
        if !(1..=STEPS_MAX).contains(&delays.len()) {
            return Err(ScheduleError::Steps(delays.len()));
        }
        match delays.iter().position(|delay| !(DELAY_MIN..=DELAY_MAX).contains(delay)) {
            Some(position) => Err(ScheduleError::Delay(position)),
            None => Ok(Self { delays }),
        }
    }

    /// The delay after the attempt `number` (1 is the first); `None` when the delays are used up. `random`, from 0 to 1,
    /// selects a point between 90 % and 110 % of the delay, so that retries do not synchronize.
    pub fn delay(&self, number: u32, random: f64) -> Option<Duration> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let delay = self.delays.get(index)?;
        let random = if random.is_nan() { 0.5 } else { random.clamp(0.0, 1.0) };
        Some(delay.mul_f64(0.9 + 0.2 * random))
    }

    /// The latest time of a next attempt: the longest delay plus a tenth, or the maximum of `Retry-After`.
    pub fn delay_max(&self) -> Duration {
        let longest = self.delays.iter().max().copied().unwrap_or(DELAY_MAX);
        longest.mul_f64(1.1).max(RETRY_AFTER_MAX)
    }

    /// The delays.
    pub fn delays(&self) -> &[Duration] {
        &self.delays
    }
}

/// The delay that a receiver asks for: `Retry-After` of a 429 or 503, as seconds or an HTTP date (RFC 9110, section 10.2.3).
/// Invalid, past and contradictory values ask for no delay; the maximum is 24 hours.
pub fn parse_retry_after(status: u16, values: &[&[u8]], now_us: i64) -> Option<Duration> {
    if !matches!(status, 429 | 503) {
        return None;
    }
    let (first, rest) = values.split_first()?;
    if rest.iter().any(|other| other != first) {
        return None;
    }
    let text = std::str::from_utf8(first).ok()?.trim();
    let asked = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number with too many digits means the maximum.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(now_us).ok()?);
        httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?
    };
    (!asked.is_zero()).then(|| asked.min(RETRY_AFTER_MAX))
}

/// The time of an HTTP date, in microseconds since the Unix epoch.
pub fn parse_date(value: &[u8]) -> Option<i64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(value).ok()?.trim()).ok()?;
    let since = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_US: i64 = 1_735_689_600_000_000;

    fn hint(values: &[&str]) -> Option<u64> {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        parse_retry_after(503, &values, NOW_US).map(|hint| hint.as_secs())
    }

    proptest! {
        #[test]
        fn jitter_stays_within_a_tenth(number in 1u32..=11, random in 0.0f64..1.0) {
            let schedule = RetrySchedule::default();
            let exact = schedule.delays()[number as usize - 1].as_secs_f64();
            let delay = schedule.delay(number, random).unwrap().as_secs_f64();
            prop_assert!((exact * 0.9 - 0.001..=exact * 1.1 + 0.001).contains(&delay));
        }

        #[test]
        fn no_hint_is_longer_than_a_day(text in "\\PC{0,30}|[0-9]{1,30}") {
            if let Some(hint) = parse_retry_after(429, &[text.as_bytes()], NOW_US) {
                prop_assert!(hint <= RETRY_AFTER_MAX && !hint.is_zero());
            }
        }
    }

    #[test]
    fn the_default_schedule_is_the_contracts() {
        let schedule = RetrySchedule::default();
        let seconds: Vec<u64> = (1..=12)
            .filter_map(|number| schedule.delay(number, 0.5))
            .map(|delay| delay.as_secs_f64().round() as u64)
            .collect();
        assert_eq!(
            seconds,
            [5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 86_400]
        );
        assert_eq!(schedule.delay(12, 0.5), None);
        assert_eq!(schedule.delay(0, 0.5), None);
        assert!(schedule.delay(1, f64::NAN).is_some());
        assert!(schedule.delay_max() >= schedule.delay(11, 1.0).unwrap());
    }

    #[test]
    fn h07_schedules_that_are_refused() {
        assert_eq!(RetrySchedule::new(vec![]), Err(ScheduleError::Steps(0)));
        assert_eq!(RetrySchedule::new(vec![DELAY_MIN; 101]), Err(ScheduleError::Steps(101)));
        assert_eq!(
            RetrySchedule::new(vec![DELAY_MIN, Duration::ZERO]),
            Err(ScheduleError::Delay(1))
        );
        assert_eq!(
            RetrySchedule::new(vec![DELAY_MAX + DELAY_MIN]),
            Err(ScheduleError::Delay(0))
        );
        assert!(RetrySchedule::new(vec![DELAY_MIN; 100]).is_ok());
    }

    #[test]
    fn dates_of_answers_are_read_and_nonsense_is_not() {
        assert_eq!(parse_date(b"Wed, 01 Jan 2025 00:00:30 GMT"), Some(NOW_US + 30_000_000));
        for nonsense in [&b""[..], b"soon", b"\xff", b"0"] {
            assert_eq!(parse_date(nonsense), None);
        }
    }

    #[test]
    fn r15_retry_after_as_seconds_and_dates() {
        assert_eq!(hint(&["5"]), Some(5));
        assert_eq!(hint(&["99999999999"]), Some(86_400));
        assert_eq!(hint(&["99999999999999999999999999"]), Some(86_400));
        assert_eq!(hint(&["Wed, 01 Jan 2025 00:00:30 GMT"]), Some(30));
        assert_eq!(hint(&["Fri, 31 Dec 9999 23:59:59 GMT"]), Some(86_400));
        for nonsense in ["0", "-1", "", "soon", "1.5", "Tue, 31 Dec 2024 23:59:59 GMT"] {
            assert_eq!(hint(&[nonsense]), None, "{nonsense}");
        }
        assert_eq!(hint(&["5", "6"]), None, "two that contradict");
        assert_eq!(hint(&["5", "5"]), Some(5));
        assert_eq!(hint(&[]), None);
        assert_eq!(
            parse_retry_after(500, &[b"5"], NOW_US),
            None,
            "only 429 and 503 may ask"
        );
    }
}
