//! The receiver's side of a connection: reads requests, records them, and answers according to the script.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::request::Head;
use super::{Answer, RecordedRequest, Shared};

/// Far above what Hookwright sends. The limit keeps a defect from filling the memory.
const HEAD_BYTES_MAX: usize = 1024 * 1024;

pub(super) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let number = shared.change(|state| {
            state.connections += 1;
            state.open += 1;
            state.most_open = state.most_open.max(state.open);
            state.connections
        });
        let open = Open {
            shared: Arc::clone(&shared),
        };
        let tls = tls.clone();
        tokio::spawn(async move {
            let mut stopped = open.shared.stopped.subscribe();
            tokio::select! {
                result = serve(stream, tls, &open.shared, number) => {
                    if let Err(error) = result {
                        let problem = format!("connection {number}: {error}");
                        open.shared.change(|state| state.problems.push(problem));
                    }
                }
                // Fails only if the receiver is gone, which means the same.
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        });
    }
}

/// Counts a connection as open until it is dropped.
struct Open {
    shared: Arc<Shared>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.change(|state| state.open -= 1);
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, shared: &Shared, number: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => answer_requests(stream, shared, number).await,
        Some(acceptor) => {
            let stream = acceptor
                .accept(stream)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("TLS: {error}")))?;
            if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                shared.change(|state| state.resumed += 1);
            }
            answer_requests(stream, shared, number).await
        }
    }
}

/// Answers the requests of a connection whose handshake is complete.
pub(crate) async fn answer_over_tls(stream: TlsStream<TcpStream>, shared: &Shared, number: usize) -> io::Result<()> {
    answer_requests(stream, shared, number).await
}

async fn answer_requests<S: Socket>(mut stream: S, shared: &Shared, number: usize) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    while let Some((raw, head)) = read_request(&mut stream, &mut buffer).await? {
        let request = RecordedRequest::new(raw, head, number);
        let answer = shared.change(|state| {
            let answer = (state.script)(&request);
            state.requests.push(request);
            answer
        });
        match answer {
            Answer::Respond(response) => {
                response.hold_back().await;
                stream.write_all(&response.to_bytes()).await?;
                stream.flush().await?;
                if response.closes() {
                    return close(stream).await;
                }
            }
            Answer::RawKeepAlive(bytes) => {
                stream.write_all(&bytes).await?;
                stream.flush().await?;
            }
            Answer::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                return close(stream).await;
            }
            Answer::Hang => return hang(stream).await,
            Answer::Close => return close(stream).await,
            Answer::Reset => return stream.tcp().set_zero_linger(),
        }
    }
    Ok(())
}

/// Closes the connection in an orderly way. The sender may have closed it already, which is not an error.
async fn close<S: Socket>(mut stream: S) -> io::Result<()> {
    let _ = stream.shutdown().await;
    Ok(())
}

/// Reads and discards data without answering, until the sender closes the connection.
async fn hang<S: Socket>(mut stream: S) -> io::Result<()> {
    let mut ignored = [0; 4096];
    while stream.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
    Ok(())
}

/// Reads one request: its bytes, and its head. None at an orderly end between two.
async fn read_request<S: Socket>(stream: &mut S, buffer: &mut BytesMut) -> io::Result<Option<(Bytes, Head)>> {
    let head = loop {
        if let Some(head) = Head::read(buffer)? {
            break head;
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("a request head without end"));
        }
        if !read_more(stream, buffer).await? {
            if buffer.is_empty() {
                return Ok(None);
            }
            return Err(cut_off(buffer));
        }
    };
    let total = head.length + head.body_length()?;
    while buffer.len() < total {
        buffer.reserve(total - buffer.len());
        if !read_more(stream, buffer).await? {
            return Err(cut_off(buffer));
        }
    }
    Ok(Some((buffer.split_to(total).freeze(), head)))
}

/// Returns whether more data arrived. A connection that was reset, or closed without TLS's close_notify, has ended,
/// too.
async fn read_more<S: Socket>(stream: &mut S, buffer: &mut BytesMut) -> io::Result<bool> {
    match stream.read_buf(buffer).await {
        Ok(count) => Ok(count > 0),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => Ok(false),
            _ => Err(error),
        },
    }
}

fn cut_off(buffer: &[u8]) -> io::Error {
    let start = String::from_utf8_lossy(&buffer[..buffer.len().min(200)]).into_owned();
    io::Error::other(format!("a request cut off after {} bytes: {start}", buffer.len()))
}

/// A stream with access to its TCP connection.
trait Socket: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}
