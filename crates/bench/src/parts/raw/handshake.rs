//! TLS connections of a bare rustls client, which resumes sessions.

use std::{net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Trusts only this authority. Sessions are kept in memory, as rustls does by default.
pub(super) fn connector(authority: &Path) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Connects, and returns whether a session was resumed.
pub(super) async fn connect(tls: &TlsConnector, address: &str) -> anyhow::Result<(TlsStream<TcpStream>, bool)> {
    let address: SocketAddr = address.parse()?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let stream = tls.connect(ServerName::from(address.ip()), stream).await?;
    let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    Ok((stream, resumed))
}
