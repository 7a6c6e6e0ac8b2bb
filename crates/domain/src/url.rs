//! Payload URLs, in one normal form.
//!
//! URL parsers (WHATWG) correct malformed text, and parse some texts as another host than a person would read. Therefore the
//! text is checked before it is parsed, and the parsed host must be the host in the text.

use std::net::IpAddr;

use url::{Host, Url};

/// The maximum length of a URL.
pub const URL_CHARS_MAX: usize = 2_048;

/// Why a text is not a payload URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Too long.
    #[error("must be at most {URL_CHARS_MAX} characters, percent-encoded; it has {0}")]
    TooLong(usize),
    /// Does not begin with `http://` or `https://` and a host.
    #[error("must be a full URL that begins with `https://` or `http://`, such as https://example.com/hook")]
    Scheme,
    /// White space, controls or backslashes.
    #[error("must not contain white space, control characters or backslashes; percent-encode them")]
    Characters,
    /// User name or password.
    #[error("must not contain a user name or password; put credentials into a custom header of the webhook")]
    UserInfo,
    /// A fragment.
    #[error("must not contain a fragment (`#...`), which would never be sent")]
    Fragment,
    /// Port 0, or an invalid port.
    #[error("must have a port from 1 to 65535, or none")]
    Port,
    /// Otherwise malformed.
    #[error("is not a URL: {0}")]
    Malformed(String),
    /// A label that host names cannot have.
    #[error(
        "contains the host label `{0}`, which begins or ends with a hyphen: no certificate is valid for such a name"
    )]
    HostLabel(String),
    /// An ambiguous host.
    #[error("contains the host `{given}`, which URL parsers read as `{read}`; use that")]
    HostNotCanonical {
        /// As given.
        given: String,
        /// As URL parsers read it.
        read: String,
    },
}

impl UrlError {
    /// A stable reason in UPPER_SNAKE_CASE.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "URL_TOO_LONG",
            Self::Scheme => "URL_SCHEME",
            Self::Characters => "URL_CHARACTERS",
            Self::UserInfo => "URL_USER_INFO",
            Self::Fragment => "URL_FRAGMENT",
            Self::Port => "URL_PORT",
            Self::Malformed(_) => "URL_MALFORMED",
            Self::HostLabel(_) => "URL_HOST_LABEL",
            Self::HostNotCanonical { .. } => "URL_HOST_NOT_CANONICAL",
        }
    }
}

/// A validated URL in normal form: lower-case punycode host without trailing dot, no default port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadUrl {
    text: String,
    host: String,
    address: Option<IpAddr>,
    port: u16,
    https: bool,
    authority: String,
    path_and_query: String,
}

impl PayloadUrl {
    /// Checks the syntax of a text. The target policy decides where it may lead.
    ///
    /// # Errors
    /// When it breaks a rule.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url = Self::parse_stored(text)?;
        check_labels(&url)?;
        Ok(url)
    }

    /// Reads a stored URL, which may have been checked by a version with fewer rules.
    ///
    /// # Errors
    /// When it breaks a rule that every version had.
    pub fn parse_stored(text: &str) -> Result<Self, UrlError> {
        check_text(text)?;
        let mut url = Url::parse(text).map_err(|error| match error {
            url::ParseError::InvalidPort => UrlError::Port,
            error => UrlError::Malformed(error.to_string()),
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        let given = host_text(text);
        let read = url.host().ok_or(UrlError::Scheme)?;
        check_host(given, &read)?;
        if let Host::Domain(name) = &read
            && let Some(bare) = name.strip_suffix('.')
        {
            let bare = bare.to_owned();
            url.set_host(Some(&bare))
                .map_err(|error| UrlError::Malformed(error.to_string()))?;
        }
        Self::normal(&url)
    }

    fn normal(url: &Url) -> Result<Self, UrlError> {
        let host = url.host_str().ok_or(UrlError::Scheme)?.to_owned();
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        // Percent-encoding makes a URL longer, and a stored URL must satisfy these rules when it is read.
        if url.as_str().len() > URL_CHARS_MAX {
            return Err(UrlError::TooLong(url.as_str().len()));
        }
        let port = url
            .port_or_known_default()
            .filter(|port| *port != 0)
            .ok_or(UrlError::Port)?;
        let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self {
            text: url.as_str().to_owned(),
            host,
            address,
            port,
            https: url.scheme() == "https",
            authority,
            path_and_query: format!("{}{query}", url.path()),
        })
    }

    /// The whole URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL with an internationalized host in Unicode.
    pub fn unicode(&self) -> String {
        let (unicode, _) = idna::domain_to_unicode(&self.host);
        self.text.replacen(&self.host, &unicode, 1)
    }

    /// The host: a name in punycode, or an address (IPv6 in brackets).
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address, if the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The value of the header `Host`: the host, and the port unless it is the default.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The target of the request line.
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }
}

/// The rules that must hold before a parser may correct the text.
fn check_text(text: &str) -> Result<(), UrlError> {
    let chars = text.chars().count();
    if chars > URL_CHARS_MAX {
        return Err(UrlError::TooLong(chars));
    }
    let rest = ["https://", "http://"].iter().find_map(|scheme| {
        let (head, rest) = text.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    match rest.and_then(|rest| rest.chars().next()) {
        None | Some('/' | '\\') => return Err(UrlError::Scheme),
        Some(_) => {}
    }
    if text
        .chars()
        .any(|char| char.is_whitespace() || char.is_control() || char == '\\')
    {
        return Err(UrlError::Characters);
    }
    // Parsers drop an empty user name, and decode a host before they read it.
    let authority = authority_text(text);
    if authority.contains('@') {
        return Err(UrlError::UserInfo);
    }
    if authority.contains('%') {
        return Err(UrlError::Malformed("the host contains a percent escape".to_owned()));
    }
    Ok(())
}

/// The authority in the text: user info, host and port.
fn authority_text(text: &str) -> &str {
    let after = text.split_once("//").map_or(text, |(_, after)| after);
    after.split(['/', '?', '#']).next().unwrap_or_default()
}

/// The host in the text: between the scheme and the port, path or query.
fn host_text(text: &str) -> &str {
    let authority = authority_text(text);
    match authority.rfind(']') {
        Some(end) => &authority[..=end],
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// The parsed host must be the host in the text, except for case, one trailing dot and internationalized names. Addresses in
/// unusual notations pass, so that the target policy rejects them by their meaning, unless they mean a public address.
fn check_host(given: &str, read: &Host<&str>) -> Result<(), UrlError> {
    let not_canonical = || UrlError::HostNotCanonical {
        given: given.to_owned(),
        read: read.to_string(),
    };
    match read {
        Host::Domain(name) => {
            let bare = name.strip_suffix('.').unwrap_or(name);
            if bare.is_empty() || bare.split('.').any(|label| label.is_empty() || label.len() > 63) || bare.len() > 253
            {
                return Err(UrlError::Malformed(
                    "a label of the host is empty or too long".to_owned(),
                ));
            }
            if !bare
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
            {
                return Err(UrlError::Malformed("the host contains invalid characters".to_owned()));
            }
            if given.is_ascii() && !given.eq_ignore_ascii_case(name) {
                return Err(not_canonical());
            }
            Ok(())
        }
        Host::Ipv4(address) => {
            let canonical = given == address.to_string();
            // A non-public address is rejected as such, whatever its notation: that error says more.
            if canonical || crate::address::is_special(IpAddr::V4(*address)) {
                Ok(())
            } else {
                Err(not_canonical())
            }
        }
        Host::Ipv6(_) => Ok(()),
    }
}

/// Host names have no hyphen at the ends of a label (RFC 1123, section 2.1). Some resolvers reject such names, and TLS
/// libraries accept no certificate for them.
fn check_labels(url: &PayloadUrl) -> Result<(), UrlError> {
    let at_an_end = |label: &&str| label.starts_with('-') || label.ends_with('-');
    let labels = url.address.is_none().then(|| url.host.split('.'));
    match labels.into_iter().flatten().find(at_an_end) {
        Some(label) => Err(UrlError::HostLabel(label.to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
