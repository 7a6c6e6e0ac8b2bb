//! Test support for Hookwright: real systems around the code under test, never imitations. For development only.
//!
//! | module | content |
//! | --- | --- |
//! | [`browser`] | [`Browser`]: headless Chromium |
//! | [`dns`] | [`DnsServer`]: a DNS server that answers according to a script |
//! | [`http`] | a plain HTTP client that shows the response |
//! | [`http2`] | [`Http2Receiver`]: an HTTP/2 receiver that answers frame by frame according to a script |
//! | [`past`] | [`Past`]: the store of a stopped server, filled with what months would build |
//! | [`postgres`] | [`PostgresCluster`]: a real PostgreSQL cluster in a temporary directory, and empty databases in it |
//! | [`receiver`] | [`Receiver`]: an HTTP/1.1 receiver that keeps the raw bytes of requests and answers according to a script |
//! | [`server`] | [`TestServer`]: the real `hookwright` binary as a child process |
//! | [`tls`] | [`Authority`]: a certificate authority for tests |
//! | [`proxy`] | [`Proxy`]: a TCP proxy that can hold, slow down and cut connections |
//! | [`python`] | third-party verifiers, run in the virtual environment of `scripts/setup-python` |
//! | [`until`] | polling for conditions without a notification |
//!
//! Invariants:
//! * No server, cluster or directory outlives the test process.
//! * All listeners are on loopback, on free ports.
//! * No wait has a fixed duration: waits poll for conditions until [`DEADLINE`], and the message at the deadline shows
//!   what was found instead.
//! * A condition of the machine (is PostgreSQL installed?) is returned as a `Result`. A test's expectation (did the
//!   request arrive?) panics with a message.

pub mod browser;
pub mod dns;
pub mod http;
pub mod http2;
pub mod past;
pub mod postgres;
pub mod proxy;
pub mod python;
pub mod receiver;
pub mod server;
pub mod tls;
mod wait;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use browser::Browser;
pub use dns::DnsServer;
pub use http::HttpResponse;
pub use http2::{Http2Answer, Http2Receiver, Http2Request};
pub use past::Past;
pub use postgres::{PostgresCluster, TestDatabase};
pub use proxy::Proxy;
pub use receiver::{Answer, Receiver, RecordedRequest, Response};
pub use server::{TestServer, TestServerBuilder};
pub use tls::{Authority, Identity};
pub use wait::until;

/// The limit for every wait: far longer than anything takes on a busy machine, and shorter than the test runner's
/// limit, so that the wait's own message is shown.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition without a notification is checked.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// The repository's root directory.
#[must_use]
pub fn workspace_directory() -> PathBuf {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_directory
        .ancestors()
        .nth(2)
        .expect("the crate is two directories below the root")
        .to_path_buf()
}
