//! An HTTP/2 connection of the sink.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
};

use super::{
    Shared,
    host::Answer,
    http1::{delivery_id, event_id},
};

/// Serves requests until the other side closes, or until the first response if the sink closes connections.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: usize,
    shared: Arc<Shared>,
) {
    let close = Arc::new(Notify::new());
    let closing = Arc::clone(&close);
    let service = service_fn(move |request| {
        let (shared, closing) = (Arc::clone(&shared), Arc::clone(&closing));
        async move {
            let response = answer(request, host, &shared).await;
            if shared.closes() {
                closing.notify_one();
            }
            response
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = close.notified() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(
    request: Request<Incoming>,
    host: usize,
    shared: &Shared,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    while let Some(Ok(_)) = body.frame().await {}
    let field = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let delivery = field("tt-hook-delivery").and_then(delivery_id);
    let event = field("webhook-id").and_then(event_id);
    let ping = field("tt-hook-event") == Some("ping");
    let host = &shared.hosts[host];
    let (answer, delay) = host.answer();
    if let (Some(delivery), Some(event), false, Answer::Accepted) = (delivery, event, ping, answer) {
        shared.arrivals.arrived(delivery, event);
    }
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut response = Response::new(Empty::new());
    match answer {
        Answer::Accepted => {}
        Answer::Failed => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        Answer::Never => {
            // The connection has other streams, so only this one ends.
            host.recovered().await;
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
    }
    Ok(response)
}
