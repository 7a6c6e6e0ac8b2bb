//! The connections of the HTTP listener: TLS, and what bounds what others can take of us.
//!
//! - There are so many connections in all and for one address; where all are taken, one that does nothing makes room, or one that we
//!   wait for ([`super::slots`]). Health is told however many others hold a connection for nothing.
//! - A connection ends when no request came for a time, be it that it says nothing, that its TLS or its head does not come to an end, or
//!   that it speaks HTTP/2 and opens no stream. Pings do not count.
//! - It ends when nothing more of a request comes, or an answer, or a part of one, is not read for a time ([`super::pulse`]), whoever
//!   holds it up: TCP, or HTTP/2's windows. A large answer has a time in all too. One that waits for us, such as a live stream, may
//!   take as long as it likes.
//! - It ends when it is old: what is under way gets a time to end, and live pages connect again.
//! - Heads, streams and what is buffered for them have a size and a number; how long a page may take to begin, and a form to arrive,
//!   is the guard's to say (`console::guard`), how many forms there may be, `console::forms`', how many large answers, `downloads`'.

use std::{convert::Infallible, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::Request;
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

use super::{
    proxies::Proxies,
    pulse::{Overdue, Patience},
    slots::{Places, Slot, Slots},
};

/// The largest head of a request.
const HEAD_BYTES_MAX: u32 = 32 << 10;
/// What is read and written ahead over HTTP/1.1, a whole head at least.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// HTTP/2: what one connection may do at once, what is written ahead of each stream's reader, and when it is asked whether it still
/// is there.
const STREAMS_MAX: u32 = 32;
const STREAM_BYTES_MAX: usize = 64 << 10;
/// HTTP/2: what may come ahead of whoever reads it here, of one stream and of all of a connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
const PING: Duration = Duration::from_secs(30);
/// How long accepting pauses when the system has no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What connections may take of the listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How many there may be.
    pub(crate) places: Places,
    /// How long they may do nothing.
    pub(crate) patience: Patience,
    /// How long the handshake of TLS may take.
    pub(crate) handshake: Duration,
    /// How long one that did nothing has to say farewell.
    pub(crate) farewell: Duration,
    /// When one is old, and how long what is under way then has to end.
    pub(crate) age: Duration,
    pub(crate) ending: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            places: Places {
                all: 2_000,
                of_address: 256,
                reserved: 64,
            },
            patience: Patience {
                head: Duration::from_secs(30),
                // Longer than proxies keep a connection that they may use again: it is they who close it.
                idle: Duration::from_secs(90),
                progress: Duration::from_secs(60),
                rate: 10 << 10,
            },
            handshake: Duration::from_secs(10),
            farewell: Duration::from_secs(5),
            age: Duration::from_secs(3_600),
            ending: Duration::from_secs(60),
        }
    }
}

/// Who asks, in the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The listener.
pub(crate) struct Listener {
    /// Where connections come in.
    pub(crate) tcp: TcpListener,
    /// What makes TLS of them.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Who speaks for many.
    pub(crate) proxies: Proxies,
    /// See there.
    pub(crate) limits: Limits,
}

impl Listener {
    /// Answers requests until `shutdown` resolves, then ends each connection after the requests that are under way.
    pub(crate) async fn serve(self, router: Router, shutdown: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let (stop, stopping) = watch::channel(());
        tokio::select! {
            never = self.accept(router, stopping) => match never {},
            () = shutdown => {}
        }
        drop(self);
        stop.send_replace(());
        stop.closed().await;
        Ok(())
    }

    /// Whether others cannot take all places from an address. Whoever is on this machine needs no proxy's name for that.
    fn is_trusted(&self, peer: IpAddr) -> bool {
        self.proxies.trust(peer) || peer.to_canonical().is_loopback()
    }

    async fn accept(&self, router: Router, stopping: watch::Receiver<()>) -> Infallible {
        let slots = Arc::new(Slots::new(self.limits.places));
        let builder = Arc::new(builder(self.limits.patience));
        loop {
            let (stream, peer) = match self.tcp.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let peer = peer.ip();
            let Some(slot) = slots.take(peer, self.is_trusted(peer)) else {
                tracing::debug!(%peer, "too many connections; one more was refused");
                continue;
            };
            let connection = Connection {
                builder: Arc::clone(&builder),
                stopping: stopping.clone(),
                router: router.clone(),
                peer: Peer(peer),
                slot,
                limits: self.limits,
            };
            tokio::spawn(connection.run(stream, self.tls.clone()));
        }
    }
}

fn builder(patience: Patience) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.idle)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_send_buf_size(STREAM_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

struct Connection {
    builder: Arc<Builder<TokioExecutor>>,
    stopping: watch::Receiver<()>,
    router: Router,
    peer: Peer,
    slot: Slot,
    limits: Limits,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // An answer is written at once; there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        let answered = async {
            match tls {
                None => self.answer(stream).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(self.limits.handshake, tls.accept(stream)).await {
                        self.answer(stream).await;
                    }
                }
            }
        };
        tokio::select! {
            () = answered => {}
            () = self.slot.pulse().evicted() => {}
        }
    }

    async fn answer(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (router, peer, pulse) = (self.router.clone(), self.peer, Arc::clone(self.slot.pulse()));
        let patience = self.limits.patience;
        let service = service_fn(move |request: Request<Incoming>| {
            let exchange = pulse.begin();
            let router = router.clone();
            let mut request = request.map(|body| Body::new(exchange.question(body)));
            request.extensions_mut().insert(peer);
            async move {
                let answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
                Ok::<_, Infallible>(exchange.answer(answer, patience))
            }
        });
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let time = tokio::select! {
            ended = connection.as_mut() => return noted(ended),
            time = self.until_leaving() => time,
        };
        connection.as_mut().graceful_shutdown();
        if let Ok(ended) = timeout(time, connection).await {
            noted(ended);
        }
    }

    /// Waits until the connection is to end, and tells how long it has for that.
    async fn until_leaving(&self) -> Duration {
        let mut stopping = self.stopping.clone();
        // So that those that began together do not all come back together.
        let share = u32::try_from(self.slot.number() % 16).unwrap_or_default();
        let age = self.limits.age + self.limits.age / 64 * share;
        tokio::select! {
            _ = stopping.changed() => self.limits.ending,
            () = sleep(age) => self.limits.ending,
            overdue = self.slot.pulse().overdue(self.limits.patience) => match overdue {
                Overdue::Idle => self.limits.farewell,
                Overdue::Stalled => Duration::ZERO,
            }
        }
    }
}

/// What goes wrong with a connection concerns whoever is at its other end.
fn noted(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the HTTP listener ended");
    }
}

#[cfg(test)]
mod tests;
