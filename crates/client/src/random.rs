//! Randomness for backoff and request ids.

use std::sync::atomic::{AtomicU64, Ordering};

/// 64 random bits. If the system provides no randomness, bits that are at least unique within the process.
pub(crate) fn bits() -> u64 {
    static FALLBACK: AtomicU64 = AtomicU64::new(0x9e37_79b9_7f4a_7c15);
    getrandom::u64().unwrap_or_else(|_| FALLBACK.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed))
}

/// A unique request id: 128 random bits.
pub(crate) fn request_id() -> String {
    format!("{:016x}{:016x}", bits(), bits())
}
