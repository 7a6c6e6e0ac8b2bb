//! Names that operators choose: organizations and event types.

/// The event type that the service sends: it can be neither published nor subscribed to.
pub const PING: &str = "ping";
const ORGANIZATION_CHARS_MAX: usize = 63;
const EVENT_TYPE_CHARS_MAX: usize = 128;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not an organization's id.
    #[error("must be 1 to {ORGANIZATION_CHARS_MAX} lower-case letters, digits and inner hyphens")]
    Organization,
    /// Not an event type's id.
    #[error(
        "must be at most {EVENT_TYPE_CHARS_MAX} characters: letters, digits, `_` and `-`, in parts separated by `.`, and must not begin with `-`"
    )]
    EventType,
    /// The event type `ping`.
    #[error("`ping` is reserved: only the service sends it")]
    Reserved,
}

impl NameError {
    /// A stable reason in UPPER_SNAKE_CASE.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Organization => "INVALID_ORGANIZATION_ID",
            Self::EventType => "INVALID_EVENT_TYPE_ID",
            Self::Reserved => "EVENT_TYPE_RESERVED",
        }
    }
}

/// An organization's name: `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrganizationName(String);

impl OrganizationName {
    /// Checks a text.
    ///
    /// # Errors
    /// When it is not an organization's name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = bytes.first().is_some_and(word) && bytes.last().is_some_and(word);
        let inside = bytes.iter().all(|byte| word(byte) || *byte == b'-');
        if ends && inside && bytes.len() <= ORGANIZATION_CHARS_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Organization)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An event type's name: `^[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`, at most 128 characters, not `ping`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTypeName(String);

impl EventTypeName {
    /// Checks a text.
    ///
    /// # Errors
    /// When it is not an event type's name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let well_formed = text.len() <= EVENT_TYPE_CHARS_MAX
            && !text.starts_with('-')
            && text
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(allowed));
        match text {
            PING => Err(NameError::Reserved),
            _ if well_formed => Ok(Self(text.to_owned())),
            _ => Err(NameError::EventType),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The `count` candidates most similar to `name`, most similar first; dissimilar ones are omitted.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>, count: usize) -> Vec<String> {
    const ALIKE: f64 = 0.6;
    // Compares only the beginning of the typed text: the work per candidate grows with its length.
    let head: String = name.chars().take(EVENT_TYPE_CHARS_MAX).collect();
    let mut scored: Vec<(f64, &str)> = candidates
        .map(|candidate| {
            (
                strsim::jaro_winkler(&head.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored
        .into_iter()
        .take(count)
        .map(|(_, candidate)| candidate.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    proptest! {
        #[test]
        fn organizations_match_their_pattern(text in "[a-zA-Z0-9-]{0,70}|\\PC{0,10}") {
            let pattern = Regex::new(r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\z").unwrap();
            prop_assert_eq!(OrganizationName::parse(&text).is_ok(), pattern.is_match(&text));
        }

        #[test]
        fn event_types_match_their_pattern(text in "[a-zA-Z0-9_.-]{0,140}|\\PC{0,10}") {
            let pattern = Regex::new(r"\A[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*\z").unwrap();
            let expected = pattern.is_match(&text) && text.len() <= 128 && text != "ping";
            prop_assert_eq!(EventTypeName::parse(&text).is_ok(), expected);
        }
    }

    #[test]
    fn b15_names_with_hyphens_are_those_of_other_systems() {
        for name in ["order-created", "a-", "order.-created", "order-created.v-1"] {
            assert!(EventTypeName::parse(name).is_ok(), "{name}");
        }
        for name in ["-order", "-", "order..created", ".order", ""] {
            assert_eq!(EventTypeName::parse(name), Err(NameError::EventType), "{name}");
        }
    }

    #[test]
    fn ping_is_ours() {
        assert_eq!(EventTypeName::parse("ping"), Err(NameError::Reserved));
        assert!(EventTypeName::parse("pinged").is_ok());
    }

    #[test]
    fn the_nearest_names_come_first() {
        let known = ["clocking", "checksheet", "clock.in"];
        assert_eq!(nearest("cloking", known.into_iter(), 2)[0], "clocking");
        assert_eq!(nearest("zzz", known.into_iter(), 2), [""; 0]);
    }
}
