//! Framing of a response's body, and a reader of its first part.

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::super::BODY_READ_MAX;

/// Where a body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    None,
    /// After this number of bytes.
    Length(usize),
    /// After the last chunk.
    Chunked,
    /// Where the connection ends.
    UntilClose,
}

impl Framing {
    /// The framing of a head, and whether it is unambiguous, so that the connection may be used again.
    pub(super) fn of(status: u16, headers: &[httparse::Header<'_>]) -> (Self, bool) {
        if status < 200 || status == 204 || status == 304 {
            return (Self::None, true);
        }
        let values = |name: &str| {
            let name = name.to_owned();
            headers
                .iter()
                .filter(move |header| header.name.eq_ignore_ascii_case(&name))
                .map(|header| header.value)
        };
        let lengths: Vec<&[u8]> = values("content-length").collect();
        let codings: Vec<&[u8]> = values("transfer-encoding").collect();
        match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => (Self::UntilClose, false),
            ([], [coding]) if coding.trim_ascii().eq_ignore_ascii_case(b"chunked") => (Self::Chunked, true),
            ([length], []) => {
                parse_length(length).map_or((Self::UntilClose, false), |length| (Self::Length(length), true))
            }
            // Contradictions: the status counts, the body is read until the end, and the connection is not used again.
            _ => (Self::UntilClose, false),
        }
    }

    /// Reads into `body`. Returns `Ok(true)` if the body is complete.
    pub(super) async fn read(
        self,
        stream: &mut (impl AsyncRead + Unpin),
        buffer: &mut BytesMut,
        body: &mut Vec<u8>,
    ) -> std::io::Result<bool> {
        match self {
            Self::None => Ok(true),
            Self::Length(length) => read_length(stream, buffer, body, length).await,
            Self::Chunked => read_chunked(stream, buffer, body).await,
            Self::UntilClose => {
                body.extend_from_slice(buffer);
                buffer.clear();
                while body.len() < BODY_READ_MAX {
                    body.reserve(4_096);
                    if stream.read_buf(body).await? == 0 {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

fn parse_length(value: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(value.trim_ascii()).ok()?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        None
    } else {
        digits.parse().ok()
    }
}

/// Moves the first bytes of the buffer to the body. The cost does not depend on the rest of the buffer.
fn take(buffer: &mut BytesMut, body: &mut Vec<u8>, count: usize) {
    body.extend_from_slice(&buffer[..count]);
    buffer.advance(count);
}

async fn read_length(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    body: &mut Vec<u8>,
    length: usize,
) -> std::io::Result<bool> {
    let wanted = length.min(BODY_READ_MAX);
    let at_hand = buffer.len().min(wanted.saturating_sub(body.len()));
    take(buffer, body, at_hand);
    while body.len() < wanted {
        let mut rest = (&mut *stream).take((wanted - body.len()) as u64);
        body.reserve(4_096);
        if rest.read_buf(body).await? == 0 {
            return Ok(false);
        }
    }
    Ok(wanted == length)
}

/// Reads chunks until the last one and its trailers. Invalid chunks end the reading; the status still counts.
async fn read_chunked(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    body: &mut Vec<u8>,
) -> std::io::Result<bool> {
    const LINE_MAX: usize = 4_096;
    loop {
        let Some(line) = read_line(stream, buffer, LINE_MAX).await? else {
            return Ok(false);
        };
        let digits = line
            .as_ref()
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        let digits = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| !digits.starts_with('+'));
        let Some(size) = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok()) else {
            return Ok(false);
        };
        if size == 0 {
            return read_trailers(stream, buffer, LINE_MAX).await;
        }
        if size > BODY_READ_MAX.saturating_sub(body.len()) {
            let room = BODY_READ_MAX.saturating_sub(body.len()).min(buffer.len());
            take(buffer, body, room);
            return Ok(false);
        }
        if !read_length(stream, buffer, body, body.len() + size).await? {
            return Ok(false);
        }
        if read_line(stream, buffer, 2).await?.is_none_or(|line| !line.is_empty()) {
            return Ok(false);
        }
    }
}

async fn read_trailers(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    line_max: usize,
) -> std::io::Result<bool> {
    const TRAILERS_MAX: usize = 64;
    for _ in 0..TRAILERS_MAX {
        match read_line(stream, buffer, line_max).await? {
            None => return Ok(false),
            Some(line) if line.is_empty() => return Ok(true),
            Some(_) => {}
        }
    }
    Ok(false)
}

/// A line without its end; `None` if it is too long or the connection ends.
async fn read_line(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    max: usize,
) -> std::io::Result<Option<BytesMut>> {
    // Each byte is searched once, however the line is divided into reads.
    let mut searched = 0;
    loop {
        if let Some(end) = buffer[searched..].iter().position(|byte| *byte == b'\n') {
            let mut line = buffer.split_to(searched + end);
            buffer.advance(1);
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            return Ok(Some(line));
        }
        searched = buffer.len();
        if buffer.len() > max {
            return Ok(None);
        }
        buffer.reserve(1_024);
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(head: &str) -> (Framing, bool) {
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut response = httparse::Response::new(&mut headers);
        response.parse(head.as_bytes()).unwrap();
        Framing::of(response.code.unwrap(), response.headers)
    }

    #[test]
    fn r31_contradictory_framing_is_never_trusted() {
        let head = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
        assert_eq!(framing(&head("Content-Length: 5\r\n")), (Framing::Length(5), true));
        assert_eq!(
            framing(&head("Transfer-Encoding: chunked\r\n")),
            (Framing::Chunked, true)
        );
        for headers in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "",
        ] {
            assert_eq!(framing(&head(headers)), (Framing::UntilClose, false), "{headers:?}");
        }
        assert_eq!(
            framing("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
            (Framing::None, true)
        );
    }

    async fn chunked(text: &str) -> (String, bool) {
        let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
        let complete = read_chunked(&mut text.as_bytes(), &mut buffer, &mut body)
            .await
            .unwrap();
        (String::from_utf8(body).unwrap(), complete && buffer.is_empty())
    }

    #[tokio::test]
    async fn r08_chunks_and_garbage_in_their_place() {
        assert_eq!(
            chunked("5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: x\r\n\r\n").await,
            ("hello world".to_owned(), true)
        );
        assert_eq!(chunked("zz\r\nhello\r\n").await, (String::new(), false));
        assert_eq!(chunked("5\r\nhelloXX").await, ("hello".to_owned(), false));
        assert_eq!(chunked("5\r\nhel").await, ("hel".to_owned(), false));
        assert_eq!(chunked("0\r\n\r\nextra").await, (String::new(), false));
        assert!(!chunked("ffffffffffffffff\r\nx").await.1);
    }
}
