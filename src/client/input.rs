//! Reads values that are given on the command line, in a file (`@path`) or on standard input (`-`).

use std::{io::Read as _, time::Duration};

use anyhow::Context as _;
use prost_types::Timestamp;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::units::parse_duration;

/// Reads `text`, `@path` or `-`. A value that begins with `@` itself must come from a file.
pub(crate) fn read(value: &str) -> anyhow::Result<Vec<u8>> {
    if value == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        return Ok(bytes);
    }
    match value.strip_prefix('@') {
        Some(path) => std::fs::read(path).with_context(|| format!("cannot read {path}")),
        None => Ok(value.as_bytes().to_vec()),
    }
}

/// As [`read`], without trailing newlines, which editors and shells add to files and standard input.
pub(crate) fn read_typed(value: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = read(value)?;
    if value == "-" || value.starts_with('@') {
        while matches!(bytes.last(), Some(b'\r' | b'\n')) {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// As [`read`], as text without trailing newlines, which editors add.
pub(crate) fn read_line(value: &str) -> anyhow::Result<String> {
    let text = String::from_utf8(read(value)?).context("the value is not UTF-8")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// As [`read`], for text.
pub(crate) fn read_text(value: &str) -> anyhow::Result<String> {
    String::from_utf8(read(value)?).context("the value is not UTF-8")
}

/// `KEY=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// A header: `NAME: VALUE` or `NAME=VALUE`.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once([':', '=']) {
        Some((name, value)) if !name.is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write `NAME: VALUE`".to_owned()),
    }
}

/// A time: RFC 3339, or a duration before now.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line has the wall clock of its machine"
)]
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let time = match parse_duration(text) {
        Ok(ago) => OffsetDateTime::now_utc() - ago,
        Err(_) => OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| "write a time such as 2026-01-31T09:00:00Z, or an age such as 2h".to_owned())?,
    };
    Ok(Timestamp {
        seconds: time.unix_timestamp(),
        nanos: i32::try_from(time.nanosecond()).unwrap_or(0),
    })
}

/// A duration for the API. The server rejects durations that are too long, so large values need not be exact.
pub(crate) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration {
        seconds: i64::MAX,
        nanos: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_literal_or_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"a\":1}\n").unwrap();
        let at = format!("@{}", file.path().display());
        assert_eq!(read("{}").unwrap(), b"{}");
        assert_eq!(read(&at).unwrap(), b"{\"a\":1}\n");
        assert_eq!(read_line(&at).unwrap(), "{\"a\":1}");
        assert_eq!(read_typed(&at).unwrap(), b"{\"a\":1}");
        std::fs::write(file.path(), "{} \r\n\n").unwrap();
        assert_eq!(read_typed(&at).unwrap(), b"{} ", "blanks are the payload's own");
        assert_eq!(read_typed("{}\n").unwrap(), b"{}\n", "what is typed is what is meant");
        assert!(format!("{:#}", read("@/does/not/exist").unwrap_err()).contains("/does/not/exist"));
    }

    #[test]
    fn pairs_headers_and_times_are_read() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert!(pair("a").is_err() && pair("=a").is_err());
        assert_eq!(header("X-Key: a:b").unwrap(), ("X-Key".to_owned(), "a:b".to_owned()));
        assert_eq!(time("2025-01-01T00:00:00Z").unwrap().seconds, 1_735_689_600);
        assert!(time("1h").is_ok() && time("yesterday").is_err());
    }
}
