//! Work that is a row in the store: a node takes rows that nobody works on, on a lease, and works on them until they end.
//!
//! Replays and operations are such work. A row whose node is gone is taken by another node when its lease ends; a server that
//! stops leaves its rows to the node that goes on. A panic in the work ends the server, as one in any other part does.

use std::{collections::HashSet, sync::Arc, time::Duration};

use hookwright_storage::StoreError;
use tokio::{sync::Notify, task::JoinSet};

use super::App;

/// How often a node looks for rows whose node is gone, where there are several.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a node waits after the store did not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long the end of the server waits for work to note how far it is.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Which rows a node may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Free {
    /// Also those that an earlier run of this node had.
    pub(super) own: bool,
    /// At most so many.
    pub(super) most: usize,
}

/// A kind of such work.
pub(super) trait Leased: 'static {
    /// What the store has of it.
    type Row: Send + 'static;
    /// What it is called in the log.
    const WHAT: &'static str;
    /// How many rows a node works on at once.
    const PLACES: usize;

    /// Told when a row was stored.
    fn begun(app: &App) -> &Notify;

    /// A row's id.
    fn id(row: &Self::Row) -> i64;

    /// Takes rows that nobody works on.
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
                        tracing::warn!(%error, "cannot look for {} yet; will try again", L::WHAT);
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
        // What is running notes how far it is, or leaves it to whoever goes on.
        let _ = tokio::time::timeout(STOP_TIMEOUT, async { while works.join_next().await.is_some() {} }).await;
    }
}
