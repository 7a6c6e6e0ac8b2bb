//! The operator's egress proxy, by CONNECT (RFC 9110, section 9.3.6).
//!
//! The operator is at fault if every attempt would fail: the proxy accepts no connection, refuses the credentials, or
//! does not speak HTTP. A proxy that accepted the connection but answers late or not at all is most likely waiting for
//! the receiver. That counts against the receiver, as it would without a proxy, because no tenant may pause the sending
//! of others.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hookwright_domain::{
    mask::mask_passwords,
    outcome::{ErrorClass, OperatorPart},
};
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{ConnectorError, no_descriptors};
use crate::{descriptors::lacks_descriptors, failure::Failure};

/// The maximum length of an answer to CONNECT.
const ANSWER_BYTES_MAX: usize = 8_192;
/// How long the proxy may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The beginning of every answer of a proxy.
const HTTP: &[u8] = b"HTTP/1.";
const NO_HTTP: &str = "the answer to CONNECT is not HTTP";

/// The proxy's address and credentials.
pub(super) struct EgressProxy {
    /// `host:port`
    address: String,
    /// The value of `Proxy-Authorization`.
    authorization: Option<String>,
}

impl EgressProxy {
    /// Parses `http://[user:password@]host:port`, with user name and password percent-encoded.
    pub(super) fn parse(text: &str) -> Result<Self, ConnectorError> {
        let wrong = || ConnectorError::Proxy(mask_passwords(text));
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri
            .authority()
            .filter(|_| uri.scheme_str() == Some("http"))
            .ok_or_else(wrong)?;
        let port = authority.port_u16().ok_or_else(wrong)?;
        let authorization = authority
            .as_str()
            .rsplit_once('@')
            .map(|(user_info, _)| basic(&percent_decode_str(user_info).collect::<Vec<u8>>()));
        Ok(Self {
            address: format!("{}:{port}", authority.host()),
            authorization,
        })
    }

    /// Whether it is known by a host name.
    pub(super) fn has_name(&self) -> bool {
        self.address.parse::<SocketAddr>().is_err()
    }

    /// Connects to an address through the proxy.
    pub(super) async fn connect(&self, target: SocketAddr, deadline: Instant) -> Result<TcpStream, Failure> {
        let mut stream = self.reach().await?;
        match timeout_at(deadline, self.ask(&mut stream, target)).await {
            Ok(Ok(200..=299)) => Ok(stream),
            Ok(Ok(status)) => Err(refused(status)),
            Ok(Err(AskError::NoProxy(what))) => Err(failed(what.to_owned())),
            Ok(Err(AskError::Closed(error))) => {
                let message = "the egress proxy closed the connection instead of connecting to the receiver";
                Err(Failure::new(ErrorClass::Connect, message).with_detail(error.to_string()))
            }
            Err(_) => Err(unreached_in_time("no answer to CONNECT in time".to_owned())),
        }
    }

    /// Connects to the proxy itself. The limit does not depend on the rest of the attempt's time, which a receiver's
    /// slow DNS servers may have used up.
    async fn reach(&self) -> Result<TcpStream, Failure> {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if lacks_descriptors(&error) => Err(no_descriptors(&error)),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("it did not accept the connection in time".to_owned())),
        }
    }

    /// Requests a connection to a target. Returns the status of the proxy's answer.
    async fn ask(&self, stream: &mut TcpStream, target: SocketAddr) -> Result<u16, AskError> {
        let authorization = self
            .authorization
            .as_ref()
            .map(|value| format!("Proxy-Authorization: {value}\r\n"))
            .unwrap_or_default();
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // One byte at a time, because the bytes after the answer belong to the receiver.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= ANSWER_BYTES_MAX {
                return Err(AskError::NoProxy("the answer to CONNECT is too long"));
            }
            answer.push(stream.read_u8().await?);
            let compared = answer.len().min(HTTP.len());
            if answer[..compared] != HTTP[..compared] {
                return Err(AskError::NoProxy(NO_HTTP));
            }
        }
        let status = answer.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let status = std::str::from_utf8(status).ok().and_then(|status| status.parse().ok());
        status.ok_or(AskError::NoProxy(NO_HTTP))
    }
}

/// Why there is no answer to CONNECT.
enum AskError {
    /// The peer is not a proxy.
    NoProxy(&'static str),
    /// The connection to the proxy broke.
    Closed(std::io::Error),
}

impl From<std::io::Error> for AskError {
    fn from(error: std::io::Error) -> Self {
        Self::Closed(error)
    }
}

/// The proxy does not exist, or is not a proxy: every attempt would fail.
fn failed(what: String) -> Failure {
    Failure::new(ErrorClass::Proxy, "the egress proxy failed")
        .with_detail(what)
        .of_operator(OperatorPart::Proxy, true)
}

/// The proxy works, but did not reach the receiver within the time of the attempt.
fn unreached_in_time(detail: String) -> Failure {
    Failure::new(
        ErrorClass::Timeout,
        "the egress proxy did not connect to the receiver in time",
    )
    .with_detail(detail)
}

/// Classifies an unsuccessful answer to CONNECT. Wrong credentials are wrong for every target. A gateway's status means
/// that the proxy tried and did not reach the receiver, so the receiver is at fault as without a proxy. With any other
/// status the operator's rules refuse this target: it counts as an attempt, but not for the webhook's health.
fn refused(status: u16) -> Failure {
    let detail = format!("CONNECT was answered {status}");
    match status {
        407 => failed(detail),
        502 | 503 => {
            let message = "the egress proxy could not connect to the receiver";
            Failure::new(ErrorClass::Connect, message).with_detail(detail)
        }
        504 => unreached_in_time(detail),
        _ => {
            let message = "the egress proxy refused to connect to the receiver";
            Failure::new(ErrorClass::Proxy, message).with_detail(detail)
        }
    }
}

/// `Basic` credentials (RFC 7617).
fn basic(user_info: &[u8]) -> String {
    format!("Basic {}", STANDARD.encode(user_info))
}
