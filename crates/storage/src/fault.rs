//! Faults on purpose, for the fault harness: builds for development can be told to die at a named point, or to break a
//! promise that the harness must then find broken. Release builds know nothing of it.
//!
//! `HOOKWRIGHT_FAILPOINT=name[:n]` ends the process, as SIGKILL would, when it comes to the point for the nth time.
//! `HOOKWRIGHT_PLANT=name` plants a bug.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

struct Failpoint {
    name: String,
    left: AtomicU64,
}

static FAILPOINT: LazyLock<Option<Failpoint>> = LazyLock::new(|| {
    let text = std::env::var("HOOKWRIGHT_FAILPOINT").ok()?;
    let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
    Some(Failpoint {
        name: name.to_owned(),
        left: AtomicU64::new(count.parse().unwrap_or(1)),
    })
});

static PLANT: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("HOOKWRIGHT_PLANT").ok());

/// A point at which the process may be told to die.
pub fn point(name: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    if let Some(failpoint) = &*FAILPOINT
        && failpoint.name == name
        && failpoint.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // Neither destructors nor buffers: what was not durable is gone.
        std::process::abort();
    }
}

/// Whether a bug is to be planted.
pub fn is_planted(name: &str) -> bool {
    cfg!(debug_assertions) && PLANT.as_deref() == Some(name)
}

/// A point at which the task that comes to it may be told to panic.
pub fn panic_if_planted(name: &str) {
    assert!(!is_planted(name), "a panic was planted: {name}");
}
