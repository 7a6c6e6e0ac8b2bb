//! The listening socket. Requests of all connections go to one channel, after they were answered.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use time::OffsetDateTime;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

use super::http::{Connection, Problem, Request};

/// Maximum number of concurrent connections; further ones wait.
const CONNECTIONS_MAX: usize = 256;
/// Capacity of the queue of requests to print; when it is full, senders wait.
const REQUESTS_MAX: usize = 64;

/// A request with its peer and time.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) request: Request,
    pub(crate) remote: SocketAddr,
    pub(crate) time: OffsetDateTime,
}

/// A receiver of webhooks. Dropping it closes the socket.
pub(crate) struct Receiver {
    /// The address that it listens on.
    pub(crate) address: SocketAddr,
    requests: mpsc::Receiver<Received>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Listens on `address`, and answers each request with `status`.
    pub(crate) async fn bind(address: SocketAddr, status: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}; choose another --address (port 0 selects a free one)")
        })?;
        let address = listener.local_addr()?;
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let task = tokio::spawn(accept(listener, status, sender));
        Ok(Self {
            address,
            requests,
            task,
        })
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Option<Received> {
        self.requests.recv().await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, status: u16, sender: mpsc::Sender<Received>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else {
            return;
        };
        // An accept fails because of the one connection, or because no file descriptors are left, which is temporary.
        let Ok((stream, remote)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let sender = sender.clone();
        tokio::spawn(async move {
            let _permit = permit;
            serve(stream, remote, status, &sender).await;
        });
    }
}

async fn serve(stream: TcpStream, remote: SocketAddr, status: u16, sender: &mpsc::Sender<Received>) {
    let _ = stream.set_nodelay(true);
    let mut connection = Connection::new(stream);
    loop {
        let request = match connection.read().await {
            Ok(request) => request,
            Err(Problem::Gone) => return,
            Err(Problem::Bad(why)) => {
                crate::output::note(&format!("rejected a request from {remote}: {why}"));
                let _ = connection.respond(400, &format!("{why}\n"), false).await;
                return;
            }
        };
        let keep_alive = request.keep_alive;
        let answered = connection.respond(status, "", keep_alive).await;
        #[expect(
            clippy::disallowed_methods,
            reason = "the command line has the wall clock of its machine"
        )]
        let time = OffsetDateTime::now_utc();
        let received = Received { request, remote, time };
        if sender.send(received).await.is_err() || answered.is_err() || !keep_alive {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn receiver(status: u16) -> (Receiver, TcpStream) {
        let receiver = Receiver::bind(SocketAddr::from(([127, 0, 0, 1], 0)), status)
            .await
            .unwrap();
        let stream = TcpStream::connect(receiver.address).await.unwrap();
        (receiver, stream)
    }

    #[tokio::test]
    async fn requests_on_a_kept_connection_arrive_byte_for_byte() {
        let (mut receiver, mut stream) = receiver(503).await;
        let first = "POST /a HTTP/1.1\r\nhOsT: x\r\nContent-Length: 4\r\n\r\nab\r\n";
        let second = "POST /b HTTP/1.1\r\nConnection: close\r\n\r\n";
        stream.write_all(format!("{first}{second}").as_bytes()).await.unwrap();
        for expected in [first, second] {
            assert_eq!(receiver.next().await.unwrap().request.raw, expected.as_bytes());
        }
        let mut answers = String::new();
        stream.read_to_string(&mut answers).await.unwrap();
        assert_eq!(
            answers.matches("HTTP/1.1 503 Service Unavailable\r\n").count(),
            2,
            "{answers}"
        );
    }

    #[tokio::test]
    async fn a_bad_request_gets_400_and_the_reason() {
        let (_receiver, mut stream) = receiver(200).await;
        stream
            .write_all(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("Content-Length"),
            "{answer}"
        );
    }
}
