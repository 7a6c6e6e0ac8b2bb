//! The operator's egress proxy, by CONNECT (RFC 9110, section 9.3.6). Its failures are the operator's, not the receiver's.

use std::net::SocketAddr;

use hookwright_domain::{
    mask::mask_passwords,
    outcome::{ErrorClass, OperatorPart},
};
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{ConnectorError, lacks_descriptors, no_descriptors};
use crate::sender::Failure;

/// The longest answer to CONNECT that is read.
const ANSWER_BYTES_MAX: usize = 8_192;

/// Where the proxy is, and what it is told.
pub(super) struct EgressProxy {
    /// `host:port`
    address: String,
    /// The value of `Proxy-Authorization`.
    authorization: Option<String>,
}

impl EgressProxy {
    /// From `http://[user:password@]host:port`, with user name and password percent-encoded.
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

    /// A connection through the proxy to an address.
    pub(super) async fn connect(&self, target: SocketAddr, deadline: Instant) -> Result<TcpStream, Failure> {
        match timeout_at(deadline, self.tunnel(target)).await {
            Ok(Ok((stream, status))) => match status {
                200..=299 => Ok(stream),
                status => Err(refused(status)),
            },
            Ok(Err(error)) if lacks_descriptors(&error) => Err(no_descriptors(&error)),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("no answer in time".to_owned())),
        }
    }

    /// A connection to the proxy, and what status it answered CONNECT with.
    async fn tunnel(&self, target: SocketAddr) -> std::io::Result<(TcpStream, u16)> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let authorization = self
            .authorization
            .as_ref()
            .map(|value| format!("Proxy-Authorization: {value}\r\n"))
            .unwrap_or_default();
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // One byte at a time: what comes after the answer belongs to the receiver.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= ANSWER_BYTES_MAX {
                return Err(std::io::Error::other("the answer to CONNECT is too long"));
            }
            answer.push(stream.read_u8().await?);
        }
        let status = answer.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let status = std::str::from_utf8(status).ok().and_then(|status| status.parse().ok());
        match status.filter(|_| answer.starts_with(b"HTTP/1.")) {
            Some(status) => Ok((stream, status)),
            None => Err(std::io::Error::other("the answer to CONNECT is not HTTP")),
        }
    }
}

/// The proxy does not answer as a proxy does.
fn failed(what: String) -> Failure {
    Failure::new(ErrorClass::Proxy, "the egress proxy failed")
        .with_detail(what)
        .of_operator(OperatorPart::Proxy, true)
}

/// An answer to CONNECT that is no success. Wrong credentials are wrong for every target. Any other answer is about this one: the
/// proxy does not allow it, or cannot reach it. Such an attempt counts as one, or a receiver that is gone for good would be
/// tried for ever; it says nothing of the webhook's health all the same, for nobody can tell these apart.
fn refused(status: u16) -> Failure {
    let failure = Failure::new(ErrorClass::Proxy, "the egress proxy made no connection to the receiver")
        .with_detail(format!("CONNECT was answered {status}"));
    if status == 407 {
        failure.of_operator(OperatorPart::Proxy, true)
    } else {
        failure
    }
}

/// `Basic` credentials (RFC 7617).
fn basic(user_info: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("Basic ");
    for chunk in user_info.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let known = digit <= chunk.len();
            text.push(if known {
                char::from(ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63])
            } else {
                '='
            });
        }
    }
    text
}
