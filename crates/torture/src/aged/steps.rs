//! The steps of an aged run: operations on an old installation, and failures of its machines.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use hookwright_domain::id::first_at;
use hookwright_proto::v1::{
    DeleteOrganizationRequest, ResumeWebhookRequest, UpdateWebhookRequest, Webhook,
    organization_service_client::OrganizationServiceClient, webhook_service_client::WebhookServiceClient,
};
use hookwright_testkit::postgres::StopMode;

use super::{Aged, filling::DAY_US, upgrade};
use crate::{
    dump,
    nodes::{Place, authorized, channel},
    now_us,
    receivers::WEBHOOKS,
    run::Run,
};

/// How long events are kept: longer than the store's age, until a step shortens it.
pub(super) const RETENTION: &str = "--retention";
/// How long the disk stays full if publishers do not notice.
const FULL: Duration = Duration::from_secs(20);
/// How many events must be published, and how many requests each webhook must get, to show that everything works.
const GOES_ON: u64 = 20;
/// An SQLite file of at least this size must shrink. In a smaller one some free pages stay for new rows.
const FILE_SHRINKS: u64 = 1 << 30;

/// The steps in order.
pub(super) const STEPS: [Kind; 12] = [
    Kind::Start,
    Kind::Restart,
    Kind::Kill,
    Kind::Upgrade,
    Kind::Shorten,
    Kind::Retention,
    Kind::Discard,
    Kind::Delete,
    Kind::ClockBack,
    Kind::ClockForward,
    Kind::DiskFull,
    Kind::Steady,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Start,
    Restart,
    Kill,
    Upgrade,
    Shorten,
    Retention,
    Discard,
    Delete,
    ClockBack,
    ClockForward,
    DiskFull,
    Steady,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Start => "first start",
            Self::Restart => "restart",
            Self::Kill => "kill a node",
            Self::Upgrade => "upgrade the schema",
            Self::Shorten => "shorten the retention",
            Self::Retention => "retention",
            Self::Discard => "discard a backlog",
            Self::Delete => "delete an organization",
            Self::ClockBack => "clock back an hour",
            Self::ClockForward => "clock forward a day",
            Self::DiskFull => "fill the disk",
            Self::Steady => "steady load",
        }
    }

    /// Whether the step keeps every node up, with space on its disk.
    pub(super) fn leaves_all_up(self) -> bool {
        matches!(
            self,
            Self::Retention | Self::Discard | Self::Delete | Self::ClockBack | Self::ClockForward | Self::Steady
        )
    }

    /// The checker's name of the fault, by which it explains repeated arrivals.
    pub(super) fn fault(self) -> Option<&'static str> {
        match self {
            Self::Restart | Self::Upgrade | Self::Shorten => Some("rolling_restart"),
            Self::Kill => Some("kill"),
            Self::ClockBack => Some("clock_back"),
            Self::ClockForward => Some("clock_forward"),
            Self::DiskFull => Some("disk_full"),
            Self::Start | Self::Retention | Self::Discard | Self::Delete | Self::Steady => None,
        }
    }
}

/// The size of a store.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    pub(super) on_disk: u64,
    /// Without free pages of SQLite's file.
    used: u64,
}

/// The state before retention.
pub(super) struct BeforeRetention {
    stored: Stored,
    unfetched: i64,
    events: i64,
    /// Events that have outlived it.
    expired: i64,
}

/// See [`Stored`].
pub(super) async fn stored(run: &Run) -> anyhow::Result<Stored> {
    let place = &run.nodes.place;
    if let Place::Sqlite { directory } = place {
        let used = "SELECT (page_count - freelist_count) * page_size AS number
                    FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        return Ok(Stored {
            on_disk: std::fs::metadata(directory.join("hookwright.db"))?.len(),
            used: dump::number(place, used).await?.cast_unsigned(),
        });
    }
    let size = dump::number(place, "SELECT pg_database_size(current_database()) AS number").await?;
    Ok(Stored {
        on_disk: size.cast_unsigned(),
        used: size.cast_unsigned(),
    })
}

impl Aged {
    /// Runs a step, and returns a description of its result.
    pub(super) async fn work(&mut self, kind: Kind) -> anyhow::Result<String> {
        match kind {
            Kind::Start => self.start().await,
            Kind::Restart => self.restart().await,
            Kind::Kill => self.kill().await,
            Kind::Upgrade => self.upgrade().await,
            Kind::Shorten => self.shorten().await,
            Kind::Retention => self.retention().await,
            Kind::Discard => self.discard().await,
            Kind::Delete => self.delete().await,
            Kind::ClockBack => self.clocks(-3_600).await,
            Kind::ClockForward => self.clocks(86_400).await,
            Kind::DiskFull => self.fill_disk().await,
            Kind::Steady => self.still_waiting().await,
        }
    }

    pub(super) async fn stored(&self) -> anyhow::Result<Stored> {
        stored(&self.run).await
    }

    async fn count(&self, what: &str) -> anyhow::Result<i64> {
        dump::number(&self.run.nodes.place, &format!("SELECT count(*) AS number FROM {what}")).await
    }

    /// Waits until there is no such row; the step's time limit ends the wait. Only one row is requested, because there
    /// may be millions.
    async fn until_none(&self, what: &str) -> anyhow::Result<()> {
        *self.waits_for.lock() = format!("there are still {what}");
        let first = format!("(SELECT 1 FROM {what} LIMIT 1) AS found");
        while self.count(&first).await? > 0 {
            tokio::time::sleep(self.scale.look).await;
        }
        Ok(())
    }

    async fn all_up(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        for index in 0..self.run.nodes.nodes.len() {
            self.run.nodes.up(index, None).await?;
        }
        Ok(begun.elapsed())
    }

    async fn all_down(&mut self) -> anyhow::Result<()> {
        for index in 0..self.run.nodes.nodes.len() {
            self.run.nodes.terminate(index).await?;
        }
        Ok(())
    }

    async fn start(&mut self) -> anyhow::Result<String> {
        let took = self.all_up().await?;
        let (Some(first), Some(last)) = (self.large.first().copied(), self.large.last().copied()) else {
            bail!("there are no large payloads");
        };
        let deliveries = i64::try_from(self.large.len() * WEBHOOKS.len())?;
        "large deliveries are in flight".clone_into(&mut self.waits_for.lock());
        let of_them = format!("attempts WHERE delivery_id BETWEEN {first} AND {last} + 64 AND delivery_state <> 0");
        let begun = Instant::now();
        // Others may have been stored in between: their ids are larger.
        while self.count(&of_them).await? < deliveries {
            tokio::time::sleep(self.scale.look).await;
        }
        Ok(format!(
            "ready after {:.1} s, {deliveries} large deliveries from above the watermark after {:.1} s more",
            took.as_secs_f64(),
            begun.elapsed().as_secs_f64()
        ))
    }

    async fn restart(&mut self) -> anyhow::Result<String> {
        let mut slowest = Duration::ZERO;
        for index in 0..self.run.nodes.nodes.len() {
            let begun = Instant::now();
            self.run.nodes.terminate(index).await?;
            self.run.nodes.up(index, None).await?;
            slowest = slowest.max(begun.elapsed());
        }
        Ok(format!("a node was away for {:.1} s at most", slowest.as_secs_f64()))
    }

    /// Kills the node with most of the pending deliveries. On PostgreSQL the other nodes take all of them over before
    /// it returns.
    async fn kill(&mut self) -> anyhow::Result<String> {
        let number = self.run.nodes.ask_number(0).await?;
        let owned = self.count(&format!("pending_deliveries WHERE node = {number}")).await?;
        let begun = Instant::now();
        self.run.nodes.kill(0).await?;
        if self.run.nodes.nodes.len() > 1 {
            self.until_none(&format!("pending_deliveries WHERE node = {number}"))
                .await?;
        }
        let adopted = begun.elapsed();
        self.run.nodes.up(0, None).await?;
        Ok(if self.run.nodes.nodes.len() > 1 {
            format!(
                "the others had taken over {owned} deliveries after {:.1} s",
                adopted.as_secs_f64()
            )
        } else {
            format!("up again after {:.1} s", begun.elapsed().as_secs_f64())
        })
    }

    async fn upgrade(&mut self) -> anyhow::Result<String> {
        self.all_down().await?;
        let count = upgrade::take_back(&self.run.nodes.past()).await?;
        let begun = Instant::now();
        self.run.nodes.migrate().await?;
        let migrated = begun.elapsed();
        let took = self.all_up().await?;
        Ok(format!(
            "{count} migrations took {:.1} s, all ready after {:.1} s more",
            migrated.as_secs_f64(),
            took.as_secs_f64()
        ))
    }

    /// The events that outlive the shortened retention, by whole days, because PostgreSQL does not remove a part of a
    /// day.
    fn expired(&self) -> String {
        let before = first_at((now_us() - self.scale.kept_days * DAY_US).div_euclid(DAY_US) * DAY_US);
        let first = first_at(self.filled.first_us);
        format!(
            "events e WHERE e.id BETWEEN {first} AND {before} - 1 AND NOT EXISTS (
                 SELECT 1 FROM pending_deliveries d WHERE d.delivery_id > e.id AND d.delivery_id <= e.id + 4095)"
        )
    }

    /// Retention begins with the restart. It is measured from then on, while every node is up.
    async fn shorten(&mut self) -> anyhow::Result<String> {
        self.before_retention = Some(BeforeRetention {
            stored: self.stored().await?,
            unfetched: self.unfetched().await?,
            events: self.count("events").await?,
            expired: self.count(&self.expired()).await?,
        });
        self.run.nodes.settings.retain(|(flag, _)| *flag != RETENTION);
        let setting = (RETENTION, format!("{}d", self.scale.kept_days));
        self.run.nodes.settings.push(setting);
        self.restart().await
    }

    async fn retention(&mut self) -> anyhow::Result<String> {
        let before = self.before_retention.take().context("the previous step failed")?;
        let (events, held, removed) = (before.stored, before.unfetched, before.expired);
        ensure!(
            removed > 0,
            "nothing has outlived its retention: the store was not filled"
        );
        self.until_none(&self.expired()).await?;
        // Half of the removed events' share, if all events have the same size.
        let share = removed as f64 / before.events as f64 / 2.0;
        let smaller = |now: Stored| {
            now.used as f64 <= events.used as f64 * (1.0 - share)
                && (events.on_disk <= FILE_SHRINKS || now.on_disk < events.on_disk)
        };
        "the store does not get smaller".clone_into(&mut self.waits_for.lock());
        while !smaller(self.stored().await?) {
            tokio::time::sleep(self.scale.look).await;
        }
        ensure!(
            self.unfetched().await? == held,
            "deliveries that were never pulled are gone; there were {held}"
        );
        let now = self.stored().await?;
        Ok(format!(
            "{removed} events removed, {} MiB in use before, {} after; {held} events of {} days kept that were never \
             pulled",
            events.used >> 20,
            now.used >> 20,
            self.filled.unfetched_days
        ))
    }

    async fn unfetched(&self) -> anyhow::Result<i64> {
        self.count(&format!("pending_deliveries WHERE webhook_id = {}", self.filled.pull))
            .await
    }

    /// Discards a backlog as an operator does: pauses the webhook, and resumes it without its backlog.
    async fn discard(&mut self) -> anyhow::Result<String> {
        let name = self.filled.dead_name();
        let switch_off = UpdateWebhookRequest {
            webhook: Some(Webhook {
                name: name.clone(),
                active: Some(false),
                ..Webhook::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["active".to_owned()],
            }),
        };
        let request = ResumeWebhookRequest {
            name,
            discard_backlog: true,
        };
        // The ping that the resumed webhook gets is newer.
        let of_it = format!("webhook_id = {} AND delivery_id < {}", self.filled.dead, self.run.first);
        let waits = format!("pending_deliveries WHERE {of_it}");
        let ended = format!("delivery_endings WHERE {of_it}");
        let before = self.count(&waits).await?;
        let begun = Instant::now();
        let mut client = WebhookServiceClient::new(channel(&self.address()?).await?);
        let switch_off = authorized(switch_off, self.run.nodes.token())?;
        client.update_webhook(switch_off).await.context("switching it off")?;
        let request = authorized(request, self.run.nodes.token())?;
        client.resume_webhook(request).await.context("the call")?;
        self.until_ended(&waits, &ended, before, begun).await
    }

    async fn delete(&mut self) -> anyhow::Result<String> {
        let request = DeleteOrganizationRequest {
            name: "organizations/doomed".to_owned(),
            force: true,
        };
        let waits = format!("pending_deliveries WHERE organization_id = {}", self.filled.doomed);
        let ended = format!("delivery_endings WHERE organization_id = {}", self.filled.doomed);
        let before = self.count(&waits).await?;
        let begun = Instant::now();
        let mut client = OrganizationServiceClient::new(channel(&self.address()?).await?);
        let request = authorized(request, self.run.nodes.token())?;
        client.delete_organization(request).await.context("the call")?;
        self.until_ended(&waits, &ended, before, begun).await
    }

    /// After a call that ends deliveries was answered: waits until all deliveries that were pending `before` have
    /// ended.
    async fn until_ended(&self, waits: &str, ended: &str, before: i64, begun: Instant) -> anyhow::Result<String> {
        let answered = begun.elapsed();
        self.until_none(waits).await?;
        let after = self.count(ended).await?;
        ensure!(after == before, "{before} deliveries were pending, {after} were ended");
        Ok(format!(
            "{before} deliveries, answered after {:.1} s, done after {:.1} s",
            answered.as_secs_f64(),
            begun.elapsed().as_secs_f64()
        ))
    }

    fn address(&self) -> anyhow::Result<String> {
        let addresses = self.run.nodes.addresses.lock();
        addresses.iter().flatten().next().cloned().context("a node is up")
    }

    /// Sets the clocks of all nodes, and corrects them later. Everything must keep working in between and afterwards.
    async fn clocks(&mut self, ahead: i64) -> anyhow::Result<String> {
        self.set_clocks(ahead)?;
        let set = self.continues().await?;
        tokio::time::sleep(self.scale.measured).await;
        self.set_clocks(0)?;
        let right = self.continues().await?;
        Ok(format!(
            "every webhook got requests {:.1} s after the clocks were set, and {:.1} s after they were corrected",
            set.as_secs_f64(),
            right.as_secs_f64()
        ))
    }

    pub(super) fn set_clocks(&self, ahead: i64) -> anyhow::Result<()> {
        (0..self.run.nodes.nodes.len()).try_for_each(|index| self.run.nodes.set_clock(index, ahead))
    }

    /// Waits until every webhook of the load has got events that were published from now on. It counts several
    /// requests, because the first ones may be older.
    async fn continues(&self) -> anyhow::Result<Duration> {
        "not every webhook gets requests".clone_into(&mut self.waits_for.lock());
        let begun = Instant::now();
        let before = self.run.receivers.counts();
        let acknowledged = self.publishers.acknowledged.load(Ordering::Acquire);
        loop {
            tokio::time::sleep(self.scale.look).await;
            let published = self.publishers.acknowledged.load(Ordering::Acquire) - acknowledged;
            let counts = self.run.receivers.counts();
            if published >= GOES_ON && counts.iter().zip(before).all(|(now, before)| now - before >= GOES_ON) {
                return Ok(begun.elapsed());
            }
        }
    }

    async fn fill_disk(&mut self) -> anyhow::Result<String> {
        let Some(disk) = &self.run.disk else {
            ensure!(
                self.scale.ratio_max.is_none(),
                "no file system can be mounted here: the disk cannot be full"
            );
            return Ok("not done: no file system can be mounted here".to_owned());
        };
        let failed = self.publishers.failed.load(Ordering::Acquire);
        let begun = Instant::now();
        disk.fill()?;
        while begun.elapsed() < FULL && self.publishers.failed.load(Ordering::Acquire) == failed {
            tokio::time::sleep(self.scale.look).await;
        }
        let felt = self.publishers.failed.load(Ordering::Acquire) > failed;
        let full = begun.elapsed();
        disk.free();
        let freed = Instant::now();
        self.revive_database().await?;
        "nothing is published".clone_into(&mut self.waits_for.lock());
        let acknowledged = self.publishers.acknowledged.load(Ordering::Acquire);
        while self.publishers.acknowledged.load(Ordering::Acquire) == acknowledged {
            tokio::time::sleep(self.scale.look).await;
        }
        Ok(format!(
            "full for {:.1} s, {}; published again {:.1} s after space was freed",
            full.as_secs_f64(),
            if felt {
                "publishers were refused"
            } else {
                "publishers did not notice"
            },
            freed.elapsed().as_secs_f64()
        ))
    }

    /// PostgreSQL stops if it cannot write its log, and may not restart without space.
    async fn revive_database(&self) -> anyhow::Result<()> {
        if let Place::Postgres { cluster, database } = &self.run.nodes.place
            && dump::connect(database.url()).await.is_err()
        {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if dump::connect(database.url()).await.is_err() {
                cluster.stop(StopMode::Immediate).await?;
                cluster.resume().await?;
            }
        }
        Ok(())
    }

    /// Only the load. Everything that no step concerned must still be pending.
    async fn still_waiting(&mut self) -> anyhow::Result<String> {
        let first = self.run.first;
        let waiting = self
            .count(&format!(
                "pending_deliveries d JOIN organizations o ON o.id = d.organization_id
                 WHERE d.delivery_id < {first} AND o.name LIKE 'waiting-%'"
            ))
            .await?;
        let paused = self
            .count(&format!(
                "pending_deliveries WHERE delivery_id < {first} AND ordering_key IS NOT NULL"
            ))
            .await?;
        let unfetched = self.unfetched().await?;
        let expected = i64::try_from(self.scale.waiting)?;
        ensure!(
            waiting == expected,
            "{waiting} webhooks have pending deliveries, not {expected}"
        );
        Ok(format!(
            "{waiting} webhooks with pending deliveries, {paused} deliveries of blocked keys, {unfetched} never pulled"
        ))
    }
}
