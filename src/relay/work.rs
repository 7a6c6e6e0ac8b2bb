//! The loop: one leader per outbox; rounds of reading, publishing and settling; waiting between rounds.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use hookwright_client::{Backoff, Client, RetryPolicy};
use tokio::{sync::watch, time::sleep};

use super::{
    database::Database,
    outbox::{Missing, Outbox, Pending},
    progress::{Progress, say},
    table::Table,
    verdict::Verdict,
};

pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(5);
pub(super) const BATCH_ROWS: u16 = 1_000;
/// Interval at which a standby relay tries to take over.
const STAND_BY: Duration = Duration::from_secs(1);
/// Backoff while PostgreSQL or Hookwright is unavailable.
const PAUSES: RetryPolicy = RetryPolicy {
    first_pause: Duration::from_millis(100),
    pause_max: Duration::from_secs(5),
};

/// Options of the relay.
pub(super) struct Options {
    pub(super) once: bool,
    pub(super) keep: bool,
    pub(super) poll_interval: Duration,
    pub(super) batch_rows: u16,
}

/// See the module.
pub(super) struct Relay {
    client: Client,
    database: Database,
    table: Table,
    options: Options,
    stop: watch::Receiver<bool>,
    /// Number of rows per call: less than allowed after a call that was rejected as a whole.
    rows: usize,
    progress: Progress,
    /// Retries of the connection to PostgreSQL, and of calls to Hookwright.
    database_pauses: Backoff,
    call_pauses: Backoff,
}

/// Why the relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A signal.
    Stopped,
    /// With --once: nothing is pending any more.
    Drained,
    /// Another relay is active on the outbox.
    Elsewhere,
}

impl Relay {
    /// `stop` resolves when the relay is to end; rows in flight are settled first.
    pub(super) fn new(
        client: Client,
        database: Database,
        table: Table,
        options: Options,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let (stopped, receiver) = watch::channel(false);
        tokio::spawn(async move {
            stop.await;
            stopped.send_replace(true);
            stopped.closed().await;
        });
        Self {
            client,
            database,
            table,
            rows: options.batch_rows.into(),
            options,
            stop: receiver,
            progress: Progress::new(),
            database_pauses: PAUSES.backoff(),
            call_pauses: PAUSES.backoff(),
        }
    }

    /// Relays until it ends.
    pub(super) async fn run(mut self) -> anyhow::Result<ExitCode> {
        let end = loop {
            match self.session().await {
                Ok(end) => break end,
                Err(error) if self.options.once || error.is::<Missing>() => {
                    self.progress.tell();
                    return Err(error);
                }
                Err(error) => {
                    let pause = self.database_pauses.pause(None);
                    say(&format!("{error:#}; retrying in {pause:.1?}"));
                    if self.stopped_within(pause).await {
                        break End::Stopped;
                    }
                }
            }
        };
        self.progress.tell();
        match end {
            End::Stopped => say("stopped"),
            End::Elsewhere => say("another relay serves this outbox: nothing was published"),
            End::Drained if self.progress.refused_any() => return Ok(ExitCode::FAILURE),
            End::Drained => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Relays over one connection to PostgreSQL.
    async fn session(&mut self) -> anyhow::Result<End> {
        if *self.stop.borrow() {
            return Ok(End::Stopped);
        }
        let session = self.database.connect("hookwright relay").await?;
        let mut outbox = Outbox::open(session, &self.table).await?;
        let mut told = false;
        while !outbox.try_lead().await? {
            if self.options.once {
                return Ok(End::Elsewhere);
            }
            if !told {
                say(&format!("standing by: another relay serves {}", self.table));
                told = true;
            }
            if self.stopped_within(STAND_BY).await {
                return Ok(End::Stopped);
            }
        }
        outbox.listen().await?;
        self.database_pauses.reset();
        let security = outbox.session.security();
        say(&format!(
            "relaying from {}; the connection to PostgreSQL is {security}",
            self.table
        ));
        loop {
            if self.drain(&outbox).await? == End::Stopped {
                return Ok(End::Stopped);
            }
            if self.options.once {
                return Ok(End::Drained);
            }
            self.progress.tell_if_due();
            tokio::select! {
                notified = outbox.session.notified() => notified?,
                () = sleep(self.options.poll_interval) => {}
                _ = self.stop.wait_for(|stop| *stop) => return Ok(End::Stopped),
            }
        }
    }

    /// Publishes until nothing is pending.
    async fn drain(&mut self, outbox: &Outbox) -> anyhow::Result<End> {
        loop {
            let rows = outbox.read(self.rows).await?;
            if rows.is_empty() {
                return Ok(End::Drained);
            }
            let (ids, events): (Vec<i64>, Vec<_>) = rows.into_iter().map(|Pending { id, event }| (id, event)).unzip();
            let answer = self.client.publish_batch(events).await;
            let verdict = Verdict::of(&ids, answer);
            outbox.settle(&verdict, self.options.keep).await?;
            self.progress.settled(&verdict);
            let stopped = match verdict.again {
                None => {
                    self.call_pauses.reset();
                    self.rows = if verdict.split {
                        (ids.len() / 2).max(1)
                    } else {
                        (self.rows * 2).min(self.options.batch_rows.into())
                    };
                    *self.stop.borrow()
                }
                Some(error) if self.options.once => {
                    return Err(error).context("Hookwright does not accept events");
                }
                Some(error) => {
                    let pause = self.call_pauses.pause(error.retry_delay());
                    say(&format!(
                        "Hookwright does not accept events: {error}; retrying in {pause:.1?}"
                    ));
                    self.stopped_within(pause).await
                }
            };
            if stopped {
                return Ok(End::Stopped);
            }
        }
    }

    /// Waits, but at most until the relay is to end.
    async fn stopped_within(&mut self, pause: Duration) -> bool {
        tokio::select! {
            () = sleep(pause) => false,
            _ = self.stop.wait_for(|stop| *stop) => true,
        }
    }
}
