//! Free texts: notes and names for people, and what is searched for.
//!
//! Control characters are refused where text comes in: PostgreSQL's `text` holds no NUL, and the others are of no use to readers.

use super::error::{AppError, AppResult, Violation};

/// What is wrong with a text that people wrote: a reason, and the rule.
pub(super) fn check(text: &str, chars_max: usize, too_long: &'static str) -> Result<(), (&'static str, String)> {
    if text.chars().count() > chars_max {
        return Err((too_long, format!("must be at most {chars_max} characters")));
    }
    if text
        .chars()
        .any(|letter| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t'))
    {
        let rule = "must contain no control characters but line ends and tabs";
        return Err(("CONTROL_CHARACTER", rule.to_owned()));
    }
    Ok(())
}

/// Refuses what is searched for where nothing can be found by it, field by field.
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
