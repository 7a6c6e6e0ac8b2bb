//! The SQLSTATE of errors, read from the server's messages as they arrive: diesel-async keeps only an error's text,
//! which the server may write in any language.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use crate::error::{SqlState, StoreError};

/// How many bytes of an error are kept until its code is found: the code is among the first fields.
const ERROR_BYTES_MAX: usize = 1_024;

/// The SQLSTATE of the last error on a connection.
#[derive(Debug, Default)]
pub(super) struct LastState(AtomicU64);

impl LastState {
    fn put(&self, code: [u8; 5]) {
        let [a, b, c, d, e] = code;
        self.0
            .store(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]), Ordering::Release);
    }

    fn take(&self) -> Option<SqlState> {
        let [_, _, _, code @ ..] = self.0.swap(0, Ordering::AcqRel).to_be_bytes();
        (code[0] != 0).then_some(SqlState(code))
    }
}

/// The place of a connection's [`LastState`].
struct Kept(Arc<LastState>);

impl Instrumentation for Kept {
    fn on_connection_event(&mut self, _: InstrumentationEvent<'_>) {}
}

/// Attaches the place of error codes to a connection.
pub(super) fn keep(conn: &mut AsyncPgConnection, state: Arc<LastState>) {
    conn.set_instrumentation(Kept(state));
}

/// Takes the SQLSTATE of the last error on a connection.
fn take_state(conn: &mut AsyncPgConnection) -> Option<SqlState> {
    let kept: &mut dyn Instrumentation = conn.instrumentation();
    kept.downcast_ref::<Kept>()?.0.take()
}

/// An error with its SQLSTATE, if the server reported it.
pub(super) fn refine(conn: &mut AsyncPgConnection, error: StoreError) -> StoreError {
    match take_state(conn) {
        Some(state) => error.with_state(state),
        None => error,
    }
}

/// A stream of the server's messages that records the codes of errors.
pub(super) struct Watched<S> {
    stream: S,
    messages: Messages,
    state: Arc<LastState>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, state: Arc<LastState>) -> Self {
        Self {
            stream,
            messages: Messages::default(),
            state,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read
            && let Some(code) = self.messages.read(&buffer.filled()[before..])
        {
            self.state.put(code);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// Finds the errors among the protocol's messages. A message is a byte with its type, four bytes with the length of the
/// rest, and the rest.
#[derive(Debug, Default)]
struct Messages {
    head: [u8; 5],
    head_bytes: usize,
    left: usize,
    error: Vec<u8>,
}

impl Messages {
    /// Scans the bytes that were read. Returns the code of the last error in them.
    fn read(&mut self, mut bytes: &[u8]) -> Option<[u8; 5]> {
        let mut code = None;
        while !bytes.is_empty() {
            if self.head_bytes < self.head.len() {
                let take = bytes.len().min(self.head.len() - self.head_bytes);
                self.head[self.head_bytes..self.head_bytes + take].copy_from_slice(&bytes[..take]);
                self.head_bytes += take;
                bytes = &bytes[take..];
                if self.head_bytes == self.head.len() {
                    let [_, length @ ..] = self.head;
                    self.left = usize::try_from(u32::from_be_bytes(length))
                        .unwrap_or(0)
                        .saturating_sub(4);
                    self.error.clear();
                }
            }
            let take = bytes.len().min(self.left);
            if self.head[0] == b'E' {
                let kept = take.min(ERROR_BYTES_MAX.saturating_sub(self.error.len()));
                self.error.extend_from_slice(&bytes[..kept]);
            }
            bytes = &bytes[take..];
            self.left -= take;
            if self.left == 0 && self.head_bytes == self.head.len() {
                if self.head[0] == b'E' {
                    code = code_of(&self.error).or(code);
                }
                self.head_bytes = 0;
            }
        }
        code
    }
}

/// The SQLSTATE among the fields of an error. A field is a byte with its type, and text that ends in a zero byte.
fn code_of(error: &[u8]) -> Option<[u8; 5]> {
    let mut fields = error.split(|byte| *byte == 0);
    let code = fields.find_map(|field| field.strip_prefix(b"C"))?;
    code.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn the_code_of_an_error_is_found_however_the_bytes_arrive() {
        let error = b"SERROR\0VERROR\0C53100\0Mkein Platz\0\0";
        let answer = [
            message(b'1', b""),
            message(b'D', &[b'E'; 300]),
            message(b'N', b"SNOTICE\0C00000\0\0"),
            message(b'E', error),
            message(b'Z', b"E"),
        ]
        .concat();
        for size in [1, 2, 3, 5, 7, 64, 1_000] {
            let mut messages = Messages::default();
            let found: Vec<_> = answer.chunks(size).filter_map(|chunk| messages.read(chunk)).collect();
            assert_eq!(found, [*b"53100"], "{size} bytes at a time");
        }
    }

    #[test]
    fn a_code_is_taken_once() {
        let state = LastState::default();
        assert_eq!(state.take(), None);
        state.put(*b"40P01");
        assert_eq!(state.take(), Some(SqlState(*b"40P01")));
        assert_eq!(state.take(), None);
    }

    #[test]
    fn a_long_error_costs_bounded_memory() {
        let mut messages = Messages::default();
        let long = [&b"C22001\0M"[..], &vec![b'x'; 1 << 20]].concat();
        assert_eq!(messages.read(&message(b'E', &long)), Some(*b"22001"));
        assert!(messages.error.len() <= ERROR_BYTES_MAX);
    }
}
