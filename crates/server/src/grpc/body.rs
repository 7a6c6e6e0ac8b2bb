//! The body of a request: finds the beginnings of messages, and takes each message's bytes from the budget before it is
//! read.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::{Code, Status};

use super::{
    MESSAGE_BYTES_MAX,
    in_flight::{InFlight, Lengths},
    status,
};
use crate::listener::pulse::Question;

/// The prefix of a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// Timeout for a message of a stream to arrive after it began. The call's deadline bounds all others.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Metered<B = Question> {
    body: B,
    prefixes: Prefixes,
    in_flight: Arc<InFlight>,
    /// The maximum size of a message.
    bytes_max: usize,
    is_stream: bool,
    /// A piece of the body whose messages wait for their bytes.
    waiting: Option<(Bytes, Wait)>,
    /// Ends when a message of a stream takes too long.
    late: Option<Pin<Box<Sleep>>>,
}

type Wait = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

impl<B> Metered<B> {
    /// The body of an admitted call.
    pub(super) fn new(body: B, in_flight: Arc<InFlight>, is_stream: bool) -> Self {
        Self {
            body,
            prefixes: Prefixes::default(),
            in_flight,
            bytes_max: MESSAGE_BYTES_MAX,
            is_stream,
            waiting: None,
            late: None,
        }
    }

    /// Rejects messages above a size.
    pub(super) fn at_most(mut self, bytes: usize) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Examines a piece of the body; true if it may be read now.
    fn arrived(&mut self, piece: &Bytes) -> Result<bool, Status> {
        self.in_flight.metrics().read.inc_by(piece.len() as u64);
        let mut lengths = Lengths::default();
        let mut largest = 0;
        self.prefixes.scan(piece, |bytes, is_compressed| {
            largest = largest.max(bytes);
            lengths.add(bytes, is_compressed, self.is_stream);
        });
        if largest > self.bytes_max {
            return Err(too_large(largest, self.bytes_max));
        }
        if self.prefixes.is_between() {
            self.late = None;
        }
        if lengths.is_empty() || self.in_flight.try_take(&lengths) {
            return Ok(true);
        }
        let wait = Arc::clone(&self.in_flight).take(lengths);
        self.waiting = Some((piece.clone(), Box::pin(wait)));
        Ok(false)
    }

    /// Whether a message of a stream takes too long to arrive.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.is_stream || self.prefixes.is_between() {
            return false;
        }
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(MESSAGE_TIMEOUT)));
        late.as_mut().poll(cx).is_ready()
    }
}

impl<B> Body for Metered<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    type Data = Bytes;
    type Error = tonic::codegen::StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        loop {
            if let Some((piece, wait)) = &mut this.waiting {
                ready!(wait.as_mut().poll(cx))?;
                let piece = std::mem::take(piece);
                this.waiting = None;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let frame = match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(frame)) => frame?,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending if this.is_late(cx) => {
                    let seconds = MESSAGE_TIMEOUT.as_secs();
                    let message = format!("a message of the stream did not arrive within {seconds} s");
                    return Poll::Ready(Some(Err(Status::deadline_exceeded(message).into())));
                }
                Poll::Pending => return Poll::Pending,
            };
            let Some(piece) = frame.data_ref() else {
                return Poll::Ready(Some(Ok(frame)));
            };
            if this.arrived(piece)? {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.waiting.is_some() {
            SizeHint::default()
        } else {
            self.body.size_hint()
        }
    }
}

/// Reads a whole body before a unary call begins: a caller that sends half of it uses only the bytes that it sent.
pub(super) async fn read<B>(body: Metered<B>) -> Result<Whole, Status>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let mut body = body;
    let mut whole = Whole::default();
    while !body.is_end_stream() {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(frame) => whole.frames.push_back(frame.map_err(Status::from_error)?),
            None => break,
        }
    }
    Ok(whole)
}

/// A body that has arrived.
#[derive(Default)]
pub(super) struct Whole {
    frames: VecDeque<Frame<Bytes>>,
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.frames.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }
}

fn too_large(bytes: usize, max: usize) -> Status {
    let message = format!("a message has {bytes} bytes; this call accepts at most {max}");
    status::with_reason(Code::OutOfRange, "MESSAGE_TOO_LARGE", message)
}

/// Follows the prefixes of messages through a body.
#[derive(Debug, Default)]
struct Prefixes {
    /// The received part of a prefix.
    prefix: [u8; PREFIX_BYTES],
    have: usize,
    /// The remaining bytes of the current message.
    left: usize,
}

impl Prefixes {
    /// Reports every message that begins in a piece.
    fn scan(&mut self, piece: &[u8], mut begins: impl FnMut(usize, bool)) {
        let mut piece = piece;
        while !piece.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(piece.len());
                piece.advance(skipped);
                self.left -= skipped;
                continue;
            }
            let wanted = (PREFIX_BYTES - self.have).min(piece.len());
            self.prefix[self.have..self.have + wanted].copy_from_slice(&piece[..wanted]);
            piece.advance(wanted);
            self.have += wanted;
            if self.have == PREFIX_BYTES {
                let [flag, length @ ..] = self.prefix;
                self.have = 0;
                self.left = u32::from_be_bytes(length) as usize;
                begins(self.left, flag != 0);
            }
        }
    }

    /// Whether no message is incomplete.
    fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_wherever_pieces_are_cut() {
        let mut body = Vec::new();
        let sizes = [0, 3, 70_000, 0, 1];
        for (index, size) in sizes.iter().enumerate() {
            body.push(u8::from(index == 1));
            body.extend_from_slice(&u32::try_from(*size).unwrap().to_be_bytes());
            body.extend(std::iter::repeat_n(7, *size));
        }
        for cut in [1, 2, 3, 5, 4_096, 100_000] {
            let mut prefixes = Prefixes::default();
            let mut found = Vec::new();
            for piece in body.chunks(cut) {
                prefixes.scan(piece, |bytes, is_compressed| found.push((bytes, is_compressed)));
            }
            assert!(prefixes.is_between());
            let expected = [(0, false), (3, true), (70_000, false), (0, false), (1, false)];
            assert_eq!(found, expected, "pieces of {cut}");
        }
    }
}
