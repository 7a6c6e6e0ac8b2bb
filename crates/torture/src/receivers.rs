//! The receivers: one HTTP server with a path for each webhook, which records every arrival and misbehaves according to
//! its path.

use std::{
    collections::HashSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hookwright_domain::id::{DeliveryId, EventId};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{
    Random,
    history::{Entry, History},
    now_us,
};

/// The behaviour of a webhook's receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Accepts every request.
    Steady,
    /// Answers one in ten with 500.
    Flaky,
    /// Takes 30 ms.
    Slow,
    /// Reads one request in twenty and closes the connection without an answer.
    Silent,
}

/// The webhooks of a run.
pub(crate) const WEBHOOKS: [(&str, Manner, bool); 6] = [
    ("steady", Manner::Steady, false),
    ("flaky", Manner::Flaky, false),
    ("slow", Manner::Slow, false),
    ("silent", Manner::Silent, false),
    ("ordered", Manner::Steady, true),
    ("ordered-flaky", Manner::Flaky, true),
];

/// The path of the webhook that moves between the receiver's two addresses.
pub(crate) const MOVED: &str = "moved";

/// The largest body that is read between other work.
const SMALL_MAX: usize = 256 << 10;

/// The fields of every payload.
#[derive(Deserialize)]
struct Payload {
    request: String,
    key: String,
    number: u64,
}

pub(crate) struct Receivers {
    /// The second address is for the webhook that moves.
    addresses: [SocketAddr; 2],
    shared: Arc<Shared>,
}

struct Shared {
    history: Arc<History>,
    /// The permit to read a large body.
    large: Semaphore,
    random: Mutex<Random>,
    down: AtomicBool,
    /// The delay of all responses, in milliseconds.
    delay_ms: AtomicU64,
    /// The webhook that each path belongs to.
    webhooks: Mutex<std::collections::HashMap<String, i64>>,
    arrivals: AtomicU64,
    /// By webhook, in the order of [`WEBHOOKS`].
    counts: [AtomicU64; WEBHOOKS.len()],
    wave: Mutex<Wave>,
}

/// The arrivals, after a node was killed, of events that it had accepted before.
#[derive(Default)]
struct Wave {
    number: Option<u16>,
    killed_at: i64,
    /// Deliveries that have arrived. Those of ordered webhooks do not count, because they wait for others by design.
    seen: HashSet<i64>,
    /// When the last of them arrived for the first time.
    last: i64,
}

impl Wave {
    fn arrived(&mut self, at: i64, event: i64, delivery: i64) {
        let is_left = Some(node_of(event)) == self.number && hookwright_domain::id::time_us(event) <= self.killed_at;
        if is_left && self.seen.insert(delivery) {
            self.last = at;
        }
    }
}

impl Receivers {
    pub(crate) async fn start(history: Arc<History>, seed: u64) -> std::io::Result<Self> {
        let listeners = [
            TcpListener::bind("127.0.0.1:0").await?,
            TcpListener::bind("127.0.0.1:0").await?,
        ];
        let addresses = [listeners[0].local_addr()?, listeners[1].local_addr()?];
        let shared = Arc::new(Shared {
            history,
            large: Semaphore::new(1),
            random: Mutex::new(Random::new(seed)),
            down: AtomicBool::new(false),
            delay_ms: AtomicU64::new(0),
            webhooks: Mutex::default(),
            arrivals: AtomicU64::new(0),
            counts: Default::default(),
            wave: Mutex::default(),
        });
        for (home, listener) in listeners.into_iter().enumerate() {
            tokio::spawn(listen(listener, home, Arc::clone(&shared)));
        }
        Ok(Self { addresses, shared })
    }

    pub(crate) fn url(&self, name: &str) -> String {
        self.url_at(0, name)
    }

    /// The URL of a path at one of the addresses.
    pub(crate) fn url_at(&self, home: usize, name: &str) -> String {
        format!("http://{}/{name}", self.addresses[home])
    }

    /// Assigns a path to a webhook.
    pub(crate) fn belongs(&self, name: &str, webhook: i64) {
        self.shared.webhooks.lock().insert(name.to_owned(), webhook);
    }

    /// The webhook of a path.
    pub(crate) fn webhook(&self, name: &str) -> Option<i64> {
        self.shared.webhooks.lock().get(name).copied()
    }

    /// Takes the receivers down or up. While they are down, every connection is closed at once.
    pub(crate) fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::Release);
    }

    /// Delays all responses from now on.
    pub(crate) fn set_delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(ms, Ordering::Release);
    }

    /// How many requests arrived for each webhook.
    pub(crate) fn counts(&self) -> [u64; WEBHOOKS.len()] {
        std::array::from_fn(|place| self.shared.counts[place].load(Ordering::Acquire))
    }

    pub(crate) fn arrivals(&self) -> u64 {
        self.shared.arrivals.load(Ordering::Acquire)
    }

    /// Begins to watch the arrivals of events that the node with this number, which is being killed, had accepted.
    pub(crate) fn watch_wave(&self, number: u16, killed_at: i64) {
        *self.shared.wave.lock() = Wave {
            number: Some(number),
            killed_at,
            ..Wave::default()
        };
    }

    /// How many of them have arrived, and when the last one arrived for the first time.
    pub(crate) fn wave(&self) -> (usize, i64) {
        let wave = self.shared.wave.lock();
        (wave.seen.len(), wave.last)
    }
}

async fn listen(listener: TcpListener, home: usize, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        if shared.down.load(Ordering::Acquire) {
            continue;
        }
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, home, Arc::clone(&shared)));
            // Returning an error closes the connection without an answer.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// An error that closes the connection.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed on purpose")
    }
}

impl std::error::Error for Closed {}

impl From<Infallible> for Closed {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Shared {
    /// The fields of a body, and its hash. Large ones are read one by one on a blocking thread, because the publishers
    /// whose calls are timed share the others.
    async fn read(&self, body: Bytes) -> Option<(Payload, String)> {
        let is_small = body.len() <= SMALL_MAX;
        let read = move || {
            let payload = serde_json::from_slice::<Payload>(&body).ok()?;
            Some((payload, hex::encode(Sha256::digest(&body))))
        };
        if is_small {
            return read();
        }
        let _one = self.large.acquire().await.ok()?;
        tokio::task::spawn_blocking(read).await.ok()?
    }

    /// The status to answer with; 0 for none.
    fn status(&self, manner: Option<Manner>) -> u16 {
        match manner {
            Some(Manner::Flaky) if self.random.lock().below(10) == 0 => 500,
            Some(Manner::Silent) if self.random.lock().below(20) == 0 => 0,
            _ => 200,
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    home: usize,
    shared: Arc<Shared>,
) -> Result<Response<Empty<Bytes>>, Closed> {
    if shared.down.load(Ordering::Acquire) {
        return Err(Closed);
    }
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let text = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let event = text("webhook-id").parse::<EventId>().map_or(0, EventId::raw);
    let delivery = text("TT-Hook-Delivery")
        .parse::<DeliveryId>()
        .map_or(0, DeliveryId::raw);
    let webhook = shared.webhooks.lock().get(&path).copied().unwrap_or_default();
    let is_ping = text("TT-Hook-Event") == "ping";
    let Ok(body) = request
        .into_body()
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
    else {
        return Err(Closed);
    };
    if path == MOVED {
        let at = now_us();
        shared.history.add(&Entry::CameTo { at, delivery, home });
    }
    if is_ping {
        return Ok(Response::new(Empty::new()));
    }
    let place = WEBHOOKS.iter().position(|(name, ..)| *name == path);
    let manner = place.map(|place| WEBHOOKS[place].1);
    let status = shared.status(manner);
    let Some((payload, sha256)) = shared.read(body).await else {
        return Err(Closed);
    };
    let at = now_us();
    if !place.is_some_and(|place| WEBHOOKS[place].2) {
        shared.wave.lock().arrived(at, event, delivery);
    }
    shared.history.add(&Entry::Arrived {
        at,
        webhook,
        event,
        delivery,
        request: payload.request,
        key: payload.key,
        number: payload.number,
        sha256,
        status,
    });
    shared.arrivals.fetch_add(1, Ordering::AcqRel);
    if let Some(place) = place {
        shared.counts[place].fetch_add(1, Ordering::AcqRel);
    }
    if manner == Some(Manner::Slow) {
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    tokio::time::sleep(Duration::from_millis(shared.delay_ms.load(Ordering::Acquire))).await;
    if status == 0 {
        return Err(Closed);
    }
    let mut response = Response::new(Empty::new());
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    Ok(response)
}

/// The number of the node that made an id.
pub(crate) fn node_of(id: i64) -> u16 {
    let number = (id >> hookwright_domain::id::SEQUENCE_BITS) & i64::from(hookwright_domain::id::NODE_MAX);
    u16::try_from(number).unwrap_or_default()
}
