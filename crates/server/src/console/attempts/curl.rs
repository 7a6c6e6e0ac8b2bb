//! A request as a command that makes it again.

use hookwright_delivery::details::AttemptDetails;

/// A payload that is larger is read from a file.
const INLINE_MAX: usize = 2 << 10;
/// What curl finds out by itself.
const LEFT_OUT: [&str; 3] = ["host", "content-length", "accept-encoding"];

/// The command; empty for a request that was never made up.
pub(super) fn command(details: &AttemptDetails, payload: &[u8]) -> String {
    if details.url.is_empty() {
        return String::new();
    }
    let mut command = format!("curl -i -X POST {}", quoted(&details.url));
    for (name, value) in &details.request {
        if LEFT_OUT.iter().all(|left_out| !name.eq_ignore_ascii_case(left_out)) {
            command.push_str(&format!(" \\\n  -H {}", quoted(&format!("{name}: {value}"))));
        }
    }
    let body = match std::str::from_utf8(payload) {
        Ok(text) if text.len() <= INLINE_MAX => quoted(text),
        _ => "@payload.json".to_owned(),
    };
    command.push_str(&format!(" \\\n  --data-binary {body}"));
    command
}

/// A word of the shell's, whatever is in it.
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
            request: vec![
                ("Host".to_owned(), "a".to_owned()),
                ("TT-Hook-Event".to_owned(), "x".to_owned()),
            ],
            ..AttemptDetails::default()
        };
        let command = command(&details, br#"{"it":"isn't"}"#);
        let script = format!("curl() {{ printf '<%s>' \"$@\"; }}\n{command}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            r#"<-i><-X><POST><http://a/$(reboot)'><-H><TT-Hook-Event: x><--data-binary><{"it":"isn't"}>"#
        );
    }
}
