//! A certificate authority for tests, and the certificates that it signs.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tempfile::NamedTempFile;

/// `CertificateParams` and related types, for [`Authority::certificate_with`].
pub use rcgen;
/// Versions of TLS, for [`Identity::server_config_with`].
pub use rustls::version::{TLS12, TLS13};

/// A certificate authority that only processes with its [`Authority::pem_file`] trust.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pem_file: NamedTempFile,
}

impl Authority {
    /// Creates a new authority with a new key.
    ///
    /// # Panics
    /// Panics if the key cannot be created, or the temporary file cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        // The name differs from that of the certificates, because OpenSSL takes certificates with the same name for
        // self-signed.
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("ring makes P-256 keys");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("the parameters are sound");
        let pem_file = NamedTempFile::new().expect("a temporary file");
        std::fs::write(pem_file.path(), issuer.pem()).expect("a temporary file can be written");
        Self { issuer, pem_file }
    }

    /// The authority's certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A file with the authority's certificate, which is removed with this value.
    #[must_use]
    pub fn pem_file(&self) -> &Path {
        self.pem_file.path()
    }

    /// The authority's certificate as DER.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Signs a certificate for host names and addresses such as `localhost` and `127.0.0.1`.
    #[must_use]
    pub fn certificate(&self, names: &[&str]) -> Identity {
        self.certificate_with(names, |_| ())
    }

    /// Signs an unusual certificate: expired, not yet valid, or for another use.
    ///
    /// # Panics
    /// Panics if the names or parameters cannot be in a certificate.
    #[must_use]
    pub fn certificate_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names = names.iter().map(|&name| name.to_owned());
        let mut params = CertificateParams::new(names.collect::<Vec<_>>()).expect("sound names");
        change(&mut params);
        let key = KeyPair::generate().expect("ring makes P-256 keys");
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are sound");
        Identity::new(&certificate, &key)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Authority").finish_non_exhaustive()
    }
}

/// A certificate and its private key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate as PEM.
    pub certificate_pem: String,
    /// The private key as PEM.
    pub key_pem: String,
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Identity {
    /// A self-signed certificate for host names and addresses. Without a change it is not an authority's.
    ///
    /// # Panics
    /// Panics if the names or parameters cannot be in a certificate.
    #[must_use]
    pub fn self_signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        let names = names.iter().map(|&name| name.to_owned());
        let mut params = CertificateParams::new(names.collect::<Vec<_>>()).expect("sound names");
        change(&mut params);
        let key = KeyPair::generate().expect("ring makes P-256 keys");
        let certificate = params.self_signed(&key).expect("the parameters are sound");
        Self::new(&certificate, &key)
    }

    /// A certificate and its key in PEM, which another program made.
    ///
    /// # Panics
    /// Panics if one of them is not PEM.
    #[must_use]
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Self {
        Self {
            certificate_pem: certificate_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            certificate: CertificateDer::from_pem_slice(certificate_pem.as_bytes()).expect("a certificate in PEM"),
            key: PrivatePkcs8KeyDer::from_pem_slice(key_pem.as_bytes()).expect("a key in PEM"),
        }
    }

    fn new(certificate: &Certificate, key: &KeyPair) -> Self {
        Self {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
        }
    }

    /// Writes the certificate and the key into a directory, as two PEM files, and returns their paths.
    ///
    /// # Panics
    /// Panics if they cannot be written.
    #[must_use]
    pub fn files(&self, directory: &Path) -> (String, String) {
        let file = |name: &str, pem: &str| {
            let path = directory.join(name);
            std::fs::write(&path, pem).expect("the directory takes files");
            path.to_str().expect("the test's path is UTF-8").to_owned()
        };
        (
            file("certificate.pem", &self.certificate_pem),
            file("key.pem", &self.key_pem),
        )
    }

    /// A server's TLS configuration that presents this certificate, supports TLS 1.2 and 1.3, and offers `http/1.1` by
    /// ALPN, for [`crate::Receiver::start_tls`].
    ///
    /// # Panics
    /// Never: the key is the certificate's own.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server_config_with(rustls::DEFAULT_VERSIONS)
    }

    /// The same with these versions of TLS, such as [`TLS12`].
    ///
    /// # Panics
    /// Never: the key is the certificate's own.
    #[must_use]
    pub fn server_config_with(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("ring has all versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![self.certificate.clone()],
                PrivateKeyDer::Pkcs8(self.key.clone_key()),
            )
            .expect("the key is the certificate's own");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}
