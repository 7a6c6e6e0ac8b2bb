//! The task of a publisher: unacknowledged events, and one stream after another.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::window::Room;
use crate::{
    error::Error,
    publish::outcome,
    retry::{Backoff, delay, is_transient},
    service::Client,
    transport::lost,
    v1::{PublishEventRequest, PublishEventResponse, PublishStreamRequest, PublishStreamResponse},
};

/// Number of events that are queued in the connection.
const SEND_AHEAD: usize = 16;

/// Requests of the handles.
#[derive(Debug)]
pub(super) enum Command {
    Publish(Box<Entry>),
    /// An event failed before it was accepted.
    Fail(Error),
    Flush(oneshot::Sender<Result<(), Error>>),
}

/// An unacknowledged event.
#[derive(Debug)]
pub(super) struct Entry {
    event: PublishEventRequest,
    answer: oneshot::Sender<Result<PublishEventResponse, Error>>,
    _room: Room,
}

impl Entry {
    pub(super) fn new(
        event: PublishEventRequest,
        answer: oneshot::Sender<Result<PublishEventResponse, Error>>,
        room: Room,
    ) -> Box<Self> {
        Box::new(Self {
            event,
            answer,
            _room: room,
        })
    }
}

/// A flush that waits for every event up to this sequence.
#[derive(Debug)]
struct Flush(u64, oneshot::Sender<Result<(), Error>>);

pub(super) struct Worker {
    client: Client,
    commands: mpsc::UnboundedReceiver<Command>,
    ack_timeout: Duration,
    give_up_after: Option<Duration>,
    /// By sequence, which continues over all streams: the order of acceptance.
    waiting: BTreeMap<u64, Box<Entry>>,
    last_sequence: u64,
    flushes: Vec<Flush>,
    first_failure: Option<Error>,
    /// When an event was last settled, or became the oldest.
    progress: Instant,
    backoff: Backoff,
    /// All handles are gone.
    closed: bool,
}

impl Worker {
    pub(super) fn new(
        client: Client,
        commands: mpsc::UnboundedReceiver<Command>,
        ack_timeout: Duration,
        give_up_after: Option<Duration>,
    ) -> Self {
        Self {
            backoff: client.retry_policy().backoff(),
            client,
            commands,
            ack_timeout,
            give_up_after,
            waiting: BTreeMap::new(),
            last_sequence: 0,
            flushes: Vec::new(),
            first_failure: None,
            progress: Instant::now(),
            closed: false,
        }
    }

    /// Runs until all handles are gone and everything is settled.
    pub(super) async fn run(mut self) {
        loop {
            while self.waiting.is_empty() {
                let command = self.commands.recv().await;
                self.take(command);
                if self.closed {
                    return;
                }
            }
            let Err(status) = self.session().await else { continue };
            let tired = self
                .give_up_after
                .is_some_and(|patience| self.progress.elapsed() >= patience);
            if tired || !is_transient(&status) {
                self.fail(&status.into());
            } else if !self.waiting.is_empty() {
                let pause = self.backoff.pause(delay(&status));
                sleep(pause).await;
            }
        }
    }

    fn take(&mut self, command: Option<Command>) {
        match command {
            None => self.closed = true,
            Some(Command::Publish(entry)) => {
                if self.waiting.is_empty() {
                    self.progress = Instant::now();
                }
                self.last_sequence += 1;
                self.waiting.insert(self.last_sequence, entry);
            }
            Some(Command::Fail(error)) => {
                self.first_failure.get_or_insert(error);
            }
            Some(Command::Flush(answer)) => {
                self.flushes.push(Flush(self.last_sequence, answer));
                self.answer_flushes();
            }
        }
    }

    /// One stream: first the unacknowledged events of earlier streams, then new ones. Succeeds when nothing is left and
    /// nothing more can come, or when the server ended an idle stream.
    async fn session(&mut self) -> Result<(), Status> {
        let (requests, stream) = mpsc::channel(SEND_AHEAD);
        let opened = self.client.events().publish_stream(ReceiverStream::new(stream)).await;
        let mut acks: Streaming<PublishStreamResponse> = opened?.into_inner();
        let opened_at = Instant::now();
        // Sequences from here on were not sent on this stream.
        let mut unsent = 0;
        loop {
            if self.closed && self.waiting.is_empty() {
                return Ok(());
            }
            let next = self.waiting.range(unsent..).next().map(|(sequence, _)| *sequence);
            let overdue = self.progress.max(opened_at) + self.ack_timeout;
            tokio::select! {
                answered = acks.message() => match answered.map_err(lost)? {
                    Some(response) => self.settle(response)?,
                    None if self.waiting.is_empty() => return Ok(()),
                    None => return Err(Status::unavailable("the server ended the stream")),
                },
                Ok(permit) = requests.reserve(), if next.is_some() => {
                    if let Some((sequence, entry)) = self.waiting.range(unsent..).next() {
                        let (sequence, event) = (*sequence, Some(entry.event.clone()));
                        permit.send(PublishStreamRequest { sequence, event });
                        unsent = sequence + 1;
                    }
                }
                command = self.commands.recv(), if next.is_none() && !self.closed => self.take(command),
                () = sleep_until(overdue), if !self.waiting.is_empty() => {
                    let text = format!("no acknowledgement arrived for {:?}", self.ack_timeout);
                    return Err(Status::unavailable(text));
                }
            }
        }
    }

    /// Settles the events of a response. Fails if one of them temporarily could not be stored: it stays, and is sent again
    /// with all others on the next stream.
    fn settle(&mut self, response: PublishStreamResponse) -> Result<(), Status> {
        let mut failed = None;
        for ack in response.acks {
            let outcome = outcome(ack.result.unwrap_or_default());
            if let Err(error) = &outcome
                && error.is_transient()
            {
                failed = Some(error.to_status());
                continue;
            }
            // A missing one was settled before.
            if let Some(entry) = self.waiting.remove(&ack.sequence) {
                self.progress = Instant::now();
                self.backoff.reset();
                self.settle_one(entry, outcome);
            }
        }
        self.answer_flushes();
        failed.map_or(Ok(()), Err)
    }

    fn settle_one(&mut self, entry: Box<Entry>, outcome: Result<PublishEventResponse, Error>) {
        if let Err(error) = &outcome
            && self.first_failure.is_none()
        {
            self.first_failure = Some(error.clone());
        }
        // The receipt may have been dropped.
        let _ = entry.answer.send(outcome);
    }

    fn fail(&mut self, error: &Error) {
        for (_, entry) in std::mem::take(&mut self.waiting) {
            self.settle_one(entry, Err(error.clone()));
        }
        self.answer_flushes();
    }

    fn answer_flushes(&mut self) {
        let oldest = self
            .waiting
            .first_key_value()
            .map_or(u64::MAX, |(sequence, _)| *sequence);
        let (done, open) = std::mem::take(&mut self.flushes)
            .into_iter()
            .partition(|Flush(up_to, _)| *up_to < oldest);
        self.flushes = open;
        for Flush(_, answer) in done {
            let _ = answer.send(self.first_failure.take().map_or(Ok(()), Err));
        }
    }
}
