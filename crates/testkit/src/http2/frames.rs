//! Frames of HTTP/2 (RFC 9113, section 4): reading all kinds, and writing those that a receiver needs.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first flag: the end of a stream, or an acknowledgement.
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
/// The number of the setting.
const MAX_CONCURRENT_STREAMS: u16 = 0x3;

/// The type of a frame.
pub(super) struct Kind;

impl Kind {
    pub(super) const DATA: u8 = 0x0;
    pub(super) const HEADERS: u8 = 0x1;
    const RST_STREAM: u8 = 0x3;
    pub(super) const SETTINGS: u8 = 0x4;
    pub(super) const PING: u8 = 0x6;
    const GOAWAY: u8 = 0x7;
    const WINDOW_UPDATE: u8 = 0x8;
}

/// A frame.
pub(super) struct Frame {
    pub(super) kind: u8,
    flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    fn new(kind: u8, flags: u8, stream: u32, payload: Vec<u8>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload,
        }
    }

    /// The receiver's settings, with its limit on concurrent streams.
    pub(super) fn settings(streams_max: Option<u32>) -> Self {
        let mut payload = Vec::new();
        if let Some(streams_max) = streams_max {
            payload.extend_from_slice(&MAX_CONCURRENT_STREAMS.to_be_bytes());
            payload.extend_from_slice(&streams_max.to_be_bytes());
        }
        Self::new(Kind::SETTINGS, 0, 0, payload)
    }

    pub(super) fn settings_ack() -> Self {
        Self::new(Kind::SETTINGS, END_STREAM, 0, Vec::new())
    }

    /// The acknowledgement of a ping.
    pub(super) fn pong(&self) -> Self {
        Self::new(Kind::PING, END_STREAM, 0, self.payload.clone())
    }

    pub(super) fn window_update(stream: u32, bytes: usize) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX >> 1);
        Self::new(Kind::WINDOW_UPDATE, 0, stream, bytes.to_be_bytes().to_vec())
    }

    /// A response without a body: `:status` as a literal without indexing, by the index 8 of its name (RFC 7541).
    pub(super) fn response(stream: u32, status: u16) -> Self {
        let mut payload = vec![0x08, 3];
        payload.extend_from_slice(status.to_string().as_bytes());
        Self::new(Kind::HEADERS, END_STREAM | END_HEADERS, stream, payload)
    }

    pub(super) fn reset(stream: u32, code: u32) -> Self {
        Self::new(Kind::RST_STREAM, 0, stream, code.to_be_bytes().to_vec())
    }

    pub(super) fn go_away(last_stream: u32, code: u32) -> Self {
        let payload = [last_stream.to_be_bytes(), code.to_be_bytes()].concat();
        Self::new(Kind::GOAWAY, 0, 0, payload)
    }

    pub(super) fn is_ack(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    /// Whether it is the last frame of a request.
    pub(super) fn ends_stream(&self) -> bool {
        matches!(self.kind, Kind::DATA | Kind::HEADERS) && self.flags & END_STREAM != 0
    }

    pub(super) async fn read(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut head = [0; 9];
        reader.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
        let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        reader.read_exact(&mut payload).await?;
        Ok(Self::new(head[3], head[4], stream, payload))
    }

    pub(super) async fn write(&self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let length = u32::try_from(self.payload.len()).map_err(io::Error::other)?;
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[self.kind, self.flags]);
        bytes.extend_from_slice(&self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        writer.write_all(&bytes).await?;
        writer.flush().await
    }
}

/// Reads the beginning of a client's connection.
pub(super) async fn read_preface(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    reader.read_exact(&mut preface).await?;
    if preface == PREFACE {
        Ok(())
    } else {
        Err(io::Error::other("not HTTP/2"))
    }
}
