//! Verification of servers' certificates, for connections to PostgreSQL and to receivers: a verifier that skips the
//! checks which the configuration disables, and an explanation of failed handshakes.

mod algorithms;
mod explanation;

use std::{error::Error as StdError, io, sync::Arc};

use rustls::{
    CertificateError,
    CertificateError::{NotValidForName, NotValidForNameContext},
    DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

pub use self::explanation::explain;

/// A certificate verifier that skips some checks. The server must still prove that it owns the certificate's key.
#[derive(Debug)]
pub struct Lenient {
    provider: Arc<CryptoProvider>,
    /// Verifies the certificate's issuer; `None` accepts any certificate.
    issuer: Option<Arc<WebPkiServerVerifier>>,
}

impl Lenient {
    /// Accepts any certificate.
    #[must_use]
    pub fn any_certificate(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, issuer: None }
    }

    /// Verifies a certificate's issuer, but not its host name.
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
        // The verifier checks the name last, so this error means that the rest is valid.
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

/// The cause of a failed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    /// No trusted authority signed the certificate.
    Authority,
    /// It is for another name.
    Name,
    /// It has expired, or is not valid yet.
    Time,
    /// The other side does not speak TLS.
    NotTls,
    /// Anything else.
    Other,
}

/// Classifies an error of the TLS library.
#[must_use]
pub fn fault(error: &Error) -> CertificateFault {
    match error {
        Error::InvalidCertificate(problem) => match problem {
            NotValidForName | NotValidForNameContext { .. } => CertificateFault::Name,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => CertificateFault::Time,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => CertificateFault::Authority,
            _ => CertificateFault::Other,
        },
        Error::InvalidMessage(_) => CertificateFault::NotTls,
        _ => CertificateFault::Other,
    }
}

/// Whether a server's certificate is that of an authority, as a self-signed certificate usually is.
#[must_use]
pub fn is_of_authority(problem: &CertificateError) -> bool {
    let CertificateError::Other(OtherError(cause)) = problem else {
        return false;
    };
    matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Finds the TLS library's error among the causes of another error. It also looks inside I/O errors, which hide it from
/// `source`.
#[must_use]
pub fn tls_cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<Error>() {
            return Some(tls);
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            let inner: &(dyn StdError + 'static) = inner;
            return tls_cause(inner);
        }
        cause = error.source();
    }
    None
}
