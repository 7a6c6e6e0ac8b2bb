//! Runs operations in steps.
//!
//! A step is one short transaction in the store, which also stores the progress. Between two steps the node pauses for as long as
//! the step took, so publishers' commits wait for at most one step. On SQLite it pauses for [`REST`] times as long, which gives the disk
//! time to write what the steps changed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hookwright_delivery::clock;
use hookwright_domain::id::{OperationId, WebhookId};
use hookwright_storage::{
    StoreError, fault,
    operations::{COUNTED_MAX, OPERATION_SUCCEEDED, OperationKind, OperationRow, OperationStep},
};
use tokio::sync::{Notify, watch};

use crate::app::{
    App,
    leased::{Free, Leased},
};

/// The lease of an operation.
const LEASE: Duration = Duration::from_secs(15);
/// How long to pause after a step on SQLite, as a multiple of its duration.
const REST: u32 = 3;
/// Interval at which the log reports progress.
const TOLD_EVERY: Duration = Duration::from_secs(30);
/// Delay after a failure of the store.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Operations;

impl Leased for Operations {
    type Row = OperationRow;
    const WHAT: &'static str = "the operations";
    /// More would only take turns: the store is the bottleneck.
    const PLACES: usize = 2;

    fn begun(app: &App) -> &Notify {
        &app.operations_begun
    }

    fn id(row: &OperationRow) -> i64 {
        row.id
    }

    async fn take(app: &App, free: Free) -> Result<Vec<OperationRow>, StoreError> {
        app.store.take_operations(free.own, free.most, LEASE).await
    }

    async fn work(app: Arc<App>, row: OperationRow) -> i64 {
        let id = row.id;
        app.operation_metrics.running.inc();
        let mut work = Work {
            stopping: app.stopping.clone(),
            pace: Pace::new(app.step_limits(&row)),
            told: Instant::now(),
            app,
            row,
        };
        fault::panic_if_planted("operation-panic");
        work.run().await;
        work.app.operation_metrics.running.dec();
        id
    }
}

/// Number of deliveries per step: as many as take about the target duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    rows: usize,
    limits: Limits,
}

/// The limits of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    rows_min: usize,
    rows_max: usize,
    /// Target duration.
    step: Duration,
}

impl Limits {
    /// Commits wait for the step: on SQLite, which has one writer; on PostgreSQL for the order of a webhook.
    const BLOCKING: Self = Self {
        rows_min: 200,
        rows_max: 2_000,
        step: Duration::from_millis(10),
    };
    /// Commits run beside the step, so its ten round trips and its sync are shared by more rows.
    const BESIDE: Self = Self {
        rows_min: 1_000,
        rows_max: 5_000,
        step: Duration::from_millis(50),
    };
}

impl Pace {
    fn new(limits: Limits) -> Self {
        Self {
            rows: limits.rows_min,
            limits,
        }
    }

    /// Adjusts to the duration of a step.
    fn took(&mut self, took: Duration) {
        let Limits {
            rows_min,
            rows_max,
            step,
        } = self.limits;
        let rows = if took > step * 2 {
            self.rows / 2
        } else if took < step / 2 {
            self.rows * 2
        } else {
            self.rows
        };
        self.rows = rows.clamp(rows_min, rows_max);
    }
}

/// The work on one operation.
struct Work {
    app: Arc<App>,
    row: OperationRow,
    pace: Pace,
    /// When the log last reported progress.
    told: Instant,
    stopping: watch::Receiver<bool>,
}

impl Work {
    /// Runs until it is done or was ended, another node has it, or the server stops.
    async fn run(&mut self) {
        let id = OperationId::from_raw(self.row.id);
        tracing::info!(
            operation = %id,
            kind = self.row.kind,
            organization = self.row.organization,
            done = self.row.done,
            "an operation continues"
        );
        let mut pause = PAUSE;
        while !*self.stopping.borrow() {
            match self.next().await {
                Ok(Some(OperationStep { finished: true, .. })) => {
                    tracing::info!(operation = %id, kind = self.row.kind, done = self.row.done, "an operation has succeeded");
                    return;
                }
                Ok(Some(_)) => pause = PAUSE,
                Ok(None) => {
                    tracing::info!(operation = %id, done = self.row.done, "an operation was cancelled, or another node has it");
                    return;
                }
                Err(error) => {
                    tracing::warn!(operation = %id, %error, "an operation cannot continue yet; will retry");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = self.stopping.changed() => return,
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Runs the next step; `None` if this node no longer has the operation.
    async fn next(&mut self) -> Result<Option<OperationStep>, StoreError> {
        if self.row.total.is_none() && !self.count().await? {
            return Ok(None);
        }
        let begun = Instant::now();
        let step = self
            .app
            .store
            .step_operation(self.row.id, self.pace.rows, LEASE)
            .await?;
        let took = begun.elapsed();
        let Some(step) = step else { return Ok(None) };
        fault::point("operation");
        self.pace.took(took);
        self.row.done = step.done;
        self.app.operation_metrics.deliveries.inc_by(step.rows as u64);
        if step.rows > 0 {
            self.app.engine.changed();
        }
        if let Some(webhook) = self.row.webhook_id.filter(|_| step.due) {
            self.app.engine.stored(WebhookId::from_raw(webhook));
            self.app.store.tell_due(webhook).await;
        }
        if step.finished {
            self.end().await?;
            return Ok(Some(step));
        }
        if self.told.elapsed() >= TOLD_EVERY {
            self.told = Instant::now();
            let id = OperationId::from_raw(self.row.id);
            tracing::info!(operation = %id, done = step.done, total = self.row.total, "an operation continues");
        }
        let is_embedded = self.app.store.lease().is_none();
        tokio::time::sleep(if is_embedded { took * REST } else { took }).await;
        Ok(Some(step))
    }

    /// Counts the deliveries to process, up to a bound. Returns false if this node no longer has the operation.
    async fn count(&mut self) -> Result<bool, StoreError> {
        let mut total = 0;
        let mut from = None;
        loop {
            let page = self.app.store.count_operation(&self.row, from, LEASE).await?;
            let Some((counted, next)) = page else { return Ok(false) };
            total += counted;
            if total >= COUNTED_MAX {
                // The total stays unknown; this node does not count it again.
                self.row.total = Some(0);
                return Ok(true);
            }
            if next.is_none() {
                break;
            }
            from = next;
        }
        self.row.total = Some(self.row.done + total);
        self.app.store.note_total(self.row.id, total, LEASE).await
    }

    async fn end(&self) -> Result<(), StoreError> {
        let now = clock::now_us();
        self.app
            .store
            .end_operation(self.row.id, OPERATION_SUCCEEDED, now, None)
            .await?;
        if let (OperationKind::DiscardBacklog, Some(webhook)) = (self.row.kind(), self.row.webhook_id) {
            self.app.backlog_waits_again(webhook);
        }
        Ok(())
    }
}

impl App {
    /// The limits of an operation's steps.
    fn step_limits(&self, row: &OperationRow) -> Limits {
        let is_embedded = self.store.lease().is_none();
        let holds_order = match row.kind() {
            OperationKind::ReleaseOrder => true,
            OperationKind::DiscardBacklog => row.webhook_id.is_some_and(|webhook| self.is_ordered(row, webhook)),
            OperationKind::DeleteWebhook | OperationKind::DeleteOrganization => false,
        };
        if is_embedded || holds_order {
            Limits::BLOCKING
        } else {
            Limits::BESIDE
        }
    }

    fn is_ordered(&self, row: &OperationRow, webhook: i64) -> bool {
        let webhook = self.registry.webhook(row.organization_id, WebhookId::from_raw(webhook));
        webhook.is_some_and(|webhook| webhook.row.ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_while_they_are_short_and_shrink_when_they_take_long() {
        for limits in [Limits::BLOCKING, Limits::BESIDE] {
            let mut pace = Pace::new(limits);
            for _ in 0..10 {
                pace.took(Duration::from_millis(1));
            }
            assert_eq!(pace.rows, limits.rows_max);
            pace.took(limits.step);
            assert_eq!(pace.rows, limits.rows_max);
            for _ in 0..10 {
                pace.took(Duration::from_secs(1));
            }
            assert_eq!(pace.rows, limits.rows_min);
        }
    }
}
