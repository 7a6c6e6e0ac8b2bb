//! A recorded request.

use std::time::Instant;

use bytes::Bytes;

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
}

impl RecordedRequest {
    /// Parses the bytes of a request; `head_length` includes the empty line.
    pub(super) fn new(raw: Bytes, head_length: usize, connection: usize) -> Self {
        let head_end = head_length - b"\r\n\r\n".len();
        let head = String::from_utf8_lossy(&raw[..head_end]).into_owned();
        let headers = head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Self {
            head,
            headers,
            body: raw.slice(head_length..),
            raw,
            at: Instant::now(),
            connection,
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
        self.request_line(0)
    }

    /// The request line's target: path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        self.request_line(1)
    }

    fn request_line(&self, part: usize) -> &str {
        let line = self.head.split("\r\n").next().unwrap_or_default();
        line.split(' ').nth(part).unwrap_or_default()
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
