//! A real HTTP/1.1 receiver of webhooks on loopback.
//!
//! It keeps the bytes of every request as they were received, and answers according to a script: 200 on a kept-alive
//! connection by default. The script decides when the whole request has arrived; [`Answer`] lists its options. The
//! number of connections is not limited.
//!
//! ```no_run
//! # async fn example() {
//! use hookwright_testkit::{Answer, Receiver};
//!
//! let receiver = Receiver::start().await;
//! receiver.answer_in_turn([Answer::from(503), Answer::Close, Answer::from(200)]);
//! // ... publish to receiver.url("/hook") ...
//! let requests = receiver.wait_for(3).await;
//! assert_eq!(requests[2].header("tt-hook-event"), Some("clocking"));
//! # }
//! ```

mod answer;
mod connection;
mod request;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

pub use answer::{Answer, Gate, Response};
pub(crate) use connection::answer_over_tls;
pub use request::RecordedRequest;

use crate::DEADLINE;

/// How many deadlines a wait may last while requests keep arriving.
const BUSY_DEADLINES: u32 = 3;

/// A receiver that runs until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Receiver {
    /// Starts a plain HTTP receiver on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::listen(free_port(), None).await
    }

    /// Starts an HTTPS receiver on a free port of 127.0.0.1.
    pub async fn start_tls(config: Arc<ServerConfig>) -> Self {
        Self::listen(free_port(), Some(config.into())).await
    }

    /// Starts a plain HTTP receiver at `address`, for example where another one was stopped.
    pub async fn start_at(address: SocketAddr) -> Self {
        Self::listen(address, None).await
    }

    async fn listen(address: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address)
            .await
            .unwrap_or_else(|error| panic!("no receiver at {address}: {error}"));
        let address = listener.local_addr().expect("a listener has an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn(connection::accept(listener, tls, Arc::clone(&shared)));
        Self {
            address,
            scheme,
            shared,
            accepting,
        }
    }

    /// The receiver's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The receiver's URL with its IP address, and a path such as `/hook`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.url_as("127.0.0.1", path)
    }

    /// The receiver's URL with a host name that resolves to it.
    #[must_use]
    pub fn url_as(&self, host: &str, path: &str) -> String {
        format!("{}://{host}:{}{path}", self.scheme, self.address.port())
    }

    /// Answers every request from now on with this status.
    pub fn respond(&self, status: u16) {
        self.answer_with(move |_| status);
    }

    /// Answers every request from now on with this answer.
    pub fn answer(&self, answer: impl Into<Answer>) {
        let answer = answer.into();
        self.answer_with(move |_| answer.clone());
    }

    /// Answers the next requests with these in turn, and all later ones with the last of them.
    pub fn answer_in_turn<A: Into<Answer>>(&self, answers: impl IntoIterator<Item = A>) {
        let mut rest = answers.into_iter().map(Into::into).collect::<Vec<_>>();
        assert!(!rest.is_empty(), "at least one answer");
        rest.reverse();
        self.answer_with(move |_| {
            if rest.len() > 1 {
                rest.pop().expect("more than one is left")
            } else {
                rest[0].clone()
            }
        });
    }

    /// Answers every request from now on as the closure decides.
    pub fn answer_with<A: Into<Answer>>(&self, mut script: impl FnMut(&RecordedRequest) -> A + Send + 'static) {
        self.shared.state().script = Box::new(move |request| script(request).into());
    }

    /// The requests so far, in the order of their completion.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.state().requests.clone()
    }

    /// How many requests have arrived so far.
    #[must_use]
    pub fn request_count(&self) -> usize {
        self.shared.request_count()
    }

    /// How many connections were made in total.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// How many connections are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared.state().open
    }

    /// The largest number of connections that were open at the same time.
    #[must_use]
    pub fn most_connections(&self) -> usize {
        self.shared.state().most_open
    }

    /// How many TLS handshakes resumed an earlier session.
    #[must_use]
    pub fn resumed_handshakes(&self) -> usize {
        self.shared.state().resumed
    }

    /// Everything that was not a valid HTTP/1.1 request, including failed TLS handshakes.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.shared.state().problems.clone()
    }

    /// Clears the requests so far, such as a burst before the part that a test counts.
    pub fn forget_requests(&self) {
        self.shared.state().requests.clear();
    }

    /// Waits until at least `count` requests have arrived, and returns all of them.
    ///
    /// # Panics
    /// Panics if they have not arrived within [`DEADLINE`]. The message lists what arrived instead.
    pub async fn wait_for(&self, count: usize) -> Vec<RecordedRequest> {
        self.wait(&format!("{count} requests"), |state| state.requests.len() >= count)
            .await
    }

    /// Waits until the requests so far fulfil a condition, and returns them.
    ///
    /// # Panics
    /// Panics if nothing arrives for [`DEADLINE`], or after three times as long. The message lists what arrived
    /// instead.
    pub async fn wait_until(&self, mut condition: impl FnMut(&[RecordedRequest]) -> bool) -> Vec<RecordedRequest> {
        self.wait("its condition", |state| condition(&state.requests)).await
    }

    /// Waits until exactly `count` connections are open.
    ///
    /// # Panics
    /// Panics if that is not so within [`DEADLINE`]. The message lists what arrived instead.
    pub async fn wait_for_open_connections(&self, count: usize) {
        self.wait(&format!("{count} open connections"), |state| state.open == count)
            .await;
    }

    async fn wait(&self, what: &str, mut condition: impl FnMut(&State) -> bool) -> Vec<RecordedRequest> {
        let mut changes = self.shared.changes.subscribe();
        let begun = Instant::now();
        let in_time = loop {
            changes.mark_unchanged();
            if condition(&self.shared.state()) {
                break true;
            }
            // While requests arrive, a busy machine gets more time.
            let left = (DEADLINE * BUSY_DEADLINES).saturating_sub(begun.elapsed());
            if timeout(left.min(DEADLINE), changes.changed()).await.is_err() {
                break false;
            }
        };
        let state = self.shared.state();
        assert!(
            in_time,
            "the receiver at {} waited {DEADLINE:?} for {what}, but has {}",
            self.address,
            state.summary()
        );
        state.requests.clone()
    }

    /// Stops: the port refuses connections, and open ones are closed. Returns the address, for [`Self::start_at`].
    pub async fn stop(mut self) -> SocketAddr {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
        self.shared.stopped.send_replace(true);
        self.wait_for_open_connections(0).await;
        self.address
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.stopped.send_replace(true);
    }
}

fn free_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// The state that the receiver and its connections share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Notifies of every change of the state.
    changes: watch::Sender<()>,
    /// Ends the connections.
    stopped: watch::Sender<bool>,
}

impl Shared {
    /// How many requests have arrived so far.
    pub(crate) fn request_count(&self) -> usize {
        self.state().requests.len()
    }

    /// A script that panicked must not hide the recorded requests.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changes.send_replace(());
        result
    }
}

type Script = Box<dyn FnMut(&RecordedRequest) -> Answer + Send>;

struct State {
    requests: Vec<RecordedRequest>,
    script: Script,
    connections: usize,
    open: usize,
    most_open: usize,
    resumed: usize,
    problems: Vec<String>,
}

impl State {
    /// A summary of the requests, in a readable number of lines.
    fn summary(&self) -> String {
        const SHOWN: usize = 20;
        let mut text = format!(
            "{} requests on {} connections ({} open)",
            self.requests.len(),
            self.connections,
            self.open
        );
        for request in self.requests.iter().take(SHOWN) {
            text.push_str(&format!("\n  {}", request.summary()));
        }
        if self.requests.len() > SHOWN {
            text.push_str("\n  ...");
        }
        for problem in self.problems.iter().take(SHOWN) {
            text.push_str(&format!("\n  problem: {problem}"));
        }
        text
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            requests: Vec::new(),
            script: Box::new(|_| Answer::from(200)),
            connections: 0,
            open: 0,
            most_open: 0,
            resumed: 0,
            problems: Vec::new(),
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.summary())
    }
}

#[cfg(test)]
mod tests;
