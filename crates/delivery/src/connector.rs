//! The safe connector: opens a connection to a URL, or refuses it.
//!
//! For every new connection it resolves the name, and checks every address of the answer by the target policy. One
//! forbidden address refuses the whole answer, and it connects only to a checked address. It ignores proxies of the
//! environment. The operator's egress proxy, if there is one, gets the checked address, never the name.
//!
//! Some receivers offer HTTP/2 and then require HTTP/1.1 for each request. The connector remembers them for a while, and
//! does not offer HTTP/2 to them.

mod eyeballs;
mod proxy;
mod stream;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hookwright_domain::{
    outcome::{ErrorClass, OperatorPart},
    target::TargetPolicy,
    url::PayloadUrl,
};
use hyper_rustls::HttpsConnector;
use hyper_util::rt::TokioIo;
use moka::sync::Cache;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tower::Service as _;

pub(crate) use self::stream::Stream;
use self::{eyeballs::Eyeballs, proxy::EgressProxy};
use crate::{
    descriptors::Permit,
    failure::{Failure, Phases},
    resolver::{ResolveError, Resolver},
    tls::{self, Authorities, Offers, TlsError},
};

/// How long a receiver that requires HTTP/1.1 is remembered.
const HTTP1_FOR: Duration = Duration::from_secs(600);
/// How many receivers that require HTTP/1.1 are remembered.
const HTTP1_MAX: u64 = 4_096;
/// How many sockets the system's resolver uses for the name of a proxy.
const PROXY_QUERIES: usize = 2;

/// The operator's options for connections.
#[derive(Clone, Debug, Default)]
pub struct ConnectorOptions {
    /// DNS servers to use instead of the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// `http://[user:password@]host:port` of an egress proxy.
    pub egress_proxy: Option<String>,
    /// PEM of certificate authorities to trust in addition to the system's.
    pub extra_ca: Option<Vec<u8>>,
}

/// Why these options allow no connector.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// DNS cannot be set up.
    #[error("dns-server: {0}")]
    Dns(#[from] ResolveError),
    /// Not a proxy's URL.
    #[error("egress-proxy `{0}` must be http://host:port or http://user:password@host:port, percent-encoded")]
    Proxy(String),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A connection with its details.
pub(crate) struct Connected {
    pub(crate) stream: Stream,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) http2: bool,
}

/// The safe connector.
pub struct Connector {
    resolver: Resolver,
    proxy: Option<EgressProxy>,
    eyeballs: Eyeballs,
    verifying: Offers,
    authorities: Authorities,
    unverifying: Offers,
    /// Host and port of receivers that require HTTP/1.1.
    http1: Cache<Box<str>, ()>,
}

impl Connector {
    pub(crate) fn new(options: &ConnectorOptions) -> Result<Self, ConnectorError> {
        let (verifying, authorities) = tls::verifying(options.extra_ca.as_deref())?;
        Ok(Self {
            resolver: Resolver::new(&options.dns_servers)?,
            proxy: options.egress_proxy.as_deref().map(EgressProxy::parse).transpose()?,
            eyeballs: Eyeballs::default(),
            verifying,
            authorities,
            unverifying: tls::unverifying()?,
            http1: Cache::builder().max_capacity(HTTP1_MAX).time_to_live(HTTP1_FOR).build(),
        })
    }

    /// The authorities by which receivers are verified.
    pub(crate) fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Offers the receiver only HTTP/1.1 for a while.
    pub(crate) fn require_http1(&self, url: &PayloadUrl) {
        self.http1.insert(url.authority().into(), ());
    }

    /// How many descriptors a connection to a URL needs while it is opened: one is its own, and before that it has the
    /// sockets of the DNS queries.
    pub(crate) fn descriptors(&self, url: &PayloadUrl) -> usize {
        let queries = if url.address().is_none() {
            self.resolver.sockets(url.host())
        } else {
            0
        };
        let of_proxy = if self.proxy_has_name() { PROXY_QUERIES } else { 0 };
        queries.max(of_proxy).max(1)
    }

    fn proxy_has_name(&self) -> bool {
        self.proxy.as_ref().is_some_and(EgressProxy::has_name)
    }

    /// Connects to a URL. Keeps one descriptor of the permit, and releases the others after the DNS queries. Records the
    /// progress in `phases`.
    pub(crate) async fn connect(
        &self,
        policy: &TargetPolicy,
        url: &PayloadUrl,
        skip_verify: bool,
        deadline: Instant,
        permit: &mut Permit,
        phases: &mut Phases,
    ) -> Result<Connected, Failure> {
        let addresses = self.resolve(policy, url, deadline, phases).await?;
        // A proxy's name is resolved when the proxy is connected to.
        if !self.proxy_has_name() {
            permit.keep_one();
        }
        if url.is_https() && !skip_verify {
            self.check_authorities()?;
        }
        let opened = self.open(&addresses, url, deadline, permit, phases).await;
        let connected = match opened {
            Ok((stream, remote)) => self.secure(stream, remote, url, skip_verify, deadline, phases).await,
            Err(failure) => Err(failure),
        };
        let is_receivers = |failure: &Failure| failure.operator.is_none();
        if connected.as_ref().is_err_and(is_receivers) && url.address().is_none() {
            // The receiver may have moved.
            self.resolver.forget(url.host());
        }
        connected
    }

    /// Opens a socket that leads to one of the addresses. Its remote address is unknown if a proxy connects to it.
    async fn open(
        &self,
        addresses: &[SocketAddr],
        url: &PayloadUrl,
        deadline: Instant,
        permit: &mut Permit,
        phases: &mut Phases,
    ) -> Result<(TcpStream, Option<SocketAddr>), Failure> {
        let begun = Instant::now();
        let (stream, remote) = match &self.proxy {
            Some(proxy) => {
                let tunnel = proxy.connect(addresses[0], deadline).await;
                if tunnel.as_ref().is_err_and(|failure| failure.operator.is_none()) {
                    phases.connect_us = Some(elapsed_us(begun));
                }
                (tunnel?, None)
            }
            None => {
                let (stream, remote) = self.eyeballs.connect(url.host(), addresses, permit, deadline).await?;
                (stream, Some(remote))
            }
        };
        permit.keep_one();
        phases.connect_us = Some(elapsed_us(begun));
        Ok((stream, remote))
    }

    /// Prepares an open socket for requests, with TLS if the URL needs it.
    async fn secure(
        &self,
        stream: TcpStream,
        remote: Option<SocketAddr>,
        url: &PayloadUrl,
        skip_verify: bool,
        deadline: Instant,
        phases: &mut Phases,
    ) -> Result<Connected, Failure> {
        // Small requests are sent at once.
        let _ = stream.set_nodelay(true);
        if !url.is_https() {
            return Ok(Connected {
                stream: Stream::Plain(stream),
                remote,
                http2: false,
            });
        }
        let offers = if skip_verify {
            &self.unverifying
        } else {
            &self.verifying
        };
        let config = offers.config(!self.http1.contains_key(url.authority()));
        let begun = Instant::now();
        let stream = handshake(stream, url, config, deadline).await?;
        phases.tls_us = Some(elapsed_us(begun));
        let http2 = stream.is_http2();
        Ok(Connected { stream, remote, http2 })
    }

    /// Without authorities no receiver can be verified. That is not the receiver's fault, and no connection is needed.
    fn check_authorities(&self) -> Result<(), Failure> {
        if self.authorities.count > 0 {
            return Ok(());
        }
        let message = "the service has no certificate authorities to verify the receiver's certificate with";
        let places = self.authorities.system_missing.as_deref().unwrap_or_default();
        // Attempts over plain HTTP still succeed, so this does not pause sending. Webhooks with https URLs are delayed
        // one by one.
        Err(Failure::new(ErrorClass::TrustStore, message)
            .with_detail(format!("none was found in {places}"))
            .of_operator(OperatorPart::TrustStore, false))
    }

    /// The URL's addresses, all of them checked.
    async fn resolve(
        &self,
        policy: &TargetPolicy,
        url: &PayloadUrl,
        deadline: Instant,
        phases: &mut Phases,
    ) -> Result<Vec<SocketAddr>, Failure> {
        policy
            .check_url(url)
            .map_err(|rule| Failure::blocked(rule.rule_text()))?;
        let addresses: Vec<IpAddr> = match url.address() {
            Some(address) => vec![address],
            None => {
                let begun = Instant::now();
                let resolved = self.resolver.resolve(url.host(), deadline).await;
                phases.dns_us = Some(elapsed_us(begun));
                resolved.map_err(|error| {
                    if error.lacks_descriptors() {
                        return no_descriptors(&error);
                    }
                    let message = if error.is_name_incomplete() {
                        "the host name does not resolve; it must be complete, because search domains are not applied"
                    } else {
                        "the host name does not resolve"
                    };
                    let failure = Failure::new(ErrorClass::Dns, message).with_detail(error.to_string());
                    if error.servers_are_silent() {
                        // Attempts to addresses still succeed, so this does not pause sending. Webhooks with host names
                        // are delayed one by one.
                        failure.of_operator(OperatorPart::Resolver, false)
                    } else {
                        failure
                    }
                })?
            }
        };
        for address in &addresses {
            if let Err(rule) = policy.check_address(*address, url.port()) {
                return Err(Failure::blocked(format!("{address}: {}", rule.rule_text())));
            }
        }
        Ok(addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, url.port()))
            .collect())
    }
}

fn no_descriptors(error: &impl ToString) -> Failure {
    Failure::new(ErrorClass::Internal, "the server cannot open a connection at present")
        .with_detail(error.to_string())
        .of_operator(OperatorPart::Descriptors, true)
}

/// The meaning of an I/O error, without its details.
fn plain(error: &std::io::Error) -> String {
    error.kind().to_string()
}

/// The TLS handshake on an open connection.
async fn handshake(
    stream: TcpStream,
    url: &PayloadUrl,
    config: Arc<ClientConfig>,
    deadline: Instant,
) -> Result<Stream, Failure> {
    if url.address().is_none() && ServerName::try_from(url.host()).is_err() {
        return Err(Failure::new(
            ErrorClass::TlsName,
            "no certificate can be for the name of the host",
        ));
    }
    let mut ready = Some(TokioIo::new(stream));
    let give = tower::service_fn(move |_: http::Uri| {
        let stream = ready.take();
        std::future::ready(stream.ok_or_else(|| std::io::Error::other("the connection was taken")))
    });
    let uri: http::Uri = url.as_str().parse().map_err(|error: http::uri::InvalidUri| {
        Failure::new(ErrorClass::Internal, "the URL cannot be used").with_detail(error.to_string())
    })?;
    match timeout_at(deadline, HttpsConnector::from((give, config)).call(uri)).await {
        Ok(Ok(stream)) => Ok(stream.into()),
        Ok(Err(error)) => Err(tls::failure(&*error)),
        Err(_) => Err(Failure::new(
            ErrorClass::Timeout,
            "the TLS handshake did not end in time (does the receiver speak TLS on this port?)",
        )),
    }
}

pub(crate) fn elapsed_us(begun: Instant) -> i64 {
    i64::try_from(begun.elapsed().as_micros()).unwrap_or(i64::MAX)
}
