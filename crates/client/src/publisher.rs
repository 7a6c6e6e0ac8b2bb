//! A stream of events.

mod session;
mod window;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use self::{
    session::{Command, Entry, Worker},
    window::Window,
};
use crate::{
    error::Error,
    publish::ensure_request_id,
    service::Client,
    v1::{PublishEventRequest, PublishEventResponse},
};

const EVENTS_MAX: u32 = 1_024;
const BYTES_MAX: u32 = 16 << 20;

/// Publishes events over one stream, and sends each until it is acknowledged: when the stream breaks, or the server restarts, it
/// is opened again and what was not acknowledged is sent again, under the same request ids, so that nothing is lost and nothing is
/// stored twice.
///
/// **Bounded.** At most [`events_max`](PublisherBuilder::events_max) events, and about
/// [`bytes_max`](PublisherBuilder::bytes_max) bytes of payload, wait for their acknowledgement; [`publish`](Self::publish) waits for
/// room.
///
/// **Order.** Events are sent in the order in which `publish` took them, and after a broken stream again in that order. Many are under way at
/// once, though, and one that the server could not store for a moment may be stored after a later one. Where two events must be
/// stored in order, await the [`Receipt`] of the first before publishing the second.
///
/// **Failures.** What an event is refused for is in its [`Receipt`], and ends nothing. What the stream as a whole is refused for
/// (a token that is not valid, for example) fails all events that wait; those published later try again.
///
/// Cheap to clone. When the last clone is dropped, what waits is still sent, for as long as the runtime lives:
/// [`close`](Self::close) waits for that.
#[derive(Clone, Debug)]
pub struct Publisher {
    commands: mpsc::UnboundedSender<Command>,
    window: Window,
}

/// Describes a [`Publisher`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before `start`"]
pub struct PublisherBuilder {
    client: Client,
    events_max: u32,
    bytes_max: u32,
    ack_timeout: Duration,
    give_up_after: Option<Duration>,
}

impl PublisherBuilder {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            ack_timeout: client.timeout(),
            client,
            events_max: EVENTS_MAX,
            bytes_max: BYTES_MAX,
            give_up_after: None,
        }
    }

    /// How many events may wait for their acknowledgement: 1,024 by default; at least 1.
    pub fn events_max(mut self, count: u32) -> Self {
        self.events_max = count.max(1);
        self
    }

    /// How many bytes of payload may wait for their acknowledgement: 16 MiB by default. A larger event waits until it is alone.
    pub fn bytes_max(mut self, bytes: u32) -> Self {
        self.bytes_max = bytes.max(1);
        self
    }

    /// How long to wait for the next acknowledgement before the stream is taken for broken and opened again: the client's timeout
    /// by default.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// How long to try without any acknowledgement before the events that wait fail, with what went wrong last. By default they
    /// are tried for ever, and a server that is away shows as `publish` that waits.
    pub fn give_up_after(mut self, duration: Duration) -> Self {
        self.give_up_after = Some(duration);
        self
    }

    /// Starts the publisher, within a Tokio runtime; the stream is opened for the first event.
    #[must_use]
    pub fn start(self) -> Publisher {
        let window = Window::new(self.events_max, self.bytes_max);
        let (commands, inbox) = mpsc::unbounded_channel();
        let worker = Worker::new(self.client, inbox, self.ack_timeout, self.give_up_after);
        tokio::spawn(worker.run());
        Publisher { commands, window }
    }
}

impl Publisher {
    /// Takes an event to publish, as soon as there is room; gives it a random request id if it has none. The event is durable when
    /// the [`Receipt`] says so. A call that is dropped while it waits for room has taken nothing.
    pub async fn publish(&self, mut event: PublishEventRequest) -> Receipt {
        ensure_request_id(&mut event);
        let room = self.window.room_for(&event).await;
        let (answer, receipt) = oneshot::channel();
        // Without a worker, the entry and its half of the receipt are dropped, which the receipt tells.
        let _ = self.commands.send(Command::Publish(Entry::new(event, answer, room)));
        Receipt(receipt)
    }

    /// [`publish`](Self::publish) for those who need no receipt: [`flush`](Self::flush) and [`close`](Self::close) tell of the first
    /// failure.
    pub async fn send(&self, event: PublishEventRequest) {
        drop(self.publish(event).await);
    }

    /// Waits until every event that was taken before is settled.
    ///
    /// # Errors
    /// With the first failure among the events that were settled since the last flush. The others are published.
    pub async fn flush(&self) -> Result<(), Error> {
        let (answer, flushed) = oneshot::channel();
        let _ = self.commands.send(Command::Flush(answer));
        flushed.await.unwrap_or_else(|_| Err(ended()))
    }

    /// [`flush`](Self::flush), and ends the stream if this is the last clone.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn close(self) -> Result<(), Error> {
        self.flush().await
    }
}

/// What becomes of one event: a future of the answer to PublishEvent. `repeated_request` is also true where the event was stored by
/// an earlier try of this publisher whose acknowledgement was lost.
#[derive(Debug)]
#[must_use = "await it, or use `send`"]
pub struct Receipt(oneshot::Receiver<Result<PublishEventResponse, Error>>);

impl Future for Receipt {
    type Output = Result<PublishEventResponse, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or_else(|_| Err(ended())))
    }
}

fn ended() -> Error {
    Status::cancelled("the publisher's task has ended, because its runtime was shut down").into()
}
