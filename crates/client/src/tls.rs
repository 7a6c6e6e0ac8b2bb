//! What a failed TLS handshake with the server means, and connections without TLS that notice a server that speaks it.

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
use rustls::{CertificateError, Error};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tower::Service;

/// Why there is no connection, where the reason is TLS. `Display` is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsFault {
    /// The server's certificate is signed by an authority that is not trusted.
    UnknownAuthority,
    /// It has expired, at this time (RFC 3339).
    Expired(String),
    /// It is not valid before this time (RFC 3339).
    NotYetValid(String),
    /// It is for these names, and not for the host of the address.
    Name {
        /// The host of the address.
        expected: String,
        /// The names that it is for.
        presented: Vec<String>,
    },
    /// The address begins with `https://`, and the server does not speak TLS.
    NotTls,
    /// The address begins with `http://`, and the server speaks TLS.
    SpeaksTls,
    /// The address begins with `http://`, and the server closed the connection before it answered, as servers do that speak TLS.
    MaySpeakTls,
    /// Anything else that the TLS library says.
    Other(String),
}

impl TlsFault {
    /// What is wrong, of the error of a failed call, [`std::error::Error::source`] of its status for example.
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
            // HTTP/2 keeps the text of an I/O error alone.
            match error.to_string().as_str() {
                SPEAKS_TLS => return Some(Self::SpeaksTls),
                CLOSED => return Some(Self::MaySpeakTls),
                _ => {}
            }
            // An I/O error hides what is in it from `source`.
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
            Self::NotTls => f.write_str("the address begins with https://, and the server does not speak TLS there"),
            Self::SpeaksTls => f.write_str(SPEAKS_TLS),
            Self::MaySpeakTls => f.write_str(CLOSED),
            Self::Other(text) => write!(f, "the TLS handshake with the server failed: {text}"),
        }
    }
}

impl StdError for TlsFault {}

/// What the connection that was opened last was found to be: the call that it fails often learns no more than that it ended.
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

const SPEAKS_TLS: &str = "the address begins with http://, and the server speaks TLS there";
const CLOSED: &str = "the server closed the connection before it answered: perhaps it speaks TLS there";

fn date(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    prost_types::Timestamp { seconds, nanos: 0 }.to_string()
}

/// A name as the library shows it, `DnsName("host")`, without what is around it.
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

/// A connection whose first bytes are looked at.
pub(crate) struct Watched {
    stream: TcpStream,
    /// Nothing was read from it yet.
    is_new: bool,
    noticed: Noticed,
}

impl Watched {
    /// The error of a connection that is not what it should be.
    fn refuse(&mut self, fault: TlsFault) -> io::Error {
        self.is_new = false;
        let text = fault.to_string();
        self.noticed.set(Some(fault));
        io::Error::other(text)
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        /// How TLS answers what is not TLS, and how web servers do on such a port.
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
            // What a server answered is lost where it closed the connection with bytes of ours on the way.
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
