//! Verification of servers' certificates, for connections to PostgreSQL and to receivers: a verifier that skips the
//! checks which the configuration disables, and an explanation of failed handshakes.

use std::{error::Error as StdError, io, sync::Arc};

use rustls::{
    CertificateError,
    CertificateError::{NotValidForName, NotValidForNameContext},
    DigitallySignedStruct, Error, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use time::OffsetDateTime;

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

/// Explains an error as text. `whose` begins the sentence: `the receiver's certificate`.
#[must_use]
pub fn explain(whose: &str, error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            format!("{whose} is signed by an authority that is not trusted ({error})")
        }
        Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            format!("{whose} expired on {}", date(not_after.as_secs()))
        }
        Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            format!("{whose} is not valid before {}", date(not_before.as_secs()))
        }
        Error::InvalidCertificate(NotValidForNameContext { expected, presented }) => {
            let names: Vec<&str> = presented.iter().map(|name| readable(name)).collect();
            format!("{whose} is for {}, not for {}", names.join(", "), expected.to_str())
        }
        Error::InvalidMessage(_) => format!("the other side does not speak TLS ({error})"),
        other => format!("the TLS handshake failed: {other}"),
    }
}

/// The name in the library's notation `DnsName("host")`.
fn readable(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// The date and time of a number of seconds since the Unix epoch.
fn date(seconds: u64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let text = time.and_then(|time| time.format(format).ok());
    text.unwrap_or_else(|| format!("{seconds} s after 1970-01-01"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_704_067_199, "2023-12-31 23:59 UTC"),
            (4_102_444_800, "2100-01-01 00:00 UTC"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
