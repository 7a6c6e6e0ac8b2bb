//! The committer: the one task that makes things durable.
//!
//! It takes all that waits as soon as the last commit is done, so that batches form by themselves under load and a lone
//! event waits for nobody. Outcomes ride on the next commit of events, or go after [`OUTCOME_LINGER`] on their own. Ids are
//! given here, in the order of commits: what is above an id was committed after it.
//!
//! After the commit, and only then: publishers are answered, deliveries are handed to their lanes, and those whose
//! outcome is now durable leave memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hookwright_domain::id::{EventId, FANOUT_MAX};
use hookwright_storage::{Batch, CommitError, NewEvent, PendingRow, Repeat, StoredEvent};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use super::{
    Inner,
    command::{Change, Command, Draft, PublishError, PublishResults, Published, Record},
    lane::{Job, Lane, Place},
};
use crate::clock;

/// How long outcomes wait at most for a commit of events to ride on.
const OUTCOME_LINGER: Duration = Duration::from_millis(20);
/// How long events wait for more while the load is high: an fsync costs as much CPU as several events.
const EVENT_LINGER: Duration = Duration::from_millis(2);
/// The bounds of one commit.
const EVENTS_MAX: usize = 2_000;
const BYTES_MAX: usize = 16 << 20;
const RECORDS_MAX: usize = 4_000;
/// How long to wait before records that could not be stored are tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Committer {
    inner: Arc<Inner>,
    commands: mpsc::Receiver<Command>,
    /// Records that the last commit failed to store: they come first in the next.
    unsaved: Vec<Record>,
    /// Events of a commit that failed: they may be in the store all the same.
    unclear: Vec<Intake>,
    /// Events in the last commit: more than one means that publishers are waiting for each other.
    last_events: usize,
}

/// What is gathered for one commit.
#[derive(Default)]
struct Gathered {
    publishes: Vec<(Vec<Draft>, oneshot::Sender<PublishResults>)>,
    events: usize,
    bytes: usize,
    records: Vec<Record>,
    checkpoint: Option<i64>,
    stop: bool,
}

/// An event on its way through a commit, with the lanes of its webhooks.
struct Intake {
    event: Arc<StoredEvent>,
    lanes: Vec<Arc<Lane>>,
    spilled: Vec<usize>,
}

impl Gathered {
    fn add(&mut self, command: Command) {
        match command {
            Command::Publish { drafts, reply } => {
                self.events += drafts.len();
                self.bytes += drafts.iter().map(|draft| draft.payload.len()).sum::<usize>();
                self.publishes.push((drafts, reply));
            }
            Command::Record(record) => self.records.push(*record),
            Command::Checkpoint(id) => self.checkpoint = Some(id),
            Command::Stop => self.stop = true,
        }
    }

    fn is_full(&self) -> bool {
        self.events >= EVENTS_MAX || self.bytes >= BYTES_MAX || self.records.len() >= RECORDS_MAX || self.stop
    }
}

impl Committer {
    pub(super) fn new(inner: Arc<Inner>, commands: mpsc::Receiver<Command>) -> Self {
        Self {
            inner,
            commands,
            unsaved: Vec::new(),
            unclear: Vec::new(),
            last_events: 0,
        }
    }

    /// Runs until it is told to stop (or nobody is left to tell it anything). Returns false when records remain unsaved.
    pub(super) async fn run(mut self) -> bool {
        loop {
            let gathered = self.gather().await;
            let stop = gathered.stop;
            self.commit(gathered).await;
            if stop {
                return self.unsaved.is_empty();
            }
        }
    }

    /// Waits for the first command, then takes what there is, lingering a little where that pays.
    async fn gather(&mut self) -> Gathered {
        let mut gathered = Gathered::default();
        let first = if self.unsaved.is_empty() && self.unclear.is_empty() {
            self.commands.recv().await
        } else {
            match tokio::time::timeout(RETRY_PAUSE, self.commands.recv()).await {
                Ok(command) => command,
                Err(_) => return gathered,
            }
        };
        let Some(first) = first else {
            gathered.stop = true;
            return gathered;
        };
        gathered.add(first);
        let begun = Instant::now();
        loop {
            while !gathered.is_full() {
                let Ok(command) = self.commands.try_recv() else { break };
                gathered.add(command);
            }
            let linger = match gathered.events {
                0 => OUTCOME_LINGER,
                _ if self.last_events > 1 => EVENT_LINGER,
                _ => Duration::ZERO,
            };
            if gathered.is_full() || begun.elapsed() >= linger {
                return gathered;
            }
            match timeout_at(begun + linger, self.commands.recv()).await {
                Ok(Some(command)) => gathered.add(command),
                Ok(None) => gathered.stop = true,
                Err(_) => return gathered,
            }
        }
    }

    async fn commit(&mut self, gathered: Gathered) {
        if !self.settle_unclear().await {
            refuse(
                gathered.publishes,
                &PublishError::Unavailable("the store does not answer".to_owned()),
            );
            self.unsaved.extend(gathered.records);
            return;
        }
        let now = clock::now_us();
        let mut records = std::mem::take(&mut self.unsaved);
        records.extend(gathered.records);
        let (intakes, new_events, replies) = self.admit(gathered.publishes, now);
        self.last_events = intakes.len();
        let batch = build_batch(new_events, &records, gathered.checkpoint);
        if batch.is_empty() {
            answer(replies, &[]);
            return;
        }
        let begun = Instant::now();
        match self.inner.store.commit(&batch).await {
            Ok(committed) => {
                self.inner.metrics.committed(begun.elapsed(), records.len());
                self.hand_off(intakes, replies, &committed.repeats, now);
                self.settle(records, now);
            }
            Err(error) => {
                tracing::error!(error = %error, events = intakes.len(), outcomes = records.len(), "commit failed");
                self.inner.metrics.commit_failed();
                refuse_replies(replies, &publish_error(&error));
                self.unclear = intakes;
                self.unsaved = records;
            }
        }
    }

    /// Gives ids and places in memory to the events of the publish calls.
    fn admit(
        &self,
        publishes: Vec<(Vec<Draft>, oneshot::Sender<PublishResults>)>,
        now: i64,
    ) -> (Vec<Intake>, Vec<NewEvent>, Vec<Reply>) {
        let mut intakes = Vec::new();
        let mut new_events = Vec::new();
        let mut replies = Vec::with_capacity(publishes.len());
        for (drafts, sender) in publishes {
            let mut results = Vec::with_capacity(drafts.len());
            for draft in drafts {
                if draft.webhooks.len() > FANOUT_MAX {
                    results.push(Pending::Refused(PublishError::FanOut(draft.webhooks.len(), FANOUT_MAX)));
                    continue;
                }
                results.push(Pending::Event(intakes.len()));
                let (intake, new_event) = self.admit_one(draft, now);
                intakes.push(intake);
                new_events.push(new_event);
            }
            replies.push(Reply { results, sender });
        }
        (intakes, new_events, replies)
    }

    fn admit_one(&self, draft: Draft, now: i64) -> (Intake, NewEvent) {
        let id = self.inner.ids.reserve(1 + draft.webhooks.len(), now / 1_000);
        let mut spilled = Vec::new();
        let mut lanes = Vec::with_capacity(draft.webhooks.len());
        for (position, webhook) in draft.webhooks.iter().enumerate() {
            let lane = self.inner.lane(*webhook);
            let delivery = EventId::from_raw(id).delivery(position).raw();
            let place = Place {
                delivery,
                event: id,
                organization: draft.organization.raw(),
            };
            if !lane.reserve(place, draft.payload.len(), now) {
                spilled.push(position);
            }
            lanes.push(lane);
        }
        let event = Arc::new(StoredEvent {
            id,
            organization_id: draft.organization.raw(),
            event_type: draft.event_type,
            payload: draft.payload,
            webhooks: draft.webhooks,
            occurred_at: draft.occurred_at.unwrap_or(now),
            attributes: draft.attributes,
            trace: draft.trace,
            tracestate: draft.tracestate,
        });
        let new_event = NewEvent {
            event: Arc::clone(&event),
            request: draft.request,
            spilled: spilled.clone(),
        };
        (Intake { event, lanes, spilled }, new_event)
    }

    /// The events are durable: puts deliveries into their lanes and answers the publishers.
    fn hand_off(&self, intakes: Vec<Intake>, replies: Vec<Reply>, repeats: &[Repeat], now: i64) {
        let repeats: HashMap<usize, &Repeat> = repeats.iter().map(|repeat| (repeat.index, repeat)).collect();
        let results: Vec<_> = intakes
            .iter()
            .enumerate()
            .map(|(index, intake)| match repeats.get(&index) {
                None => Ok(Published {
                    event: EventId::from_raw(intake.event.id),
                    delivery_count: intake.lanes.len(),
                    repeated: false,
                }),
                Some(repeat) if repeat.same => Ok(Published {
                    event: EventId::from_raw(repeat.event_id),
                    delivery_count: repeat.delivery_count,
                    repeated: true,
                }),
                Some(repeat) => Err(PublishError::Conflict(EventId::from_raw(repeat.event_id))),
            })
            .collect();
        self.inner.metrics.published(intakes.len() - repeats.len());
        for (index, intake) in intakes.into_iter().enumerate() {
            let last = intake.event.id;
            if repeats.contains_key(&index) {
                intake.withdraw();
            } else {
                self.inner.hand_over(intake.into_jobs(), now);
            }
            self.inner.checkpoint.handed_off(last);
        }
        answer(replies, &results);
    }

    /// The outcomes are durable: the deliveries leave memory.
    fn settle(&self, records: Vec<Record>, now: i64) {
        for Record {
            lane,
            delivery,
            payload_bytes,
            change,
            ..
        } in records
        {
            let due_at = match &change {
                Change::Attempted { retry, .. } => retry.as_ref().map(|row| row.due_at),
                Change::Ended { .. } => None,
                Change::Noted(_) => continue,
                Change::Parked(row) => Some(row.due_at),
            };
            let wants = lane.settle(delivery.raw(), payload_bytes, due_at, now);
            self.inner.act(&lane, wants);
        }
    }

    /// A commit that failed may have reached the store: looks which of its events did, and hands those off. False while
    /// the store does not answer.
    async fn settle_unclear(&mut self) -> bool {
        if self.unclear.is_empty() {
            return true;
        }
        let ids: Vec<i64> = self.unclear.iter().map(|intake| intake.event.id).collect();
        let stored = match self.inner.store.events_exist(&ids).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(error = %error, "cannot tell yet which events of a failed commit were stored");
                return false;
            }
        };
        let now = clock::now_us();
        for intake in std::mem::take(&mut self.unclear) {
            let id = intake.event.id;
            if stored.contains(&id) {
                self.inner.hand_over(intake.into_jobs(), now);
            } else {
                intake.withdraw();
            }
            self.inner.checkpoint.handed_off(id);
        }
        true
    }
}

/// A delivery that is now durable, for its lane: in memory, or in the store alone.
pub(super) struct HandOver {
    pub(super) lane: Arc<Lane>,
    pub(super) job: Option<Job>,
}

impl Intake {
    fn into_jobs(self) -> impl Iterator<Item = HandOver> {
        let Self { event, lanes, spilled } = self;
        lanes.into_iter().enumerate().map(move |(position, lane)| {
            let job = (!spilled.contains(&position)).then(|| Job {
                delivery: EventId::from_raw(event.id).delivery(position).raw(),
                webhook: lane.webhook.raw(),
                event: Arc::clone(&event),
                attempts: 0,
            });
            HandOver { lane, job }
        })
    }

    /// The event was not stored: gives the places in memory back.
    fn withdraw(self) {
        for (position, lane) in self.lanes.iter().enumerate() {
            if !self.spilled.contains(&position) {
                let delivery = EventId::from_raw(self.event.id).delivery(position).raw();
                lane.unreserve(delivery, self.event.payload.len());
            }
        }
    }
}

/// A publish call that waits for its answer.
struct Reply {
    results: Vec<Pending>,
    sender: oneshot::Sender<PublishResults>,
}

enum Pending {
    /// Index of the event within the commit.
    Event(usize),
    Refused(PublishError),
}

/// Answers the publish calls. A caller that went away meanwhile is no error: its events are published.
fn answer(replies: Vec<Reply>, results: &[Result<Published, PublishError>]) {
    for Reply {
        results: pending,
        sender,
    } in replies
    {
        let results = pending
            .into_iter()
            .map(|result| match result {
                Pending::Event(index) => results[index].clone(),
                Pending::Refused(error) => Err(error),
            })
            .collect();
        let _ = sender.send(results);
    }
}

fn refuse_replies(replies: Vec<Reply>, error: &PublishError) {
    for Reply { results, sender } in replies {
        let _ = sender.send(results.iter().map(|_| Err(error.clone())).collect());
    }
}

fn refuse(publishes: Vec<(Vec<Draft>, oneshot::Sender<PublishResults>)>, error: &PublishError) {
    for (drafts, sender) in publishes {
        let _ = sender.send(drafts.iter().map(|_| Err(error.clone())).collect());
    }
}

fn publish_error(error: &CommitError) -> PublishError {
    match error {
        CommitError::Full(detail) => PublishError::Full(detail.clone()),
        other => PublishError::Unavailable(other.to_string()),
    }
}

/// One change a delivery: where several were gathered, the last one counts.
fn build_batch(events: Vec<NewEvent>, records: &[Record], checkpoint: Option<i64>) -> Batch {
    let mut batch = Batch {
        events,
        checkpoint,
        ..Batch::default()
    };
    let mut pend: HashMap<i64, PendingRow> = HashMap::new();
    let mut health = HashMap::new();
    for record in records {
        let delivery = record.delivery.raw();
        match &record.change {
            Change::Attempted { attempt, retry, stored } => {
                batch.attempts.push((**attempt).clone());
                match retry {
                    Some(row) => drop(pend.insert(delivery, row.clone())),
                    None => {
                        pend.remove(&delivery);
                        batch.unpend.extend(stored.then_some(delivery));
                    }
                }
            }
            Change::Ended { ending, stored } => {
                batch.endings.push(ending.clone());
                pend.remove(&delivery);
                batch.unpend.extend(stored.then_some(delivery));
            }
            Change::Parked(row) => drop(pend.insert(delivery, row.clone())),
            // What came of the delivery meanwhile counts more.
            Change::Noted(row) if record.lane.is_noted(delivery) => drop(pend.entry(delivery).or_insert(row.clone())),
            Change::Noted(_) => {}
        }
        if let Some(row) = &record.health {
            health.insert(row.webhook_id, row.clone());
        }
    }
    batch.pend.extend(pend.into_values());
    batch.health.extend(health.into_values());
    batch
}
