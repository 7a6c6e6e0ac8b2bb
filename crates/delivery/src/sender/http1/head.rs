//! Response heads: finds where a head ends while its bytes arrive, and reads its lines once it is complete.
//!
//! Each byte is searched once, however the head is divided into reads. A line that is not a header field does not hide the status:
//! the line is skipped, and the connection is not used again, because sender and receiver may disagree about the response's end.

use std::io::ErrorKind;

use bytes::{Buf as _, BytesMut};
use httparse::{EMPTY_HEADER, Header};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{super::ResponseRecord, body::Framing};

const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 128;
const INTERIM_MAX: usize = 100;
/// The first bytes of a TLS alert.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];
const SPEAKS_TLS: &str = "the receiver speaks TLS on this port (should its URL begin with https://?)";
/// The beginning of the status line of each supported version; a `0` or `1` follows.
const VERSION: &[u8] = b"HTTP/1.";

/// A response's head.
#[cfg_attr(any(test, fuzzing), derive(Debug, PartialEq))]
pub(super) struct Head {
    pub(super) record: ResponseRecord,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
}

/// The reason for a missing head.
#[derive(Debug)]
pub(super) enum NoHead {
    /// The connection ended before the first byte.
    Closed(std::io::Error),
    /// It ended, or broke, within the head.
    Broken(std::io::Error),
    /// The received bytes are not HTTP.
    Invalid(String),
}

/// Reads heads until one is final. `send_error` is the error that ended sending: it counts only if no answer arrives.
pub(super) async fn read_final_head(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    send_error: Option<std::io::Error>,
) -> Result<Head, NoHead> {
    for _ in 0..=INTERIM_MAX {
        let mut head = match (read_head(stream, buffer).await, &send_error) {
            (Err(NoHead::Closed(_)), Some(error)) => return Err(NoHead::Closed(error.kind().into())),
            (head, _) => head?,
        };
        if !matches!(head.record.status, 100 | 102..=199) {
            head.keep_alive &= send_error.is_none();
            return Ok(head);
        }
    }
    Err(NoHead::Invalid(format!("more than {INTERIM_MAX} interim responses")))
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Result<Head, NoHead> {
    let mut search = Search::default();
    loop {
        if let Some(found) = search.advance(buffer)? {
            let head = found.read(buffer)?;
            buffer.advance(found.end);
            return Ok(head);
        }
        buffer.reserve(2_048);
        match stream.read_buf(buffer).await {
            Ok(0) if buffer.is_empty() => return Err(NoHead::Closed(ErrorKind::UnexpectedEof.into())),
            Ok(0) => {
                return Err(NoHead::Invalid(
                    "the connection ended within the response head".to_owned(),
                ));
            }
            Ok(_) if buffer.starts_with(&TLS_ALERT) => return Err(NoHead::Invalid(SPEAKS_TLS.to_owned())),
            Ok(_) => {}
            Err(error) if buffer.is_empty() => return Err(NoHead::Closed(error)),
            Err(error) => return Err(NoHead::Broken(error)),
        }
    }
}

/// The search for the end of a head: an empty line after the status line.
#[derive(Default)]
struct Search {
    /// The start of the current line.
    line_start: usize,
    /// The end of the bytes that were searched for line ends.
    searched: usize,
    /// The status line, and the start of the next line.
    status: Option<(StatusLine, usize)>,
    /// The number of bytes searched.
    #[cfg(test)]
    work: usize,
}

/// A head that is complete.
struct Found {
    status: StatusLine,
    fields_start: usize,
    end: usize,
}

#[derive(Clone, Copy)]
struct StatusLine {
    status: u16,
    minor_version: u8,
    /// Whether the reason contains only text.
    well_formed: bool,
}

impl Search {
    /// Searches the bytes that arrived since the last call. `buffer` must begin with those of that call.
    fn advance(&mut self, buffer: &[u8]) -> Result<Option<Found>, NoHead> {
        while let Some(length) = self.next_line_end(buffer) {
            let end = self.searched + length;
            let line = without_line_end(&buffer[self.line_start..end]);
            (self.line_start, self.searched) = (end, end);
            match self.status {
                Some(_) if end > HEAD_BYTES_MAX => break,
                Some((status, fields_start)) if line.is_empty() => {
                    return Ok(Some(Found {
                        status,
                        fields_start,
                        end,
                    }));
                }
                // Empty lines before a status line are skipped.
                None if !line.is_empty() => self.status = Some((StatusLine::parse(line)?, end)),
                _ => {}
            }
        }
        self.searched = buffer.len();
        if self.status.is_none() {
            check_beginning(&buffer[self.line_start..])?;
        }
        if buffer.len() >= HEAD_BYTES_MAX {
            return Err(NoHead::Invalid(format!(
                "a response head of more than {HEAD_BYTES_MAX} bytes"
            )));
        }
        Ok(None)
    }

    /// The number of bytes from `searched` to the end of the current line, inclusive.
    fn next_line_end(&mut self, buffer: &[u8]) -> Option<usize> {
        let unsearched = &buffer[self.searched..];
        let length = unsearched.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        #[cfg(test)]
        {
            self.work += length.unwrap_or(unsearched.len());
        }
        length
    }
}

/// Rejects the beginning of a line that cannot become a status line, without waiting for the rest.
fn check_beginning(line: &[u8]) -> Result<(), NoHead> {
    let compared = line.len().min(VERSION.len());
    if line[..compared] == VERSION[..compared] || line == b"\r" {
        Ok(())
    } else {
        Err(not_http())
    }
}

fn not_http() -> NoHead {
    NoHead::Invalid("what came is no HTTP response".to_owned())
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl StatusLine {
    /// Parses a line such as `HTTP/1.1 200 OK`. The reason may be missing, and is not kept.
    fn parse(line: &[u8]) -> Result<Self, NoHead> {
        let rest = line.strip_prefix(VERSION).ok_or_else(not_http)?;
        let [version @ (b'0' | b'1'), b' ', code @ ..] = rest else {
            return Err(not_http());
        };
        let (digits, reason) = code.split_at_checked(3).ok_or_else(not_http)?;
        if !digits.iter().all(u8::is_ascii_digit) || !matches!(reason, [] | [b' ', ..]) {
            return Err(not_http());
        }
        let status = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        if status < 100 {
            return Err(NoHead::Invalid(format!("{status} is not an HTTP status")));
        }
        Ok(Self {
            status,
            minor_version: version - b'0',
            well_formed: reason.iter().copied().all(is_text),
        })
    }
}

/// Whether a field's value or a reason may contain a byte.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

impl Found {
    fn read(&self, buffer: &[u8]) -> Result<Head, NoHead> {
        let fields = &buffer[self.fields_start..self.end];
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        match httparse::parse_headers(fields, &mut headers) {
            Ok(httparse::Status::Complete((length, parsed))) if length == fields.len() => {
                return Ok(self.head(Framing::of(self.status.status, parsed), parsed, self.status.well_formed));
            }
            Err(httparse::Error::TooManyHeaders) => return Err(too_many()),
            _ => {}
        }
        // For the framing, a field with a blank before its colon counts, too.
        let count = read_tolerantly(fields, &mut headers, Blanks::Accepted)?;
        let framing = Framing::of(self.status.status, &headers[..count]);
        let count = read_tolerantly(fields, &mut headers, Blanks::Refused)?;
        Ok(self.head(framing, &headers[..count], false))
    }

    fn head(&self, (framing, framed_well): (Framing, bool), headers: &[Header<'_>], well_formed: bool) -> Head {
        let connection = |wanted: &[u8]| {
            headers.iter().any(|header| {
                header.name.eq_ignore_ascii_case("connection")
                    && header
                        .value
                        .split(|byte| *byte == b',')
                        .any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
            })
        };
        let persistent = if self.status.minor_version == 1 {
            !connection(b"close")
        } else {
            connection(b"keep-alive")
        };
        Head {
            record: ResponseRecord::head(
                self.status.status,
                headers.iter().map(|header| (header.name, header.value)),
            ),
            framing,
            keep_alive: well_formed && framed_well && persistent,
        }
    }
}

fn too_many() -> NoHead {
    NoHead::Invalid(format!("a response head of more than {HEADERS_MAX} header lines"))
}

/// Whether blanks are accepted between a field's name and its colon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blanks {
    Accepted,
    Refused,
}

/// Reads the lines that are header fields, and skips the others. Returns the number of fields.
fn read_tolerantly<'a>(block: &'a [u8], headers: &mut [Header<'a>], blanks: Blanks) -> Result<usize, NoHead> {
    let mut count = 0;
    let lines = block.split(|byte| *byte == b'\n').map(without_line_end);
    for (at, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if at >= headers.len() {
            return Err(too_many());
        }
        if let Some(header) = read_field(line, blanks) {
            headers[count] = header;
            count += 1;
        }
    }
    Ok(count)
}

/// A field: a token, a colon and text (RFC 9112, section 5). A continuation of a folded line begins with a blank, so it is not
/// a token.
fn read_field(line: &[u8], blanks: Blanks) -> Option<Header<'_>> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = match blanks {
        Blanks::Accepted => line[..colon].trim_ascii_end(),
        Blanks::Refused => &line[..colon],
    };
    let value = line[colon + 1..].trim_ascii();
    let is_token = !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
    if !is_token || !value.iter().copied().all(is_text) {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?;
    Some(Header { name, value })
}

#[cfg(test)]
mod tests;
