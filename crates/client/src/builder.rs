//! The builder of a client.

use std::{path::PathBuf, time::Duration};

use http::HeaderValue;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::{
    retry::RetryPolicy,
    service::Client,
    tls::{Noticed, Plain},
    transport::{Settings, Transport},
};

const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Large enough for an event with the largest payload that an operator may reasonably allow.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Builds a [`Client`].
#[derive(Clone)]
#[must_use = "a builder does nothing before `connect`"]
pub struct ClientBuilder {
    address: String,
    token: Option<Token>,
    authorities: Vec<Authority>,
    system_roots: bool,
    timeout: Duration,
    connect_timeout: Duration,
    keep_alive: Option<(Duration, Duration)>,
    user_agent: String,
    message_bytes_max: usize,
    retry: Option<RetryPolicy>,
}

#[derive(Clone)]
enum Token {
    Text(String),
    File(PathBuf),
}

#[derive(Clone)]
enum Authority {
    Pem(Vec<u8>),
    File(PathBuf),
}

/// Why a client could not be built. Nothing was sent: an unreachable server shows at the first call.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not of the form `http://HOST:PORT` or `https://HOST:PORT`.
    #[error("`{0}` is not an address: write http://HOST:PORT or https://HOST:PORT")]
    Address(String),
    /// A file could not be read.
    #[error("cannot read the {what} {}", path.display())]
    File {
        /// The kind of file: `token file` or `CA file`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// A file or text of certificate authorities contains no certificate in PEM form.
    #[error(
        "no certificate in {0}: the PEM of certificate authorities is needed, which begins with -----BEGIN CERTIFICATE-----"
    )]
    NoCertificate(String),
    /// The token is empty, or contains invalid characters.
    #[error("the token is empty, or contains invalid characters")]
    Token,
    /// The user agent contains characters that headers do not allow.
    #[error("the user agent contains characters that headers do not allow")]
    UserAgent,
    /// TLS could not be set up, for example because of a certificate that is not PEM.
    #[error("cannot set up TLS: {0}")]
    Tls(#[source] tonic::transport::Error),
    /// A timeout of zero.
    #[error("{0} must be more than 0")]
    Zero(&'static str),
    /// There is no Tokio runtime, or [`ClientBuilder::connect`] was called outside of it.
    #[error("a client needs a Tokio runtime: call `connect` within one")]
    Runtime,
}

impl Client {
    /// Builds a client of the server at an address such as `http://127.0.0.1:50051` or `https://hookwright.internal:50051`.
    pub fn builder(address: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(address.into())
    }
}

impl ClientBuilder {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            token: None,
            authorities: Vec::new(),
            system_roots: true,
            timeout: TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            keep_alive: Some((KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT)),
            user_agent: concat!("hookwright-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            message_bytes_max: MESSAGE_BYTES_MAX,
            retry: Some(RetryPolicy::default()),
        }
    }

    /// The token of every call. Without one, most calls fail with UNAUTHENTICATED.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Token::Text(token.into()));
        self
    }

    /// The file that contains the token; [`connect`](Self::connect) reads it once, and trims white space.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = Some(Token::File(path.into()));
        self
    }

    /// A certificate authority to trust in addition to the system's, as PEM, for https addresses. Can be called several
    /// times.
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(Authority::Pem(pem.into()));
        self
    }

    /// A PEM file of certificate authorities to trust in addition to the system's, for https addresses.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities.push(Authority::File(path.into()));
        self
    }

    /// Whether the system's certificate authorities are trusted: yes by default.
    pub fn system_roots(mut self, trusted: bool) -> Self {
        self.system_roots = trusted;
        self
    }

    /// The timeout of a call including its retries: 30 s by default. For a stream, the timeout until it is open.
    /// [`tonic::Request::set_timeout`] sets it for a single call.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The timeout of one attempt to connect: 5 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The interval of keep-alive pings while calls or streams are in flight, and the timeout of their answer before the
    /// connection is closed: 20 s and 10 s by default.
    pub fn keep_alive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.keep_alive = Some((interval, timeout));
        self
    }

    /// The client's name in the server's log: `hookwright-client/VERSION` by default.
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.user_agent = text.into();
        self
    }

    /// The maximum size of a message from the server in bytes: 64 MiB by default. The server limits its own received
    /// messages (32 MiB).
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.message_bytes_max = bytes;
        self
    }

    /// The backoff between the tries of a call; the crate's page lists the retried calls.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Retries no call. [`Publisher`](crate::Publisher) and [`DeliveryWatch`](crate::DeliveryWatch) still reopen their
    /// streams, which is their purpose.
    pub fn no_retry(mut self) -> Self {
        self.retry = None;
        self
    }

    /// Builds the client; needs a Tokio runtime. The first call opens the connection, and later calls reopen a lost one.
    ///
    /// # Errors
    /// When a value is invalid, or a file cannot be read.
    pub fn connect(self) -> Result<Client, ConnectError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(ConnectError::Runtime);
        }
        for (name, value) in [("timeout", self.timeout), ("connect_timeout", self.connect_timeout)] {
            if value.is_zero() {
                return Err(ConnectError::Zero(name));
            }
        }
        let authorization = self.token.as_ref().map(authorization).transpose()?;
        let endpoint = self.endpoint()?;
        let noticed = Noticed::default();
        let channel = if self.is_tls() {
            endpoint.connect_lazy()
        } else {
            endpoint.connect_with_connector_lazy(Plain::new(self.connect_timeout, noticed.clone()))
        };
        let settings = Settings {
            authorization,
            timeout: self.timeout,
            retry: self.retry,
            message_bytes_max: self.message_bytes_max,
            noticed,
        };
        Ok(Client::new(Transport::new(channel, settings)))
    }

    fn is_tls(&self) -> bool {
        self.address.starts_with("https://")
    }

    fn endpoint(&self) -> Result<Endpoint, ConnectError> {
        let tls = self.is_tls();
        let bad = || ConnectError::Address(self.address.clone());
        if !tls && !self.address.starts_with("http://") {
            return Err(bad());
        }
        let mut endpoint = Endpoint::from_shared(self.address.clone())
            .map_err(|_| bad())?
            .user_agent(self.user_agent.clone())
            .map_err(|_| ConnectError::UserAgent)?
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true);
        if let Some((interval, timeout)) = self.keep_alive {
            endpoint = endpoint.http2_keep_alive_interval(interval).keep_alive_timeout(timeout);
        }
        if tls {
            endpoint = endpoint.tls_config(self.tls()?).map_err(ConnectError::Tls)?;
        }
        Ok(endpoint)
    }

    fn tls(&self) -> Result<ClientTlsConfig, ConnectError> {
        let mut tls = ClientTlsConfig::new();
        if self.system_roots {
            tls = tls.with_native_roots();
        }
        for authority in &self.authorities {
            let (pem, origin) = match authority {
                Authority::Pem(pem) => (pem.clone(), "the given text".to_owned()),
                Authority::File(path) => (read("CA file", path)?, path.display().to_string()),
            };
            if !matches!(CertificateDer::pem_slice_iter(&pem).next(), Some(Ok(_))) {
                return Err(ConnectError::NoCertificate(origin));
            }
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        Ok(tls)
    }
}

fn authorization(token: &Token) -> Result<HeaderValue, ConnectError> {
    let text = match token {
        Token::Text(text) => text.clone(),
        Token::File(path) => {
            let bytes = read("token file", path)?;
            String::from_utf8(bytes).map_err(|_| ConnectError::Token)?
        }
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(ConnectError::Token);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| ConnectError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(what: &'static str, path: &std::path::Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|source| ConnectError::File {
        what,
        path: path.to_owned(),
        source,
    })
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never prints the token.
        f.debug_struct("ClientBuilder")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wrong_settings_are_reported_before_anything_is_sent() {
        let builder = || Client::builder("http://127.0.0.1:1");
        assert!(matches!(
            Client::builder("127.0.0.1:1").connect().unwrap_err(),
            ConnectError::Address(_)
        ));
        for token in ["", "  ", "a\nb", "ä\u{0}"] {
            assert!(matches!(
                builder().token(token).connect().unwrap_err(),
                ConnectError::Token
            ));
        }
        let missing = builder().token_file("/nonexistent/token").connect().unwrap_err();
        assert_eq!(missing.to_string(), "cannot read the token file /nonexistent/token");
        let zero = builder().timeout(Duration::ZERO).connect().unwrap_err();
        assert_eq!(zero.to_string(), "timeout must be more than 0");
        assert!(!format!("{:?}", builder().token("secret")).contains("secret"));
        let client = builder().token("secret").connect().unwrap();
        assert!(!format!("{client:?}").contains("secret"), "{client:?}");
    }

    #[test]
    fn outside_of_a_runtime_there_is_an_error_and_no_panic() {
        let outside = Client::builder("http://127.0.0.1:1").connect().unwrap_err();
        assert!(matches!(outside, ConnectError::Runtime));
    }
}
