//! The committer: the one task that makes things durable.
//!
//! It takes all that waits as soon as the last commit is done, so that batches form by themselves under load and a lone
//! event waits for nobody. Outcomes ride on the next commit of events, or go after [`OUTCOME_LINGER`] on their own. Ids are
//! given here, in the order of commits: what is above an id was committed after it.
//!
//! Every commit is bounded in events, rows, records and bytes, also when it repeats what an earlier one could not store. A publish
//! call that is larger goes into several commits, and is answered after the last of them; an event is never divided. A commit that
//! took too long is repeated in smaller parts. One that the store refuses is divided until the row at fault is alone ([`isolate`]).
//!
//! After the commit, and only then: publishers are answered, deliveries are handed to their lanes, and those whose
//! outcome is now durable leave memory.

mod isolate;
#[cfg(test)]
mod loss;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use hookwright_domain::id::{EventId, FANOUT_MAX, time_us};
use hookwright_storage::{Batch, CommitError, Committed, NewEvent, Repeat, StoreError, StoredEvent, fault};

use super::{
    Inner, LEASE_LOST, batch,
    command::{Draft, PublishError, Published},
    inbox::{Bounds, Gathered, NewCheckpoint, PublishCall},
    lane::{Job, Lane, Place},
    record::{Change, Record},
    reply,
};
use crate::clock;

/// How long outcomes wait at most for a commit of events to ride on.
const OUTCOME_LINGER: Duration = Duration::from_millis(20);
/// How long events wait for more while the load is high: an fsync costs as much CPU as several events.
const EVENT_LINGER: Duration = Duration::from_micros(300);
/// How long to wait before records that could not be stored are tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What publishers are told; the log has the details.
const NO_ANSWER: &str = "the store does not answer";
/// The smallest part of its limits to which a commit shrinks after timeouts: one in this many.
const DIVISOR_MAX: usize = 64;
/// How many outcomes a commit may hold before it is said to have timed out, where the fault harness plants that.
const PLANTED_RECORDS_MAX: usize = 100;

/// See the module.
pub(super) struct Committer {
    inner: Arc<Inner>,
    /// Records that are not stored yet, in order: those of a commit that failed, and what was behind them.
    unsaved: VecDeque<Record>,
    /// Some of them may be stored already.
    repeated: bool,
    /// The last commit failed.
    failed: bool,
    /// Divides the limits of a commit. Doubled after each timeout.
    divisor: usize,
    /// A checkpoint to store with or after everything that was recorded before it.
    checkpoint: Option<NewCheckpoint>,
    /// Events of a commit that failed: they may be in the store all the same.
    unclear: Vec<Intake>,
    /// The lease was lost, and this node has not joined again yet.
    lost: bool,
    /// Events in the last commit: more than one means that publishers are waiting for each other.
    last_events: usize,
}

/// An event on its way through a commit, with the lanes of its webhooks.
struct Intake {
    event: Arc<StoredEvent>,
    lanes: Vec<Arc<Lane>>,
    /// Places of the deliveries that wait in the store, in order.
    spilled: Vec<usize>,
}

impl Committer {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            unsaved: VecDeque::new(),
            repeated: false,
            failed: false,
            divisor: 1,
            checkpoint: None,
            unclear: Vec::new(),
            lost: false,
            last_events: 0,
        }
    }

    /// Runs until it is told to stop. Returns false when records remain unsaved.
    pub(super) fn run(mut self, runtime: &tokio::runtime::Runtime) -> bool {
        if let Err(error) = runtime.block_on(self.inner.store.commit_from_here()) {
            tracing::warn!(%error, "the connection for commits is not there yet; the first commit will open it");
        }
        loop {
            let gathered = self.gather();
            let stop = gathered.stop;
            runtime.block_on(self.commit(gathered));
            if stop {
                // What is left is stored in as many commits as it takes, unless one fails.
                let left = |this: &Self| !(this.unsaved.is_empty() && this.inner.inbox.has_no_records());
                while left(&self) && !self.failed && !self.lost && self.unclear.is_empty() {
                    let rest = self.inner.inbox.take(self.room());
                    runtime.block_on(self.commit(rest));
                }
                let left = left(&self);
                self.inner.inbox.close();
                fault::point("drain");
                // What is left, in memory or in the store, is for the other nodes at once; alone, for the next start.
                if let Err(error) = runtime.block_on(self.inner.store.leave()) {
                    tracing::warn!(%error, "the lease could not be given back: it will end by itself");
                }
                return !left;
            }
        }
    }

    /// Waits for anything, then lingers a little where company is worth it.
    fn gather(&self) -> Gathered {
        let inbox = &self.inner.inbox;
        let room = self.room();
        let patience = if self.lost || self.failed || !self.unclear.is_empty() {
            Some(RETRY_PAUSE)
        } else {
            (!self.unsaved.is_empty() || self.checkpoint.is_some()).then_some(Duration::ZERO)
        };
        inbox.wait(patience, room.records > 0);
        let begun = Instant::now();
        if inbox.events() == 0 && self.unsaved.is_empty() {
            inbox.linger(begun + OUTCOME_LINGER, 1);
        }
        let waiting = inbox.events();
        if self.last_events > 1 && waiting > 0 {
            // As many as were answered last time beside those who wait already: then everybody is back.
            inbox.linger(Instant::now() + EVENT_LINGER, waiting + self.last_events);
        }
        inbox.take(room)
    }

    /// How much the next commit may hold.
    fn bounds(&self) -> Bounds {
        let part = |max: usize| (max / self.divisor).max(1);
        Bounds {
            events: part(Bounds::MAX.events),
            event_bytes: part(Bounds::MAX.event_bytes),
            event_rows: part(Bounds::MAX.event_rows),
            records: part(Bounds::MAX.records),
            record_bytes: part(Bounds::MAX.record_bytes),
        }
    }

    /// How much of the next commit is left for what waits in the inbox.
    fn room(&self) -> Bounds {
        let bounds = self.bounds();
        let bytes = self.unsaved.iter().map(Record::bytes).sum::<usize>();
        let full = !self.unclear.is_empty() || bytes >= bounds.record_bytes;
        Bounds {
            records: if full {
                0
            } else {
                bounds.records.saturating_sub(self.unsaved.len())
            },
            record_bytes: bounds.record_bytes.saturating_sub(bytes),
            ..bounds
        }
    }

    /// The records of the next commit: as many as it may hold of those that are not stored yet.
    fn next_records(&mut self) -> Vec<Record> {
        let bounds = self.bounds();
        let mut bytes = 0;
        let fits = |record: &&Record| {
            bytes += record.bytes();
            bytes <= bounds.record_bytes
        };
        let count = self.unsaved.iter().take(bounds.records).take_while(fits).count();
        self.unsaved.drain(..count.max(1).min(self.unsaved.len())).collect()
    }

    async fn commit(&mut self, gathered: Gathered) {
        if gathered.rejoin {
            self.lose().await;
        }
        self.unsaved.extend(gathered.records);
        self.checkpoint = self.checkpoint.max(gathered.checkpoint);
        if self.lost && !self.rejoin().await {
            refuse(gathered.calls, &PublishError::Unavailable(LEASE_LOST));
            return;
        }
        if !self.settle_unclear().await {
            refuse(gathered.calls, &PublishError::Unavailable(NO_ANSWER));
            return;
        }
        let now = clock::schedule_us();
        // What was under way when the lease was lost belongs to others.
        self.unsaved.retain(|record| !record.lane.is_abandoned());
        let records = self.next_records();
        self.inner.checkpoint.set_committing(true);
        let (intakes, new_events, replies) = self.admit(gathered.calls, now);
        self.last_events = intakes.len();
        if !intakes.is_empty() {
            fault::panic_if_planted("committer-panic");
        }
        let losses = self.inner.membership.losses();
        // Before a loss it was about what others own now: it would lead past deliveries whose rows were given up.
        self.checkpoint = self.checkpoint.filter(|checkpoint| checkpoint.losses == losses);
        let checkpoint = self.checkpoint.filter(|_| self.unsaved.is_empty());
        let mut batch = batch::build(new_events, &records, checkpoint.map(|checkpoint| checkpoint.id));
        batch.repeated = self.repeated;
        batch.exclusive = exclusive(&intakes);
        if batch.is_empty() {
            self.failed = false;
            self.inner.checkpoint.set_committing(false);
            answer(replies, &[]);
            return;
        }
        let replies = if fault::is_planted("ack-before-commit") {
            answer(replies, &promised(&intakes));
            Vec::new()
        } else {
            replies
        };
        match self.store(&batch, records.len()).await {
            Ok(committed) => {
                fault::point("after-commit");
                if let Some(checkpoint) = checkpoint {
                    self.checkpoint = None;
                    self.inner.checkpoint.stored(checkpoint.id);
                }
                // Publishers first: they are on their way back with more while the deliveries are handed over.
                answer(replies, &results(&intakes, &committed));
                self.hand_off(intakes, &committed, now);
                self.inner.checkpoint.set_committing(false);
                self.settle(records, &committed, now);
            }
            Err(error) if isolate::may_be_a_row(&error) => {
                let events = intakes.into_iter().zip(batch.events).collect();
                self.isolate(events, records, replies, error).await;
            }
            Err(error) => {
                tracing::error!(%error, events = intakes.len(), outcomes = records.len(), "commit failed");
                refuse_replies(replies, &publish_error(&error));
                self.give_up(intakes, records, &error).await;
            }
        }
    }

    /// Makes a batch durable.
    async fn store(&mut self, batch: &Batch, records: usize) -> Result<Committed, CommitError> {
        let begun = Instant::now();
        let result = if records > PLANTED_RECORDS_MAX && fault::is_planted("large-commit-timeout") {
            Err(CommitError::Store(StoreError::Timeout(0)))
        } else {
            self.inner.store.commit(batch).await
        };
        match &result {
            Ok(_) => {
                self.inner.commits.succeeded();
                self.inner.metrics.committed(begun.elapsed(), records);
                self.failed = false;
                self.repeated &= !self.unsaved.is_empty();
                self.divisor = (self.divisor / 2).max(1);
            }
            Err(_) => self.inner.metrics.commit_failed(),
        }
        result
    }

    /// A commit failed, and nobody knows whether it reached the store. Its records come first in the next one.
    async fn give_up(&mut self, intakes: Vec<Intake>, records: Vec<Record>, error: &CommitError) {
        self.inner.commits.failed();
        self.failed = true;
        self.unclear.extend(intakes);
        self.put_back(records);
        match error {
            CommitError::Store(StoreError::LeaseLost) => self.lose().await,
            CommitError::Store(error) if error.is_timeout() => self.divisor = (self.divisor * 2).min(DIVISOR_MAX),
            _ => {}
        }
    }

    /// Records that could not be stored come before all others.
    fn put_back(&mut self, records: Vec<Record>) {
        self.repeated = true;
        for record in records.into_iter().rev() {
            self.unsaved.push_front(record);
        }
    }

    /// The lease was lost: nothing in memory is this node's any more, and nothing may be accepted by what it knows.
    async fn lose(&mut self) {
        self.lost = true;
        self.inner.membership.doubt();
        self.inner.lease.lost();
        // First: it would go on to put into new lanes what others own now.
        self.inner.stop_recovery().await;
        self.inner.lanes.abandon_all();
        self.unsaved.clear();
        self.checkpoint = None;
        // Those that were stored are adopted with all others; those that were not can never be.
        self.unclear.clear();
    }

    async fn rejoin(&mut self) -> bool {
        let joined = async {
            self.inner.store.rejoin().await?;
            self.inner.start_over().await
        };
        match joined.await {
            Ok(()) => {
                tracing::info!(node = self.inner.store.node(), "joined the other nodes again");
                self.lost = false;
                // What came in meanwhile was abandoned as well.
                self.inner.checkpoint.set_committing(false);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "cannot join the other nodes yet; will try again");
                false
            }
        }
    }

    /// Gives ids and places in memory to the events of the publish calls.
    fn admit(&self, calls: Vec<PublishCall>, now: i64) -> (Vec<Intake>, Vec<NewEvent>, Vec<Reply>) {
        let published_at = clock::reference_us();
        let losses = self.inner.membership.losses();
        let mut intakes = Vec::new();
        let mut new_events = Vec::new();
        let mut replies = Vec::with_capacity(calls.len());
        for PublishCall {
            drafts,
            reply: sender,
            losses: losses_before,
            ..
        } in calls
        {
            // Of a call of several parts: no event is stored after one that its publisher has to repeat.
            // And none whose webhooks were found by a configuration that may have changed while this node was lost.
            let is_outdated = losses_before != losses;
            let outdated = || is_outdated.then_some(PublishError::Unavailable(LEASE_LOST));
            if let Some(error) = sender.failed().or_else(outdated) {
                sender.send(drafts.iter().map(|_| Err(error.clone())).collect());
                continue;
            }
            let mut results = Vec::with_capacity(drafts.len());
            for draft in drafts {
                if draft.webhooks.len() > FANOUT_MAX {
                    results.push(Pending::Refused(PublishError::FanOut(draft.webhooks.len(), FANOUT_MAX)));
                    continue;
                }
                results.push(Pending::Event(intakes.len()));
                let (intake, new_event) = self.admit_one(draft, now, published_at);
                intakes.push(intake);
                new_events.push(new_event);
            }
            replies.push(Reply { results, sender });
        }
        (intakes, new_events, replies)
    }

    fn admit_one(&self, draft: Draft, now: i64, published_at: i64) -> (Intake, NewEvent) {
        let id = self.inner.ids.reserve(1 + draft.webhooks.len(), published_at / 1_000);
        let mut spilled = Vec::new();
        let mut ordered = Vec::new();
        let mut lanes = Vec::with_capacity(draft.webhooks.len());
        let weight = self.inner.memory.weigh(id, draft.payload.len(), draft.webhooks.len());
        for (position, webhook) in draft.webhooks.iter().enumerate() {
            let lane = self.inner.lanes.get(*webhook);
            let delivery = EventId::from_raw(id).delivery(position).raw();
            let place = Place {
                delivery,
                event: id,
                organization: draft.organization.raw(),
            };
            if !lane.reserve(place, weight.clone(), now) {
                spilled.push(position);
                if lane.is_ordered() {
                    ordered.push(position);
                }
            }
            lanes.push(lane);
        }
        let event = self.inner.memory.adopt(Arc::new(StoredEvent {
            id,
            organization_id: draft.organization.raw(),
            event_type: draft.event_type,
            payload: draft.payload,
            webhooks: draft.webhooks,
            occurred_at: draft.occurred_at.unwrap_or(published_at),
            attributes: draft.attributes,
            trace: draft.trace,
            tracestate: draft.tracestate,
            ordering_key: draft.ordering_key,
            replay_of: draft.replay_of,
        }));
        let new_event = NewEvent {
            event: Arc::clone(&event),
            request: draft.request,
            spilled: spilled.clone(),
            ordered,
            due_at: if fault::is_planted("wall-clock-due") {
                time_us(id)
            } else {
                now
            },
        };
        (Intake { event, lanes, spilled }, new_event)
    }

    /// The events are durable: puts deliveries into their lanes.
    fn hand_off(&self, intakes: Vec<Intake>, committed: &Committed, now: i64) {
        let repeats: HashSet<usize> = committed.repeats.iter().map(|repeat| repeat.index).collect();
        let elsewhere: HashSet<i64> = committed.elsewhere.iter().copied().collect();
        self.inner.metrics.published(intakes.len() - repeats.len());
        for (index, intake) in intakes.into_iter().enumerate() {
            let last = intake.event.id;
            if repeats.contains(&index) {
                intake.withdraw();
            } else {
                // What another node sends is that node's to look at.
                let mine = |over: &HandOver| !elsewhere.contains(&over.lane.webhook.raw());
                self.hand_over(intake.into_jobs().filter(mine), now);
            }
            self.inner.checkpoint.handed_off(last);
        }
    }

    /// Gives durable deliveries to their lanes.
    fn hand_over(&self, deliveries: impl Iterator<Item = HandOver>, now: i64) {
        for HandOver { lane, job } in deliveries {
            let actions = match job {
                Some(job) => lane.enqueue(job, now),
                None if fault::is_planted("lost-notice") => continue,
                None => lane.note_due(now, now),
            };
            self.inner.scheduler.act(&lane, actions);
        }
    }

    /// The outcomes are durable: the deliveries leave memory.
    fn settle(&self, records: Vec<Record>, committed: &Committed, now: i64) {
        if !records.is_empty() {
            self.inner.changes.notify();
        }
        for record in records {
            self.let_go(&record, now);
        }
        self.inner.disabling.judge(&committed.failing);
        for webhook in &committed.due {
            self.inner.scheduler.look_at_stored(*webhook, now);
        }
    }

    /// A delivery leaves memory, unless the record only took note of it.
    fn let_go(&self, record: &Record, now: i64) {
        let due_at = match &record.change {
            Change::Attempted { retry, .. } | Change::Unrecorded { retry } => {
                retry.as_ref().and_then(|row| row.next_attempt().due_at())
            }
            Change::Ended(_) => None,
            Change::Noted(_) => return,
            Change::Parked(row) => Some(row.due_at),
        };
        let actions = record.lane.settle(record.delivery.raw(), due_at, now);
        self.inner.scheduler.act(&record.lane, actions);
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
                if matches!(error, StoreError::LeaseLost) {
                    self.lose().await;
                }
                return false;
            }
        };
        let now = clock::schedule_us();
        for intake in std::mem::take(&mut self.unclear) {
            let id = intake.event.id;
            if stored.contains(&id) {
                self.hand_over(intake.into_jobs(), now);
            } else {
                intake.withdraw();
            }
            self.inner.checkpoint.handed_off(id);
        }
        true
    }
}

/// A delivery that is now durable, for its lane: in memory, or in the store alone.
struct HandOver {
    lane: Arc<Lane>,
    job: Option<Job>,
}

impl Intake {
    fn into_jobs(self) -> impl Iterator<Item = HandOver> {
        let Self { event, lanes, spilled } = self;
        lanes.into_iter().enumerate().map(move |(position, lane)| {
            let job = spilled.binary_search(&position).is_err().then(|| Job {
                delivery: EventId::from_raw(event.id).delivery(position).raw(),
                webhook: lane.webhook.raw(),
                event: Arc::clone(&event),
                attempts: 0,
                ordering_key: None,
            });
            HandOver { lane, job }
        })
    }

    fn published(&self) -> Published {
        Published {
            event: EventId::from_raw(self.event.id),
            delivery_count: self.lanes.len(),
            repeated: false,
        }
    }

    /// The event was not stored: gives the places in memory back.
    fn withdraw(self) {
        for (position, lane) in self.lanes.iter().enumerate() {
            if self.spilled.binary_search(&position).is_err() {
                let delivery = EventId::from_raw(self.event.id).delivery(position).raw();
                lane.unreserve(delivery);
            }
        }
    }
}

/// The webhooks of these events that one node alone may send to: what is theirs is always in the store first.
fn exclusive(intakes: &[Intake]) -> Vec<i64> {
    let mut webhooks = Vec::new();
    for intake in intakes {
        let lanes = intake.spilled.iter().map(|position| &intake.lanes[*position]);
        webhooks.extend(lanes.filter(|lane| lane.is_exclusive()).map(|lane| lane.webhook.raw()));
    }
    webhooks
}

/// The error that publishers get when a commit fails.
fn results(intakes: &[Intake], committed: &Committed) -> Vec<Result<Published, PublishError>> {
    let repeats: HashMap<usize, &Repeat> = committed.repeats.iter().map(|repeat| (repeat.index, repeat)).collect();
    let result = |(index, intake): (usize, &Intake)| match repeats.get(&index) {
        None => Ok(intake.published()),
        Some(repeat) if repeat.same => Ok(Published {
            event: EventId::from_raw(repeat.event_id),
            delivery_count: repeat.delivery_count,
            repeated: true,
        }),
        Some(repeat) => Err(PublishError::Conflict(EventId::from_raw(repeat.event_id))),
    };
    intakes.iter().enumerate().map(result).collect()
}

/// What a server would answer that does not wait for the commit: see [`fault`].
fn promised(intakes: &[Intake]) -> Vec<Result<Published, PublishError>> {
    intakes.iter().map(|intake| Ok(intake.published())).collect()
}

/// A publish call, or a part of one, that waits for its answer.
struct Reply {
    results: Vec<Pending>,
    sender: reply::Reply,
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
        sender.send(results);
    }
}

fn refuse_replies(replies: Vec<Reply>, error: &PublishError) {
    for Reply { results, sender } in replies {
        sender.send(results.iter().map(|_| Err(error.clone())).collect());
    }
}

fn refuse(calls: Vec<PublishCall>, error: &PublishError) {
    for PublishCall { drafts, reply, .. } in calls {
        reply.send(drafts.iter().map(|_| Err(error.clone())).collect());
    }
}

/// What publishers are told of a commit that failed: nothing of what the database says, which is not theirs to read.
fn publish_error(error: &CommitError) -> PublishError {
    match error {
        CommitError::Full(_) => PublishError::Full,
        CommitError::Store(StoreError::LeaseLost) => PublishError::Unavailable(LEASE_LOST),
        CommitError::Store(error) if error.is_timeout() => {
            PublishError::Unavailable("the store did not answer in time")
        }
        CommitError::Store(StoreError::Unreachable(_)) => PublishError::Unavailable("the store cannot be reached"),
        CommitError::Store(_) => PublishError::Unavailable("the store failed"),
    }
}
