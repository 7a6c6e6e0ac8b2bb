//! The sender: one attempt over one connection.
//!
//! The service has its own implementation of HTTP/1.1 (`http1`), so that receivers get header names in the contract's
//! case, and a connection needs no separate task. HTTP/2, if a receiver offers it, uses a library (`http2`).
//!
//! A new connection needs a permit ([`Descriptors`]), which it holds until its socket is closed. An attempt waits for the
//! permit outside its time (`course`).

mod course;
mod http1;
mod http2;
mod opening;
mod sharing;

#[cfg(any(test, fuzzing))]
pub use self::http1::fuzzing;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use hookwright_domain::{
    outcome::{ErrorClass, classify_status},
    reason::status_words,
    target::TargetPolicy,
    url::PayloadUrl,
};
use hookwright_storage::fault;
use tokio::time::Instant;

use self::course::Course;
pub use self::sharing::{Opening, SharedConnections};
use crate::{
    clock,
    connector::{Connector, ConnectorError, ConnectorOptions, elapsed_us},
    descriptors::{Descriptors, Keep},
    request::HeaderLine,
    tls::Authorities,
};
pub use crate::{
    failure::{Failure, OperatorFault, Phases},
    report::{AttemptReport, ResponseRecord},
};

/// The maximum age of a connection, because addresses change.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(300);
/// The maximum idle time of a connection.
const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(60);
/// How often the request of an attempt is repeated because it was not processed. Each time it uses another connection.
const REPEATS_MAX: u32 = 3;
/// How much of a response's body is kept.
pub(crate) const BODY_KEPT_MAX: usize = 16 << 10;
/// How much of a response's body is read so that the connection can be used again.
pub(crate) const BODY_READ_MAX: usize = 64 << 10;

/// A connection to one receiver, or a handle of one that is shared (HTTP/2).
pub struct Connection {
    origin: Arc<Origin>,
    wire: Wire,
    remote: Option<std::net::SocketAddr>,
    opened: Instant,
    used: Instant,
}

/// The receiver of a connection, and how it was verified. A connection is used only for requests of the same origin,
/// and only while the policy, authorities, resolver and egress proxy that it was opened with are in force.
struct Origin {
    way: u64,
    https: bool,
    host: Box<str>,
    port: u16,
    skip_verify: bool,
}

impl Origin {
    fn of(way: u64, url: &PayloadUrl, skip_verify: bool) -> Self {
        Self {
            way,
            https: url.is_https(),
            host: url.host().into(),
            port: url.port(),
            skip_verify,
        }
    }

    /// Whether requests to a URL may use it. It compares without allocating, because this runs for every attempt.
    fn serves(&self, url: &PayloadUrl, skip_verify: bool) -> bool {
        self.port == url.port()
            && self.https == url.is_https()
            && self.skip_verify == skip_verify
            && *self.host == *url.host()
            || fault::is_planted("old-connection")
    }
}

enum Wire {
    Http1(Box<http1::Http1>),
    Http2(http2::Http2),
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether requests to a URL may use it: scheme, host, port and TLS verification are the same.
    pub fn serves(&self, url: &PayloadUrl, skip_verify: bool) -> bool {
        self.origin.serves(url, skip_verify)
    }

    /// Whether it is open, and young enough to be kept.
    pub fn is_fresh(&self) -> bool {
        self.is_open()
            && self.opened.elapsed() < CONNECTION_AGE_MAX
            && (self.used.elapsed() < CONNECTION_IDLE_MAX || self.is_in_use())
    }

    /// Whether several attempts may use it at the same time.
    pub fn is_shared(&self) -> bool {
        matches!(self.wire, Wire::Http2(_))
    }

    /// Whether both are handles of one shared connection.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.wire, &other.wire) {
            (Wire::Http2(wire), Wire::Http2(other)) => wire.is_same(other),
            _ => false,
        }
    }

    /// Another handle, with a stream, of a shared connection with a free one.
    #[must_use]
    pub fn with_stream(&self) -> Option<Self> {
        let Wire::Http2(wire) = &self.wire else {
            return None;
        };
        wire.with_stream().map(|wire| self.handle(wire))
    }

    /// Another handle, without a stream, of a shared connection. It keeps the connection open.
    #[must_use]
    pub fn without_stream(&self) -> Option<Self> {
        let Wire::Http2(wire) = &self.wire else {
            return None;
        };
        Some(self.handle(wire.without_stream()))
    }

    fn handle(&self, wire: http2::Http2) -> Self {
        Self {
            origin: Arc::clone(&self.origin),
            wire: Wire::Http2(wire),
            ..*self
        }
    }
}

impl Keep for Connection {
    fn is_in_use(&self) -> bool {
        matches!(&self.wire, Wire::Http2(wire) if wire.is_used_by_others())
    }

    fn is_open(&self) -> bool {
        match &self.wire {
            Wire::Http1(_) => true,
            Wire::Http2(wire) => wire.is_open(),
        }
    }
}

/// The request of an attempt.
pub struct AttemptRequest<'a> {
    /// The target URL.
    pub url: &'a PayloadUrl,
    /// Whether any certificate is accepted.
    pub skip_verify: bool,
    /// The timeout.
    pub timeout: Duration,
    /// The headers except `Host` and `Content-Length`, in order.
    pub headers: &'a [HeaderLine<'a>],
    /// The body.
    pub body: Bytes,
    /// Whether this request still matches the webhook's configuration.
    pub is_current: &'a (dyn Fn() -> bool + Sync),
    /// The connections that it may share with other attempts.
    pub shared: Option<&'a dyn SharedConnections>,
}

/// The sender. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    inner: Arc<Inner>,
}

struct Inner {
    way: ArcSwap<Way>,
    /// The number of the way in force, which every attempt compares.
    number: AtomicU64,
    descriptors: Descriptors,
}

/// The connector and policy by which receivers are reached. They change together.
struct Way {
    number: u64,
    connector: Connector,
    policy: Arc<TargetPolicy>,
}

/// The result of an exchange on a connection.
pub(crate) enum Exchange {
    /// A response. The flag is true if the connection may be used again.
    Response(ResponseRecord, bool),
    /// A failure that is not retried on another connection.
    Failed(Failure),
    /// The request may be repeated on another connection. The failure is that of the last try.
    Unanswered(Unanswered, Failure),
}

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The connection ended before the first byte of a response. The request is repeated if the connection was reused:
    /// receivers close kept-alive connections while requests are in transit.
    Closed,
    /// The receiver did not process the request.
    Refused,
    /// The receiver did not process the request, and requires HTTP/1.1 for it.
    Http1Required,
}

impl Unanswered {
    /// Whether the request is repeated. A request that ends connections is repeated once.
    fn may_repeat(self, is_new: bool, repeats: u32) -> bool {
        match self {
            Self::Closed => !is_new && repeats == 0,
            Self::Refused | Self::Http1Required => repeats < REPEATS_MAX,
        }
    }
}

impl Sender {
    /// Creates a sender under a policy, with any number of connections.
    ///
    /// # Errors
    /// Fails if the options cannot be used.
    pub fn new(options: ConnectorOptions, policy: Arc<TargetPolicy>) -> Result<Self, ConnectorError> {
        Self::limited(options, policy, Descriptors::unlimited())
    }

    /// Creates a sender whose connections have permits.
    ///
    /// # Errors
    /// Fails if the options cannot be used.
    pub fn limited(
        options: ConnectorOptions,
        policy: Arc<TargetPolicy>,
        descriptors: Descriptors,
    ) -> Result<Self, ConnectorError> {
        let way = Way {
            number: 0,
            connector: Connector::new(&options)?,
            policy,
        };
        let inner = Inner {
            way: ArcSwap::from_pointee(way),
            number: AtomicU64::new(0),
            descriptors,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Creates a connector with other options, for [`Sender::replace`].
    ///
    /// # Errors
    /// Fails if the options cannot be used.
    pub fn prepare(options: &ConnectorOptions) -> Result<Connector, ConnectorError> {
        Connector::new(options)
    }

    /// Uses another connector and policy from now on. Attempts that have begun end unchanged. Kept connections are not
    /// used again.
    pub fn replace(&self, connector: Connector, policy: Arc<TargetPolicy>) {
        let number = self.inner.number.load(Ordering::Acquire) + 1;
        self.inner.way.store(Arc::new(Way {
            number,
            connector,
            policy,
        }));
        self.inner.number.store(number, Ordering::Release);
    }

    /// The permits of its connections.
    pub fn descriptors(&self) -> &Descriptors {
        &self.inner.descriptors
    }

    /// The certificate authorities by which receivers are verified.
    pub fn authorities(&self) -> Authorities {
        self.inner.way.load().connector.authorities().clone()
    }

    /// Makes an attempt over the connection in the slot if it has the request's origin, otherwise over a new one.
    /// Afterwards the slot contains a connection only if it may be used again.
    pub async fn attempt(&self, slot: &mut Option<Connection>, request: &AttemptRequest<'_>) -> AttemptReport {
        let mut report = AttemptReport::begun(clock::now_us());
        let mut course = Course::begin(request.timeout);
        let outcome = self.exchange(slot, request, &mut course, &mut report).await;
        report.started_at_us += course.waited_us();
        report.duration = course.duration();
        match outcome {
            Ok(response) => {
                report.failure = classify_status(response.status).error_class().map(|class| {
                    let status = status_words(i32::from(response.status));
                    let message = match class {
                        ErrorClass::InvalidResponse => format!("{status} is not an HTTP status"),
                        ErrorClass::Redirect => format!("the receiver returned {status}; redirects are not followed"),
                        _ => format!("the receiver returned {status}"),
                    };
                    Failure::new(class, message)
                });
                report.response = Some(response);
            }
            Err(failure) => report.failure = Some(failure),
        }
        report
    }

    async fn exchange(
        &self,
        slot: &mut Option<Connection>,
        request: &AttemptRequest<'_>,
        course: &mut Course,
        report: &mut AttemptReport,
    ) -> Result<ResponseRecord, Failure> {
        let mut repeats = 0;
        if let Some(mut connection) = slot.take().filter(|connection| self.is_usable(connection, request)) {
            // The webhook may have changed, or the lease ended, while the request was signed.
            if !(request.is_current)() {
                return Err(superseded(report));
            }
            report.remote = connection.remote;
            match connection
                .exchange(request, course.deadline(), &mut report.phases)
                .await
            {
                Exchange::Response(response, reusable) => {
                    *slot = reusable.then_some(connection);
                    return Ok(response);
                }
                Exchange::Failed(failure) => return Err(failure),
                // The request would be sent to a receiver that must not get it any more.
                Exchange::Unanswered(_, failure) if !(request.is_current)() => {
                    report.superseded = true;
                    return Err(failure);
                }
                // Neither is the receiver's failure.
                Exchange::Unanswered(unanswered, _) => {
                    self.learn(request, unanswered, repeats);
                    repeats = 1;
                }
            }
        }
        // This is rare, and large: it is on the heap, so that other workers stay small.
        Box::pin(self.exchange_afresh(slot, request, course, report, repeats)).await
    }

    /// An exchange over other connections, until one is answered. `repeats` is the number of earlier exchanges.
    async fn exchange_afresh(
        &self,
        slot: &mut Option<Connection>,
        request: &AttemptRequest<'_>,
        course: &mut Course,
        report: &mut AttemptReport,
        mut repeats: u32,
    ) -> Result<ResponseRecord, Failure> {
        loop {
            report.phases = Phases::default();
            let (mut connection, is_new) = self.find(request, course, report).await?;
            // Nothing was processed yet, and opening may have taken as long as the webhook's timeout.
            if !(request.is_current)() {
                return Err(superseded(report));
            }
            match connection
                .exchange(request, course.deadline(), &mut report.phases)
                .await
            {
                Exchange::Response(response, reusable) => {
                    *slot = reusable.then_some(connection);
                    return Ok(response);
                }
                Exchange::Unanswered(unanswered, _) if unanswered.may_repeat(is_new, repeats) => {
                    self.learn(request, unanswered, repeats);
                    repeats += 1;
                }
                Exchange::Failed(failure) | Exchange::Unanswered(_, failure) => return Err(failure),
            }
        }
    }

    /// Remembers a receiver that requires HTTP/1.1, or that refuses streams.
    fn learn(&self, request: &AttemptRequest<'_>, unanswered: Unanswered, repeats: u32) {
        match (unanswered, request.shared) {
            (Unanswered::Http1Required, _) => self.inner.way.load().connector.require_http1(request.url),
            // A receiver may end each connection after few requests. Each attempt gets its own connection then.
            (Unanswered::Refused, Some(shared)) if repeats > 0 => sharing::stop_sharing(shared),
            _ => {}
        }
    }

    /// Whether a connection has the request's origin, is young enough, and was opened in the way in force.
    fn is_usable(&self, connection: &Connection, request: &AttemptRequest<'_>) -> bool {
        connection.origin.way == self.inner.number.load(Ordering::Acquire)
            && connection.serves(request.url, request.skip_verify)
            && connection.is_fresh()
    }
}

/// The attempt must be made with another configuration, or by another node.
fn superseded(report: &mut AttemptReport) -> Failure {
    report.superseded = true;
    Failure::new(
        ErrorClass::Internal,
        "the webhook was changed before the request was sent".to_owned(),
    )
}

impl Connection {
    async fn exchange(&mut self, request: &AttemptRequest<'_>, deadline: Instant, phases: &mut Phases) -> Exchange {
        let begun = Instant::now();
        let exchange = match &mut self.wire {
            Wire::Http1(wire) => wire.exchange(request, deadline, phases).await,
            Wire::Http2(wire) => Box::pin(wire.exchange(request, deadline, phases)).await,
        };
        if phases.wait_us.is_none() {
            phases.wait_us = Some(elapsed_us(begun));
        }
        self.used = Instant::now();
        exchange
    }
}
