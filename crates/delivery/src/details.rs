//! The details of an attempt that have no column in its row: one JSON text, for users and for the API.

use std::fmt::Write as _;

use hookwright_domain::url::PayloadUrl;
use serde::Deserialize;

use crate::{catalogue::Webhook, failure::Phases, report::AttemptReport, request::PreparedRequest};

/// The replacement of a secret value.
pub const REDACTED: &str = "(redacted)";

/// Request and response of one attempt, without bodies.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct AttemptDetails {
    /// The URL posted to.
    pub url: String,
    /// The address connected to.
    #[serde(default)]
    pub remote: Option<String>,
    /// Microseconds by phase; a phase that did not happen is absent.
    #[serde(default)]
    pub phases: Phases,
    /// The headers sent; signatures and the owner's values are redacted.
    #[serde(default)]
    pub request: Vec<(String, String)>,
    /// The headers received.
    #[serde(default)]
    pub response: Vec<(String, String)>,
    /// Whether the response's body was longer than what was kept.
    #[serde(default)]
    pub truncated: bool,
    /// Details for operators, beyond the message for the owner.
    #[serde(default)]
    pub operator_detail: Option<String>,
}

/// Writes the JSON text of [`AttemptDetails`] directly, because every delivery has one.
pub(crate) fn to_json(webhook: &Webhook, prepared: Option<&PreparedRequest<'_>>, report: &AttemptReport) -> String {
    let mut json = String::with_capacity(1024);
    json.push_str("{\"url\":");
    push_text(&mut json, webhook.url.as_ref().map_or("", PayloadUrl::as_str));
    if let Some(remote) = report.remote {
        // An address needs no escaping.
        let _ = write!(json, ",\"remote\":\"{remote}\"");
    }
    json.push_str(",\"phases\":");
    push_phases(&mut json, &report.phases);
    json.push_str(",\"request\":[");
    let sent = prepared.map_or(&[][..], |prepared| &prepared.headers);
    let own = webhook.headers.len();
    for (index, (name, value)) in sent.iter().enumerate() {
        let secret = index + own >= sent.len() || is_signature(name);
        push_header(&mut json, index, name, if secret { REDACTED } else { value });
    }
    json.push_str("],\"response\":[");
    for (index, (name, value)) in report.headers().iter().enumerate() {
        push_header(&mut json, index, name, &String::from_utf8_lossy(value));
    }
    json.push(']');
    if report.truncated() {
        json.push_str(",\"truncated\":true");
    }
    if let Some(detail) = report.operator_detail() {
        json.push_str(",\"operator_detail\":");
        push_text(&mut json, detail);
    }
    json.push('}');
    json
}

fn is_signature(name: &str) -> bool {
    const NEEDLE: &[u8] = b"signature";
    name.as_bytes()
        .windows(NEEDLE.len())
        .any(|part| part.eq_ignore_ascii_case(NEEDLE))
}

fn push_header(json: &mut String, index: usize, name: &str, value: &str) {
    json.push_str(if index == 0 { "[\"" } else { ",[\"" });
    // A header's name is a token, which needs no escaping.
    json.push_str(name);
    json.push_str("\",");
    push_text(json, value);
    json.push(']');
}

fn push_phases(json: &mut String, phases: &Phases) {
    let named = [
        ("\"dns_us\":", phases.dns_us),
        ("\"connect_us\":", phases.connect_us),
        ("\"tls_us\":", phases.tls_us),
        ("\"wait_us\":", phases.wait_us),
        ("\"body_us\":", phases.body_us),
    ];
    let mut separator = '{';
    for (name, time) in named {
        if let Some(time) = time {
            json.push(separator);
            json.push_str(name);
            json.push_str(itoa::Buffer::new().format(time));
            separator = ',';
        }
    }
    json.push_str(if separator == '{' { "{}" } else { "}" });
}

/// Appends a JSON string. Text without characters to escape, which is the usual case, is copied unchanged.
fn push_text(json: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_details_read_back_unchanged() {
        let mut json = String::from("{\"url\":");
        push_text(&mut json, "http://a/\"\\\u{1}\u{fc}");
        json.push_str(",\"phases\":");
        push_phases(
            &mut json,
            &Phases {
                dns_us: Some(1),
                body_us: Some(-2),
                ..Phases::default()
            },
        );
        json.push_str(",\"request\":[");
        push_header(&mut json, 0, "TT-Hook-Event", "clocking");
        push_header(&mut json, 1, "x", "a\tb");
        json.push_str("]}");
        let read: AttemptDetails = serde_json::from_str(&json).unwrap();
        assert_eq!(read.url, "http://a/\"\\\u{1}\u{fc}");
        assert_eq!(
            (read.phases.dns_us, read.phases.tls_us, read.phases.body_us),
            (Some(1), None, Some(-2))
        );
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read.request, [header("TT-Hook-Event", "clocking"), header("x", "a\tb")]);
    }

    #[test]
    fn signatures_are_secret_whatever_their_prefix() {
        for name in ["TT-Hook-Signature", "webhook-signature", "X-SIGNATURE-256"] {
            assert!(is_signature(name), "{name}");
        }
        assert!(!is_signature("TT-Hook-Event"));
    }
}
