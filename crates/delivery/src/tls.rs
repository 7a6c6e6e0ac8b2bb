//! TLS to receivers: trusted authorities, resumed sessions, and the explanation of failed handshakes.

use std::{env, error::Error as StdError, sync::Arc};

use hookwright_domain::outcome::ErrorClass;
use hookwright_storage::certificates::{Lenient, explain, is_of_authority, tls_cause};
use rustls::{
    CertificateError, ClientConfig, Error, RootCertStore,
    client::Resumption,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::failure::Failure;

/// For how many hosts sessions are kept, for all lanes. A session takes a few KiB, most of them for the certificates.
const VERIFIED_HOSTS_MAX: usize = 2_048;
/// The same without verification.
const UNVERIFIED_HOSTS_MAX: usize = 256;
/// How many sessions of a host the TLS library keeps.
const SESSIONS_PER_HOST_MAX: usize = 8;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file contains no certificates.
    #[error("extra-ca-file holds no certificate in PEM")]
    ExtraCa,
    /// The library refused.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] Error),
}

/// The configuration of handshakes, by the versions of HTTP that are offered. Both share sessions.
pub(crate) struct Offers {
    http2: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

impl Offers {
    /// Each value has its own sessions, so that a session is only resumed with the verification that it began with.
    fn new(mut config: ClientConfig, hosts_max: usize) -> Self {
        config.resumption = Resumption::in_memory_sessions(hosts_max * SESSIONS_PER_HOST_MAX);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = Arc::new(config.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            http2: Arc::new(config),
            http1,
        }
    }

    /// Offers HTTP/1.1, and with `http2` also HTTP/2.
    pub(crate) fn config(&self, http2: bool) -> Arc<ClientConfig> {
        Arc::clone(if http2 { &self.http2 } else { &self.http1 })
    }
}

/// The certificate authorities by which receivers are verified.
#[derive(Clone, Debug)]
pub struct Authorities {
    /// How many there are, including the operator's.
    pub count: usize,
    /// Where the system's authorities were searched, if none was found.
    pub system_missing: Option<String>,
}

/// The places of the system's authorities: those that the environment sets, otherwise the usual ones.
fn system_places() -> String {
    let set: Vec<String> = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .into_iter()
        .filter_map(|name| env::var_os(name).map(|value| format!("{name}={}", value.display())))
        .collect();
    if !set.is_empty() {
        return set.join(" and ");
    }
    let usual: Vec<String> = openssl_probe::candidate_cert_dirs()
        .map(|directory| directory.display().to_string())
        .collect();
    usual.join(", ")
}

/// Trusts the system's authorities and the operator's. Sessions are resumed.
pub(crate) fn verifying(extra_ca: Option<&[u8]>) -> Result<(Offers, Authorities), TlsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let system_missing = (added == 0).then(system_places);
    if let Some(pem) = extra_ca {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(TlsError::ExtraCa);
        }
    }
    let authorities = Authorities {
        count: roots.len(),
        system_missing,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((Offers::new(config, VERIFIED_HOSTS_MAX), authorities))
}

/// Accepts any certificate, for webhooks whose owner disabled verification, if the operator allows it.
pub(crate) fn unverifying() -> Result<Offers, TlsError> {
    let provider = Arc::new(default_provider());
    let verifier = Arc::new(Lenient::any_certificate(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Offers::new(config, UNVERIFIED_HOSTS_MAX))
}

/// Explains a failed handshake to the webhook's owner.
pub(crate) fn failure(error: &(dyn StdError + Send + Sync + 'static)) -> Failure {
    let Some(tls) = tls_cause(error) else {
        return Failure::new(
            ErrorClass::TlsHandshake,
            "the receiver closed the connection during the TLS handshake",
        )
        .with_detail(error.to_string());
    };
    let class = match tls {
        Error::InvalidCertificate(problem) => certificate_class(problem),
        _ => ErrorClass::TlsHandshake,
    };
    let mut message = explain("the receiver", tls);
    if matches!(tls, Error::InvalidMessage(_)) {
        message.push_str(" (should its URL begin with http://?)");
    }
    Failure::new(class, message).with_detail(tls.to_string())
}

fn certificate_class(problem: &CertificateError) -> ErrorClass {
    match problem {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => ErrorClass::TlsName,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => ErrorClass::TlsExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => ErrorClass::TlsNotYetValid,
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::Revoked
        | CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => ErrorClass::TlsUntrusted,
        problem if is_of_authority(problem) => ErrorClass::TlsUntrusted,
        _ => ErrorClass::TlsHandshake,
    }
}
