//! Explains failed TLS handshakes with the server, and detects servers with TLS on connections without it.

use std::{
    error::Error as StdError,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::{CertificateError, Error, OtherError};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tower::Service;

/// A TLS-related reason for a failed connection. `Display` is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsFault {
    /// The server's certificate is signed by an authority that is not trusted.
    UnknownAuthority,
    /// It expired at this time (RFC 3339).
    Expired(String),
    /// It is not valid before this time (RFC 3339).
    NotYetValid(String),
    /// It is for these names, and not for the host of the address.
    Name {
        /// The host of the address.
        expected: String,
        /// The names of the certificate.
        presented: Vec<String>,
    },
    /// It is the certificate of an authority (`CA:TRUE`), which cannot be that of a server.
    OfAuthority,
    /// The address begins with `https://`, and the server does not use TLS.
    NotTls,
    /// The address begins with `http://`, and the server uses TLS.
    SpeaksTls,
    /// The address begins with `http://`, and the server closed the connection before it answered, as servers with TLS do.
    MaySpeakTls,
    /// Any other error of the TLS library.
    Other(String),
}

impl TlsFault {
    /// Finds the reason in the error of a failed call, for example in [`std::error::Error::source`] of its status.
    #[must_use]
    pub fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(tls) = error.downcast_ref::<Error>() {
                return Some(Self::read(tls));
            }
            if let Some(fault) = error.downcast_ref::<Self>() {
                return Some(fault.clone());
            }
            // HTTP/2 keeps only the text of an I/O error.
            match error.to_string().as_str() {
                SPEAKS_TLS => return Some(Self::SpeaksTls),
                CLOSED => return Some(Self::MaySpeakTls),
                _ => {}
            }
            // `source` does not return the inner error of an I/O error.
            if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                let inner: &(dyn StdError + 'static) = inner;
                return Self::of(inner);
            }
            cause = error.source();
        }
        None
    }

    fn read(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                Self::UnknownAuthority
            }
            Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
                Self::Expired(date(not_after.as_secs()))
            }
            Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
                Self::NotYetValid(date(not_before.as_secs()))
            }
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => Self::Name {
                expected: expected.to_str().into_owned(),
                presented: presented.iter().map(|name| readable(name).to_owned()).collect(),
            },
            Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) if is_of_authority(&**cause) => {
                Self::OfAuthority
            }
            Error::InvalidMessage(_) => Self::NotTls,
            other => Self::Other(other.to_string()),
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownAuthority => {
                f.write_str("the server's certificate is signed by an authority that is not trusted")
            }
            Self::Expired(date) => write!(f, "the server's certificate expired at {date}"),
            Self::NotYetValid(date) => write!(f, "the server's certificate is not valid before {date}"),
            Self::Name { expected, presented } => {
                let presented = presented.join(", ");
                write!(f, "the server's certificate is for {presented}, not for {expected}")
            }
            Self::OfAuthority => f.write_str(
                "the server's certificate is that of a certificate authority (CaUsedAsEndEntity), which cannot be a server's",
            ),
            Self::NotTls => f.write_str("the address begins with https://, but the server does not use TLS there"),
            Self::SpeaksTls => f.write_str(SPEAKS_TLS),
            Self::MaySpeakTls => f.write_str(CLOSED),
            Self::Other(text) => write!(f, "the TLS handshake with the server failed: {text}"),
        }
    }
}

impl StdError for TlsFault {}

/// The finding about the last opened connection: a call that fails because of it often learns only that it ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Noticed(Arc<Mutex<Option<TlsFault>>>);

impl Noticed {
    pub(crate) fn get(&self) -> Option<TlsFault> {
        self.0.lock().map(|noticed| noticed.clone()).unwrap_or_default()
    }

    fn set(&self, fault: Option<TlsFault>) {
        if let Ok(mut noticed) = self.0.lock() {
            *noticed = fault;
        }
    }
}

const SPEAKS_TLS: &str = "the address begins with http://, but the server uses TLS there";
const CLOSED: &str = "the server closed the connection before it answered: it may use TLS there";

fn date(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    prost_types::Timestamp { seconds, nanos: 0 }.to_string()
}

/// Whether the library rejected an authority's certificate that a server presented. It has no variant for this error.
fn is_of_authority(cause: &dyn StdError) -> bool {
    cause.to_string() == "CaUsedAsEndEntity"
}

/// The name inside the library's form, `DnsName("host")`.
fn readable(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// Connects without TLS.
#[derive(Clone)]
pub(crate) struct Plain {
    http: HttpConnector,
    noticed: Noticed,
}

impl Plain {
    pub(crate) fn new(connect_timeout: Duration, noticed: Noticed) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(Some(connect_timeout));
        Self { http, noticed }
    }
}

impl Service<Uri> for Plain {
    type Response = TokioIo<Watched>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.http.call(uri);
        let noticed = self.noticed.clone();
        noticed.set(None);
        Box::pin(async move {
            Ok(TokioIo::new(Watched {
                stream: connecting.await?.into_inner(),
                is_new: true,
                noticed,
            }))
        })
    }
}

/// A connection whose first bytes are inspected.
pub(crate) struct Watched {
    stream: TcpStream,
    /// Nothing has been read from it yet.
    is_new: bool,
    noticed: Noticed,
}

impl Watched {
    /// The error of such a connection.
    fn refuse(&mut self, fault: TlsFault) -> io::Error {
        self.is_new = false;
        let text = fault.to_string();
        self.noticed.set(Some(fault));
        io::Error::other(text)
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        /// The answers of TLS, and of web servers on such a port, to requests without TLS.
        const ANSWERS: [&[u8]; 2] = [&[0x15, 0x03], b"HTTP/1.1 400"];
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Poll::Ready(result) = read else {
            return Poll::Pending;
        };
        if this.is_new {
            let first = &buffer.filled()[before..];
            if ANSWERS.iter().any(|answer| first.starts_with(answer)) {
                return Poll::Ready(Err(this.refuse(TlsFault::SpeaksTls)));
            }
            // The server's answer is lost if it closed the connection while our bytes were in flight.
            if first.is_empty() {
                return Poll::Ready(Err(this.refuse(TlsFault::MaySpeakTls)));
            }
            this.is_new = false;
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_write(context, bytes) {
            Poll::Ready(Err(_)) if this.is_new => Poll::Ready(Err(this.refuse(TlsFault::MaySpeakTls))),
            written => written,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
