//! The commands that reproduce a request, signed with the current time and a secret that the user sets.

use std::fmt::Write as _;

use hookwright_delivery::details::{AttemptDetails, REDACTED};

/// A larger payload is read from a file.
pub(super) const INLINE_MAX: usize = 2 << 10;
/// Headers that curl sets itself.
const LEFT_OUT: [&str; 3] = ["host", "content-length", "accept-encoding"];
/// The signed time, which is replaced by the current time.
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";
/// The secret's bytes in hexadecimal: the decoded base64 after `whsec_`, or the bytes of any other secret.
const KEY: &str = "key() { case \"$secret\" in (whsec_*) printf %s \"${secret#whsec_}\" | base64 -d ;; (*) printf %s \"$secret\" ;; esac | \
                   od -An -vtx1 | tr -d ' \\n'; }\n";
/// The placeholder of the signing secret.
pub(super) const PLACEHOLDER: &str = "the signing secret";

/// The request to reproduce.
pub(super) struct Request<'a> {
    pub(super) details: &'a AttemptDetails,
    /// The payload; its beginning is enough if it is too large for a command.
    pub(super) payload: &'a [u8],
    /// The file name of a large payload.
    pub(super) file: &'a str,
    /// The prefix of our headers.
    pub(super) prefix: &'a str,
}

/// The commands, for a POSIX shell with curl and openssl; empty for a request that was never built.
pub(super) fn commands(request: &Request<'_>) -> String {
    let details = request.details;
    if details.url.is_empty() {
        return String::new();
    }
    let payload = match std::str::from_utf8(request.payload) {
        Ok(text) if text.len() <= INLINE_MAX => format!("printf %s {}", quoted(text)),
        _ => format!("cat {}", quoted(request.file)),
    };
    let mut text = format!("secret='{PLACEHOLDER}'\npayload() {{ {payload}; }}\n");
    text.push_str(KEY);
    text.push_str("now=$(date +%s)\n");
    let _ = write!(text, "payload | curl -i -X POST {}", quoted(&details.url));
    for (name, value) in &details.request {
        if LEFT_OUT.iter().all(|left_out| !name.eq_ignore_ascii_case(left_out)) {
            let _ = write!(text, " \\\n  -H {}", header(request, name, value));
        }
    }
    text.push_str(" \\\n  --data-binary @-");
    text
}

fn header(request: &Request<'_>, name: &str, value: &str) -> String {
    let is = |suffix: &str| {
        let ours = request.prefix.len() + suffix.len() == name.len();
        value == REDACTED && ours && name.starts_with(request.prefix) && name.ends_with(suffix)
    };
    let hmac = |hash: &str| {
        format!("\"{name}: {hash}=$(payload | openssl dgst -{hash} -hmac \"$secret\" -r | cut -d' ' -f1)\"")
    };
    if is("Signature") {
        hmac("sha1")
    } else if is("Signature-256") {
        hmac("sha256")
    } else if name.eq_ignore_ascii_case(TIMESTAMP) {
        format!("\"{name}: $now\"")
    } else if name.eq_ignore_ascii_case(SIGNATURE) {
        let id = request
            .details
            .request
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("webhook-id"));
        let id = quoted(id.map_or("", |(_, id)| id));
        format!(
            "\"{name}: v1,$( (printf %s {id}.\"$now\".; payload) | openssl dgst -sha256 -mac HMAC -macopt hexkey:$(key) -binary | base64)\""
        )
    } else {
        quoted(&format!("{name}: {value}"))
    }
}

/// A word of the shell, quoted.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_reads_what_was_sent() {
        let details = AttemptDetails {
            url: "http://a/$(reboot)'".to_owned(),
            request: [("Host", "a"), ("TT-Hook-Event", "x"), ("Its-Signature", REDACTED)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..AttemptDetails::default()
        };
        let request = Request {
            details: &details,
            payload: br#"{"it":"isn't"}"#,
            file: "evt_1.json",
            prefix: "TT-Hook-",
        };
        let script = format!("curl() {{ printf '<%s>' \"$@\"; cat; }}\n{}", commands(&request));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            r#"<-i><-X><POST><http://a/$(reboot)'><-H><TT-Hook-Event: x><-H><Its-Signature: (redacted)><--data-binary><@->{"it":"isn't"}"#
        );
    }
}
