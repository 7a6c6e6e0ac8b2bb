//! Clients that are silent, read nothing, or never disconnect.

use std::net::SocketAddr;

use axum::{
    body::Bytes,
    response::IntoResponse,
    routing::{get, post},
};
use futures::stream::pending;
use http::Response;
use hyper::client::conn::http2;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use super::{meters::ListenerMetrics, pulse::UntilSent};

const DEADLINE: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(50);
/// More than the system buffers for a peer that does not read.
const LARGE: usize = 32 << 20;
/// The beginning of HTTP/2, with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// No timeout; each test shortens its own.
fn patient() -> Limits {
    Limits {
        connections: ConnectionLimits {
            all: 100,
            of_address: 100,
            reserved: 0,
        },
        trusts_this_machine: true,
        patience: Patience {
            head: LONG,
            idle: LONG,
            stranger_idle: LONG,
            progress: LONG,
            rate: 1,
        },
        handshake: LONG,
        farewell: LONG,
        age: LONG,
        ending: LONG,
        http2: Limits::http().http2,
    }
}

/// A listener with health, large and live answers, and forms.
struct Served {
    address: SocketAddr,
    /// Resolve when a large answer was sent or abandoned, in order.
    given_up: mpsc::UnboundedReceiver<oneshot::Receiver<()>>,
    /// The contents of the first live answer; the others are silent.
    live: mpsc::Sender<Result<Bytes, Infallible>>,
}

impl Served {
    async fn start(limits: Limits) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test with a few connections")]
        let (begun, given_up) = mpsc::unbounded_channel();
        let (live, lines) = mpsc::channel(1);
        let lines = Arc::new(Mutex::new(Some(lines)));
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/large", get(async move || large(&begun)))
            .route(
                "/live",
                get(async move || {
                    let lines = lines.lock().take();
                    match lines {
                        Some(lines) => Body::from_stream(ReceiverStream::new(lines)).into_response(),
                        None => Body::from_stream(pending::<Result<Bytes, Infallible>>()).into_response(),
                    }
                }),
            )
            .route("/form", post(|form: Bytes| async move { form }));
        let listener = Listener {
            tcp,
            tls: None,
            proxies: Proxies::default(),
            limits,
            meters: ListenerMetrics::default().of("http"),
        };
        tokio::spawn(listener.serve(router, std::future::pending()));
        Self {
            address,
            given_up,
            live,
        }
    }

    async fn connect(&self, first: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // It may already be closed.
        let _ = stream.write_all(first).await;
        stream
    }

    /// A connection from one of this machine's addresses.
    async fn connect_from(&self, address: &str, first: &[u8]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        // It may already be closed.
        let _ = stream.write_all(first).await;
        stream
    }

    /// A connection that uses HTTP/2, including pings, and ends with its task.
    async fn speak_http2(&self, window: u32) -> (http2::SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
        let stream = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(stream).await.unwrap();
        (sender, tokio::spawn(connection))
    }

    /// Waits until a large answer that the peer does not read is abandoned.
    async fn given_up(&mut self) {
        let given_up = within(self.given_up.recv()).await.unwrap();
        assert!(within(given_up).await.is_err(), "what it holds is dropped");
    }
}

fn large(begun: &mpsc::UnboundedSender<oneshot::Receiver<()>>) -> Response<Body> {
    let (held, given_up) = oneshot::channel::<()>();
    let _ = begun.send(given_up);
    let mut response = vec![b'x'; LARGE].into_response();
    // A sender is not `Sync`.
    response.extensions_mut().insert(UntilSent::new(Mutex::new(held)));
    response
}

async fn within<T>(done: impl Future<Output = T>) -> T {
    timeout(DEADLINE, done).await.expect("it happens in time")
}

/// Reads until the peer closes.
async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset ends it too.
    let _ = within(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn request(path: &str) -> Request<Body> {
    Request::builder()
        .uri(format!("http://a{path}"))
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn g05_a_connection_without_a_request_is_closed() {
    let mut limits = patient();
    (limits.patience.head, limits.farewell) = (SHORT, SHORT);
    let served = Served::start(limits).await;
    for first in [&b""[..], b"P", b"GET / HTTP/1.1\r\nHost: a", &PREFACE[..24], PREFACE] {
        let mut stream = served.connect(first).await;
        read(&mut stream).await;
    }
    let (_sender, connection) = served.speak_http2(1 << 16).await;
    let _ = within(connection).await.unwrap();
}

#[tokio::test]
async fn g05_a_connection_without_a_further_request_is_closed() {
    let mut limits = patient();
    (limits.patience.idle, limits.farewell) = (SHORT, SHORT);
    let served = Served::start(limits).await;
    let mut stream = served.connect(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(read(&mut stream).await.ends_with("ok\n"));
    let (mut sender, connection) = served.speak_http2(1 << 16).await;
    within(sender.send_request(request("/healthz"))).await.unwrap();
    let _ = within(connection).await.unwrap();
}

#[tokio::test]
async fn g05_health_is_told_while_others_hold_connections_for_nothing() {
    let mut limits = patient();
    limits.connections.all = 4;
    let served = Served::start(limits).await;
    let mut silent = Vec::new();
    for first in [&b""[..], PREFACE].repeat(8) {
        silent.push(served.connect(first).await);
    }
    let mut probe = served.connect(HEALTH.as_bytes()).await;
    assert!(read(&mut probe).await.ends_with("ok\n"));
    read(&mut silent[0]).await;
}

/// An incomplete form.
const SLOW_FORM: &[u8] = b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n";

#[tokio::test]
async fn g05_health_is_told_while_others_send_forms_and_read_answers_slowly() {
    let mut limits = patient();
    limits.connections.all = 4;
    let served = Served::start(limits).await;
    let mut slow = Vec::new();
    for first in [SLOW_FORM, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"].repeat(4) {
        let mut stream = served.connect(first).await;
        // The form is awaited, and the answer has begun.
        within(stream.read_u8()).await.unwrap();
        slow.push(stream);
    }
    let mut probe = served.connect(HEALTH.as_bytes()).await;
    assert!(read(&mut probe).await.ends_with("ok\n"));
    read(&mut slow[0]).await;
}

#[tokio::test]
async fn g05_this_machine_has_places_while_all_are_in_use() {
    let mut limits = patient();
    (limits.connections.all, limits.connections.reserved) = (1, 1);
    let served = Served::start(limits).await;
    let mut live = served.connect(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    within(live.read_u8()).await.unwrap();
    let mut probe = served.connect(HEALTH.as_bytes()).await;
    assert!(read(&mut probe).await.ends_with("ok\n"));
    let mut other = served.connect(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    within(other.read_u8()).await.unwrap();
    let mut third = served.connect(HEALTH.as_bytes()).await;
    assert_eq!(read(&mut third).await, "", "refused");
}

#[tokio::test]
async fn x05_an_address_has_its_share_of_connections() {
    const LIVE: &[u8] = b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut limits = patient();
    limits.trusts_this_machine = false;
    limits.connections.of_address = 3;
    let served = Served::start(limits).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        let mut live = served.connect_from("127.0.0.1", LIVE).await;
        within(live.read_u8()).await.unwrap();
        busy.push(live);
    }
    let mut refused = served.connect_from("127.0.0.1", HEALTH.as_bytes()).await;
    assert_eq!(read(&mut refused).await, "", "all that its address may have are in use");
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(served.connect_from("127.0.0.2", b"").await);
    }
    let mut fourth = served.connect_from("127.0.0.2", HEALTH.as_bytes()).await;
    assert!(
        read(&mut fourth).await.ends_with("ok\n"),
        "another address has its own share"
    );
    // The longest-idle one of its address was closed for it.
    read(&mut idle[0]).await;
    drop(busy.pop());
    let freed = async {
        loop {
            let mut next = served.connect_from("127.0.0.1", HEALTH.as_bytes()).await;
            if read(&mut next).await.ends_with("ok\n") {
                break;
            }
        }
    };
    within(freed).await;
}

#[tokio::test]
async fn g05_a_connection_that_sends_no_more_of_a_form_is_closed() {
    let mut limits = patient();
    limits.patience.progress = SHORT;
    let served = Served::start(limits).await;
    let mut stream = served.connect(SLOW_FORM).await;
    let told = read(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 100 "), "{told}");
    let whole = b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\na=bc";
    let mut stream = served.connect(whole).await;
    assert!(read(&mut stream).await.ends_with("a=bc"));
}

#[tokio::test]
async fn g05_a_connection_that_does_not_read_is_closed_unless_it_waits_for_us() {
    let mut limits = patient();
    limits.patience.progress = SHORT;
    let mut served = Served::start(limits).await;
    let mut live = served.connect(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    within(live.read_u8()).await.unwrap();

    let _unread = served.connect(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.given_up().await;
    let (mut sender, connection) = served.speak_http2(1).await;
    let unread = within(sender.send_request(request("/large"))).await.unwrap();
    served.given_up().await;
    let _ = within(connection).await.unwrap();
    drop(unread);

    served.live.send(Ok(Bytes::from_static(b"news"))).await.unwrap();
    let mut told = Vec::new();
    while !told.ends_with(b"news\r\n") {
        assert_ne!(within(live.read_buf(&mut told)).await.unwrap(), 0, "it is still there");
    }
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let served = Served::start(patient()).await;
    let mut stream = served
        .connect(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let answer = read(&mut stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.to_ascii_lowercase().contains(&format!("content-length: {LARGE}")),
        "{head}"
    );
    assert!(body.len() == LARGE && body.bytes().all(|byte| byte == b'x'));
}

#[tokio::test]
async fn g11_an_old_connection_ends_after_its_requests_in_flight() {
    let mut limits = patient();
    // Enough time to send a request first.
    limits.age = 20 * SHORT;
    let served = Served::start(limits).await;
    let (mut sender, connection) = served.speak_http2(1 << 16).await;
    let answer = within(sender.send_request(request("/live"))).await.unwrap();
    let idle = served.speak_http2(1 << 16).await.1;
    let _ = within(idle).await.unwrap();
    assert!(!connection.is_finished(), "an answer is in flight");
    drop(answer);
    let _ = within(connection).await.unwrap();
}
