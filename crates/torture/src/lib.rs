//! The fault harness: real servers on a real store, publishers that record every acknowledgement, receivers that record
//! every arrival and misbehave, faults chosen by a seed, and a checker that reads the history which they all write.
//!
//! | module | content |
//! | --- | --- |
//! | [`history`] | the history of a run: one JSON line per entry |
//! | [`run`], `torture` | a run: its start, its load and its verdict; a run with faults |
//! | `nodes` | the servers, each with its own connection to PostgreSQL |
//! | `publisher`, `receivers` | the two ends |
//! | `changer` | changes URL and state of webhooks under the load |
//! | `leavers`, `made` | callers that leave in the middle of their calls, and the resources that they created |
//! | `faults` | the faults of a run |
//! | `dump` | the final content of the store |
//! | [`checker`] | the guarantees, as figures and breaches |
//! | [`aged`] | an installation as months of use would leave it, and the steps that it goes through |
//! | `disk` | a separate file system, which can be full |
//! | `drills` | single faults, repeated and timed |
//! | `power_loss` | SQLite's files as they could be after a loss of power |

pub mod aged;
mod changer;
pub mod checker;
mod disk;
mod drills;
mod dump;
mod faults;
pub mod history;
mod leavers;
mod made;
mod nodes;
mod power_loss;
mod publisher;
mod receivers;
pub mod run;
mod torture;

pub use drills::{kills, rolling};
pub use power_loss::{Outcome, PowerLoss, power_loss};
pub use torture::torture;

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness uses the real time, whatever clocks its servers have"
)]
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Prints the progress of a run, for the user.
#[expect(clippy::print_stderr, reason = "a run prints its progress for the user")]
pub(crate) fn eprint(text: &str) {
    eprintln!("{text}");
}

/// Pseudorandom numbers from a seed: SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number of `0..bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }
}
