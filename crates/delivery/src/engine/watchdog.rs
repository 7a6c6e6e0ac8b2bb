//! Notices when a part of the engine ends that must not end: the committer, the timer, the lease keeper, and all others.
//!
//! Nothing in the engine is restarted by itself: what a part had in hand when it panicked is not known, and a fresh process
//! finds everything that is owed in the store. The engine only says that it has failed. `/readyz` shows it at once, and the
//! server ends the process with a failure. Parts of the server that must not end either are watched by the same watchdog.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::FutureExt as _;
use tokio::{sync::watch, task::JoinHandle};

use super::Inner;

/// See the module.
#[derive(Default)]
pub(super) struct Watchdog {
    failed: watch::Sender<Option<&'static str>>,
    /// Parts may end: the server stops.
    stopping: AtomicBool,
}

impl Watchdog {
    /// From now on parts may end.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Which part has failed, if one has.
    pub(super) fn failed(&self) -> Option<&'static str> {
        *self.failed.borrow()
    }

    /// Waits until a part fails.
    pub(super) async fn wait(&self) -> &'static str {
        let mut failed = self.failed.subscribe();
        loop {
            if let Some(part) = *failed.borrow_and_update() {
                return part;
            }
            if failed.changed().await.is_err() {
                // The sender is a field of `self`.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Inner {
    /// A part of the engine has failed: from now on the engine is not ready.
    pub(super) fn fail(&self, part: &'static str) {
        tracing::error!(
            part,
            "a part of the server has failed: this is a bug; what is owed is safe in the store"
        );
        self.watchdog.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert(part);
            first
        });
    }

    /// Starts a part that may end: the engine fails if it panics.
    pub(super) fn spawn(
        self: &Arc<Self>,
        part: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        self.runtime.spawn(Arc::clone(self).guard(part, task))
    }

    /// Starts a part that runs until the engine stops: the engine fails if it panics or ends before.
    pub(super) fn spawn_for_good(
        self: &Arc<Self>,
        part: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let inner = Arc::clone(self);
        self.spawn(part, async move {
            task.await;
            if !inner.watchdog.stopping.load(Ordering::Acquire) {
                inner.fail(part);
            }
        })
    }

    /// Has the engine fail if a task panics.
    pub(super) async fn guard(self: Arc<Self>, part: &'static str, task: impl Future<Output = ()>) {
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            self.fail(part);
        }
    }
}
