//! Changes of configuration: one at a time over all nodes, durable before they are in force, and in force on every node
//! before the call returns.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use hookwright_domain::id::WebhookId;
use hookwright_storage::{ConfigurationChange, Store};
use tokio::sync::{Mutex, MutexGuard, Notify, watch};

use super::{App, completion::unless_abandoned, error::AppResult};

/// How long to wait before the configuration is read again when that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Who may change the configuration, and which version of it is in force here.
#[derive(Default)]
pub(super) struct Changes {
    /// Changes made here take turns.
    turn: Mutex<()>,
    /// Held while the mirror in memory changes. Never while waiting for another node: that one may wait for this mirror.
    mirror: Mutex<()>,
    version: AtomicI64,
    /// A change failed half way: the mirror may lack what the store has.
    doubt: Notify,
}

impl Changes {
    pub(super) fn new(version: i64) -> Self {
        Self {
            version: AtomicI64::new(version),
            ..Self::default()
        }
    }
}

/// A change under way. To be settled when store and mirror have it.
pub(super) struct Changing<'a> {
    app: &'a App,
    change: Option<ConfigurationChange>,
    mirror: Option<MutexGuard<'a, ()>>,
    stored: bool,
    _turn: MutexGuard<'a, ()>,
}

impl App {
    /// Waits for its turn to change the configuration; afterwards the mirror is up to date, and stays.
    pub(super) async fn changing(&self) -> AppResult<Changing<'_>> {
        // Boxed: the futures of the store are large, and this one lies in that of every call that changes anything.
        let (turn, change) = Box::pin(unless_abandoned(async {
            let turn = self.changes.turn.lock().await;
            Ok((turn, self.store.change_configuration().await?))
        }))
        .await?;
        let mirror = self.changes.mirror.lock().await;
        let version = self.store.configuration_version().await?;
        if version > self.changes.version.load(Ordering::Acquire) {
            Box::pin(self.reload(version)).await?;
        }
        Ok(Changing {
            app: self,
            change: Some(change),
            mirror: Some(mirror),
            stored: false,
            _turn: turn,
        })
    }

    /// Follows what other nodes change, until the engine ends.
    pub async fn follow_configuration(self: Arc<Self>, mut versions: watch::Receiver<i64>) {
        loop {
            tokio::select! {
                changed = versions.changed() => if changed.is_err() { return },
                () = self.changes.doubt.notified() => {}
            }
            while let Err(error) = self.catch_up().await {
                tracing::warn!(%error, "cannot read the configuration again yet; will try again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Reads the configuration again.
    async fn catch_up(&self) -> AppResult<()> {
        let _mirror = self.changes.mirror.lock().await;
        // The version first: what is read afterwards is that version or a later one.
        let version = self.store.configuration_version().await?;
        self.reload(version).await
    }

    async fn reload(&self, version: i64) -> AppResult<()> {
        let mut rows = self.store.load_catalogue().await?;
        self.tokens.replace(&rows.tokens, &rows.revoked_links);
        self.ended_sessions.replace(std::mem::take(&mut rows.ended_sessions));
        // What is published from here on is no part of a backlog that is being discarded: its ids are beyond the backlog's.
        if let Some(beyond) = rows.discards.iter().map(|row| row.through).max() {
            self.ids.move_to(self.store.node(), beyond);
        }
        let changed: HashSet<i64> = self.registry.replace(rows);
        for webhook in changed {
            self.engine.webhook_changed(WebhookId::from_raw(webhook));
        }
        self.in_force(version);
        // The others wait for it; should this fail, the next heartbeat says it.
        if let Err(error) = self.store.confirm_configuration(version).await {
            tracing::warn!(%error, "cannot confirm the configuration yet");
        }
        Ok(())
    }

    fn in_force(&self, version: i64) {
        self.changes.version.fetch_max(version, Ordering::AcqRel);
        self.engine.configured(version);
    }
}

impl Changing<'_> {
    /// The store, to make the change in.
    pub(super) fn store(&mut self) -> &Store {
        self.stored = true;
        &self.app.store
    }

    /// Waits until the change is in force on every node.
    pub(super) async fn settle(mut self) -> AppResult<()> {
        self.mirror = None;
        if let Some(change) = self.change.take() {
            let version = Box::pin(change.settle()).await?;
            self.app.in_force(version);
        }
        Ok(())
    }
}

impl Drop for Changing<'_> {
    /// An error on the way back from the store may have left the mirror behind the store.
    fn drop(&mut self) {
        if self.stored && self.change.is_some() {
            self.app.changes.doubt.notify_one();
        }
    }
}
