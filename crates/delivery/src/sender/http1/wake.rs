//! Waker that ignores wake-ups by its own task.
//!
//! hyper's connection wakes its task when it is given a request, and when a part of a body is taken. Here the same task does both,
//! and then polls the connection anyway. The wake-up would only cause one more poll.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use futures::task::AtomicWaker;

/// See the module.
pub(super) struct OwnWaker {
    shared: Arc<Shared>,
    waker: Waker,
}

#[derive(Default)]
struct Shared {
    task: AtomicWaker,
    muted: AtomicBool,
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.muted.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl OwnWaker {
    pub(super) fn new() -> Self {
        let shared = Arc::<Shared>::default();
        let waker = Waker::from(Arc::clone(&shared));
        Self { shared, waker }
    }

    /// Wakes the task of `cx` from now on. Returns the context to poll with.
    pub(super) fn context(&self, cx: &Context<'_>) -> Context<'_> {
        self.shared.task.register(cx.waker());
        Context::from_waker(&self.waker)
    }

    /// Runs `act` without waking the task. The caller polls afterwards.
    pub(super) fn muted<T>(&self, act: impl FnOnce() -> T) -> T {
        self.shared.muted.store(true, Ordering::SeqCst);
        let result = act();
        self.shared.muted.store(false, Ordering::SeqCst);
        result
    }
}
