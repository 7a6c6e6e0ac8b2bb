//! Waiting for what nothing announces.

use std::{fmt::Display, time::Instant};

use crate::{DEADLINE, POLL};

/// Looks again and again until there is what is waited for, and returns it. A look in vain says what there was instead.
///
/// # Panics
/// When there is none within [`DEADLINE`], with what the last look saw.
pub async fn until<T, E: Display>(what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(
                begun.elapsed() < DEADLINE,
                "waited in vain for {what}; there was\n{seen}"
            ),
        }
        tokio::time::sleep(POLL).await;
    }
}
