//! The operations of a node as one of several: see [`super::nodes`], [`super::adoption`] and [`super::configuration`].

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use diesel_async::AsyncPgConnection;
use futures::StreamExt as _;

use super::{
    Postgres, adoption,
    configuration::{self, ChangeLock},
    nodes,
    notices::{self, CHANNEL},
    queries,
    scope::SUFFIX,
    session, wire, within_deadline,
};
use crate::{
    DEADLINE,
    clock::{boot_us, schedule_us},
    configuration::Missing,
    error::StoreError,
    nodes::{Adopted, Beat, NodeReport, NodeRow, Notice},
};

/// The minimum time for a connection, however short the lease is.
const MIN_PATIENCE: Duration = Duration::from_secs(1);
/// The first and the longest pause between checks whether the other nodes have confirmed a change.
const CONFIRM_PAUSE: Duration = Duration::from_millis(2);
const CONFIRM_PAUSE_MAX: Duration = Duration::from_millis(50);
/// How long the other nodes may take to confirm a change. A node that does not confirm loses its lease earlier.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(20);
/// How long the connection that holds the configuration lock is kept for the next change.
const CHANGE_IDLE_MAX: Duration = Duration::from_secs(10);

impl Postgres {
    pub(crate) fn number(&self) -> u16 {
        u16::try_from(self.identity.number()).unwrap_or_default()
    }

    pub(crate) fn lease(&self) -> Duration {
        self.node.lease
    }

    /// Joins again after the lease was lost, and opens the connection for commits on the current runtime.
    pub(crate) async fn rejoin(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        drop(writer.take());
        let joined = within_deadline(async {
            let mut conn = self.connect().await?;
            nodes::join(&mut conn, &self.identity, &self.node).await?;
            self.anchor(&mut conn).await?;
            Ok(conn)
        });
        *writer = Some(joined.await?);
        Ok(())
    }

    /// Renews the lease if there is a report, and returns the state of the nodes.
    pub(crate) async fn beat(&self, report: Option<&NodeReport>) -> Result<Beat, StoreError> {
        self.on_watch(async |conn| {
            let beat = nodes::beat(conn, &self.identity, &self.node, &self.sightings, report).await?;
            let clock_set_by = self.check_clock(conn).await?;
            Ok(Beat { clock_set_by, ..beat })
        })
        .await
    }

    /// Waits for notices, for at most `patience`.
    pub(crate) async fn notices(&self, patience: Duration) -> Result<Vec<Notice>, StoreError> {
        let mut watch = self.watch.lock().await;
        let Some(conn) = watch.as_mut() else {
            tokio::time::sleep(patience).await;
            return Ok(Vec::new());
        };
        let mut stream = std::pin::pin!(conn.notifications_stream());
        let mut heard = Vec::new();
        let Ok(Some(first)) = tokio::time::timeout(patience, stream.next()).await else {
            return Ok(heard);
        };
        let mut next = Some(first);
        while let Some(notification) = next {
            let notification = notification?;
            heard.extend(self.read_notice(&notification.payload));
            next = futures::FutureExt::now_or_never(stream.next()).flatten();
        }
        Ok(heard)
    }

    fn read_notice(&self, text: &str) -> Option<Notice> {
        let mut words = text.split(' ');
        match words.next()? {
            // This node's own changes are in force here already. A server of an older version does not send its number.
            "configuration" => (words.next()?.parse() != Ok(self.identity.number())).then_some(Notice::Configuration),
            "nodes" => Some(Notice::Nodes),
            "due" => {
                let node = words.next()?;
                let webhook = words.next()?.parse().ok()?;
                let mine = node == "*" || node.parse() == Ok(self.identity.number());
                mine.then_some(Notice::Due(webhook))
            }
            "skipped" => Some(Notice::Skipped {
                webhook: words.next()?.parse().ok()?,
                delivery: words.next()?.parse().ok()?,
            }),
            _ => None,
        }
    }

    /// Notifies every node that a delivery was ended, which one of them may have in memory.
    pub(crate) async fn tell_skipped(&self, webhook: i64, delivery: i64) {
        self.tell(&format!("skipped {webhook} {delivery}")).await;
    }

    /// Notifies every node that a webhook has due deliveries.
    pub(crate) async fn tell_due(&self, webhook: i64) {
        self.tell(&format!("due * {webhook}")).await;
    }

    /// Sends a notice. A lost notice causes only a delay.
    async fn tell(&self, text: &str) {
        if let Err(error) = self.read(async |conn| notices::notify(conn, text).await).await {
            tracing::warn!(%error, "cannot notify the other nodes");
        }
    }

    /// Fences a node whose lease has ended. Returns false if the lease was renewed meanwhile, or if another node is
    /// fencing it.
    pub(crate) async fn fence(&self, number: u16, epoch: i64) -> Result<bool, StoreError> {
        let number = i32::from(number);
        let mark = self.read(async |conn| nodes::mark(conn, number, epoch).await).await?;
        let Some(mark) = mark.filter(|mark| self.sightings.has_ended(number, *mark, boot_us())) else {
            return Ok(false);
        };
        // Any node may do this, because it takes from a node only what that node has lost already.
        self.transaction(async |conn| Ok(adoption::fence(conn, number, mark).await?))
            .await
    }

    /// Makes a step of adopting what a lost node owned.
    pub(crate) async fn adopt(&self, number: u16) -> Result<Adopted, StoreError> {
        let (lost, me) = (i32::from(number), self.identity.number());
        let events = self
            .write(None, async |conn| {
                adoption::adopt_events(conn, lost, me, schedule_us()).await
            })
            .await?;
        if !events.done {
            return Ok(events);
        }
        let mut after = (i64::MIN, i32::MIN);
        loop {
            let page = self
                .read(async |conn| queries::waiting_page(conn, after, adoption::PAGE).await)
                .await?;
            let of_lost = page.waiting.iter().filter(|waiting| waiting.node == lost);
            let webhooks: Vec<i64> = of_lost.map(|waiting| waiting.webhook).collect();
            if !webhooks.is_empty() {
                let step = self
                    .write(None, async |conn| {
                        adoption::adopt_pending(conn, lost, me, &webhooks).await
                    })
                    .await?;
                if step.more {
                    return Ok(step);
                }
            }
            let Some(next) = page.next else { break };
            after = next;
        }
        let done = self
            .write(None, async |conn| adoption::finish(conn, lost).await)
            .await?;
        Ok(Adopted {
            done,
            ..Adopted::default()
        })
    }

    /// Gives one part in `parts` of a webhook's pending deliveries at this node to another node, step by step.
    pub(crate) async fn give(&self, to: u16, webhook: i64, held: &[i64], parts: usize) -> Result<usize, StoreError> {
        let (me, to) = (self.identity.number(), i32::from(to));
        let parts = i64::try_from(parts.max(1)).unwrap_or(i64::MAX);
        let mut left = self
            .read(async |conn| adoption::share(conn, me, webhook, parts).await)
            .await?;
        let mut given = 0;
        while left > 0 {
            let step = self
                .write(None, async |conn| {
                    adoption::give(conn, me, to, webhook, held, left).await
                })
                .await?;
            if step == 0 {
                break;
            }
            given += step;
            left -= i64::try_from(step).unwrap_or(i64::MAX);
        }
        Ok(given)
    }

    /// Releases the lease.
    pub(crate) async fn leave(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let left = within_deadline(async {
            let mut conn = match writer.take() {
                Some(conn) => conn,
                None => self.connect_writer().await?,
            };
            nodes::leave(&mut conn, &self.identity).await
        })
        .await;
        drop(self.watch.lock().await.take());
        left
    }

    pub(crate) async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.read(async |conn| {
            let mut nodes = nodes::list(conn, &self.sightings).await?;
            nodes::count_waiting(conn, &mut nodes).await?;
            Ok(nodes)
        })
        .await
    }

    pub(crate) async fn watermark(&self) -> Result<i64, StoreError> {
        let number = self.identity.number();
        self.read(async |conn| nodes::watermark(conn, number).await).await
    }

    pub(crate) async fn lowest_watermark(&self) -> Result<i64, StoreError> {
        self.read(async |conn| nodes::lowest_watermark(conn).await).await
    }

    /// Waits for its turn to change the configuration.
    pub(crate) async fn lock_configuration(&self) -> Result<ChangeLock, StoreError> {
        within_deadline(async {
            let kept = self.change.lock().await.take();
            // After a while the connection may lead to a server that is no longer the primary, because a standby was
            // promoted.
            let kept = kept.filter(|(_, returned)| returned.elapsed() < CHANGE_IDLE_MAX);
            if let Some((conn, _)) = kept
                && let Ok(lock) = configuration::lock(conn).await
            {
                return Ok(lock);
            }
            configuration::lock(self.connect().await?).await
        })
        .await
    }

    /// Lets other callers change the configuration.
    pub(crate) async fn unlock_configuration(&self, mut lock: ChangeLock) -> Result<(), StoreError> {
        within_deadline(async { Ok(configuration::unlock(&mut lock.conn).await?) }).await?;
        *self.change.lock().await = Some((lock.conn, Instant::now()));
        Ok(())
    }

    /// The version of this node's last configuration change.
    pub(crate) fn changed_configuration(&self) -> i64 {
        self.changed.load(Ordering::Acquire)
    }

    /// See [`configuration::missing`].
    pub(crate) async fn missing_configuration(&self, known: i64) -> Result<(i64, Missing), StoreError> {
        self.read(async |conn| configuration::missing(conn, known).await).await
    }

    pub(crate) async fn accept_configuration(&self) -> Result<i64, StoreError> {
        let number = self.identity.number();
        self.read(async |conn| configuration::accept(conn, number).await).await
    }

    pub(crate) async fn confirm_configuration(&self, version: i64) -> Result<(), StoreError> {
        let number = self.identity.number();
        self.read(async |conn| configuration::confirm(conn, number, version).await)
            .await
    }

    /// Waits until the version is in force on every other node, or the node has lost its lease.
    pub(crate) async fn configuration_in_force(&self, version: i64) -> Result<(), StoreError> {
        let me = self.identity.number();
        let begun = Instant::now();
        let mut pause = CONFIRM_PAUSE;
        loop {
            let behind = self
                .read(async |conn| configuration::behind(conn, me, version).await)
                .await?;
            let Some(first) = behind.first() else { return Ok(()) };
            if begun.elapsed() > CONFIRM_DEADLINE {
                return Err(StoreError::Unconfirmed(first.name.clone()));
            }
            for node in &behind {
                // This does nothing unless the node's lease has ended.
                self.fence(u16::try_from(node.number).unwrap_or_default(), node.epoch)
                    .await?;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(CONFIRM_PAUSE_MAX);
        }
    }

    /// Runs work on the connection that receives notices. After an error a new connection is opened.
    async fn on_watch<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, StoreError>,
    {
        let mut watch = self.watch.lock().await;
        let result = tokio::time::timeout(self.node.lease.clamp(MIN_PATIENCE, DEADLINE), async {
            let mut conn = match watch.take() {
                Some(conn) => conn,
                None => {
                    let mut conn = self.connect().await?;
                    let listen = format!("DO $$ BEGIN EXECUTE format('LISTEN %I', '{CHANNEL}' || {SUFFIX}); END $$");
                    session::batch(&mut conn, &listen).await?;
                    conn
                }
            };
            match work(&mut conn).await {
                Ok(done) => Ok((conn, done)),
                Err(error) => Err(wire::refine(&mut conn, error)),
            }
        })
        .await
        .unwrap_or(Err(StoreError::Timeout(self.node.lease.as_secs())));
        let (conn, done) = result?;
        *watch = Some(conn);
        Ok(done)
    }
}
