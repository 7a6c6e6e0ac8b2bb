//! A plain HTTP/1.1 client that sends exact bytes and shows the response: one request per connection.

use anyhow::{Context as _, anyhow, bail, ensure};
use httparse::{EMPTY_HEADER, Status};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::DEADLINE;

/// More than any response of the server has.
const HEADERS_MAX: usize = 64;

/// A response.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).next()
    }

    /// Every value of a header.
    pub fn headers_named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let name = name.to_ascii_lowercase();
        let named = self.headers.iter().filter(move |(known, _)| *known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// `name=value` of the first cookie that it sets.
    #[must_use]
    pub fn cookie(&self) -> Option<&str> {
        self.header("set-cookie")?.split(';').next()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let (mut response, head_length) = Self::head(bytes)?.context("no whole head came")?;
        let body = &bytes[head_length..];
        response.body = if response.header("transfer-encoding") == Some("chunked") {
            joined(body)?
        } else {
            body.to_vec()
        };
        Ok(response)
    }

    /// The response that the bytes begin with, without its body, and the length of its head; `None` while the head is incomplete.
    fn head(bytes: &[u8]) -> anyhow::Result<Option<(Self, usize)>> {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let Status::Complete(length) = head.parse(bytes)? else {
            return Ok(None);
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = head.headers.iter();
        let response = Self {
            status: head.code.context("a status line")?,
            headers: headers
                .map(|header| (header.name.to_ascii_lowercase(), text(header.value)))
                .collect(),
            body: Vec::new(),
        };
        Ok(Some((response, length)))
    }
}

/// Sends a request and reads the response to its end.
///
/// # Errors
/// Fails if no connection is made, or the response is not valid.
pub async fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> anyhow::Result<HttpResponse> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(&head(address, method, path, headers, body.len()))
            .await?;
        stream.write_all(body).await?;
        let mut bytes = Vec::new();
        // A server that keeps the connection open has sent the length of the body.
        while !is_whole(&bytes) && stream.read_buf(&mut bytes).await? > 0 {}
        HttpResponse::parse(&bytes)
    };
    let answered = timeout(DEADLINE, exchange).await;
    answered.with_context(|| format!("{method} {path}: no answer after {DEADLINE:?}"))?
}

/// Sends the console's sign-in form; `next` is the page to open afterwards.
///
/// # Errors
/// As [`request`].
pub async fn sign_in(address: &str, token: &str, next: &str) -> anyhow::Result<HttpResponse> {
    let origin = format!("http://{address}");
    let headers = [
        ("Origin", origin.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let body = format!("token={token}&next={next}");
    request(address, "POST", "/console/sign-in", &headers, body.as_bytes()).await
}

/// The head of a request.
pub(crate) fn head(address: &str, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if method != "GET" {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Whether nothing more is to be read: all of the body came, or it is no response.
fn is_whole(bytes: &[u8]) -> bool {
    let (head, length) = match HttpResponse::head(bytes) {
        Ok(Some(head)) => head,
        Ok(None) => return false,
        Err(_) => return true,
    };
    let body_length = head
        .header("content-length")
        .and_then(|length| length.parse::<usize>().ok());
    body_length.is_some_and(|body_length| bytes.len() >= length + body_length)
}

/// Decodes a chunked body.
fn joined(mut rest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let chunk = httparse::parse_chunk_size(rest).map_err(|_| anyhow!("a chunk without a size"))?;
        let Status::Complete((start, size)) = chunk else {
            bail!("a chunk's size came in part");
        };
        let size = usize::try_from(size)?;
        rest = &rest[start..];
        if size == 0 {
            return Ok(body);
        }
        ensure!(rest.len() >= size + 2, "a chunk came in part");
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}
