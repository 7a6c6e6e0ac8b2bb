//! A plain HTTP/1.1 client that sends exact bytes and shows the response: one request per connection.

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::DEADLINE;

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
        let end = head_end(bytes).context("no whole head came")?;
        let head = std::str::from_utf8(&bytes[..end]).context("the head is text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok()).context("a status line")?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let mut response = Self {
            status,
            headers: headers.collect(),
            body: bytes[end + 4..].to_vec(),
        };
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = joined(&response.body)?;
        }
        Ok(response)
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

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n")
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = head_end(bytes) else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() >= end + 4 + length)
}

/// Decodes a chunked body.
fn joined(mut rest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest
            .windows(2)
            .position(|window| window == b"\r\n")
            .context("a chunk's size")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line])?, 16)?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Ok(body);
        }
        ensure!(rest.len() >= size + 2, "a chunk came in part");
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}
