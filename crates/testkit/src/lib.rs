//! What tests of Hookwright stand on: the real thing around the code under test, never an imitation
//! of it. For development only.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`browser`] | [`Browser`]: Chromium without a screen |
//! | [`dns`] | [`DnsServer`]: a DNS server that answers by a script |
//! | [`http`] | a plain HTTP client that shows what came back |
//! | [`past`] | [`Past`]: the store of a stopped server, filled with what months would build |
//! | [`postgres`] | [`PostgresCluster`]: a real PostgreSQL cluster in a temporary directory, and empty databases in it |
//! | [`receiver`] | [`Receiver`]: an HTTP/1.1 receiver that keeps the raw bytes that came and answers by a script |
//! | [`server`] | [`TestServer`]: the real `hookwright` binary as a child process |
//! | [`tls`] | [`Authority`]: a certificate authority of the test's own |
//! | [`proxy`] | [`Proxy`]: a TCP proxy that can hold, slow down and cut connections |
//! | [`python`] | verifiers written by others, run in the virtual environment of `scripts/setup-python` |
//! | [`until`] | waiting for what nothing announces |
//!
//! Invariants:
//! * Nothing outlives the test process: not a server, not a cluster, not a directory.
//! * Nothing listens anywhere but on loopback, and every port is a free one.
//! * Nothing waits for a fixed time: waits are for conditions, with [`DEADLINE`] as the end, and the
//!   message at that end says what there was instead.
//! * What depends on the machine (is PostgreSQL there?) returns a `Result`; what is a test's
//!   expectation (did the request come?) panics with a message.

pub mod browser;
pub mod dns;
pub mod http;
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
pub use past::Past;
pub use postgres::{PostgresCluster, TestDatabase};
pub use proxy::Proxy;
pub use receiver::{Answer, Receiver, RecordedRequest, Response};
pub use server::{TestServer, TestServerBuilder};
pub use tls::Authority;
pub use wait::until;

/// How long anything is waited for: far longer than it takes on a busy machine, and shorter than
/// the test runner's own limit, so that the message of the wait is what a person sees.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at that nothing announces.
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
