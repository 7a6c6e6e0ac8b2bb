//! The listeners' connections: TLS, HTTP, and limits on the resources of a peer. The gRPC and the HTTP listener share this
//! module, each with its own [`Limits`].
//!
//! - Connections are limited in total and per address, within the budget of file descriptors. When all slots are taken, an idle connection is closed ([`slots`]),
//!   so that a health probe gets in however many connections are silent.
//! - A connection is closed when no request arrives within a timeout: it is silent, its TLS handshake or request head is
//!   incomplete, or it opens no HTTP/2 stream. Pings do not count.
//! - A connection is closed when the rest of a request does not arrive, or an answer is not read, for a time ([`pulse`]),
//!   whether TCP or an HTTP/2 window blocks it. A large answer also has a deadline. An answer that waits for us, such as a
//!   live stream, has none.
//! - A connection is closed at its maximum age: it gets GOAWAY, and requests in flight get time to finish. Admitted streams
//!   may continue until they end.
//! - Heads, streams and buffers have a maximum size and number. The guards of each listener limit requests: `console::guard`
//!   and `grpc::guard`.

pub(crate) mod meters;
pub(crate) mod pulse;
pub(crate) mod slots;

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body};
use hookwright_storage::fault;
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use self::{
    meters::{Cause, Meters},
    pulse::{Overdue, Patience, Question, Ticket, Trust},
    slots::{ConnectionLimits, Refusal, Slot, Slots},
};
use crate::proxies::Proxies;

/// The maximum size of a request head.
const HEAD_BYTES_MAX: u32 = 32 << 10;
/// HTTP/1.1 buffer sizes, at least a whole head.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// HTTP/2 keep-alive: interval of pings, and timeout for the answer.
const PING: Duration = Duration::from_secs(30);
/// HTTP/2: maximum number of streams that the peer reset before they were processed. More end the connection.
const RESETS_MAX: usize = 64;
/// The peer whose connection makes a listener panic, if the fault harness plants that.
const PLANTED_PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 99));
/// Pause of accepting when no file descriptors are left.
const PAUSE: Duration = Duration::from_millis(100);

/// Limits on a listener's connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Their maximum number.
    pub(crate) connections: ConnectionLimits,
    /// Whether this machine is trusted: it is exempt from the limit per address, and has reserved slots.
    pub(crate) trusts_this_machine: bool,
    /// Idle timeouts.
    pub(crate) patience: Patience,
    /// Timeout of the TLS handshake.
    pub(crate) handshake: Duration,
    /// Time for an idle connection to close after GOAWAY.
    pub(crate) farewell: Duration,
    /// Maximum age, and the time that its requests then have to finish.
    pub(crate) age: Duration,
    pub(crate) ending: Duration,
    /// Limits on one HTTP/2 connection.
    pub(crate) http2: Http2,
}

/// Limits of one HTTP/2 connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Http2 {
    /// Whether the listener supports only HTTP/2.
    pub(crate) only: bool,
    /// Concurrent streams.
    pub(crate) streams_max: u32,
    /// Bytes that may arrive before they are read, per stream and per connection.
    pub(crate) stream_window: u32,
    pub(crate) connection_window: u32,
    /// Buffered bytes of an answer, per stream.
    pub(crate) send_buffer: usize,
}

impl Limits {
    /// The same, for at most this many connections.
    pub(crate) fn within(self, connections: usize) -> Self {
        let limits = self.connections.within(connections);
        Self {
            connections: limits,
            ..self
        }
    }

    /// The limits of the HTTP listener.
    pub(crate) fn http() -> Self {
        // Longer than proxies keep idle connections, so that the proxies close them.
        let idle = Duration::from_secs(90);
        Self {
            connections: ConnectionLimits {
                all: 2_000,
                of_address: 256,
                reserved: 64,
            },
            trusts_this_machine: true,
            patience: Patience {
                head: Duration::from_secs(30),
                idle,
                stranger_idle: idle,
                progress: Duration::from_secs(60),
                rate: 10 << 10,
            },
            handshake: Duration::from_secs(10),
            farewell: Duration::from_secs(5),
            age: Duration::from_secs(3_600),
            ending: Duration::from_secs(60),
            http2: Http2 {
                only: false,
                streams_max: 32,
                stream_window: 64 << 10,
                connection_window: 256 << 10,
                send_buffer: 64 << 10,
            },
        }
    }
}

/// The peer, in the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Answers the requests of a listener.
pub(crate) trait Answers: Clone + Send + Sync + 'static {
    /// The trust of a request before [`Answers::answer`] admits it.
    const BEGINS_AS: Trust;

    /// Answers one.
    fn answer(
        &self,
        request: Request<Question>,
        peer: Peer,
        ticket: Ticket,
    ) -> impl Future<Output = Response<Body>> + Send;
}

impl Answers for Router {
    const BEGINS_AS: Trust = Trust::Admitted;

    fn answer(
        &self,
        request: Request<Question>,
        peer: Peer,
        _ticket: Ticket,
    ) -> impl Future<Output = Response<Body>> + Send {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let answer = self.clone().oneshot(request);
        async move { answer.await.unwrap_or_else(|never| match never {}) }
    }
}

/// A listener.
pub(crate) struct Listener {
    /// The source of connections.
    pub(crate) tcp: TcpListener,
    /// The TLS acceptor.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Proxies that represent many clients.
    pub(crate) proxies: Proxies,
    /// See there.
    pub(crate) limits: Limits,
    /// The metrics.
    pub(crate) meters: Meters,
}

impl Listener {
    /// Answers requests until `shutdown` resolves, then closes each connection after its requests in flight.
    pub(crate) async fn serve(self, answers: impl Answers, shutdown: impl Future<Output = ()> + Send) {
        let (stop, stopping) = watch::channel(());
        tokio::select! {
            never = self.accept(answers, stopping) => match never {},
            () = shutdown => {}
        }
        drop(self);
        stop.send_replace(());
        stop.closed().await;
    }

    /// Whether a peer is exempt from the limit per address: a trusted proxy or this machine.
    fn is_trusted(&self, peer: IpAddr) -> bool {
        self.proxies.trust(peer) || (self.limits.trusts_this_machine && peer.to_canonical().is_loopback())
    }

    async fn accept(&self, answers: impl Answers, stopping: watch::Receiver<()>) -> Infallible {
        let slots = Arc::new(Slots::new(self.limits.connections));
        let builder = Arc::new(builder(self.limits));
        loop {
            slots.settle().await;
            let (stream, peer) = match self.tcp.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No file descriptors may be left: an idle connection frees one.
                    self.meters.refused(Cause::System);
                    let evicted = slots.evict();
                    tracing::warn!(%error, evicted, "cannot accept a connection");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let peer = peer.ip();
            if peer == PLANTED_PEER {
                fault::panic_if_planted("listener-panic");
            }
            let slot = match slots.take(peer, self.is_trusted(peer)) {
                Ok(slot) => slot,
                Err(refusal) => {
                    self.meters.refused(match refusal {
                        Refusal::Address => Cause::Address,
                        Refusal::Total => Cause::Total,
                    });
                    tracing::debug!(%peer, ?refusal, "too many connections; one more was refused");
                    continue;
                }
            };
            let connection = Connection {
                builder: Arc::clone(&builder),
                stopping: stopping.clone(),
                answers: answers.clone(),
                peer: Peer(peer),
                slot,
                limits: self.limits,
                meters: self.meters.clone(),
            };
            tokio::spawn(connection.run(stream, self.tls.clone()));
        }
    }
}

fn builder(limits: Limits) -> Builder<TokioExecutor> {
    let http2 = limits.http2;
    let mut builder = Builder::new(TokioExecutor::new());
    if http2.only {
        builder = builder.http2_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.patience.idle)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(http2.streams_max)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_send_buf_size(http2.send_buffer)
        .initial_stream_window_size(http2.stream_window)
        .initial_connection_window_size(http2.connection_window)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

struct Connection<A> {
    builder: Arc<Builder<TokioExecutor>>,
    stopping: watch::Receiver<()>,
    answers: A,
    peer: Peer,
    slot: Slot,
    limits: Limits,
    meters: Meters,
}

impl<A: Answers> Connection<A> {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let _open = self.meters.open();
        // An answer is written at once; there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        let answered = async {
            match tls {
                None => self.answer(stream).await,
                Some(tls) => match timeout(self.limits.handshake, tls.accept(stream)).await {
                    Ok(Ok(stream)) => self.answer(stream).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => self.meters.closed(Cause::Handshake),
                },
            }
        };
        tokio::select! {
            () = answered => {}
            () = self.slot.pulse().evicted() => self.meters.closed(Cause::Evicted),
        }
    }

    async fn answer(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (answers, peer, pulse) = (self.answers.clone(), self.peer, Arc::clone(self.slot.pulse()));
        let patience = self.limits.patience;
        let service = service_fn(move |request: Request<Incoming>| {
            let exchange = pulse.begin(A::BEGINS_AS);
            let ticket = exchange.ticket();
            let request = request.map(|body| exchange.question(body));
            let answers = answers.clone();
            async move {
                let answer = answers.answer(request, peer, ticket).await;
                Ok::<_, Infallible>(exchange.answer(answer, patience))
            }
        });
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let time = tokio::select! {
            ended = connection.as_mut() => return noted(ended),
            time = self.until_leaving() => time,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => noted(ended),
            () = self.until_cut(time) => {}
        }
    }

    /// Waits until the connection has to close, and returns the time that it has for that.
    async fn until_leaving(&self) -> Duration {
        let mut stopping = self.stopping.clone();
        // Random, so that connections of the same age do not all reconnect at once.
        let share = u32::try_from(self.slot.number() % 16).unwrap_or_default();
        let age = self.limits.age + self.limits.age / 64 * share;
        tokio::select! {
            _ = stopping.changed() => self.limits.ending,
            () = sleep(age) => {
                self.meters.closed(Cause::Age);
                self.limits.ending
            }
            overdue = self.slot.pulse().overdue(self.limits.patience) => match overdue {
                Overdue::Idle => {
                    self.meters.closed(Cause::Idle);
                    self.limits.farewell
                }
                Overdue::Stalled => {
                    self.meters.closed(Cause::Stalled);
                    Duration::ZERO
                }
            }
        }
    }

    /// Waits for that time, and then for as long as it serves admitted streams.
    async fn until_cut(&self, time: Duration) {
        sleep(time).await;
        while !time.is_zero() && self.slot.pulse().serves_streams() {
            sleep(time).await;
        }
    }
}

/// Errors of a connection concern only its peer.
fn noted(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests;
