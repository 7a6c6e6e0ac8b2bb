//! A recorded request.

use std::io;
use std::time::Instant;

use bytes::Bytes;
use httparse::{EMPTY_HEADER, Status};

/// Far above what Hookwright sends: bounds, so that a defect fills no memory.
const HEADERS_MAX: usize = 256;
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The head of a request.
pub(super) struct Head {
    /// With the empty line.
    pub(super) length: usize,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The head that the bytes begin with; `None` while it is incomplete.
    pub(super) fn read(bytes: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Request::new(&mut headers);
        let parsed = head
            .parse(bytes)
            .map_err(|error| io::Error::other(format!("no request head: {error}")))?;
        let Status::Complete(length) = parsed else {
            return Ok(None);
        };
        let headers = head.headers.iter().map(|header| {
            let value = String::from_utf8_lossy(header.value).into_owned();
            (header.name.to_owned(), value)
        });
        Ok(Some(Self {
            length,
            method: head.method.unwrap_or_default().to_owned(),
            target: head.path.unwrap_or_default().to_owned(),
            headers: headers.collect(),
        }))
    }

    /// What Content-Length says. Hookwright never sends a chunked body, so one is a problem.
    pub(super) fn body_length(&self) -> io::Result<usize> {
        let named = |wanted: &'static str| {
            let headers = self.headers.iter();
            headers.filter(move |(name, _)| name.eq_ignore_ascii_case(wanted))
        };
        if named("transfer-encoding").next().is_some() {
            return Err(io::Error::other(format!("a body without length: {:?}", self.headers)));
        }
        let mut lengths = named("content-length").map(|(_, value)| value.parse::<usize>());
        match (lengths.next(), lengths.next()) {
            (None, _) => Ok(0),
            (Some(Ok(length)), None) if length <= BODY_BYTES_MAX => Ok(length),
            _ => Err(io::Error::other(format!("a bad Content-Length: {:?}", self.headers))),
        }
    }
}

/// A request, as bytes and in parts.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// All bytes as they were received.
    pub raw: Bytes,
    /// The request line and the headers as text, without the empty line.
    pub head: String,
    /// Header names as they were received, in order, and values without surrounding whitespace.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// When it was complete.
    pub at: Instant,
    /// The number of its connection, counted from 1.
    pub connection: usize,
    method: String,
    target: String,
}

impl RecordedRequest {
    /// Of all its bytes, and the head that they begin with.
    pub(super) fn new(raw: Bytes, head: Head, connection: usize) -> Self {
        let head_end = head.length - b"\r\n\r\n".len();
        Self {
            head: String::from_utf8_lossy(&raw[..head_end]).into_owned(),
            headers: head.headers,
            body: raw.slice(head.length..),
            raw,
            at: Instant::now(),
            connection,
            method: head.method,
            target: head.target,
        }
    }

    /// The value of a header, by its case-insensitive name; the first one if it is repeated.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_values(name).next()
    }

    /// All values of a header, by its case-insensitive name.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The request line's method, `POST` for a delivery.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The request line's target: path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Panics if it is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("the body is no JSON ({error}): {}", self.summary()))
    }

    /// The request in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let start = &self.body[..self.body.len().min(100)];
        format!(
            "{} {} {} {} (connection {}, body of {} bytes: {})",
            self.method(),
            self.target(),
            self.header("tt-hook-event").unwrap_or("-"),
            self.header("tt-hook-delivery").unwrap_or("-"),
            self.connection,
            self.body.len(),
            String::from_utf8_lossy(start)
        )
    }
}
