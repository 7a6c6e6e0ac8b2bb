//! A connection of the sink: the part of HTTP/1.1 that requests with a `Content-Length` need.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use bytes::{Buf as _, BytesMut};
use hookwright_domain::id::{DeliveryId, EventId};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{ACCEPT, FAIL, Shared};

const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const FAILED: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";

/// The fields of a request's head that the sink uses.
#[derive(Default)]
struct Head {
    length: usize,
    delivery: Option<i64>,
    event: Option<i64>,
    ping: bool,
}

/// Serves requests until the other side closes.
pub(super) async fn serve(mut stream: TcpStream, host: usize, shared: Arc<Shared>, behaviours: Arc<[AtomicU8]>) {
    let mut buffer = BytesMut::with_capacity(16 << 10);
    loop {
        let Some(head) = read_head(&mut stream, &mut buffer).await else {
            return;
        };
        while buffer.len() < head.length {
            if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        }
        buffer.advance(head.length);
        let behaviour = behaviours[host].load(Ordering::Relaxed);
        if let (Some(delivery), Some(event), false, ACCEPT) = (head.delivery, head.event, head.ping, behaviour) {
            shared.arrived(delivery, event);
        }
        let answer = match behaviour {
            ACCEPT => ACCEPTED,
            FAIL => FAILED,
            _ => {
                // Waits until the other side closes the connection.
                let _ = stream.read_buf(&mut buffer).await;
                return;
            }
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

async fn read_head(stream: &mut TcpStream, buffer: &mut BytesMut) -> Option<Head> {
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
            "TT-Hook-Delivery" => found.delivery = value.parse().ok().map(DeliveryId::raw),
            "webhook-id" => found.event = value.parse().ok().map(EventId::raw),
            "TT-Hook-Event" => found.ping = value == "ping",
            _ => {}
        }
    }
    Some(found)
}
