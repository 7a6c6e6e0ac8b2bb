//! Runs a change to completion even if its caller disconnects.
//!
//! A change takes several steps: its commit, the in-memory mirror, the engine, the confirmation of the other nodes. gRPC and
//! HTTP drop a call's handler when the caller cancels, its deadline passes or its connection breaks. A handler that changes
//! something therefore runs in its own task, and its caller only waits for the result.
//!
//! Abandoned tasks are bounded. A task holds one of [`TASKS_MAX`] permits until it ends; a call without a permit waits for
//! one in its caller's time. Each step of a change has its own deadline. A queued change whose caller has disconnected has
//! done nothing, and ends there ([`unless_abandoned`]).

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tracing::Instrument as _;

use super::error::{AppError, AppResult};

/// Maximum number of tasks, with or without a caller.
const TASKS_MAX: usize = 1_024;

tokio::task_local! {
    /// Closed when the caller of the current task has disconnected.
    static CALLER: watch::Receiver<()>;
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Completion {
    permits: Arc<Semaphore>,
}

impl Default for Completion {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(TASKS_MAX)),
        }
    }
}

impl Completion {
    /// Runs work to completion, even if the returned future is dropped.
    ///
    /// # Errors
    /// When the work panics.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> AppResult<T> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let (here, caller) = watch::channel(());
        let task = async move {
            let done = CALLER.scope(caller, work).await;
            drop(permit);
            done
        };
        let done = tokio::spawn(task.in_current_span()).await;
        drop(here);
        done.map_err(|error| AppError::internal(&error))
    }
}

/// Waits for work that changes nothing, such as waiting for a turn.
///
/// # Errors
/// When the caller has disconnected: then the work is dropped.
pub(super) async fn unless_abandoned<T>(work: impl Future<Output = AppResult<T>>) -> AppResult<T> {
    let Ok(mut caller) = CALLER.try_with(watch::Receiver::clone) else {
        return work.await;
    };
    tokio::select! {
        biased;
        done = work => done,
        _ = caller.changed() => Err(AppError::Unavailable("the caller disconnected before the change began".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::sync::{Notify, oneshot};

    use super::*;

    #[tokio::test]
    async fn work_ends_although_nobody_waits_for_it() {
        let completion = Completion::default();
        let (go_on, waits) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (ended, end) = oneshot::channel();
        let work = {
            let (go_on, waits) = (Arc::clone(&go_on), Arc::clone(&waits));
            async move {
                waits.notify_one();
                go_on.notified().await;
                ended.send(()).ok();
            }
        };
        tokio::select! {
            _ = completion.run(work) => panic!("the work cannot have ended"),
            () = waits.notified() => {}
        }
        assert_eq!(
            completion.permits.available_permits(),
            TASKS_MAX - 1,
            "it holds its permit"
        );
        go_on.notify_one();
        end.await.unwrap();
        let _all = completion.permits.acquire_many(1_024).await.unwrap();
    }

    #[tokio::test]
    async fn a_change_that_waits_for_its_turn_ends_with_its_caller() {
        let completion = Completion::default();
        let (ended, end) = oneshot::channel();
        let work = async move {
            let turn = unless_abandoned(std::future::pending::<AppResult<()>>()).await;
            ended.send(turn).ok();
        };
        let mut call = Box::pin(completion.run(work));
        assert!((&mut call).now_or_never().is_none());
        drop(call);
        assert!(matches!(end.await.unwrap(), Err(AppError::Unavailable(_))));
    }

    #[tokio::test]
    async fn calls_wait_for_a_permit_in_their_callers_time() {
        let completion = Completion::default();
        let all = Arc::clone(&completion.permits).acquire_many_owned(1_024).await.unwrap();
        let mut call = Box::pin(completion.run(async { 7 }));
        assert!((&mut call).now_or_never().is_none());
        drop(all);
        assert_eq!(call.await, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let panics = async { panic!("of the test") };
        let result: AppResult<()> = Completion::default().run(panics).await;
        assert!(matches!(result, Err(AppError::Internal(_))));
    }
}
