//! Limits on settings of owners and publishers.

use std::time::Duration;

const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);
const RATE: std::ops::RangeInclusive<f64> = 0.01..=10_000.0;
const ATTRIBUTES_MAX: usize = 20;
const KEY_CHARS_MAX: usize = 64;
const VALUE_CHARS_MAX: usize = 256;
const ORDERING_KEY_BYTES_MAX: usize = 128;

/// A value outside its limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A timeout.
    #[error("must be from 1 s to 30 s")]
    Timeout,
    /// A rate.
    #[error("must be from 0.01 to 10,000 per second; omit it for no limit")]
    Rate,
    /// Too many attributes.
    #[error("must be at most {ATTRIBUTES_MAX} attributes; there are {0}")]
    Attributes(usize),
    /// An attribute's key.
    #[error("has a key that is not 1 to {KEY_CHARS_MAX} letters, digits, `_`, `.` and `-`")]
    AttributeKey(String),
    /// An attribute's value.
    #[error("must have a value of at most {VALUE_CHARS_MAX} characters, without control characters")]
    AttributeValue(String),
    /// An ordering key.
    #[error("must be at most {ORDERING_KEY_BYTES_MAX} bytes, without control characters")]
    OrderingKey,
}

impl LimitError {
    /// A stable reason in UPPER_SNAKE_CASE.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Timeout => "TIMEOUT_RANGE",
            Self::Rate => "RATE_RANGE",
            Self::Attributes(_) => "ATTRIBUTES_TOO_MANY",
            Self::AttributeKey(_) => "ATTRIBUTE_KEY",
            Self::AttributeValue(_) => "ATTRIBUTE_VALUE",
            Self::OrderingKey => "ORDERING_KEY",
        }
    }

    /// The invalid field.
    pub fn field(&self) -> String {
        match self {
            Self::Timeout => "timeout".to_owned(),
            Self::Rate => "requests_per_second".to_owned(),
            Self::Attributes(_) => "attributes".to_owned(),
            Self::OrderingKey => "ordering_key".to_owned(),
            Self::AttributeKey(key) | Self::AttributeValue(key) => format!("attributes[{key:?}]"),
        }
    }
}

/// Checks the timeout of an attempt.
///
/// # Errors
/// When it is outside the limits.
pub fn check_timeout(timeout: Duration) -> Result<(), LimitError> {
    if TIMEOUT.contains(&timeout) {
        Ok(())
    } else {
        Err(LimitError::Timeout)
    }
}

/// Checks the number of attempts per second.
///
/// # Errors
/// When it is outside the limits or not a number.
pub fn check_rate(rate: f64) -> Result<(), LimitError> {
    if RATE.contains(&rate) {
        Ok(())
    } else {
        Err(LimitError::Rate)
    }
}

/// Checks the attributes of an event.
///
/// # Errors
/// With the first attribute outside the limits.
pub fn check_attributes<'a>(
    attributes: impl ExactSizeIterator<Item = (&'a String, &'a String)>,
) -> Result<(), LimitError> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(LimitError::Attributes(attributes.len()));
    }
    for (key, value) in attributes {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if key.is_empty() || key.len() > KEY_CHARS_MAX || !key.bytes().all(word) {
            return Err(LimitError::AttributeKey(key.chars().take(KEY_CHARS_MAX).collect()));
        }
        if value.chars().count() > VALUE_CHARS_MAX || value.chars().any(char::is_control) {
            return Err(LimitError::AttributeValue(key.clone()));
        }
    }
    Ok(())
}

/// Checks an ordering key.
///
/// # Errors
/// When it is too long, or contains control characters.
pub fn check_ordering_key(key: &str) -> Result<(), LimitError> {
    if key.len() > ORDERING_KEY_BYTES_MAX || key.chars().any(char::is_control) {
        return Err(LimitError::OrderingKey);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn h07_timeouts_and_rates() {
        for seconds in [0, 31] {
            assert_eq!(
                check_timeout(Duration::from_secs(seconds)),
                Err(LimitError::Timeout),
                "{seconds}"
            );
        }
        assert!(check_timeout(Duration::from_secs(1)).is_ok() && check_timeout(Duration::from_secs(30)).is_ok());
        for rate in [-1.0, 0.0, f64::NAN, f64::INFINITY, 1e300, 10_000.1] {
            assert_eq!(check_rate(rate), Err(LimitError::Rate), "{rate}");
        }
        assert!(check_rate(0.01).is_ok() && check_rate(10_000.0).is_ok());
    }

    #[test]
    fn ordering_keys() {
        assert_eq!(check_ordering_key(""), Ok(()));
        assert_eq!(check_ordering_key(&"é".repeat(64)), Ok(()));
        for bad in ["x".repeat(129), "a\0b".to_owned(), "a\nb".to_owned()] {
            assert_eq!(check_ordering_key(&bad), Err(LimitError::OrderingKey), "{bad:?}");
        }
    }

    #[test]
    fn p07_attributes() {
        let check = |pairs: &[(&str, &str)]| {
            let map: BTreeMap<String, String> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            check_attributes(map.iter()).map_err(|error| error.rule())
        };
        let keys: Vec<String> = (0..21).map(|n| format!("k{n}")).collect();
        let many: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "v")).collect();
        assert_eq!(check(&many), Err("ATTRIBUTES_TOO_MANY"));
        assert_eq!(check(&many[..20]), Ok(()));
        assert_eq!(check(&[("k", &"x".repeat(1 << 20))]), Err("ATTRIBUTE_VALUE"));
        assert_eq!(check(&[("k", "a\0b")]), Err("ATTRIBUTE_VALUE"));
        assert_eq!(check(&[("", "v")]), Err("ATTRIBUTE_KEY"));
        assert_eq!(check(&[("a b", "v")]), Err("ATTRIBUTE_KEY"));
        assert_eq!(check(&[("region", "eu-west-1 \u{e9}")]), Ok(()));
    }
}
