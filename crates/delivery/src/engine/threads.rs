//! The sending threads: one per core, each with its own runtime.
//!
//! A lane and its connections stay on one of them, so its work never waits for another core to wake up. A task that
//! blocks its thread delays only the lanes of that thread.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

thread_local! {
    /// When this thread had nothing left to do last.
    static RESTED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Whether this sending thread has had nothing left to do at some time within the period that ends now. Otherwise an event of
/// the period may have waited for the thread.
pub(super) fn has_rested_within(period: Duration) -> bool {
    RESTED.get().is_some_and(|rested| rested.elapsed() <= period)
}

/// The sending threads. They end when this is dropped.
pub(super) struct Threads {
    handles: Vec<Handle>,
    _ends: Vec<oneshot::Sender<()>>,
}

impl Threads {
    /// Starts `count` threads.
    pub(super) fn start(count: usize) -> std::io::Result<Self> {
        let mut threads = Self {
            handles: Vec::with_capacity(count),
            _ends: Vec::with_capacity(count),
        };
        for number in 0..count.max(1) {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .on_thread_park(|| RESTED.set(Some(Instant::now())))
                .build()?;
            let (end, ended) = oneshot::channel::<()>();
            threads.handles.push(runtime.handle().clone());
            threads._ends.push(end);
            std::thread::Builder::new()
                .name(format!("sender-{number}"))
                .spawn(move || drop(runtime.block_on(ended)))?;
        }
        Ok(threads)
    }

    /// The thread of a webhook's lane.
    pub(super) fn of(&self, webhook: i64) -> &Handle {
        // Ids are sequential, so their low bits would put neighbours together.
        let spread = webhook.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let place = usize::try_from(spread).unwrap_or(0) % self.handles.len();
        &self.handles[place]
    }
}
