//! Prints a received request.

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::{receiver::Received, verify::Verdict};
use crate::output::printable;

/// For people.
pub(super) fn text(received: &Received, prefix: &str, verdict: Option<&Verdict>) -> String {
    let request = &received.request;
    let header = |name: &str| printable(request.header(name).unwrap_or("-"));
    let time = received
        .time
        .replace_nanosecond(0)
        .unwrap_or(received.time)
        .format(&Rfc3339)
        .unwrap_or_default();
    let verdict = match verdict {
        Some(verdict) => verdict.to_string(),
        None => "not verified: give --secret to verify signatures".to_owned(),
    };
    format!(
        "--- {time}  {} {}  {} bytes from {}\nevent: {}\ndelivery: {}\nwebhook-id: {}\n{verdict}\n{}\n",
        printable(&request.method),
        printable(&request.target),
        request.body().len(),
        received.remote,
        header(&format!("{prefix}Event")),
        header(&format!("{prefix}Delivery")),
        header("webhook-id"),
        pretty(request.body()),
    )
}

/// For programs: one line.
pub(super) fn json(received: &Received, prefix: &str, verdict: Option<&Verdict>) -> Value {
    let request = &received.request;
    let headers: Vec<Value> = request
        .headers()
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    json!({
        "time": received.time.format(&Rfc3339).unwrap_or_default(),
        "remote": received.remote.to_string(),
        "method": request.method,
        "target": request.target,
        "headers": headers,
        "event": request.header(&format!("{prefix}Event")),
        "delivery": request.header(&format!("{prefix}Delivery")),
        "webhookId": request.header("webhook-id"),
        "verified": verdict.map(Verdict::to_json),
        "body": String::from_utf8_lossy(request.body()),
        "bytes": request.body().len(),
    })
}

/// JSON with line breaks and indentation; order, numbers and strings stay unchanged. Other text is printed unchanged.
fn pretty(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err() {
        return printable(&text);
    }
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut just_opened = false;
    for c in text.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        if !c.is_ascii_whitespace() && just_opened != closes {
            newline(&mut out, depth, just_opened || closes);
        }
        match c {
            ' ' | '\t' | '\r' | '\n' => continue,
            '{' | '[' => depth += 1,
            '"' => in_string = true,
            _ => {}
        }
        out.push(c);
        match c {
            ',' => newline(&mut out, depth, true),
            ':' => out.push(' '),
            _ => {}
        }
        just_opened = matches!(c, '{' | '[');
    }
    printable(&out)
}

fn newline(out: &mut String, depth: usize, wanted: bool) {
    if wanted {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_otherwise_kept() {
        let body = br#"{"b":1.50,"a":{"x":[1, 2],"e":{},"l":[ ]},"s":"a\"{,}: \\"}"#;
        assert_eq!(
            pretty(body),
            "{\n  \"b\": 1.50,\n  \"a\": {\n    \"x\": [\n      1,\n      2\n    ],\n    \"e\": {},\n    \"l\": []\n  },\n  \
             \"s\": \"a\\\"{,}: \\\\\"\n}"
        );
    }

    #[test]
    fn a_body_that_is_not_json_is_shown_unchanged() {
        assert_eq!(pretty(b"hello \x1b[31m{"), "hello \\u{1b}[31m{");
    }
}
