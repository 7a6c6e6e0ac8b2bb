//! Free text: descriptions, display names and search texts.
//!
//! Control characters are rejected: PostgreSQL's `text` cannot contain NUL, and the others are useless to readers.

use std::ops::Bound;

use super::error::{AppError, AppResult, Violation};

/// The length of the longest searchable name.
const PREFIX_CHARS_MAX: usize = 128;

/// The prefix of listed names; empty for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamePrefix<'a>(&'a str);

impl<'a> NamePrefix<'a> {
    /// From a request field.
    ///
    /// # Errors
    /// When no name can have this prefix.
    pub fn new(field: &'static str, text: &'a str) -> AppResult<Self> {
        if text.chars().count() > PREFIX_CHARS_MAX {
            let rule = format!("must be at most {PREFIX_CHARS_MAX} characters, the beginning of a name");
            return Err(AppError::invalid(field, "PREFIX_TOO_LONG", rule));
        }
        check_sought([(field, text)])?;
        Ok(Self(text))
    }

    /// Where to begin in sorted names that are listed after `after`.
    pub(super) fn range(self, after: &'a str) -> (Bound<&'a str>, Bound<&'a str>) {
        let from = if self.0 > after {
            Bound::Included(self.0)
        } else {
            Bound::Excluded(after)
        };
        (from, Bound::Unbounded)
    }

    /// Whether a name has the prefix. In sorted names, all names after the first mismatch do not.
    pub(super) fn begins(self, name: &str) -> bool {
        name.starts_with(self.0)
    }
}

/// The error of a free text: a reason, and the rule.
pub(super) fn check(text: &str, chars_max: usize, too_long: &'static str) -> Result<(), (&'static str, String)> {
    if text.chars().count() > chars_max {
        return Err((too_long, format!("must be at most {chars_max} characters")));
    }
    if text
        .chars()
        .any(|letter| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t'))
    {
        let rule = "must contain no control characters except line ends and tabs";
        return Err(("CONTROL_CHARACTER", rule.to_owned()));
    }
    Ok(())
}

/// Rejects search texts that cannot match anything, field by field.
pub(super) fn check_sought<'a>(fields: impl IntoIterator<Item = (&'static str, &'a str)>) -> AppResult<()> {
    let wrong = fields
        .into_iter()
        .filter(|(_, text)| text.chars().any(char::is_control));
    let violations: Vec<Violation> = wrong
        .map(|(field, _)| Violation {
            field: field.to_owned(),
            description: "must contain no control characters".to_owned(),
            reason: "CONTROL_CHARACTER",
        })
        .collect();
    if violations.is_empty() {
        Ok(())
    } else {
        Err(AppError::Invalid(violations))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_their_beginning() {
        let names: std::collections::BTreeSet<&str> = ["a", "acme", "acme-two", "acmf", "b"].into();
        let found = |prefix: &str, after: &str| {
            let prefix = NamePrefix::new("prefix", prefix).unwrap();
            let range = names.range::<str, _>(prefix.range(after));
            range
                .copied()
                .take_while(|name| prefix.begins(name))
                .collect::<Vec<_>>()
        };
        assert_eq!(found("", ""), ["a", "acme", "acme-two", "acmf", "b"]);
        assert_eq!(found("acme", ""), ["acme", "acme-two"]);
        assert_eq!(found("acme", "acme"), ["acme-two"]);
        assert_eq!(found("", "acme-two"), ["acmf", "b"]);
        assert_eq!(found("acme", "b"), [""; 0], "a place of another list");
        assert!(NamePrefix::new("prefix", &"a".repeat(129)).is_err());
        assert!(NamePrefix::new("prefix", "a\0").is_err());
    }

    #[test]
    fn people_may_write_lines() {
        assert_eq!(check("a\r\n\tb \u{e4}", 10, "LONG"), Ok(()));
        assert_eq!(check("abc", 2, "LONG").unwrap_err().0, "LONG");
        for bad in ["a\0", "\u{1b}[31m", "\u{85}"] {
            assert_eq!(check(bad, 10, "LONG").unwrap_err().0, "CONTROL_CHARACTER", "{bad:?}");
        }
        assert!(check_sought([("a", "b"), ("c", "")]).is_ok());
        assert!(
            matches!(check_sought([("a", "b"), ("c", "\0")]), Err(AppError::Invalid(wrong)) if wrong[0].field == "c")
        );
    }
}
