//! The answers of a receiver.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

/// The answer of a receiver to a whole request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Sends an HTTP response.
    Respond(Response),
    /// Writes exactly these bytes, then closes the connection.
    Raw(Bytes),
    /// Writes exactly these bytes and reads the next request.
    RawKeepAlive(Bytes),
    /// Never answers, and keeps the connection open until the sender closes it.
    Hang,
    /// Closes the connection in an orderly way, without a byte.
    Close,
    /// Resets the connection (RST), without a byte.
    Reset,
}

impl Answer {
    /// Writes exactly these bytes, then closes the connection.
    #[must_use]
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::Raw(bytes.into())
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Respond(response)
    }
}

impl From<u16> for Answer {
    fn from(status: u16) -> Self {
        Response::new(status).into()
    }
}

/// A response with a Content-Length, after which the connection is kept alive.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    close: bool,
    delay: Duration,
    gate: Option<Gate>,
}

impl Response {
    /// A response without additional headers and with an empty body.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            close: false,
            delay: Duration::ZERO,
            gate: None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends `Connection: close`, and closes the connection.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// Waits before it answers, like a slow receiver.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Answers only when the test opens the gate.
    #[must_use]
    pub fn after(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    pub(super) fn closes(&self) -> bool {
        self.close
    }

    /// Waits for the response's delay and gate.
    pub(super) async fn hold_back(&self) {
        if let Some(gate) = &self.gate {
            gate.opened().await;
        }
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.close {
            text.push_str("Connection: close\r\n");
        }
        let bodiless = self.status < 200 || matches!(self.status, 204 | 304);
        if !bodiless {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        if !bodiless {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// Delays answers until the test opens it, so that no test needs to sleep.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Releases all waiting answers, and all later ones.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub(crate) async fn opened(&self) {
        let mut open = self.open.subscribe();
        // The sender is a part of self, so waiting cannot fail.
        let _ = open.wait_for(|open| *open).await;
    }
}
