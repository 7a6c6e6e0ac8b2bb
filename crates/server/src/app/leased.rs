//! Background work with a row in the store: a node takes idle rows on a lease, and works on them until they end.
//!
//! Replays and operations are such work. When a node is gone, another node takes its rows at the end of their lease. A
//! server that stops leaves its rows to the next one. A panic in the work ends the server, like a panic in any other
//! component.

use std::{collections::HashSet, sync::Arc, time::Duration};

use hookwright_storage::StoreError;
use tokio::{sync::Notify, task::JoinSet};

use super::App;

/// Interval at which a node looks for rows of lost nodes, if there are several nodes.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Delay after the store did not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Time that the server's shutdown waits for work to store its progress.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The rows that a node may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Free {
    /// Including those of an earlier run of this node.
    pub(super) own: bool,
    /// Maximum number.
    pub(super) most: usize,
}

/// A kind of such work.
pub(super) trait Leased: 'static {
    /// Its row in the store.
    type Row: Send + 'static;
    /// Its name in the log.
    const WHAT: &'static str;
    /// Number of rows that a node works on concurrently.
    const PLACES: usize;

    /// Notified when a row was stored.
    fn begun(app: &App) -> &Notify;

    /// A row's id.
    fn id(row: &Self::Row) -> i64;

    /// Takes idle rows.
    fn take(app: &App, free: Free) -> impl Future<Output = Result<Vec<Self::Row>, StoreError>> + Send;

    /// Works on a row until it has ended, another node has it, or the server stops. Returns its id.
    fn work(app: Arc<App>, row: Self::Row) -> impl Future<Output = i64> + Send + 'static;
}

impl App {
    /// Works on rows of a kind until the server stops.
    pub(super) async fn run_leased<L: Leased>(self: Arc<Self>) {
        let mut stopping = self.stopping.clone();
        let several_nodes = self.store.lease().is_some();
        let mut own = true;
        let mut works = JoinSet::new();
        let mut at_work: HashSet<i64> = HashSet::new();
        while !*stopping.borrow() {
            let most = L::PLACES.saturating_sub(at_work.len());
            let mut failed = false;
            if most > 0 {
                match L::take(&self, Free { own, most }).await {
                    Ok(rows) => {
                        own = false;
                        for row in rows {
                            if at_work.insert(L::id(&row)) {
                                works.spawn(L::work(Arc::clone(&self), row));
                            }
                        }
                    }
                    Err(error) => {
                        failed = true;
                        tracing::warn!(%error, "cannot look for {} yet; will retry", L::WHAT);
                    }
                }
            }
            tokio::select! {
                () = L::begun(&self).notified() => {}
                () = tokio::time::sleep(RETRY_INTERVAL), if failed => {}
                () = tokio::time::sleep(LOOK_INTERVAL), if several_nodes => {}
                Some(ended) = works.join_next(), if !works.is_empty() => match ended {
                    Ok(id) => drop(at_work.remove(&id)),
                    // The watchdog of this task handles it: another node, or the next start, takes the row.
                    Err(error) => if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    },
                },
                _ = stopping.changed() => {}
            }
        }
        // Running work stores its progress, or leaves it to its next owner.
        let _ = tokio::time::timeout(STOP_TIMEOUT, async { while works.join_next().await.is_some() {} }).await;
    }
}
