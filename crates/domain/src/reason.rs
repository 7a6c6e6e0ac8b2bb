//! The result of an attempt in words, such as `401 Unauthorized` or `Timed out after 10 s`, and a hint for the owner of the
//! receiver.
//!
//! The console, the command line and the API's texts use the same words. Programs use the status and the error class.

use crate::outcome::ErrorClass;

/// The stored result of an attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempted<'a> {
    /// The HTTP status of the response, if there was one.
    pub status: Option<i32>,
    /// The stored error class; `None` for success. Newer versions may store classes that this one does not know.
    pub error_class: Option<&'a str>,
    /// The stored message.
    pub message: Option<&'a str>,
    /// The duration of the attempt.
    pub duration_us: i64,
}

impl<'a> Attempted<'a> {
    /// The result: `200 OK`, `401 Unauthorized`, `Connection refused`, `Timed out after 10 s`. Only a pulled delivery has
    /// neither a status nor an error: its receiver acknowledged it.
    pub fn words(&self) -> String {
        match (self.status, self.error_class) {
            (Some(status), None | Some("status" | "gone" | "redirect")) => status_words(status),
            (Some(status), Some(_)) => format!("{}, {}", status_words(status), uncapitalized(&self.failure())),
            (None, Some(_)) => self.failure(),
            (None, None) => "Acknowledged".to_owned(),
        }
    }

    /// The result as a sentence to the owner of the receiver.
    pub fn sentence(&self) -> String {
        match (self.status, self.error_class) {
            (Some(status), None | Some("status" | "gone" | "redirect")) => {
                format!("Your endpoint returned {}", status_words(status))
            }
            _ => self.words(),
        }
    }

    /// The failure, without the status of a response.
    fn failure(&self) -> String {
        let stored = self.error_class.unwrap_or_default();
        let Ok(class) = stored.parse::<ErrorClass>() else {
            return capitalized(&stored.replace('_', " "));
        };
        let message = self.message.unwrap_or_default();
        match class {
            ErrorClass::Connect => connect_failure(message).to_owned(),
            ErrorClass::Timeout if message.contains("handed out") => "Not acknowledged in time".to_owned(),
            ErrorClass::Timeout => format!("{} after {}", timeout_phase(message), seconds(self.duration_us)),
            class => capitalized(class.label()),
        }
    }

    /// The most likely cause and its fix, for the owner of the receiver; `None` after a success, and for classes that this
    /// version does not know.
    pub fn hint(&self) -> Option<&'static str> {
        let class = self.error_class?.parse().ok()?;
        Some(match class {
            ErrorClass::Status => status_hint(self.status.unwrap_or_default()),
            ErrorClass::Timeout if self.message.is_some_and(|message| message.contains("handed out")) => {
                "The delivery was pulled and not acknowledged before its deadline, so it can be pulled again. Acknowledge it, or extend \
                 the deadline while you process it."
            }
            class => class.hint(),
        })
    }

    /// The stored message, if it says more than the words, as those of TLS, DNS and of the service itself do.
    pub fn detail(&self) -> Option<&'a str> {
        let class = self.error_class?.parse().ok()?;
        let is_said = match class {
            ErrorClass::Status | ErrorClass::Gone | ErrorClass::Redirect => true,
            ErrorClass::Connect => self.message?.starts_with(CANNOT_CONNECT),
            _ => false,
        };
        self.message.filter(|_| !is_said)
    }

    /// Whether a wrong signing secret is a likely cause.
    pub fn concerns_signature(&self) -> bool {
        matches!(self.status, Some(401 | 403))
    }
}

impl ErrorClass {
    /// The class in a few words, for filters and lists of reasons.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Dns => "DNS lookup failed",
            Self::BlockedAddress => "address not allowed",
            Self::Connect => "connection failed",
            Self::TlsName => "TLS: wrong host name",
            Self::TlsExpired => "TLS: certificate expired",
            Self::TlsNotYetValid => "TLS: certificate not yet valid",
            Self::TlsUntrusted => "TLS: issuer not trusted",
            Self::TlsHandshake => "TLS handshake failed",
            Self::Timeout => "timed out",
            Self::Reset => "connection closed without a response",
            Self::InvalidResponse => "invalid response",
            Self::Redirect => "redirect",
            Self::Status => "HTTP error",
            Self::Gone => "410 Gone",
            Self::Proxy => "egress proxy failed",
            Self::Internal => "internal error",
            Self::TrustStore => "no certificate authorities",
        }
    }

    /// The most likely cause of a failure of this class, and its fix.
    const fn hint(self) -> &'static str {
        match self {
            Self::Dns => {
                "The host name of the URL has no address. Check its spelling and its DNS records. It must be complete: search domains \
                 are not applied."
            }
            Self::BlockedAddress => {
                "The URL leads to an address that this service may not connect to, such as one of a private network. Use a public \
                 address."
            }
            Self::Connect => {
                "No program accepts connections at this address and port, or a firewall rejects them. Check that your endpoint is \
                 running, and that the URL has its port."
            }
            Self::TlsName => {
                "The certificate of your endpoint is for another host name. Install one for the host name of the URL, or change the URL."
            }
            Self::TlsExpired => "The certificate of your endpoint has expired. Renew it.",
            Self::TlsNotYetValid => {
                "The certificate of your endpoint is not valid yet. Check the clock of the machine that issued it."
            }
            Self::TlsUntrusted => {
                "The issuer of your endpoint's certificate is not trusted. The usual cause is a missing intermediate certificate: \
                 configure the full chain. A self-signed certificate is not accepted."
            }
            Self::TlsHandshake => {
                "Your endpoint does not offer TLS 1.2 or 1.3 on this port. Check the port, and whether the URL should begin with \
                 http://."
            }
            Self::Timeout => {
                "Answer before you do the work: store the event, return a 2xx status, and process it afterwards. If your endpoint logged \
                 no request, check whether a firewall drops the connection."
            }
            Self::Reset => {
                "Your endpoint, or a proxy in front of it, closed the connection. It may have restarted or crashed: check its log at the \
                 time of the attempt."
            }
            Self::InvalidResponse => {
                "The response is not valid HTTP. Check that the port of the URL is the one of your HTTP server."
            }
            Self::Redirect => {
                "Redirects are not followed. Change the webhook's URL to the final URL, which the header location names. Check the \
                 scheme, the host and a slash at the end."
            }
            Self::Gone => {
                "410 Gone means that the endpoint wants no more requests. The webhook was disabled: resume it if the endpoint should \
                 receive events again."
            }
            Self::Proxy | Self::Internal | Self::TrustStore => {
                "The fault is not in your endpoint, but on the side of this service. Its operator must fix it."
            }
            // Has a hint per status.
            Self::Status => "",
        }
    }
}

/// The most likely cause of a status that is neither 2xx nor 3xx nor 410, and its fix.
const fn status_hint(status: i32) -> &'static str {
    match status {
        401 | 403 => {
            "Your endpoint rejected the request. The usual cause is that it verifies the signature with another secret, or not the raw \
             body. A login or a firewall rule in front of it has the same effect."
        }
        404 | 405 => "No handler accepts POST at this URL. Compare its path with the route of your endpoint.",
        400 | 422 => {
            "Your endpoint did not accept the request. The response body often has the reason: an event type or a field that the code \
             does not expect, or a signature that it rejects with this status."
        }
        408 | 504 => {
            "Your endpoint, or a proxy in front of it, waited too long. Return a 2xx status before you process the event."
        }
        413 => "The payload is larger than your endpoint or a proxy in front of it accepts. Raise that limit.",
        415 => "Your endpoint does not accept the content type. Every request has the type application/json.",
        429 | 503 => {
            "Your endpoint is overloaded or limits the rate. The header retry-after delays the next attempt; a rate limit of the webhook \
             slows down all of them."
        }
        502 => "A proxy in front of your endpoint got no valid response from it. Check that the endpoint is running.",
        500..=599 => {
            "Your endpoint, or a proxy in front of it, failed while it handled the request. Check its log at the time of the attempt."
        }
        _ => "Only a 2xx status counts as success. Return one as soon as the event is stored.",
    }
}

/// A status with its standard phrase: `401 Unauthorized`. The number alone if it has none.
pub fn status_words(status: i32) -> String {
    match phrase(status) {
        "" => status.to_string(),
        phrase => format!("{status} {phrase}"),
    }
}

/// The phrases of RFC 9110 and of the registry of status codes.
const fn phrase(status: i32) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        418 => "I'm a Teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// How stored messages of failed connections begin.
const CANNOT_CONNECT: &str = "cannot connect: ";

fn connect_failure(message: &str) -> &'static str {
    match message.strip_prefix(CANNOT_CONNECT).unwrap_or_default() {
        "connection refused" => "Connection refused",
        "host unreachable" => "Host unreachable",
        "network unreachable" | "network down" => "Network unreachable",
        "connection reset" => "Connection reset",
        _ => "Connection failed",
    }
}

fn timeout_phase(message: &str) -> &'static str {
    if message.contains("accept the connection") || message.contains("proxy did not connect") {
        "Connection timed out"
    } else if message.contains("TLS handshake") {
        "TLS handshake timed out"
    } else {
        "Timed out"
    }
}

/// A duration in seconds, rounded to tenths, because a timeout is noticed a little late.
fn seconds(us: i64) -> String {
    let tenths = us.saturating_add(50_000) / 100_000;
    match (tenths / 10, tenths % 10) {
        (0, 0) => format!("{} ms", us / 1_000),
        (whole, 0) => format!("{whole} s"),
        (whole, tenth) => format!("{whole}.{tenth} s"),
    }
}

/// A text as the beginning of a sentence.
pub fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// Continues a sentence. Abbreviations such as TLS keep their letters.
fn uncapitalized(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempted<'a>(status: Option<i32>, class: Option<&'a str>, message: &'a str) -> Attempted<'a> {
        Attempted {
            status,
            error_class: class,
            message: Some(message),
            duration_us: 10_003_000,
        }
    }

    #[test]
    fn results_are_words() {
        for (status, class, message, words) in [
            (Some(200), None, "", "200 OK"),
            (
                Some(401),
                Some("status"),
                "the receiver returned 401",
                "401 Unauthorized",
            ),
            (Some(302), Some("redirect"), "", "302 Found"),
            (Some(410), Some("gone"), "", "410 Gone"),
            (Some(599), Some("status"), "", "599"),
            (Some(200), Some("timeout"), "", "200 OK, timed out after 10 s"),
            (Some(200), Some("tls_handshake"), "", "200 OK, TLS handshake failed"),
            (
                None,
                Some("timeout"),
                "the receiver did not answer in time",
                "Timed out after 10 s",
            ),
            (
                None,
                Some("timeout"),
                "the receiver did not accept the connection in time",
                "Connection timed out after 10 s",
            ),
            (
                None,
                Some("timeout"),
                "it was handed out, and not acknowledged before its deadline",
                "Not acknowledged in time",
            ),
            (
                None,
                Some("connect"),
                "cannot connect: connection refused",
                "Connection refused",
            ),
            (
                None,
                Some("connect"),
                "cannot connect: uncategorized error",
                "Connection failed",
            ),
            (None, Some("dns"), "the host name does not resolve", "DNS lookup failed"),
            (None, Some("tls_expired"), "", "TLS: certificate expired"),
            (None, Some("of_the_future"), "", "Of the future"),
            (None, None, "", "Acknowledged"),
        ] {
            assert_eq!(attempted(status, class, message).words(), words);
        }
    }

    #[test]
    fn every_failure_has_a_hint_and_successes_have_none() {
        assert_eq!(attempted(Some(200), None, "").hint(), None);
        assert_eq!(attempted(None, Some("of_the_future"), "").hint(), None);
        for class in ErrorClass::ALL {
            let hint = attempted(None, Some(class.as_str()), "").hint().unwrap();
            assert!(hint.ends_with('.'), "{class}: {hint}");
        }
        for status in 400..600 {
            let hint = attempted(Some(status), Some("status"), "").hint().unwrap();
            assert!(hint.ends_with('.'), "{status}: {hint}");
        }
        assert!(attempted(Some(401), Some("status"), "").concerns_signature());
        assert!(!attempted(Some(500), Some("status"), "").concerns_signature());
    }

    #[test]
    fn a_message_is_a_detail_where_it_says_more() {
        let tls = attempted(
            None,
            Some("tls_name"),
            "the receiver's certificate is for other.example",
        );
        assert_eq!(tls.detail(), tls.message);
        let said = [
            attempted(Some(401), Some("status"), "the receiver returned 401"),
            attempted(None, Some("connect"), "cannot connect: connection refused"),
        ];
        assert_eq!(said.map(|attempted| attempted.detail()), [None, None]);
    }

    #[test]
    fn durations_are_rounded() {
        let rounded = [9_960_000, 10_049_000, 1_240_000, 30_000].map(seconds);
        assert_eq!(rounded, ["10 s", "10 s", "1.2 s", "30 ms"]);
    }
}
