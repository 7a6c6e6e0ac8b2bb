//! Second reading of a response's head that hyper rejected. A status that arrived counts, whatever the other lines are.
//!
//! The connection is not used again, because sender and receiver may disagree about the end of the response. Therefore this reading
//! accepts more than the first one may:
//!
//! - It skips lines that are not header fields, and accepts blanks before a colon.
//! - It reads `HTTP/1.0` as `HTTP/1.1`, in which `Transfer-Encoding` has a meaning.
//! - A body whose length is contradictory ends where the connection does.

use std::ops::Range;

use bytes::BytesMut;
use http::header::TRANSFER_ENCODING;
use hyper::{Request, Response, body::Incoming, client::conn::http1::Builder};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::{
    INTERIM_MAX,
    client::Client,
    no_head::NoHead,
    replay::Replay,
    tap::{HEAD_BYTES_MAX, Refusal, VERSION},
};

const HEADERS_MAX: usize = 128;
/// A line that hides the contradiction from hyper.
const UNTIL_CLOSE: &str = "Transfer-Encoding: identity\r\n";

/// Reads a response again: first the bytes that arrived already, then the stream.
pub(super) async fn read_again<S: AsyncRead + AsyncWrite + Unpin>(
    bytes: &[u8],
    mut stream: S,
) -> Result<(Response<Incoming>, Client<Replay<S>>), NoHead> {
    let mut bytes = BytesMut::from(bytes);
    let head = read_final_head(&mut bytes, &mut stream).await?;
    let fields = repaired(&bytes[head.fields.clone()]);
    let mut builder = Builder::new();
    builder
        .ignore_invalid_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .max_headers(HEADERS_MAX + 1)
        .max_buf_size(2 * HEAD_BYTES_MAX);
    for framing in ["", UNTIL_CLOSE] {
        let mut text = BytesMut::from(&*format!("HTTP/1.1 {}\r\n", head.status));
        text.extend_from_slice(&fields);
        text.extend_from_slice(framing.as_bytes());
        text.extend_from_slice(&bytes[head.fields.end..]);
        let started = Client::start(&builder, Replay::new(text.freeze(), stream)).await;
        let mut client = started.map_err(|error| NoHead::Invalid(error.to_string()))?;
        if let Ok(mut response) = client.send(Request::default(), || true).await {
            if !framing.is_empty() {
                response.headers_mut().remove(TRANSFER_ENCODING);
            }
            return Ok((response, client));
        }
        stream = client.into_parts().0.into_stream();
    }
    Err(Refusal::NotHttp.into())
}

/// The positions of the parts of a head.
struct Head {
    status: u16,
    /// The header lines, without the empty line after them.
    fields: Range<usize>,
    end: usize,
}

/// Reads up to the first head that is not of an interim response, and drops those before it.
async fn read_final_head(bytes: &mut BytesMut, stream: &mut (impl AsyncRead + Unpin)) -> Result<Head, NoHead> {
    for _ in 0..=INTERIM_MAX {
        let head = read_head(bytes, stream).await?;
        if !matches!(head.status, 100 | 102..=199) {
            return Ok(head);
        }
        let _ = bytes.split_to(head.end);
    }
    Err(NoHead::flooded())
}

/// Reads until a head is complete. Each byte is searched once, however the head is divided into reads.
async fn read_head(bytes: &mut BytesMut, stream: &mut (impl AsyncRead + Unpin)) -> Result<Head, NoHead> {
    let mut status_line = None;
    let (mut line_start, mut searched, mut lines) = (0, 0, 0);
    loop {
        while let Some(length) = bytes[searched..].iter().position(|byte| *byte == b'\n') {
            let end = searched + length + 1;
            let line = without_line_end(&bytes[line_start..end]);
            match status_line {
                None if line.is_empty() => {}
                None => status_line = Some((status_of(line)?, end)),
                Some((status, fields_start)) if line.is_empty() => {
                    return Ok(Head {
                        status,
                        fields: fields_start..line_start,
                        end,
                    });
                }
                Some(_) if lines == HEADERS_MAX => {
                    let problem = format!("a response head of more than {HEADERS_MAX} header lines");
                    return Err(NoHead::Invalid(problem));
                }
                Some(_) => lines += 1,
            }
            (line_start, searched) = (end, end);
        }
        searched = bytes.len();
        if bytes.len() >= HEAD_BYTES_MAX {
            return Err(Refusal::TooLong.into());
        }
        bytes.reserve(2_048);
        match stream.read_buf(bytes).await {
            Ok(0) => return Err(NoHead::cut_off()),
            Ok(_) => {}
            Err(error) => return Err(NoHead::Broken(error.to_string())),
        }
    }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The status of a line such as `HTTP/1.1 200 OK`. The reason may be missing, or hold anything.
fn status_of(line: &[u8]) -> Result<u16, NoHead> {
    let code = match line.strip_prefix(VERSION) {
        Some([b'0' | b'1', b' ', code @ ..]) => code,
        _ => &[],
    };
    let (digits, reason) = code.split_at_checked(3).unwrap_or_default();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) || !matches!(reason, [] | [b' ', ..]) {
        return Err(Refusal::NotHttp.into());
    }
    let status = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    if status < 100 {
        return Err(NoHead::Invalid(format!("{status} is not an HTTP status")));
    }
    Ok(status)
}

/// Header lines in which the bytes that hyper never accepts are replaced by one that makes it skip the line.
fn repaired(fields: &[u8]) -> Vec<u8> {
    const SKIPPED: u8 = 1;
    let repaired = fields.iter().enumerate().map(|(at, byte)| match byte {
        b'\r' if fields.get(at + 1) != Some(&b'\n') => SKIPPED,
        0 => SKIPPED,
        byte => *byte,
    });
    repaired.collect()
}
