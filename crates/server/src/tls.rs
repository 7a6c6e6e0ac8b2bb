//! TLS of the listeners, with certificates that can change while they listen.

use std::{
    fmt,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use crate::options::Options;

/// The certificate of the gRPC listener; `None` if none is configured.
pub(crate) fn grpc(options: &Options) -> anyhow::Result<Option<Arc<Certificates>>> {
    let files = (options.tls_certificate.as_deref(), options.tls_private_key.as_deref());
    Certificates::open(files, ["tls-certificate", "tls-private-key"])
}

/// The certificate of the HTTP listener; `None` if none is configured.
pub(crate) fn http(options: &Options) -> anyhow::Result<Option<Arc<Certificates>>> {
    let names = ["http-tls-certificate", "http-tls-private-key"];
    let files = (
        options.http_tls_certificate.as_deref(),
        options.http_tls_private_key.as_deref(),
    );
    Certificates::open(files, names)
}

/// Accepts connections with the certificate that is current at that time.
pub(crate) fn acceptor(certificates: &Arc<Certificates>, protocols: &[&[u8]]) -> anyhow::Result<TlsAcceptor> {
    let resolver = Arc::clone(certificates) as Arc<dyn ResolvesServerCert>;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The fingerprint of files, which detects writes: time, length and inode of each, if it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<(i64, i64, u64, u64)>>);

impl Stamp {
    pub(crate) fn of(paths: &[&Path]) -> Self {
        let stamp = |path: &&Path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.mtime(), file.mtime_nsec(), file.len(), file.ino()))
        };
        Self(paths.iter().map(stamp).collect())
    }
}

/// A certificate chain and its key, from two files, which are reloaded when they change.
pub(crate) struct Certificates {
    names: [&'static str; 2],
    current: ArcSwap<CertifiedKey>,
    files: Mutex<Files>,
}

/// The files of the current certificate.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// The fingerprint of the files at the last check, whether or not they were valid.
    seen: Stamp,
}

/// A loaded certificate that is not in use yet.
pub(crate) struct Prepared {
    key: CertifiedKey,
    files: Files,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.names).finish()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl Certificates {
    fn open(files: (Option<&Path>, Option<&Path>), names: [&'static str; 2]) -> anyhow::Result<Option<Arc<Self>>> {
        let Some((certificate, key)) = both(files, names)? else {
            return Ok(None);
        };
        let Prepared { key, files } = read(names, certificate, key)?;
        Ok(Some(Arc::new(Self {
            names,
            current: ArcSwap::from_pointee(key),
            files: Mutex::new(files),
        })))
    }

    /// Loads a certificate for [`Certificates::replace`].
    pub(crate) fn prepare(&self, certificate: &Path, key: &Path) -> anyhow::Result<Prepared> {
        read(self.names, certificate, key)
    }

    /// Uses another certificate for new connections.
    pub(crate) fn replace(&self, prepared: Prepared) {
        self.current.store(Arc::new(prepared.key));
        *self.files.lock() = prepared.files;
    }

    /// Reloads the files if they have changed. While they do not match, the former certificate stays in use.
    pub(crate) fn refresh(&self) {
        let (certificate, key) = {
            let mut files = self.files.lock();
            let now = Stamp::of(&[&files.certificate, &files.key]);
            if now == files.seen {
                return;
            }
            files.seen = now;
            (files.certificate.clone(), files.key.clone())
        };
        match self.prepare(&certificate, &key) {
            Ok(prepared) => {
                self.replace(prepared);
                tracing::info!(setting = self.names[0], file = %certificate.display(), "reloaded: the files have changed");
            }
            Err(error) => tracing::warn!("the former certificate stays in use until its files are valid: {error:#}"),
        }
    }
}

fn read(names: [&'static str; 2], certificate: &Path, key: &Path) -> anyhow::Result<Prepared> {
    let seen = Stamp::of(&[certificate, key]);
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("{}: cannot read certificates from {}", names[0], certificate.display()))?;
    let secret = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("{}: cannot read a private key from {}", names[1], key.display()))?;
    anyhow::ensure!(
        !chain.is_empty(),
        "{}: {} contains no certificate",
        names[0],
        certificate.display()
    );
    let made = CertifiedKey::from_der(chain, secret, &ring::default_provider())
        .with_context(|| format!("{} and {} do not match", names[0], names[1]))?;
    Ok(Prepared {
        key: made,
        files: Files {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            seen,
        },
    })
}

/// Two files that belong together.
fn both<'a>(
    files: (Option<&'a Path>, Option<&'a Path>),
    [certificate, key]: [&str; 2],
) -> anyhow::Result<Option<(&'a Path, &'a Path)>> {
    match files {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        _ => anyhow::bail!("{certificate} and {key} need each other; set both or neither"),
    }
}
