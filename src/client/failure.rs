//! Prints errors: what happened, every invalid field, and how to fix it.

use std::{borrow::Cow, error::Error, fmt, io, process::ExitCode, sync::OnceLock};

use hookwright_client::TlsFault;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::token::TokenOrigin;
use crate::output::{Format, printable};

/// A usage error that shows only after parsing. Its exit status is 2, as for parse errors.
#[derive(Debug)]
pub(crate) struct UsageError(String);

impl UsageError {
    /// An error with this message, which includes the correct usage.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for UsageError {}

/// The server, its token and the output format of this process's command, for error reports.
struct Session {
    format: Format,
    address: String,
    token: Option<TokenOrigin>,
}

static SESSION: OnceLock<Session> = OnceLock::new();

/// Sets how errors are reported for the rest of the process, which runs one command.
pub(crate) fn report_as(format: Format, address: &str, token: Option<TokenOrigin>) {
    SESSION.get_or_init(|| Session {
        format,
        address: address.to_owned(),
        token,
    });
}

/// Prints an error to standard error, and returns the exit status.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    {
        return ExitCode::FAILURE; // The reader of the output has exited, such as `head`.
    }
    let usage = error.downcast_ref::<UsageError>().is_some();
    let session = SESSION.get();
    let unreached = error
        .downcast_ref::<Status>()
        .and_then(|status| unreached(status, session?));
    let token = session.and_then(|session| session.token.as_ref());
    let structured = session
        .map(|session| session.format)
        .filter(|format| *format != Format::Table);
    let text = match (structured, error.downcast_ref::<Status>()) {
        (Some(format), status) => {
            let value = match (status, &unreached) {
                (Some(_), Some((message, fix))) => {
                    json!({ "error": { "code": "UNAVAILABLE", "message": message, "fix": fix } })
                }
                (Some(status), None) => status_json(status, token),
                (None, _) => json!({ "error": { "message": format!("{error:#}") } }),
            };
            // One line of JSON, also after a stream of lines.
            format.record(&value).unwrap_or_else(|_| value.to_string())
        }
        (None, Some(_)) if let Some((message, fix)) = &unreached => format!("error: {message}\n  fix: {fix}"),
        (None, Some(status)) => status_text(status, token),
        (None, None) => format!("error: {error:#}"),
    };
    // The operation that failed, if the status alone does not tell.
    let context = error
        .chain()
        .next()
        .filter(|top| session.is_some() && structured.is_none() && !top.is::<Status>());
    match context.filter(|_| error.is::<Status>()) {
        Some(context) => crate::output::note(&format!("{text}\n  {context}")),
        None => crate::output::note(&text),
    }
    ExitCode::from(if usage { 2 } else { 1 })
}

/// Message and fix for a connection error. The client created such a status, and its source has the cause.
fn unreached(status: &Status, session: &Session) -> Option<(String, &'static str)> {
    let source = status.source().filter(|_| status.code() == Code::Unavailable)?;
    let (why, fix) = match TlsFault::of(source) {
        Some(fault) => (fault.to_string(), tls_fix(&fault)),
        None if is_unknown_host(source) => (
            innermost(source),
            "correct the host name in --address, HOOKWRIGHT_ADDRESS or the profile; if it is correct, check the DNS of this machine",
        ),
        None => (
            innermost(source),
            "start it with `hookwright serve`, or name its address with --address or HOOKWRIGHT_ADDRESS",
        ),
    };
    Some((format!("cannot reach the server at {}: {why}", session.address), fix))
}

/// How to fix a TLS error.
fn tls_fix(fault: &TlsFault) -> &'static str {
    match fault {
        TlsFault::UnknownAuthority => {
            "trust the authority that signed it: set --ca-file or HOOKWRIGHT_CA_FILE to its PEM file"
        }
        TlsFault::Expired(_) | TlsFault::NotYetValid(_) => {
            "renew the server's certificate (tls-certificate), or correct the clock of this machine"
        }
        TlsFault::Name { .. } => {
            "use a host name of the certificate in --address or HOOKWRIGHT_ADDRESS, or give the server another certificate"
        }
        TlsFault::OfAuthority => {
            "give the server a certificate that is not an authority's: with `openssl req -x509`, add `-addext basicConstraints=critical,CA:FALSE`"
        }
        TlsFault::NotTls => {
            "use http:// in --address or HOOKWRIGHT_ADDRESS, or set tls-certificate and tls-private-key on the server"
        }
        TlsFault::SpeaksTls => "use https:// in --address or HOOKWRIGHT_ADDRESS",
        TlsFault::MaySpeakTls => {
            "if it uses TLS, use https:// in --address or HOOKWRIGHT_ADDRESS; if not, see its log: it may be stopping"
        }
        _ => "see the server's log, and check for a proxy in front of it",
    }
}

/// Whether the name of the host has no address.
fn is_unknown_host(error: &dyn Error) -> bool {
    // The text is that of hyper-util, whose error type is private.
    error.to_string() == "dns error" || error.source().is_some_and(is_unknown_host)
}

/// The last error of a chain, which has the cause.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The name of a gRPC status code, as in the documentation.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn status_text(status: &Status, token: Option<&TokenOrigin>) -> String {
    let details = status.get_error_details();
    let message = printable(message(status, token));
    let mut text = format!("error: {}: {message}", code_name(status.code()));
    for (field, description, reason) in violations(&details) {
        if says(status.message(), field, description)
            || details.bad_request().is_none() && status.message().contains(description)
        {
            continue;
        }
        text.push_str(&format!("\n  {field}: {}", printable(description)));
        if !reason.is_empty() {
            text.push_str(&format!(" ({reason})"));
        }
    }
    if let Some(info) = details.error_info() {
        text.push_str(&format!("\n  reason: {}", printable(&info.reason)));
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        text.push_str(&format!("\n  retry after: {}", crate::units::show_duration(delay)));
    }
    if let Some(fix) = fix(status.code(), token) {
        text.push_str(&format!("\n  fix: {fix}"));
    }
    text
}

/// Whether the message already contains the violation, as with a single invalid field.
pub(crate) fn says(message: &str, field: &str, description: &str) -> bool {
    message.contains(&format!("{field}: {description}"))
}

fn status_json(status: &Status, token: Option<&TokenOrigin>) -> Value {
    let details = status.get_error_details();
    let violations: Vec<Value> = violations(&details)
        .map(|(field, description, reason)| json!({ "field": field, "description": description, "reason": reason }))
        .collect();
    let info = details.error_info();
    json!({ "error": {
        "code": code_name(status.code()),
        "message": message(status, token),
        "reason": info.map(|info| info.reason.clone()),
        "metadata": info.map(|info| info.metadata.clone()),
        "fieldViolations": violations,
        "retryDelaySeconds": details.retry_info().and_then(|info| info.retry_delay).map(|delay| delay.as_secs_f64()),
        "fix": fix(status.code(), token),
    }})
}

fn violations(details: &ErrorDetails) -> impl Iterator<Item = (&str, &str, &str)> {
    let fields = details.bad_request().into_iter().flat_map(|bad| &bad.field_violations);
    let fields = fields.map(|one| (one.field.as_str(), one.description.as_str(), one.reason.as_str()));
    let preconditions = details
        .precondition_failure()
        .into_iter()
        .flat_map(|failure| &failure.violations);
    let preconditions = preconditions.map(|one| (one.subject.as_str(), one.description.as_str(), one.r#type.as_str()));
    let quotas = details
        .quota_failure()
        .into_iter()
        .flat_map(|failure| &failure.violations);
    fields
        .chain(preconditions)
        .chain(quotas.map(|one| (one.subject.as_str(), one.description.as_str(), "")))
}

/// The server's message. Its message about a missing token names the header, which this command sends by itself.
fn message<'a>(status: &'a Status, token: Option<&TokenOrigin>) -> &'a str {
    match (status.code(), token) {
        (Code::Unauthenticated, Some(TokenOrigin::Missing(_))) => "the command has no token",
        _ => status.message(),
    }
}

/// The fix for the user. It does not repeat the server's message.
fn fix(code: Code, token: Option<&TokenOrigin>) -> Option<Cow<'static, str>> {
    if code == Code::Unauthenticated {
        let origin = token.cloned().unwrap_or(TokenOrigin::Missing(None));
        return Some(origin.to_string().into());
    }
    let fix = match code {
        Code::PermissionDenied => Some("use a token whose scope and organization allow this"),
        Code::Unavailable => Some("the server may be starting or stopping: retry, or see its log"),
        Code::DeadlineExceeded | Code::Cancelled => {
            Some("raise --timeout; a retry of publish with the same --request-id is safe")
        }
        Code::Unimplemented => Some("the server has another version than this command: compare `hookwright --version`"),
        Code::Internal | Code::Unknown | Code::DataLoss => Some("see the server's log"),
        _ => None,
    };
    fix.map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn refused() -> Status {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("webhook.payload_url", "must begin with http:// or https://");
        details.set_error_info("INVALID_FIELDS", "hookwright", [("count".to_owned(), "1".to_owned())]);
        details.set_retry_info(Some(Duration::from_secs(2)));
        Status::with_error_details(Code::InvalidArgument, "1 field is wrong", details)
    }

    #[test]
    fn every_detail_is_shown() {
        let text = status_text(&refused(), None);
        for part in [
            "INVALID_ARGUMENT: 1 field is wrong",
            "webhook.payload_url: must begin",
            "INVALID_FIELDS",
            "retry after: 2s",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let json = status_json(&refused(), None);
        assert_eq!(json["error"]["fieldViolations"][0]["field"], "webhook.payload_url");
        assert_eq!(json["error"]["metadata"]["count"], "1");
    }

    #[test]
    fn details_in_the_message_are_not_repeated() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("webhook.events", "is required");
        details.add_bad_request_violation("webhook.payload_url", "is required");
        let message = "webhook.events: is required (and 1 more)";
        let text = status_text(
            &Status::with_error_details(Code::InvalidArgument, message, details),
            None,
        );
        assert_eq!(text.matches("webhook.events: is required").count(), 1, "{text}");
        assert_eq!(text.matches("webhook.payload_url: is required").count(), 1, "{text}");
        let mut details = ErrorDetails::new();
        details.add_precondition_failure_violation("HAS_WEBHOOKS", "organizations/acme", "it has webhooks");
        let status = Status::with_error_details(Code::FailedPrecondition, "it has webhooks", details);
        let text = status_text(&status, None);
        assert_eq!(text.matches("it has webhooks").count(), 1, "{text}");
    }

    #[test]
    fn an_error_about_the_token_names_its_origin() {
        let status = Status::unauthenticated("no token; send the metadata `authorization: Bearer <token>`");
        for (origin, part) in [
            (
                TokenOrigin::Given("HOOKWRIGHT_TOKEN"),
                "the token from HOOKWRIGHT_TOKEN",
            ),
            (TokenOrigin::Profile, "the token of the profile"),
            (
                TokenOrigin::File("/secrets/token".into()),
                "the token from /secrets/token",
            ),
            (
                TokenOrigin::DataDirectory("/data/admin-token".into()),
                "the token from /data/admin-token",
            ),
            (
                TokenOrigin::Missing(Some("/data/admin-token".into())),
                "/data/admin-token does not exist",
            ),
            (TokenOrigin::Missing(None), "HOOKWRIGHT_TOKEN"),
        ] {
            let text = status_text(&status, Some(&origin));
            assert!(text.contains(part), "{origin:?}: {text}");
            let json = status_json(&status, Some(&origin));
            assert!(json["error"]["fix"].as_str().unwrap().contains(part), "{json}");
            if matches!(origin, TokenOrigin::Missing(_)) {
                assert!(!text.contains("authorization"), "{text}");
            }
        }
    }
}
