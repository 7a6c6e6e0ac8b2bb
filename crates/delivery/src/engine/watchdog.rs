//! The watchdog of the parts that must not end: the committer, the scheduler, the lease keeper, and all others.
//!
//! | state | meaning |
//! | --- | --- |
//! | watching | a part that panics, or that ends although it must keep running, fails the engine |
//! | failed | the first part that failed is kept; `/readyz` shows it, and the server ends the process |
//! | stopping | parts may end; one that panics still fails the engine |
//!
//! No single part of the engine is restarted: its state when it panicked is unknown, and a new process finds everything
//! that is owed in the store. The same watchdog also watches parts of the server.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::FutureExt as _;
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

/// A handle to the watchdog. Cheap to clone.
#[derive(Clone)]
pub(super) struct Watchdog(Arc<Shared>);

struct Shared {
    /// The runtime of the parts.
    runtime: Handle,
    failed: watch::Sender<Option<&'static str>>,
    /// Parts may end: the server stops.
    stopping: AtomicBool,
}

impl Watchdog {
    pub(super) fn new(runtime: Handle) -> Self {
        Self(Arc::new(Shared {
            runtime,
            failed: watch::Sender::default(),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Allows parts to end from now on.
    pub(super) fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    /// The part that has failed, if one has.
    pub(super) fn failed(&self) -> Option<&'static str> {
        *self.0.failed.borrow()
    }

    /// Waits until a part fails.
    pub(super) async fn wait(&self) -> &'static str {
        let mut failed = self.0.failed.subscribe();
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

    /// Records that a part has failed: from now on the engine is not ready.
    pub(super) fn fail(&self, part: &'static str) {
        tracing::error!(
            part,
            "a part of the server has failed: this is a bug; what is owed is safe in the store"
        );
        self.0.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert(part);
            first
        });
    }

    /// Starts a part that may end: the engine fails if it panics.
    pub(super) fn spawn(&self, part: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.0.runtime.spawn(self.clone().guard(part, task))
    }

    /// Starts a part that runs until the engine stops. The engine fails if it panics or ends earlier.
    pub(super) fn spawn_permanent(
        &self,
        part: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let watchdog = self.clone();
        self.spawn(part, async move {
            task.await;
            if !watchdog.0.stopping.load(Ordering::Acquire) {
                watchdog.fail(part);
            }
        })
    }

    /// Fails the engine if a task panics.
    pub(super) async fn guard(self, part: &'static str, task: impl Future<Output = ()>) {
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            self.fail(part);
        }
    }
}
