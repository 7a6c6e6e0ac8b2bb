//! The connections of the HTTP listener: how many there may be, how long they may take, and TLS.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Router, body::Body};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// How many connections there may be; who comes next waits until one ends.
const CONNECTIONS_MAX: usize = 2_000;
/// How long a handshake may take, and how long a connection may wait for the head of a request.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(30);
/// HTTP/2: what one connection may do at once, and when it is asked whether it still is there.
const STREAMS_MAX: u32 = 100;
const HEAD_BYTES_MAX: u32 = 32 << 10;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long accepting pauses when the system has no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Who asks, in the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Answers requests until `shutdown` resolves, then ends each connection after the request that is under way.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let builder = Arc::new(builder());
    let accept = async {
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await.context("never closed")?;
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let connection = Connection {
                        builder: Arc::clone(&builder),
                        watcher: graceful.watcher(),
                        router: router.clone(),
                        peer: Peer(peer.ip()),
                        _slot: slot,
                    };
                    tokio::spawn(connection.run(stream, tls.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        ended = accept => return ended,
        () = shutdown => {}
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(HEAD);
    builder
}

struct Connection {
    builder: Arc<Builder<TokioExecutor>>,
    watcher: Watcher,
    router: Router,
    peer: Peer,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // An answer is written at once; there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        match tls {
            None => self.answer(stream).await,
            Some(tls) => {
                if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await {
                    self.answer(stream).await;
                }
            }
        }
    }

    async fn answer(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (router, peer) = (self.router, self.peer);
        let service = service_fn(move |request: Request<Incoming>| {
            let router = router.clone();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            async move { Ok::<_, Infallible>(answered(router.oneshot(request).await)) }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        // What goes wrong with a connection concerns whoever is at its other end.
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(%error, "a connection of the HTTP listener ended");
        }
    }
}

fn answered<T>(answer: Result<T, Infallible>) -> T {
    match answer {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}
