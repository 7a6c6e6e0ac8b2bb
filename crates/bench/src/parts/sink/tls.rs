//! The certificates of the sink's hosts, signed by its own authority, and the handshake of a connection.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use hookwright_testkit::Authority;
use rustls::{HandshakeKind, ServerConfig, crypto::ring::Ticketer};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{super::arrivals::Arrivals, Protocol};

/// One certificate for each address.
pub(super) struct Identities {
    pub(super) protocol: Protocol,
    /// The authority that signed them, as PEM.
    pub(super) authority: String,
    acceptors: Vec<TlsAcceptor>,
}

impl Identities {
    /// Sessions can be resumed with tickets, as most receivers allow it.
    pub(super) fn new(addresses: &[SocketAddr], protocol: Protocol) -> anyhow::Result<Self> {
        let authority = Authority::new();
        let ticketer = Ticketer::new()?;
        let acceptors = addresses.iter().map(|address| {
            let identity = authority.certificate(&[&address.ip().to_string()]);
            let mut config = ServerConfig::clone(&identity.server_config());
            config.ticketer = Arc::clone(&ticketer);
            config.alpn_protocols = match protocol {
                Protocol::Http1 => vec![b"http/1.1".to_vec()],
                Protocol::Http2 => vec![b"h2".to_vec()],
            };
            TlsAcceptor::from(Arc::new(config))
        });
        Ok(Self {
            protocol,
            acceptors: acceptors.collect(),
            authority: authority.pem(),
        })
    }

    /// `None` if the handshake fails.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        host: usize,
        arrivals: &Arrivals,
    ) -> Option<TlsStream<TcpStream>> {
        let stream = self.acceptors[host].accept(stream).await.ok()?;
        arrivals.handshakes.fetch_add(1, Ordering::Relaxed);
        if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
            arrivals.resumed.fetch_add(1, Ordering::Relaxed);
        }
        Some(stream)
    }
}
