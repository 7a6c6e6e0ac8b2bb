//! TLS of the listeners.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use crate::options::Options;

/// What the gRPC listener needs; `None` where no certificate is configured.
pub(crate) fn grpc(options: &Options) -> anyhow::Result<Option<TlsAcceptor>> {
    let files = (options.tls_certificate.as_deref(), options.tls_private_key.as_deref());
    acceptor(files, ["tls-certificate", "tls-private-key"], &[b"h2"])
}

/// What the HTTP listener needs; `None` where no certificate is configured.
pub(crate) fn http(options: &Options) -> anyhow::Result<Option<TlsAcceptor>> {
    let names = ["http-tls-certificate", "http-tls-private-key"];
    let files = (
        options.http_tls_certificate.as_deref(),
        options.http_tls_private_key.as_deref(),
    );
    acceptor(files, names, &[b"h2", b"http/1.1"])
}

fn acceptor(
    files: (Option<&Path>, Option<&Path>),
    names: [&str; 2],
    protocols: &[&[u8]],
) -> anyhow::Result<Option<TlsAcceptor>> {
    let Some((certificate, key)) = both(files, names)? else {
        return Ok(None);
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("{}: cannot read certificates from {}", names[0], certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("{}: cannot read a private key from {}", names[1], key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("{} and {} do not belong together", names[0], names[1]))?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Two files that go together.
fn both<'a>(
    files: (Option<&'a Path>, Option<&'a Path>),
    [certificate, key]: [&str; 2],
) -> anyhow::Result<Option<(&'a Path, &'a Path)>> {
    match files {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        _ => anyhow::bail!("{certificate} and {key} go together; set both or neither"),
    }
}
