//! TLS to PostgreSQL by rustls, as the URL configures it. [`super::url`] describes the meaning of `sslmode`.

use std::{
    io,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_postgres::{
    Socket,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    url::{Mode, Target, Verification},
    wire::{LastState, Watched},
};
use crate::certificates::Lenient;

type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
type Handshake = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;

/// PostgreSQL's request for TLS: a length, and a number that identifies the request.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Creates the streams of connections.
#[derive(Clone)]
pub(super) struct Connector {
    /// `None` for connections without TLS.
    rustls: Option<MakeRustlsConnect>,
    is_optional: bool,
    is_direct: bool,
    state: Arc<LastState>,
    is_encrypted: Arc<AtomicBool>,
}

impl Connector {
    /// The connector for a target, with TLS unless `is_plain`.
    ///
    /// # Errors
    /// Fails if a file that the URL names cannot be read.
    pub(super) fn new(target: &Target, is_plain: bool, state: Arc<LastState>) -> Result<Self, String> {
        let rustls = if is_plain {
            None
        } else {
            Some(MakeRustlsConnect::new(configuration(target)?))
        };
        Ok(Self {
            rustls,
            is_optional: target.mode == Mode::Prefer,
            is_direct: target.is_direct,
            state,
            is_encrypted: Arc::default(),
        })
    }

    /// Whether the latest connection is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.is_encrypted.load(Ordering::Relaxed)
    }
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Watched<Stream>;
    type TlsConnect = Connecting;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Connecting> {
        let handshake = self.rustls.as_mut().map(|rustls| {
            let Ok(handshake) = MakeTlsConnect::<Socket>::make_tls_connect(rustls, host);
            handshake
        });
        Ok(Connecting {
            handshake,
            is_optional: self.is_optional,
            is_direct: self.is_direct,
            state: Arc::clone(&self.state),
            is_encrypted: Arc::clone(&self.is_encrypted),
        })
    }
}

/// Creates the stream of one connection.
pub(super) struct Connecting {
    handshake: Option<Handshake>,
    is_optional: bool,
    is_direct: bool,
    state: Arc<LastState>,
    is_encrypted: Arc<AtomicBool>,
}

impl TlsConnect<Socket> for Connecting {
    type Stream = Watched<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Watched<Stream>>> + Send>>;

    fn connect(self, mut socket: Socket) -> Self::Future {
        Box::pin(async move {
            let stream = match self.handshake {
                None => Stream::Plain(socket),
                Some(handshake) => {
                    if self.is_direct || offers_tls(&mut socket).await? {
                        Stream::Encrypted(Box::new(handshake.connect(socket).await?))
                    } else if self.is_optional {
                        Stream::Plain(socket)
                    } else {
                        return Err(io::Error::other(
                            "the server does not speak TLS; switch it on there (ssl = on), or set sslmode=disable",
                        ));
                    }
                }
            };
            let is_encrypted = matches!(stream, Stream::Encrypted(_));
            self.is_encrypted.store(is_encrypted, Ordering::Relaxed);
            Ok(Watched::new(stream, self.state))
        })
    }
}

async fn offers_tls(socket: &mut Socket) -> io::Result<bool> {
    socket.write_all(&TLS_REQUEST).await?;
    Ok(socket.read_u8().await? == b'S')
}

/// A connection's bytes.
pub(super) enum Stream {
    Plain(Socket),
    Encrypted(Box<Encrypted>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        match self {
            Self::Plain(_) => ChannelBinding::none(),
            Self::Encrypted(stream) => stream.channel_binding(),
        }
    }
}

fn configuration(target: &Target) -> Result<ClientConfig, String> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let verification = target.verification();
    let verifier: Arc<dyn ServerCertVerifier> = if verification == Verification::None {
        Arc::new(Lenient::any_certificate(provider))
    } else {
        let roots = Arc::new(roots(target.root_certificates.as_deref())?);
        let full = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| error.to_string())?;
        if verification == Verification::Authority {
            Arc::new(Lenient::any_host(provider, full))
        } else {
            full
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match &target.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key =
                PrivateKeyDer::from_pem_file(key).map_err(|error| format!("sslkey {}: {error}", key.display()))?;
            builder
                .with_client_auth_cert(certificates("sslcert", certificate)?, key)
                .map_err(|error| format!("sslcert {}: {error}", certificate.display()))?
        }
    };
    if target.is_direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    for certificate in certificates("sslrootcert", file)? {
        roots
            .add(certificate)
            .map_err(|error| format!("sslrootcert {}: {error}", file.display()))?;
    }
    Ok(roots)
}

fn certificates(parameter: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{parameter} {}: {error}", file.display());
    let read = CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| failed(&error))?;
    if found.is_empty() {
        return Err(failed(&"the file holds no certificate in PEM form"));
    }
    Ok(found)
}
