//! Isolation of a row that the store refuses, so that it does not block others.
//!
//! If the store answers a commit with an error, the commit is repeated in halves until the faulty row is alone.
//!
//! | faulty row | what follows |
//! | --- | --- |
//! | an outcome | it is stored without its texts, or without its attempt's row; otherwise the delivery is given up |
//! | an event | its publisher gets an error |
//! | none: the store accepts no other commit either | the store is at fault, and everything waits for the next commit |
//!
//! A row counts as faulty only if the store accepts others meanwhile. If there are no others, the current watermark is
//! stored once more. The search ends after [`FAILURES_MAX`] failures.

use std::{collections::VecDeque, sync::Arc};

use hookwright_storage::{AttemptRow, Batch, CommitError, NewEvent, StoreError, StoredEvent};

use super::{
    super::{
        batch,
        command::{PublishError, Published},
        record::{Change, Record},
    },
    Committer,
    answers::{Reply, answer, publish_error, refuse_replies, results},
    intake::{Intake, exclusive},
};
use crate::clock;

/// The limit on failed commits in one search: a commit of 128 refused outcomes needs about as many. Each takes a few
/// milliseconds, while publishers wait.
const FAILURES_MAX: usize = 256;

/// A part of a commit.
enum Piece {
    Records(Vec<Record>),
    Events(Vec<NumberedEvent>),
}

/// An event with its index in the commit.
struct NumberedEvent {
    number: usize,
    intake: Intake,
    event: NewEvent,
}

/// The results of the pieces.
struct Progress {
    pieces: VecDeque<Piece>,
    results: Vec<Result<Published, PublishError>>,
    failures: usize,
    /// The store accepted a piece.
    succeeded: bool,
    /// Records that the store refuses in every form.
    outcasts: Vec<Record>,
    /// Events that the store refuses, with its errors.
    refused: Vec<(usize, Arc<StoredEvent>, String)>,
}

/// Whether an error may concern a row of the commit. The database answered with it, so nothing was stored.
pub(super) fn may_be_a_row(error: &CommitError) -> bool {
    match error {
        CommitError::Full(_) => false,
        CommitError::Store(error @ StoreError::Database { .. }) => !error.is_transient(),
        CommitError::Store(_) => false,
    }
}

impl Committer {
    /// Stores the acceptable parts of a commit that the store refused as a whole.
    pub(super) async fn isolate(
        &mut self,
        events: Vec<(Intake, NewEvent)>,
        records: Vec<Record>,
        replies: Vec<Reply>,
        error: CommitError,
    ) {
        tracing::warn!(%error, events = events.len(), outcomes = records.len(), "the store refuses a commit; storing it in parts");
        let ids: Vec<i64> = events.iter().map(|(intake, _)| intake.event.id).collect();
        // This also ensures that the failed transaction has ended.
        match self.handles.store.events_exist(&ids).await {
            Ok(stored) if stored.is_empty() => {}
            _ => {
                refuse_replies(replies, &publish_error(&error));
                let intakes = events.into_iter().map(|(intake, _)| intake).collect();
                self.give_up(intakes, records, &error).await;
                return;
            }
        }
        self.repeated = true;
        let numbered = |(number, (intake, event))| NumberedEvent { number, intake, event };
        let events: Vec<NumberedEvent> = events.into_iter().enumerate().map(numbered).collect();
        let mut progress = Progress {
            results: events.iter().map(|_| Err(publish_error(&error))).collect(),
            pieces: VecDeque::new(),
            failures: 0,
            succeeded: false,
            outcasts: Vec::new(),
            refused: Vec::new(),
        };
        progress.push(Piece::Events(events));
        progress.push(Piece::Records(records));
        while let Some(piece) = progress.pieces.pop_front() {
            let going_on = match piece {
                Piece::Records(records) => self.store_records(records, &mut progress).await,
                Piece::Events(events) => self.store_events(events, &mut progress).await,
            };
            if let Err(error) = going_on {
                self.abandon(&mut progress, &error).await;
                break;
            }
        }
        self.conclude(progress, replies).await;
    }

    async fn store_records(&mut self, records: Vec<Record>, progress: &mut Progress) -> Result<(), CommitError> {
        let mut batch = batch::build(Vec::new(), &records, None);
        batch.repeated = true;
        if batch.is_empty() {
            self.settle(records, &hookwright_storage::Committed::default(), clock::schedule_us());
            return Ok(());
        }
        match self.store(&batch, records.len()).await {
            Ok(committed) => {
                progress.succeeded = true;
                self.settle(records, &committed, clock::schedule_us());
                Ok(())
            }
            Err(error) if progress.may_divide(&error) => {
                progress.divide_records(records, &error);
                Ok(())
            }
            Err(error) => {
                progress.pieces.push_front(Piece::Records(records));
                Err(error)
            }
        }
    }

    async fn store_events(&mut self, events: Vec<NumberedEvent>, progress: &mut Progress) -> Result<(), CommitError> {
        let mut numbers = Vec::with_capacity(events.len());
        let mut intakes = Vec::with_capacity(events.len());
        let mut batch = Batch::default();
        for event in events {
            numbers.push(event.number);
            intakes.push(event.intake);
            batch.events.push(event.event);
        }
        batch.exclusive = exclusive(&intakes);
        let now = clock::schedule_us();
        match self.store(&batch, 0).await {
            Ok(committed) => {
                progress.succeeded = true;
                for (number, result) in numbers.into_iter().zip(results(&intakes, &committed)) {
                    progress.results[number] = result;
                }
                self.hand_off(intakes, &committed, now);
                Ok(())
            }
            Err(error) if progress.may_divide(&error) => {
                let events = numbers.into_iter().zip(intakes.into_iter().zip(batch.events));
                let events = events.map(|(number, (intake, event))| NumberedEvent { number, intake, event });
                if let Some(refused) = progress.divide_events(events.collect(), &error) {
                    let id = refused.event.id;
                    refused.withdraw();
                    self.handles.watermark.handed_off(id);
                }
                Ok(())
            }
            Err(error) => {
                // The store may contain them.
                self.unclear.extend(intakes);
                Err(error)
            }
        }
    }

    /// Handles a store that failed meanwhile, or that refuses everything: the remaining records wait, and the remaining
    /// events are refused.
    async fn abandon(&mut self, progress: &mut Progress, error: &CommitError) {
        self.give_up(Vec::new(), Vec::new(), error).await;
        for piece in std::mem::take(&mut progress.pieces).into_iter().rev() {
            match piece {
                Piece::Records(records) => self.put_back(records),
                Piece::Events(events) => {
                    for event in events {
                        let id = event.intake.event.id;
                        event.intake.withdraw();
                        self.handles.watermark.handed_off(id);
                    }
                }
            }
        }
    }

    /// Handles the refused pieces, and answers the publishers.
    async fn conclude(&mut self, mut progress: Progress, replies: Vec<Reply>) {
        let found = !(progress.refused.is_empty() && progress.outcasts.is_empty());
        if found && (progress.succeeded || self.takes_others().await) {
            for (number, event, error) in progress.refused {
                tracing::error!(event = event.id, organization = event.organization_id, event_type = event.event_type, %error, "the store refuses an event");
                progress.results[number] = Err(PublishError::Refused);
            }
            for record in progress.outcasts {
                tracing::error!(webhook = %record.lane.webhook, delivery = %record.delivery, "the store refuses an outcome in every form; it is given up");
                self.let_go(&record, clock::schedule_us());
            }
        } else if !progress.outcasts.is_empty() {
            self.handles.commits.failed();
            self.failed = true;
            self.put_back(progress.outcasts);
        }
        if self.unclear.is_empty() {
            self.handles.watermark.set_committing(false);
        }
        answer(replies, &progress.results);
    }
}

impl Committer {
    /// Whether the store accepts a commit that changes nothing.
    async fn takes_others(&mut self) -> bool {
        if self.lost {
            return false;
        }
        let batch = Batch {
            watermark: Some(self.handles.watermark.durable()),
            ..Batch::default()
        };
        match self.store(&batch, 0).await {
            Ok(_) => true,
            Err(error) => {
                self.give_up(Vec::new(), Vec::new(), &error).await;
                false
            }
        }
    }
}

impl Progress {
    fn push(&mut self, piece: Piece) {
        let is_empty = match &piece {
            Piece::Records(records) => records.is_empty(),
            Piece::Events(events) => events.is_empty(),
        };
        if !is_empty {
            self.pieces.push_front(piece);
        }
    }

    /// Counts a failure. Returns whether the search continues.
    fn may_divide(&mut self, error: &CommitError) -> bool {
        self.failures += 1;
        may_be_a_row(error) && self.failures <= FAILURES_MAX
    }

    /// Queues the halves next, in order. A single record is queued again with less content.
    fn divide_records(&mut self, mut records: Vec<Record>, error: &CommitError) {
        match records.as_mut_slice() {
            [] => {}
            [record] => {
                let reduced = reduce(record);
                tracing::error!(webhook = %record.lane.webhook, delivery = %record.delivery, %error, reduced, "the store refuses an outcome; storing less of it");
                if reduced {
                    self.push(Piece::Records(records));
                } else {
                    self.outcasts.extend(records);
                }
            }
            _ => {
                let second = records.split_off(records.len() / 2);
                self.push(Piece::Records(second));
                self.push(Piece::Records(records));
            }
        }
    }

    /// Queues the halves next, in order. A single event is returned, because it is refused.
    fn divide_events(&mut self, mut events: Vec<NumberedEvent>, error: &CommitError) -> Option<Intake> {
        if events.len() > 1 {
            let second = events.split_off(events.len() / 2);
            self.push(Piece::Events(second));
            self.push(Piece::Events(events));
            return None;
        }
        let NumberedEvent { number, intake, .. } = events.pop()?;
        self.refused
            .push((number, Arc::clone(&intake.event), error.to_string()));
        Some(intake)
    }
}

/// Removes a part of a record that the store may refuse: first the texts of the attempt, then its row. Returns false if
/// nothing is left to remove.
fn reduce(record: &mut Record) -> bool {
    let Change::Attempted { attempt, retry } = &mut record.change else {
        return false;
    };
    let bare = AttemptRow {
        details: "{}".to_owned(),
        error_message: None,
        response_body: None,
        ..(**attempt).clone()
    };
    if bare == **attempt {
        record.change = Change::Unrecorded { retry: retry.take() };
    } else {
        *attempt = Arc::new(bare);
    }
    true
}
