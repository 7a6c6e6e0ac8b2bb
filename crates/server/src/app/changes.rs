//! Configuration changes: one at a time over all nodes, durable before they take effect, and effective on every node before
//! the call returns.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use hookwright_domain::id::WebhookId;
use hookwright_storage::{ChangedRows, ConfigurationChange, Missing, Store, operations::OperationRow};
use tokio::sync::{Mutex, MutexGuard, Notify, OwnedMutexGuard, watch};

use super::{App, completion::unless_abandoned, error::AppResult};

/// Delay before a failed read of the configuration is retried.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How long calls of this node pass the lock on to each other before another node gets its turn.
const HELD_MAX: Duration = Duration::from_millis(250);

/// Serializes configuration changes, and tracks the effective version.
#[derive(Default)]
pub(super) struct Changes {
    /// Changes of this node take turns.
    turn: Arc<Mutex<Turn>>,
    /// Held while the in-memory mirror changes. Never held while waiting for another node, which may wait for this mirror.
    mirror: Mutex<()>,
    version: AtomicI64,
    /// A change failed halfway: the mirror may lag behind the store.
    doubt: Notify,
}

/// The lock over all nodes, which waiting calls of this node pass on to each other.
#[derive(Default)]
struct Turn {
    lock: Option<(ConfigurationChange, Instant)>,
}

impl Changes {
    pub(super) fn new(version: i64) -> Self {
        Self {
            version: AtomicI64::new(version),
            ..Self::default()
        }
    }

    /// Waits for the turn of one call. Returns true if the lock was taken just now: another node may have changed something since the
    /// last turn of this node.
    async fn turn(&self, store: &Store) -> AppResult<(OwnedMutexGuard<Turn>, bool)> {
        let mut turn = Arc::clone(&self.turn).lock_owned().await;
        let is_old = |(_, since): &mut (ConfigurationChange, Instant)| since.elapsed() > HELD_MAX;
        if let Some((lock, _)) = turn.lock.take_if(is_old) {
            lock.release().await?;
        }
        if turn.lock.is_some() {
            return Ok((turn, false));
        }
        turn.lock = Some((store.change_configuration().await?, Instant::now()));
        // Turns are served in order: this task gets its turn after the calls that wait now.
        let later = Arc::clone(&self.turn);
        tokio::spawn(async move {
            let lock = later.lock_owned().await.lock.take();
            if let Some((lock, _)) = lock
                && let Err(error) = lock.release().await
            {
                tracing::warn!(%error, "the lock on the configuration was released by closing its connection");
            }
        });
        Ok((turn, true))
    }
}

/// A change in progress. Settle it when the store and the mirror have it.
pub(super) struct Changing<'a> {
    app: &'a App,
    turn: OwnedMutexGuard<Turn>,
    _mirror: MutexGuard<'a, ()>,
    stored: bool,
}

impl App {
    /// Waits for the turn to change the configuration. Afterwards the mirror is current, and stays so.
    pub(super) async fn changing(&self) -> AppResult<Changing<'_>> {
        // Boxed, because the store's futures are large, and this one is part of the future of every changing call.
        let (turn, is_new) = Box::pin(unless_abandoned(self.changes.turn(&self.store))).await?;
        let mirror = self.changes.mirror.lock().await;
        if is_new && self.store.lease().is_some() {
            Box::pin(self.catch_up()).await?;
        }
        Ok(Changing {
            app: self,
            turn,
            _mirror: mirror,
            stored: false,
        })
    }

    /// Follows the changes of other nodes, until the engine ends.
    pub async fn follow_configuration(self: Arc<Self>, mut versions: watch::Receiver<i64>) {
        loop {
            tokio::select! {
                changed = versions.changed() => if changed.is_err() { return },
                () = self.changes.doubt.notified() => {}
            }
            while let Err(error) = self.follow().await {
                tracing::warn!(%error, "cannot reload the configuration yet; will retry");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    async fn follow(&self) -> AppResult<()> {
        let _mirror = self.changes.mirror.lock().await;
        self.catch_up().await
    }

    /// Reads what changed since the version that is effective on this node. The caller holds the mirror.
    async fn catch_up(&self) -> AppResult<()> {
        let known = self.changes.version.load(Ordering::Acquire);
        let (version, missing) = self.store.missing_configuration(known).await?;
        match missing {
            Missing::Nothing => {}
            Missing::Parts(rows) => self.take_in(*rows),
            Missing::Everything => self.reload().await?,
        }
        self.in_force(version);
        // The others wait for the confirmation; if it fails, the next heartbeat repeats it.
        if let Err(error) = self.store.confirm_configuration(version).await {
            tracing::warn!(%error, "cannot confirm the configuration yet");
        }
        Ok(())
    }

    fn take_in(&self, mut rows: ChangedRows) {
        if let Some((tokens, revoked_links)) = rows.tokens.take() {
            self.tokens.replace(&tokens, &revoked_links);
        }
        if let Some(ended) = rows.ended_sessions.take() {
            self.ended_sessions.replace(ended);
        }
        self.move_beyond(&rows.discards);
        let changed = self.registry.update(rows);
        self.tell_engine(changed);
    }

    async fn reload(&self) -> AppResult<()> {
        let mut rows = self.store.load_catalogue().await?;
        self.tokens.replace(&rows.tokens, &rows.revoked_links);
        self.ended_sessions.replace(std::mem::take(&mut rows.ended_sessions));
        self.move_beyond(&rows.discards);
        let changed = self.registry.replace(rows);
        self.tell_engine(changed);
        Ok(())
    }

    /// Events published from here on are not part of a backlog that is being discarded: their ids are beyond it.
    fn move_beyond(&self, discards: &[OperationRow]) {
        if let Some(beyond) = discards.iter().map(|row| row.through).max() {
            self.ids.move_to(self.store.node(), beyond);
        }
    }

    fn tell_engine(&self, changed: HashSet<i64>) {
        for webhook in changed {
            self.engine.webhook_changed(WebhookId::from_raw(webhook));
        }
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

    /// Waits until the change is effective on every node. Other changes may be made meanwhile.
    pub(super) async fn settle(mut self) -> AppResult<()> {
        let app = self.app;
        let version = app.store.changed_configuration();
        if self.stored {
            // Operations end without a turn, on any node: such a change may have come between.
            if version <= app.changes.version.load(Ordering::Acquire) + 1 {
                app.in_force(version);
            } else {
                Box::pin(app.catch_up()).await?;
            }
            self.stored = false;
        }
        drop(self);
        Box::pin(app.store.configuration_in_force(version)).await?;
        Ok(())
    }
}

impl Drop for Changing<'_> {
    /// After an error the mirror may lag behind the store: the next change compares both.
    fn drop(&mut self) {
        if self.stored {
            self.turn.lock = None;
            self.app.changes.doubt.notify_one();
        }
    }
}
