//! Payload validation: a JSON object (RFC 8259) in UTF-8, within the size limit, nested less than 128 levels deep.
//!
//! The payload is sent byte for byte, so no tree is built: one pass checks the structure, and the JSON library checks the
//! syntax in another.

use serde::de::IgnoredAny;

/// The default limit: 5 MB.
pub const PAYLOAD_BYTES_MAX_DEFAULT: usize = 5_242_880;
/// Payloads nest less than this, the default limit of JSON parsers.
pub const DEPTH_LIMIT: usize = 128;

/// Why bytes are not a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Too large.
    #[error("must be at most {max} bytes; it has {actual}. Send less, or raise payload-bytes-max")]
    TooLarge {
        /// Its size.
        actual: usize,
        /// The limit.
        max: usize,
    },
    /// Not UTF-8.
    #[error("must be UTF-8; the byte at offset {offset} is not")]
    NotUtf8 {
        /// The offset.
        offset: usize,
    },
    /// A byte order mark, which JSON does not allow.
    #[error("must not begin with a byte order mark; remove the first three bytes")]
    ByteOrderMark,
    /// Empty, or only white space.
    #[error("must be a JSON object; it is empty")]
    Empty,
    /// Not JSON.
    #[error("must be JSON; at offset {offset}: {problem}")]
    NotJson {
        /// The offset.
        offset: usize,
        /// The error.
        problem: String,
    },
    /// JSON, but not an object.
    #[error("must be a JSON object; it begins with `{first}` at offset {offset}")]
    NotObject {
        /// The offset.
        offset: usize,
        /// The first character.
        first: char,
    },
    /// Nested too deep.
    #[error("must be nested less than {DEPTH_LIMIT} levels deep; it reaches that at offset {offset}")]
    TooDeep {
        /// The offset.
        offset: usize,
    },
    /// Half of a surrogate pair, which no Unicode text can contain.
    #[error("the escape at offset {offset} is half of a surrogate pair; write both halves, or the character itself")]
    LoneSurrogate {
        /// The offset.
        offset: usize,
    },
}

impl PayloadError {
    /// A stable reason in UPPER_SNAKE_CASE.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "PAYLOAD_TOO_LARGE",
            Self::NotUtf8 { .. } => "PAYLOAD_NOT_UTF8",
            Self::ByteOrderMark | Self::Empty | Self::NotJson { .. } | Self::LoneSurrogate { .. } => "PAYLOAD_NOT_JSON",
            Self::NotObject { .. } => "PAYLOAD_NOT_OBJECT",
            Self::TooDeep { .. } => "PAYLOAD_TOO_DEEP",
        }
    }
}

/// Checks a payload.
///
/// # Errors
/// With the first error and its offset.
pub fn check_payload(payload: &[u8], max: usize) -> Result<(), PayloadError> {
    if payload.len() > max {
        return Err(PayloadError::TooLarge {
            actual: payload.len(),
            max,
        });
    }
    let text = std::str::from_utf8(payload).map_err(|error| PayloadError::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    if text.starts_with('\u{feff}') {
        return Err(PayloadError::ByteOrderMark);
    }
    let start = text
        .bytes()
        .position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
        .ok_or(PayloadError::Empty)?;
    let structure = check_structure(payload);
    if let Err(error @ PayloadError::TooDeep { .. }) = structure {
        return Err(error);
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| syntax_error(payload, &error))?;
    if payload[start] != b'{' {
        let first = text[start..].chars().next().unwrap_or_default();
        return Err(PayloadError::NotObject { offset: start, first });
    }
    structure
}

fn syntax_error(payload: &[u8], error: &serde_json::Error) -> PayloadError {
    let offset = offset_of(payload, error.line(), error.column());
    let text = error.to_string();
    // The parser's message ends with line and column, which the offset already gives.
    let problem = text.split(" at line ").next().unwrap_or_default().to_owned();
    PayloadError::NotJson { offset, problem }
}

/// The byte offset of a line and a column, both from 1, the column in bytes.
fn offset_of(payload: &[u8], line: usize, column: usize) -> usize {
    let line_start = match line {
        0 | 1 => 0,
        _ => memchr::memchr_iter(b'\n', payload)
            .nth(line - 2)
            .map_or(0, |newline| newline + 1),
    };
    (line_start + column.saturating_sub(1)).min(payload.len())
}

/// Counts brackets outside strings, and finds halves of surrogate pairs inside them. For text that is not JSON the result is
/// meaningless.
fn check_structure(payload: &[u8]) -> Result<(), PayloadError> {
    let mut surrogate = None;
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(byte) = payload.get(at) {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth >= DEPTH_LIMIT {
                    return Err(PayloadError::TooDeep { offset: at });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(payload, at + 1, &mut surrogate),
            _ => {}
        }
        at += 1;
    }
    surrogate.map_or(Ok(()), |offset| Err(PayloadError::LoneSurrogate { offset }))
}

/// The offset of the quote that ends a string. Records the first escape that is half of a surrogate pair. Most strings have
/// no backslash, and then this is one fast search.
fn end_of_string(payload: &[u8], mut at: usize, surrogate: &mut Option<usize>) -> usize {
    while let Some(found) = payload.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        let escape = at + found;
        if payload[escape] == b'"' {
            return escape;
        }
        at = escape + 2;
        let Some(unit) = code_unit(payload, escape) else {
            continue;
        };
        at = escape + 6;
        match unit {
            0xd800..=0xdbff if matches!(code_unit(payload, at), Some(0xdc00..=0xdfff)) => at += 6,
            0xd800..=0xdfff => *surrogate = surrogate.or(Some(escape)),
            _ => {}
        }
    }
    payload.len()
}

/// The value of a `\uXXXX` at this offset.
fn code_unit(payload: &[u8], at: usize) -> Option<u16> {
    let digits = payload.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(payload: impl AsRef<[u8]>) -> Result<(), PayloadError> {
        check_payload(payload.as_ref(), PAYLOAD_BYTES_MAX_DEFAULT)
    }

    #[test]
    fn p01_payloads_that_are_not_json_objects() {
        assert_eq!(check(""), Err(PayloadError::Empty));
        assert_eq!(check(" \n\t"), Err(PayloadError::Empty));
        for (text, first) in [("null", 'n'), (" []", '['), ("\"x\"", '"'), ("1", '1'), ("true", 't')] {
            let offset = text.find(first).unwrap();
            assert_eq!(check(text), Err(PayloadError::NotObject { offset, first }), "{text}");
        }
        assert!(matches!(check("{} x"), Err(PayloadError::NotJson { offset: 3, .. })));
        assert!(matches!(check("{}{}"), Err(PayloadError::NotJson { offset: 2, .. })));
        assert!(matches!(
            check("{\n\"a\":}"),
            Err(PayloadError::NotJson { offset: 6, .. })
        ));
        assert_eq!(check(b"\xef\xbb\xbf{}"), Err(PayloadError::ByteOrderMark));
        assert_eq!(check(b"\xff\xfe{\0}\0"), Err(PayloadError::NotUtf8 { offset: 0 }));
        assert_eq!(check(b"{\"a\":\"\xff\"}"), Err(PayloadError::NotUtf8 { offset: 6 }));
        assert!(check("{\0\"\0}\0").is_err(), "UTF-16 without a mark");
    }

    #[test]
    fn p01_lone_surrogates() {
        assert_eq!(
            check(r#"{"a":"\ud800"}"#),
            Err(PayloadError::LoneSurrogate { offset: 6 })
        );
        assert_eq!(
            check(r#"{"a":"\udc00\ud800"}"#),
            Err(PayloadError::LoneSurrogate { offset: 6 })
        );
        assert_eq!(
            check(r#"{"a":"\ud83d\ud83d\ude00"}"#),
            Err(PayloadError::LoneSurrogate { offset: 6 })
        );
        for good in [
            r#"{"a":"\ud83d\ude00"}"#,
            r#"{"a":"\\ud800"}"#,
            r#"{"a":"\\\\ud800 \u00e9"}"#,
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn p02_nesting() {
        let nested = |depth: usize| format!("{}{}", "{\"a\":".repeat(depth) + "1", "}".repeat(depth));
        assert_eq!(check(nested(127)), Ok(()));
        assert!(matches!(check(nested(128)), Err(PayloadError::TooDeep { .. })));
        assert!(matches!(check(nested(10_000)), Err(PayloadError::TooDeep { .. })));
        assert!(matches!(
            check("[".repeat(1_000_000)),
            Err(PayloadError::TooDeep { .. })
        ));
    }

    #[test]
    fn p03_numbers_and_repeated_keys_pass_as_they_are() {
        for good in [r#"{"a":1,"a":2}"#, r#"{"n":1e400}"#, r#"{"n":-12345678901234567890.5}"#] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn p04_sizes() {
        let payload = |size: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(size - 8));
        assert_eq!(check(payload(5_242_880)), Ok(()));
        let error = check(payload(5_242_881)).unwrap_err();
        assert_eq!(
            error,
            PayloadError::TooLarge {
                actual: 5_242_881,
                max: 5_242_880
            }
        );
        assert!(error.to_string().contains("5242880") && error.to_string().contains("5242881"));
    }

    proptest! {
        #[test]
        fn agrees_with_a_full_parse(text in "\\PC{0,40}|[\\[\\]{}\":,0-9a-f\\\\ue. -]{0,40}") {
            let full = serde_json::from_str::<serde_json::Value>(&text);
            let object = full.as_ref().is_ok_and(serde_json::Value::is_object);
            // A number beyond a double is valid JSON, but the full parse rejects it.
            if check(&text).is_ok() != object {
                prop_assert!(full.is_err_and(|error| error.to_string().contains("out of range")), "{}", text);
            }
        }

        #[test]
        fn every_object_passes(value in "[ -~é😀\\\\\"]{0,60}") {
            let text = serde_json::json!({ "value": value }).to_string();
            prop_assert_eq!(check(text), Ok(()));
        }
    }
}
