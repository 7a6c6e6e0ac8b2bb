//! A small HTTP/1.1 reader that keeps the received bytes for display. It is strict: it answers 400 with a reason to
//! everything that is not plainly a request with a length.

use std::time::Duration;

use httparse::{EMPTY_HEADER, Error as HeadError, Status};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// More than any webhook has.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 256;
/// The default limit on payloads is 5 MiB.
const BODY_BYTES_MAX: usize = 6_000_000;
/// Timeout of an idle connection.
const IDLE: Duration = Duration::from_secs(120);
/// Timeout of a request's arrival.
const REQUEST: Duration = Duration::from_secs(30);

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// All bytes, head and body.
    pub(crate) raw: Vec<u8>,
    body_start: usize,
    /// `POST`, for example.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    /// Whether the sender keeps the connection.
    pub(super) keep_alive: bool,
}

impl Request {
    /// The POST with these headers and this body, as a receiver would read it.
    pub(super) fn post<'a>(
        target: &str,
        host: &str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        body: &[u8],
    ) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut all = vec![owned(("Host", host))];
        all.extend(headers.map(owned));
        all.push(owned(("Content-Length", &body.len().to_string())));
        let lines: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut raw = format!("POST {target} HTTP/1.1\r\n{lines}\r\n").into_bytes();
        let body_start = raw.len();
        raw.extend_from_slice(body);
        Self {
            raw,
            body_start,
            method: "POST".to_owned(),
            target: target.to_owned(),
            headers: all,
            keep_alive: true,
        }
    }

    /// The body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.raw[self.body_start..]
    }

    /// A header's value, by its case-insensitive name; the first if it is repeated.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(one, _)| one.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The headers in order, with their original names.
    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }
}

#[cfg(test)]
impl Request {
    /// Parses a request.
    pub(super) fn parse(text: &str) -> Self {
        let head = parse_head(text.as_bytes()).unwrap().unwrap();
        Self {
            raw: text.as_bytes().to_vec(),
            ..head
        }
    }
}

/// Why there is no request.
#[derive(Debug)]
pub(super) enum Problem {
    /// The connection was closed, broken or stalled: there is nobody to answer.
    Gone,
    /// The request is not supported: 400 with the reason.
    Bad(&'static str),
}

/// The requests of one connection.
pub(super) struct Connection {
    stream: TcpStream,
    /// Bytes that were read and not used yet.
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Reads the next request.
    pub(super) async fn read(&mut self) -> Result<Request, Problem> {
        if self.buffer.is_empty() {
            timeout(IDLE, self.fill()).await.map_err(|_| Problem::Gone)??;
        }
        timeout(REQUEST, self.read_request())
            .await
            .unwrap_or(Err(Problem::Bad("the request took too long")))
    }

    async fn read_request(&mut self) -> Result<Request, Problem> {
        let mut request = loop {
            if let Some(request) = parse_head(&self.buffer)? {
                break request;
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(Problem::Bad("the request's head is longer than 64 KiB"));
            }
            self.fill().await?;
        };
        let body_length = body_length(&request)?;
        if request
            .header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let total = request.body_start + body_length;
        while self.buffer.len() < total {
            self.fill().await?;
        }
        let rest = self.buffer.split_off(total);
        request.raw = std::mem::replace(&mut self.buffer, rest);
        Ok(request)
    }

    /// Answers with a status.
    pub(super) async fn respond(&mut self, status: u16, body: &str, keep_alive: bool) -> Result<(), Problem> {
        let reason = match status {
            200 => "OK",
            204 => "No Content",
            400 => "Bad Request",
            410 => "Gone",
            429 => "Too Many Requests",
            500 => "Internal Server Error",
            503 => "Service Unavailable",
            _ => "",
        };
        let connection = if keep_alive { "" } else { "Connection: close\r\n" };
        // 204 and 304 have no body by definition, and 204 may not even give its length.
        let (length, body) = match status {
            204 | 304 => (String::new(), ""),
            _ => (format!("Content-Length: {}\r\n", body.len()), body),
        };
        self.write(format!("HTTP/1.1 {status} {reason}\r\n{length}{connection}\r\n{body}").as_bytes())
            .await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        timeout(REQUEST, self.stream.write_all(bytes))
            .await
            .map_err(|_| Problem::Gone)?
            .map_err(|_| Problem::Gone)
    }

    async fn fill(&mut self) -> Result<(), Problem> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(Problem::Gone),
            Ok(_) => Ok(()),
        }
    }
}

/// The request that the bytes begin with, without its body; `None` if the head has not arrived completely.
fn parse_head(bytes: &[u8]) -> Result<Option<Request>, Problem> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let body_start = match head.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(Problem::Bad(reason(error))),
    };
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Ok(None);
    };
    if !target.starts_with('/') {
        return Err(Problem::Bad("the request line needs a method and a path"));
    }
    let headers = head.headers.iter().map(|header| {
        let value = std::str::from_utf8(header.value).map_err(|_| Problem::Bad("the head is not UTF-8"))?;
        Ok((header.name.to_owned(), value.to_owned()))
    });
    let mut request = Request {
        raw: Vec::new(),
        body_start,
        method: method.to_owned(),
        target: target.to_owned(),
        headers: headers.collect::<Result<_, _>>()?,
        keep_alive: version == 1,
    };
    if request
        .header("connection")
        .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    {
        request.keep_alive = false;
    }
    Ok(Some(request))
}

fn reason(error: HeadError) -> &'static str {
    match error {
        HeadError::HeaderName => "a header's name is not a token",
        HeadError::HeaderValue => "a header's value has invalid characters",
        HeadError::TooManyHeaders => "the request has more than 256 headers",
        HeadError::Version => "only HTTP/1.1 and HTTP/1.0 are supported",
        _ => "the request line is not METHOD TARGET VERSION",
    }
}

fn body_length(request: &Request) -> Result<usize, Problem> {
    if request.header("transfer-encoding").is_some() {
        return Err(Problem::Bad("send Content-Length: Transfer-Encoding is not supported"));
    }
    let mut lengths = request
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let Some((_, text)) = lengths.next() else { return Ok(0) };
    if lengths.next().is_some() || text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::Bad("Content-Length is not one number"));
    }
    match text.parse() {
        Ok(length) if length <= BODY_BYTES_MAX => Ok(length),
        _ => Err(Problem::Bad("the body is longer than 6,000,000 bytes")),
    }
}

/// The body of the fuzz target `request`: reads the head of a request, and of each beginning of it.
///
/// # Panics
/// If a beginning of a head is a request, or if bytes after a head change it.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    let Ok(Some(request)) = parse_head(bytes) else {
        return;
    };
    let end = request.body_start;
    let length = |request: &Request| body_length(request).ok();
    let alone = parse_head(&bytes[..end]).ok().flatten().expect("the same head");
    assert_eq!((alone.headers(), alone.body_start), (request.headers(), end));
    assert_eq!(length(&alone), length(&request));
    for beginning in 0..end {
        let found = parse_head(&bytes[..beginning]);
        assert!(
            !matches!(found, Ok(Some(_))),
            "a request ends at {beginning} and at {end}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `make lint` does not build the fuzz target, which needs other flags for every crate. This test builds its body.
    #[test]
    fn the_fuzz_target_reads_its_seeds_with_any_byte_changed() {
        assert!(include_str!("../../tests/fuzz/request.rs").contains("|bytes: &[u8]| http::fuzz(bytes)"));
        let seeds: Vec<_> = std::fs::read_dir("tests/fuzz/seeds/request").unwrap().collect();
        assert!(!seeds.is_empty());
        for seed in seeds {
            let seed = std::fs::read(seed.unwrap().path()).unwrap();
            assert!(matches!(parse_head(&seed), Ok(Some(_))));
            for at in 0..seed.len() {
                for byte in *b"\0\r\n :A\xff" {
                    let mut changed = seed.clone();
                    changed[at] = byte;
                    fuzz(&changed);
                }
            }
        }
    }

    fn head(text: &str) -> Result<(Request, usize), &'static str> {
        let checked = parse_head(text.as_bytes()).and_then(|request| {
            let request = request.expect("a whole head");
            let length = body_length(&request)?;
            Ok((request, length))
        });
        checked.map_err(|problem| match problem {
            Problem::Bad(why) => why,
            Problem::Gone => "gone",
        })
    }

    #[test]
    fn a_request_is_read() {
        let (request, length) =
            head("POST /payload?a=b HTTP/1.1\r\nHost: h:1\r\nX-A:  b \r\nContent-Length: 7\r\n\r\n").unwrap();
        assert_eq!(
            (request.method.as_str(), request.target.as_str(), length),
            ("POST", "/payload?a=b", 7)
        );
        assert_eq!((request.header("x-a"), request.header("x-b")), (Some("b"), None));
        assert!(request.keep_alive);
        assert!(!head("GET / HTTP/1.0\r\n\r\n").unwrap().0.keep_alive);
        assert!(
            !head("GET / HTTP/1.1\r\nconnection: Close\r\n\r\n")
                .unwrap()
                .0
                .keep_alive
        );
    }

    #[test]
    fn a_part_of_a_head_is_no_request_yet() {
        let text = "POST /payload HTTP/1.1\r\nHost: h:1\r\nContent-Length: 7\r\n\r\n";
        for end in 0..text.len() {
            assert!(matches!(parse_head(&text.as_bytes()[..end]), Ok(None)), "{end}");
        }
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        for text in [
            "hello\r\n\r\n",
            "POST  / HTTP/1.1\r\n\r\n",
            "POST / HTTP/2\r\n\r\n",
            "POST http://h/ HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nno colon\r\n\r\n",
            "POST / HTTP/1.1\r\nX-A : b\r\n\r\n",
            "POST / HTTP/1.1\r\nX-A: b\r\n folded\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 6000001\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(head(text).is_err(), "{text}");
        }
    }
}
