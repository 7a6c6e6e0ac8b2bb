//! Polling for conditions without a notification.

use std::{fmt::Display, time::Instant};

use crate::{DEADLINE, POLL};

/// Repeats a check until it returns `Ok`, and returns its result. A failed check returns what it found instead.
///
/// # Panics
/// Panics if no check succeeds within [`DEADLINE`]. The message contains what the last check found.
pub async fn until<T, E: Display>(what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(
                begun.elapsed() < DEADLINE,
                "timed out waiting for {what}; found instead:\n{seen}"
            ),
        }
        tokio::time::sleep(POLL).await;
    }
}
