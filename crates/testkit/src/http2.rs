//! A real HTTP/2 receiver on loopback (RFC 9113) that answers each request according to a script, frame by frame.
//!
//! It can do what libraries for servers do not: refuse single streams, and name any last stream in GOAWAY. A client that
//! does not offer HTTP/2 is answered over HTTP/1.1, with 200.

mod frames;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::frames::{Frame, Kind};
use crate::receiver::{self, Gate};
use crate::tls::Authority;

/// Error codes of RFC 9113, section 7.
pub mod code {
    /// The receiver failed.
    pub const INTERNAL_ERROR: u32 = 0x2;
    /// The request was not processed.
    pub const REFUSED_STREAM: u32 = 0x7;
    /// The request must be repeated over HTTP/1.1.
    pub const HTTP_1_1_REQUIRED: u32 = 0xd;
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Http2Answer {
    /// A response with this status, without a body.
    Status(u16),
    /// The same, after a delay.
    StatusIn(Duration, u16),
    /// The same, once the test opens the gate.
    StatusAfter(Gate, u16),
    /// The same at once, and GOAWAY after a delay. GOAWAY names the last stream that was answered, and later requests on
    /// the connection are ignored.
    StatusThenGoAway(u16, Duration),
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with the last stream 0, and this code.
    GoAway(u32),
    /// No answer.
    Silence,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Request {
    /// The number of its connection, from 1.
    pub connection: usize,
    /// The number of its stream: 1, 3, 5.
    pub stream: u32,
}

type Script = Box<dyn FnMut(Http2Request) -> Http2Answer + Send>;

/// A receiver that runs until it is dropped.
#[derive(Debug)]
pub struct Http2Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Http2Receiver {
    /// Starts a receiver with a certificate of the authority, and without a limit on streams.
    pub async fn start(authority: &Authority) -> Self {
        Self::start_with(authority, None).await
    }

    /// Starts a receiver that accepts this number of concurrent streams on a connection.
    ///
    /// # Panics
    /// Panics if no port is free.
    pub async fn start_with(authority: &Authority, streams_max: Option<u32>) -> Self {
        let mut config = (*authority.certificate(&["127.0.0.1"]).server_config()).clone();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            streams_max,
            http1: Arc::default(),
            state: Mutex::new(State {
                script: Box::new(|_| Http2Answer::Status(200)),
                requests: Vec::new(),
                connections: 0,
                open: 0,
                streams: 0,
                streams_most: 0,
            }),
        });
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// The receiver's URL with its IP address, and a path such as `/hook`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Answers every request over HTTP/2 from now on as the closure decides.
    pub fn answer_with(&self, script: impl FnMut(Http2Request) -> Http2Answer + Send + 'static) {
        self.shared.state.lock().script = Box::new(script);
    }

    /// The requests over HTTP/2 so far, in the order of their completion.
    #[must_use]
    pub fn requests(&self) -> Vec<Http2Request> {
        self.shared.state.lock().requests.clone()
    }

    /// How many requests have arrived over HTTP/1.1.
    #[must_use]
    pub fn http1_request_count(&self) -> usize {
        self.shared.http1.request_count()
    }

    /// How many connections were made in total, over both versions.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.state.lock().connections
    }

    /// How many connections are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared.state.lock().open
    }

    /// The largest number of streams that were open at the same time, over all connections.
    #[must_use]
    pub fn streams_most(&self) -> usize {
        self.shared.state.lock().streams_most
    }
}

impl Drop for Http2Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Shared {
    streams_max: Option<u32>,
    http1: Arc<receiver::Shared>,
    state: Mutex<State>,
}

struct State {
    script: Script,
    requests: Vec<Http2Request>,
    connections: usize,
    open: usize,
    streams: usize,
    streams_most: usize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = {
            let mut state = shared.state.lock();
            state.connections += 1;
            state.open += 1;
            state.connections
        };
        let open = Open(Arc::clone(&shared));
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            // A connection that breaks is the sender's affair.
            let _ = serve(stream, acceptor, &open.0, number).await;
        });
    }
}

/// Counts a connection as open until it is dropped.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.state.lock().open -= 1;
    }
}

/// Counts a stream as open until it is dropped.
struct OpenStream(Arc<Shared>);

impl OpenStream {
    fn new(shared: &Arc<Shared>) -> Self {
        let mut state = shared.state.lock();
        state.streams += 1;
        state.streams_most = state.streams_most.max(state.streams);
        Self(Arc::clone(shared))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.state.lock().streams -= 1;
    }
}

type Writer = Arc<AsyncMutex<WriteHalf<TlsStream<TcpStream>>>>;

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: &Arc<Shared>, number: usize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return receiver::answer_over_tls(stream, &shared.http1, number).await;
    }
    let (mut reader, writer) = tokio::io::split(stream);
    let writer: Writer = Arc::new(AsyncMutex::new(writer));
    frames::read_preface(&mut reader).await?;
    Frame::settings(shared.streams_max)
        .write(&mut *writer.lock().await)
        .await?;
    let mut answers = JoinSet::new();
    let requests = Requests {
        shared,
        number,
        writer,
        streams: Arc::default(),
    };
    requests.answer(&mut reader, &mut answers).await
}

/// The requests of a connection.
struct Requests<'a> {
    shared: &'a Arc<Shared>,
    number: usize,
    writer: Writer,
    streams: Arc<Mutex<Streams>>,
}

/// The streams of a connection.
#[derive(Default)]
struct Streams {
    /// The highest one with a request.
    highest: u32,
    /// The last one that is answered, once GOAWAY was sent.
    last: Option<u32>,
}

impl Streams {
    /// Takes a request, unless GOAWAY was sent before it.
    fn take(&mut self, stream: u32) -> bool {
        let taken = self.last.is_none_or(|last| stream <= last);
        if taken {
            self.highest = self.highest.max(stream);
        }
        taken
    }

    /// Takes no further requests. Returns the frame that says so.
    fn end(&mut self, last: u32, code: u32) -> Frame {
        self.last = Some(last);
        Frame::go_away(last, code)
    }
}

impl Requests<'_> {
    async fn answer(
        &self,
        reader: &mut ReadHalf<TlsStream<TcpStream>>,
        answers: &mut JoinSet<std::io::Result<()>>,
    ) -> std::io::Result<()> {
        loop {
            let frame = Frame::read(reader).await?;
            let is_complete = frame.ends_stream();
            match frame.kind {
                Kind::SETTINGS if !frame.is_ack() => self.write(Frame::settings_ack()).await?,
                Kind::PING if !frame.is_ack() => self.write(frame.pong()).await?,
                Kind::DATA if !frame.payload.is_empty() => {
                    for stream in [0, frame.stream] {
                        self.write(Frame::window_update(stream, frame.payload.len())).await?;
                    }
                }
                _ => {}
            }
            if is_complete && self.streams.lock().take(frame.stream) {
                let request = Http2Request {
                    connection: self.number,
                    stream: frame.stream,
                };
                let answer = {
                    let mut state = self.shared.state.lock();
                    state.requests.push(request);
                    (state.script)(request)
                };
                let open = OpenStream::new(self.shared);
                let (writer, streams) = (Arc::clone(&self.writer), Arc::clone(&self.streams));
                answers.spawn(async move {
                    let _open = open;
                    respond(&writer, &streams, frame.stream, answer).await
                });
            }
        }
    }

    async fn write(&self, frame: Frame) -> std::io::Result<()> {
        frame.write(&mut *self.writer.lock().await).await
    }
}

async fn respond(writer: &Writer, streams: &Mutex<Streams>, stream: u32, answer: Http2Answer) -> std::io::Result<()> {
    let frame = match answer {
        Http2Answer::Status(status) => Frame::response(stream, status),
        Http2Answer::StatusIn(delay, status) => {
            sleep(delay).await;
            Frame::response(stream, status)
        }
        Http2Answer::StatusAfter(gate, status) => {
            gate.opened().await;
            Frame::response(stream, status)
        }
        Http2Answer::StatusThenGoAway(status, delay) => {
            Frame::response(stream, status).write(&mut *writer.lock().await).await?;
            sleep(delay).await;
            let mut streams = streams.lock();
            let highest = streams.highest;
            streams.end(highest, 0)
        }
        Http2Answer::Reset(code) => Frame::reset(stream, code),
        Http2Answer::GoAway(code) => streams.lock().end(0, code),
        Http2Answer::Silence => return Ok(()),
    };
    frame.write(&mut *writer.lock().await).await
}
