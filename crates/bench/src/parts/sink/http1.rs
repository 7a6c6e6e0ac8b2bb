//! An HTTP/1.1 connection of the sink: the part of the protocol that requests with a `Content-Length` need.

use bytes::{Buf as _, BytesMut};
use hookwright_domain::id::{DeliveryId, EventId};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Shared, host::Answer};

const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const ACCEPTED_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const FAILED: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
const FAILED_CLOSE: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// The initial buffer: the usual request fits.
const BUFFER_BYTES: usize = 4 << 10;

/// The fields of a request's head that the sink uses.
#[derive(Default)]
struct Head {
    length: usize,
    delivery: Option<i64>,
    event: Option<i64>,
    ping: bool,
}

/// Serves requests until the other side closes, or until the first response if the sink closes connections.
pub(super) async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: usize, shared: &Shared) {
    let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
    while let Some(head) = read_head(&mut stream, &mut buffer).await {
        while buffer.len() < head.length {
            if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        }
        buffer.advance(head.length);
        let host = &shared.hosts[host];
        let (answer, delay) = host.answer();
        if let (Some(delivery), Some(event), false, Answer::Accepted) = (head.delivery, head.event, head.ping, answer) {
            shared.arrivals.arrived(delivery, event);
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let close = shared.closes();
        let response = match (answer, close) {
            (Answer::Accepted, false) => ACCEPTED,
            (Answer::Accepted, true) => ACCEPTED_CLOSE,
            (Answer::Failed, false) => FAILED,
            (Answer::Failed, true) => FAILED_CLOSE,
            (Answer::Never, _) => {
                // Until the other side closes the connection, or the host recovers.
                tokio::select! {
                    _ = stream.read_buf(&mut buffer) => {}
                    () = host.recovered() => {}
                }
                return;
            }
        };
        if stream.write_all(response).await.is_err() || close {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Option<Head> {
    if buffer.is_empty() {
        // Moves to the start of the buffer, so that one read takes the whole request.
        buffer.reserve(BUFFER_BYTES);
    }
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = parse(&buffer[..end])?;
            buffer.advance(end + 4);
            return Some(head);
        }
        if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
            return None;
        }
    }
}

fn parse(head: &[u8]) -> Option<Head> {
    let mut found = Head::default();
    let text = std::str::from_utf8(head).ok()?;
    for line in text.split("\r\n").skip(1) {
        let (name, value) = line.split_once(": ")?;
        match name {
            "Content-Length" | "content-length" => found.length = value.parse().ok()?,
            "TT-Hook-Delivery" => found.delivery = delivery_id(value),
            "webhook-id" => found.event = event_id(value),
            "TT-Hook-Event" => found.ping = value == "ping",
            _ => {}
        }
    }
    Some(found)
}

pub(super) fn delivery_id(text: &str) -> Option<i64> {
    text.parse().ok().map(DeliveryId::raw)
}

pub(super) fn event_id(text: &str) -> Option<i64> {
    text.parse().ok().map(EventId::raw)
}
