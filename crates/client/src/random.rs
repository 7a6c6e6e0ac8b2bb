//! Randomness of the operating system, for request ids and backoff. Functions return `None` if it provides none.

/// 64 random bits.
pub(crate) fn bits() -> Option<u64> {
    getrandom::u64().ok()
}

/// A unique request id: 128 random bits. An id from another source could be that of another event, which the server would
/// then take for the same one.
pub(crate) fn request_id() -> Option<String> {
    let (one, other) = (bits()?, bits()?);
    Some(format!("{one:016x}{other:016x}"))
}
