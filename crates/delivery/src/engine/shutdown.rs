//! The shutdown of the engine: it stops accepting events and beginning attempts, waits for attempts in flight, and
//! makes the last commit.
//!
//! Attempts that exceed the limit are repeated after the next start. If the committer has failed, the shutdown does not
//! wait for attempts, because none can be recorded.

use std::time::Duration;

use super::{Engine, committer};

/// How long the shutdown waits for the statistics to be stored.
const STATISTICS_TIMEOUT: Duration = Duration::from_secs(2);

impl Engine {
    /// The server stops: tasks of [`Engine::supervise`] may end.
    pub fn let_end(&self) {
        self.parts.watchdog.stop();
    }

    /// Stops: accepts no events and begins no attempts, waits up to `limit` for the attempts in flight, then commits
    /// their outcomes. Returns whether everything that happened is durable.
    pub async fn stop(&self, limit: Duration) -> bool {
        let parts = &self.parts;
        self.let_end();
        parts.stopping.begin();
        // From now on no attempt begins, because an attempt that began after the wait below could not be recorded.
        parts.lease.lost();
        let limit = if self.failed() == Some(committer::NAME) {
            Duration::ZERO
        } else {
            limit
        };
        let in_time = tokio::time::timeout(limit, parts.turns.wait_until_free()).await.is_ok();
        if !in_time {
            tracing::warn!(
                attempts = parts.turns.taken(),
                "attempts still in flight will be made again after the next start"
            );
        }
        parts.tasks.lock().drain(..).for_each(|task| task.abort());
        let stored = tokio::time::timeout(STATISTICS_TIMEOUT, parts.statistics.store()).await;
        if stored.is_err() {
            tracing::warn!("the last seconds of the statistics could not be stored");
        }
        // Stores the distance of the schedule clock for the next start.
        let _ = tokio::time::timeout(STATISTICS_TIMEOUT, parts.store.keep_clock()).await;
        drop(parts.recovery.abort());
        parts.inbox.stop();
        let committer = parts.committer.lock().take();
        let Some(committer) = committer else { return true };
        let joined = tokio::task::spawn_blocking(move || committer.join()).await;
        matches!(joined, Ok(Ok(true)))
    }
}
