//! Custom headers that owners add to their webhook's requests.

/// The maximum number of headers of a webhook.
pub const HEADERS_MAX: usize = 32;
/// The maximum length of a value in bytes.
pub const VALUE_BYTES_MAX: usize = 4_096;
const NAME_BYTES_MAX: usize = 128;

/// Headers of framing, connections, proxies and cloud metadata services, and those of the contract.
const FORBIDDEN: [&str; 31] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie2",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "metadata",
    "metadata-flavor",
    "origin",
    "proxy",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
    "x-real-ip",
    "alt-svc",
    "hookwright-hop",
    "max-forwards",
];
const FORBIDDEN_PREFIXES: [&str; 5] = ["proxy-", "x-forwarded-", "x-aws-ec2-metadata-token", "webhook-", "sec-"];

/// Why a header is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Too many headers.
    #[error("must be at most {HEADERS_MAX} headers; there are {0}")]
    TooMany(usize),
    /// Not a header name.
    #[error("is not a header name: use letters, digits and `-`, at most {NAME_BYTES_MAX}")]
    Name(String),
    /// A name that the service, HTTP or a proxy uses.
    #[error("cannot be set, because the service, HTTP or a proxy uses it; choose another name")]
    Forbidden(String),
    /// A value with control characters or beyond ASCII.
    #[error("must have a value of visible ASCII characters and inner spaces")]
    Value(String),
    /// A value that is too long.
    #[error("must have a value of at most {VALUE_BYTES_MAX} bytes")]
    ValueTooLong(String),
    /// The same name twice.
    #[error("is given twice; names are case-insensitive")]
    Repeated(String),
}

impl HeaderError {
    /// A stable reason in UPPER_SNAKE_CASE.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::TooMany(_) => "HEADERS_TOO_MANY",
            Self::Name(_) => "HEADER_NAME",
            Self::Forbidden(_) => "HEADER_FORBIDDEN",
            Self::Value(_) => "HEADER_VALUE",
            Self::ValueTooLong(_) => "HEADER_VALUE_TOO_LONG",
            Self::Repeated(_) => "HEADER_REPEATED",
        }
    }

    /// The invalid name; empty if the number of headers is the error.
    pub fn name(&self) -> &str {
        match self {
            Self::TooMany(_) => "",
            Self::Name(name)
            | Self::Forbidden(name)
            | Self::Value(name)
            | Self::ValueTooLong(name)
            | Self::Repeated(name) => name,
        }
    }
}

/// Validated headers, in the given order and case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomHeaders(Vec<(String, String)>);

impl CustomHeaders {
    /// Validates headers. `header_prefix` is the prefix of the service's own headers, such as `TT-Hook-`.
    ///
    /// # Errors
    /// When one breaks a rule.
    pub fn parse(headers: Vec<(String, String)>, header_prefix: &str) -> Result<Self, HeaderError> {
        if headers.len() > HEADERS_MAX {
            return Err(HeaderError::TooMany(headers.len()));
        }
        let own_prefix = header_prefix.to_ascii_lowercase().replace('_', "-");
        let mut seen = Vec::with_capacity(headers.len());
        for (name, value) in &headers {
            let lower = check_name(name, &own_prefix)?;
            if seen.contains(&lower) {
                return Err(HeaderError::Repeated(name.clone()));
            }
            seen.push(lower);
            check_value(name, value)?;
        }
        Ok(Self(headers))
    }

    /// The headers.
    pub fn as_slice(&self) -> &[(String, String)] {
        &self.0
    }
}

fn check_name(name: &str, own_prefix: &str) -> Result<String, HeaderError> {
    // The subset of HTTP's tokens (RFC 9110, section 5.6.2) that every proxy and framework accepts.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(token) {
        let shown = name
            .chars()
            .filter(|char| !char.is_control())
            .take(NAME_BYTES_MAX)
            .collect();
        return Err(HeaderError::Name(shown));
    }
    let lower = name.to_ascii_lowercase();
    // CGI, WSGI and similar interfaces pass `X_Y` and `X-Y` as the same header.
    let plain = lower.replace('_', "-");
    let forbidden = FORBIDDEN.contains(&plain.as_str())
        || FORBIDDEN_PREFIXES.iter().any(|prefix| plain.starts_with(prefix))
        || plain.starts_with("tt-hook-")
        || (!own_prefix.is_empty() && plain.starts_with(own_prefix));
    if forbidden {
        Err(HeaderError::Forbidden(name.to_owned()))
    } else {
        Ok(lower)
    }
}

fn check_value(name: &str, value: &str) -> Result<(), HeaderError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(HeaderError::ValueTooLong(name.to_owned()));
    }
    let visible = value.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    if !visible || value.trim() != value {
        Err(HeaderError::Value(name.to_owned()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(headers: &[(&str, &str)]) -> Result<CustomHeaders, HeaderError> {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        CustomHeaders::parse(headers, "TT-Hook-")
    }

    fn rule(name: &str, value: &str) -> Option<&'static str> {
        parse(&[(name, value)]).err().map(|error| error.rule())
    }

    #[test]
    fn h01_names_and_values_that_are_none() {
        for name in ["", "X Y", "X:", "X\r\nY", "X\0", "\u{e9}", "(x)"] {
            assert_eq!(rule(name, "v"), Some("HEADER_NAME"), "{name:?}");
        }
        for value in ["a\r\nX: y", "a\nb", "a\0b", "\u{e9}", " a", "a "] {
            assert_eq!(rule("X-Own", value), Some("HEADER_VALUE"), "{value:?}");
        }
        assert_eq!(rule("X-Own", "a b"), None);
        assert_eq!(rule("Authorization", "Bearer x"), None);
    }

    #[test]
    fn h02_headers_of_framing() {
        for name in [
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "TE",
            "Upgrade",
            "Expect",
            "Trailer",
        ] {
            assert_eq!(rule(name, "v"), Some("HEADER_FORBIDDEN"), "{name}");
        }
        assert_eq!(rule(":authority", "v"), Some("HEADER_NAME"));
    }

    #[test]
    fn h03_headers_of_the_contract() {
        for name in [
            "TT-Hook-Event",
            "tt-hook-anything",
            "webhook-id",
            "Webhook-Other",
            "traceparent",
            "tracestate",
            "Content-Type",
            "User-Agent",
            "TT_Hook_Signature",
            "Webhook_Id",
            "Content_Length",
        ] {
            assert_eq!(rule(name, "v"), Some("HEADER_FORBIDDEN"), "{name}");
        }
        let branded = CustomHeaders::parse(vec![("Acme-Event".into(), "v".into())], "Acme-");
        assert_eq!(branded.unwrap_err().rule(), "HEADER_FORBIDDEN");
    }

    #[test]
    fn h04_too_many_too_long_and_repeated() {
        let names: Vec<String> = (0..33).map(|n| format!("X-{n}")).collect();
        let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        assert_eq!(parse(&headers), Err(HeaderError::TooMany(33)));
        assert!(parse(&headers[..32]).is_ok());
        assert_eq!(rule("X-Own", &"x".repeat(4_097)), Some("HEADER_VALUE_TOO_LONG"));
        assert_eq!(rule("X-Own", &"x".repeat(4_096)), None);
        assert_eq!(
            parse(&[("X-Own", "a"), ("x-own", "b")]),
            Err(HeaderError::Repeated("x-own".to_owned()))
        );
    }

    #[test]
    fn h08_headers_of_metadata_services_and_proxies() {
        for name in [
            "X-aws-ec2-metadata-token",
            "X-aws-ec2-metadata-token-ttl-seconds",
            "Metadata",
            "Metadata-Flavor",
            "Proxy-Authorization",
            "Forwarded",
            "X-Forwarded-For",
            "Keep-Alive",
            "Cookie2",
        ] {
            assert_eq!(rule(name, "v"), Some("HEADER_FORBIDDEN"), "{name}");
        }
    }
}
