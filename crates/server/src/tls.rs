//! TLS of the listeners.

use anyhow::Context as _;
use tonic::transport::{Identity, ServerTlsConfig};

use crate::options::Options;

/// What the gRPC listener needs; `None` where no certificate is configured.
pub(crate) fn grpc(options: &Options) -> anyhow::Result<Option<ServerTlsConfig>> {
    let (certificate, key) = match (&options.tls_certificate, &options.tls_private_key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => anyhow::bail!("tls-certificate and tls-private-key go together; set both or neither"),
    };
    let read = |path: &std::path::Path, setting: &str| {
        std::fs::read(path).with_context(|| format!("{setting}: cannot read {}", path.display()))
    };
    let identity = Identity::from_pem(read(certificate, "tls-certificate")?, read(key, "tls-private-key")?);
    Ok(Some(ServerTlsConfig::new().identity(identity)))
}
