//! Masks passwords in URLs and connection strings for display, however malformed the text is.
//!
//! Passwords should be percent-encoded and often are not. If it is uncertain which part is the password, more is masked
//! rather than less: from the first `:` after `//` to the last `@`, and from `password=` to the end.

use std::fmt::Display;

/// The replacement of a password.
const MASK: &str = "***";
/// The fix for a URL whose user name or password contains a delimiter.
const ENCODE: &str = "percent-encode special characters such as / ? # @ : and % in its user name and password";

/// The text with its passwords masked.
pub fn mask_passwords(text: &str) -> String {
    mask_user_info(&mask_parameters(text))
}

/// Why a URL cannot be parsed, as the parser says, without any part of its password: the parser gets the masked text.
pub fn explain_refusal<T, E: Display>(url: &str, read: impl FnOnce(&str) -> Result<T, E>) -> String {
    let masked = mask_passwords(url);
    match read(&masked) {
        Err(error) => format!("`{masked}`: {error}"),
        // It is well-formed without its password.
        Ok(_) => format!("`{masked}`: {ENCODE}"),
    }
}

/// Rejects a URL with two `@` before its path: parsers of database URLs take the first one as the end of the password, and
/// the rest of the password as a host.
///
/// # Errors
/// With the fix.
pub fn check_user_info(url: &str) -> Result<(), String> {
    let rest = &url[after_scheme(url)..];
    let host = rest.split_once('@').map_or("", |(_, after)| after);
    if host.split(['/', '?']).next().unwrap_or_default().contains('@') {
        Err(format!("`{}`: {ENCODE}", mask_passwords(url)))
    } else {
        Ok(())
    }
}

/// Where the text after `scheme://` begins; 0 without a scheme.
fn after_scheme(text: &str) -> usize {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|char: char| char.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    match text.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => scheme.len() + 3,
        _ => 0,
    }
}

fn mask_user_info(text: &str) -> String {
    let (head, rest) = text.split_at(after_scheme(text));
    let Some(colon) = rest.find(':') else {
        return text.to_owned();
    };
    match rest.rfind('@') {
        Some(at) if colon < at => format!("{head}{}:{MASK}{}", &rest[..colon], &rest[at..]),
        // The `@` and the host are missing.
        None if !has_ports_only(rest) => format!("{head}{}:{MASK}", &rest[..colon]),
        _ => text.to_owned(),
    }
}

/// Whether every `:` of a text without user info belongs to a host's port or IPv6 address.
fn has_ports_only(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.split(',').all(|host| match host.rsplit_once(':') {
        Some((name, port)) => {
            let is_host = !name.contains(':') || name.starts_with('[') && name.ends_with(']');
            host.starts_with('[') && host.ends_with(']') || is_host && port.bytes().all(|byte| byte.is_ascii_digit())
        }
        None => true,
    })
}

/// Masks from the first parameter whose name ends in `password`, of a URL (`?password=`) or a connection string.
fn mask_parameters(text: &str) -> String {
    const NAME: &str = "password";
    let lower = text.to_ascii_lowercase();
    let value = lower.match_indices(NAME).find_map(|(at, _)| {
        let after = &text[at + NAME.len()..];
        let blanks = after.len() - after.trim_start().len();
        after[blanks..].starts_with('=').then_some(at + NAME.len() + blanks + 1)
    });
    match value {
        Some(start) if start < text.len() => format!("{}{MASK}", &text[..start]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_part_of_a_password_is_shown_whatever_it_holds(
            password in "[a-zA-Z0-9/?#@:&=%,;+$!'\" \\[\\]{}~\\\\\u{e9}-]{0,24}",
            scheme in "postgres|postgresql|http|https",
            host in "[a-z]{1,8}|\\[::1\\]",
        ) {
            let url = |password: &str| format!("{scheme}://user:{password}@{host}:5432/db");
            let shown = mask_passwords(&url(&password));
            // A password that contains such a parameter hides the text after it, too.
            let expected = [url(MASK), format!("{scheme}://user:{MASK}")];
            prop_assert!(expected.contains(&shown), "{}", shown);

            let url = |password: &str| format!("{scheme}://{host}:5432/db?user=u&password={password}");
            let expected = if password.is_empty() { "" } else { MASK };
            prop_assert_eq!(mask_passwords(&url(&password)), url(expected));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(postgres://)?[a-z:@/?=,\\[\\]]{0,20}(password ?=)?\\PC{0,20}") {
            let _ = (mask_passwords(&text), check_user_info(&text));
        }
    }

    #[test]
    fn passwords_are_masked() {
        for (text, shown) in [
            ("postgres://u:secret@host/db", "postgres://u:***@host/db"),
            ("postgres://u:p@ss@host:5432/db", "postgres://u:***@host:5432/db"),
            ("postgres://u:p/ss?word#1@host/db", "postgres://u:***@host/db"),
            ("u:secret@host/db", "u:***@host/db"),
            ("postgres://u:secret", "postgres://u:***"),
            ("postgres://u:se/cret", "postgres://u:***"),
            ("postgres://u@host/db", "postgres://u@host/db"),
            (
                "postgres://host/db?user=u&password=se&cret&sslmode=require",
                "postgres://host/db?user=u&password=***",
            ),
            (
                "postgres://host/db?sslPassword=secret",
                "postgres://host/db?sslPassword=***",
            ),
            ("host=h user=u password = 'secret'", "host=h user=u password =***"),
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://[::1]:4317/v1", "http://[::1]:4317/v1"),
            ("http://[::1]", "http://[::1]"),
            ("postgres://a:5432,b:5433/db", "postgres://a:5432,b:5433/db"),
            ("sqlite:///var/lib/hookwright.db", "sqlite:///var/lib/hookwright.db"),
        ] {
            assert_eq!(mask_passwords(text), shown);
        }
    }

    #[test]
    fn a_refusal_holds_nothing_of_the_password() {
        let read = |text: &str| text.contains("***").then_some(()).ok_or("it is bad");
        let said = explain_refusal("postgres://u:se/cret@host/db", read);
        assert!(said.contains("u:***@host") && said.contains("percent-encode"), "{said}");
        assert!(!said.contains("cret"), "{said}");
        let said = explain_refusal("nonsense", read);
        assert_eq!(said, "`nonsense`: it is bad");
    }

    #[test]
    fn a_url_that_is_read_as_another_one_is_refused() {
        let refused = check_user_info("postgres://u:sec@ret@host/db").unwrap_err();
        assert!(refused.contains("u:***@host"), "{refused}");
        assert!(!refused.contains("sec") && !refused.contains("ret"), "{refused}");
        for url in [
            "postgres://u:secret@host/db",
            "postgres://u:1/2?3@host/db@1?application_name=a@b",
            "postgres://host/db",
            "http://proxy:3128",
        ] {
            assert_eq!(check_user_info(url), Ok(()), "{url}");
        }
    }
}
