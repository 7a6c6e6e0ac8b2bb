//! A verifier of servers' certificates that leaves out a part of the usual checks, where whoever configured the connection
//! asked for that. It serves connections to PostgreSQL and to receivers.

use std::sync::Arc;

use rustls::{
    CertificateError::{NotValidForName, NotValidForNameContext},
    DigitallySignedStruct, Error, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// See the module. The server still has to prove that it owns the certificate's key.
#[derive(Debug)]
pub struct Lenient {
    provider: Arc<CryptoProvider>,
    /// Checks who signed the certificate; `None` takes any certificate.
    issuer: Option<Arc<WebPkiServerVerifier>>,
}

impl Lenient {
    /// Takes any certificate.
    #[must_use]
    pub fn any_certificate(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, issuer: None }
    }

    /// Checks who signed a certificate, but not which host it is for.
    #[must_use]
    pub fn any_host(provider: Arc<CryptoProvider>, issuer: Arc<WebPkiServerVerifier>) -> Self {
        Self {
            provider,
            issuer: Some(issuer),
        }
    }
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(issuer) = &self.issuer else {
            return Ok(ServerCertVerified::assertion());
        };
        // The verifier checks the name last.
        match issuer.verify_server_cert(certificate, intermediates, host, ocsp, now) {
            Err(Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
