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

/// Publishes events over one stream, and sends each until it is acknowledged. When the stream breaks, or the server
/// restarts, the publisher reopens it and sends unacknowledged events again. They have the same request ids, so no event is
/// lost or stored twice.
///
/// **Bounded.** At most [`events_max`](PublisherBuilder::events_max) events, and about
/// [`bytes_max`](PublisherBuilder::bytes_max) bytes of payload, are unacknowledged; [`publish`](Self::publish) waits while
/// the window is full.
///
/// **Order.** Events are sent in the order in which `publish` accepted them, also after a broken stream. Many are in flight
/// at once, though, and an event that the server temporarily could not store may be stored after a later one. If two events
/// must be stored in order, await the [`Receipt`] of the first before publishing the second.
///
/// **Failures.** The rejection of an event is in its [`Receipt`], and ends nothing. The rejection of the stream as a whole
/// (because of an invalid token, for example) fails all unacknowledged events; later ones try again.
///
/// Cheap to clone. When the last clone is dropped, accepted events are still sent while the runtime lives:
/// [`close`](Self::close) waits for that.
#[derive(Clone, Debug)]
pub struct Publisher {
    commands: mpsc::UnboundedSender<Command>,
    window: Window,
}

/// Builds a [`Publisher`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before `start`"]
pub struct PublisherBuilder {
    client: Client,
    events_max: u32,
    bytes_max: u32,
    ack_timeout: Duration,
    give_up_after: Option<Duration>,
}

impl Client {
    /// Builds a stream of events, each sent until it is acknowledged.
    pub fn publisher(&self) -> PublisherBuilder {
        PublisherBuilder::new(self.clone())
    }
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

    /// Maximum number of unacknowledged events: 1,024 by default; at least 1.
    pub fn events_max(mut self, count: u32) -> Self {
        self.events_max = count.max(1);
        self
    }

    /// Maximum bytes of unacknowledged payload: 16 MiB by default. A larger event waits until it is alone.
    pub fn bytes_max(mut self, bytes: u32) -> Self {
        self.bytes_max = bytes.max(1);
        self
    }

    /// Timeout of the next acknowledgement before the stream is considered broken and reopened: the client's timeout by
    /// default.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }

    /// Time without any acknowledgement before unacknowledged events fail, with the last error. By default they are retried
    /// without a limit, and while the server is unavailable `publish` waits.
    pub fn give_up_after(mut self, duration: Duration) -> Self {
        self.give_up_after = Some(duration);
        self
    }

    /// Starts the publisher; needs a Tokio runtime. The first event opens the stream.
    #[must_use]
    pub fn start(self) -> Publisher {
        let window = Window::new(self.events_max, self.bytes_max);
        #[expect(clippy::disallowed_methods, reason = "the window bounds the events in it")]
        let (commands, inbox) = mpsc::unbounded_channel();
        let worker = Worker::new(self.client, inbox, self.ack_timeout, self.give_up_after);
        tokio::spawn(worker.run());
        Publisher { commands, window }
    }
}

impl Publisher {
    /// Accepts an event as soon as the window allows; an event without a request id gets a random one. The event is durable
    /// when the [`Receipt`] says so. A call that is dropped while it waits has accepted nothing.
    pub async fn publish(&self, mut event: PublishEventRequest) -> Receipt {
        let named = ensure_request_id(&mut event);
        let room = self.window.room_for(&event).await;
        let (answer, receipt) = oneshot::channel();
        let command = match named {
            Ok(()) => Command::Publish(Entry::new(event, answer, room)),
            Err(error) => {
                let _ = answer.send(Err(error.clone()));
                Command::Fail(error)
            }
        };
        // Without a worker, the entry and its half of the receipt are dropped, which fails the receipt.
        let _ = self.commands.send(command);
        Receipt(receipt)
    }

    /// [`publish`](Self::publish) without a receipt: [`flush`](Self::flush) and [`close`](Self::close) return the first
    /// failure.
    pub async fn send(&self, event: PublishEventRequest) {
        drop(self.publish(event).await);
    }

    /// Waits until every event that was accepted before is settled.
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

/// The result of one event: a future of the answer to PublishEvent. `repeated_request` is also true if an earlier try of
/// this publisher, whose acknowledgement was lost, had stored the event.
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
