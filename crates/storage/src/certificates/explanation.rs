//! Explains failed TLS handshakes as text for people: what is wrong, and the fix. No text contains the names that
//! the TLS library gives to its errors.

use rustls::{AlertDescription, CertificateError, Error, OtherError};
use time::OffsetDateTime;

use super::algorithms;

/// How many of a certificate's names a text lists.
const NAMES_MAX: usize = 4;
/// How long a name in a text may be.
const NAME_CHARS_MAX: usize = 80;
/// The signatures that can be verified.
const SUPPORTED: &str = "use RSA, Ed25519, or ECDSA on P-256 or P-384 with SHA-256 or SHA-384";

/// Explains an error of the TLS library. `peer` names the other side, such as `the receiver`.
#[must_use]
pub fn explain(peer: &str, error: &Error) -> String {
    match error {
        Error::InvalidCertificate(problem) => explain_certificate(&format!("the certificate of {peer}"), problem),
        Error::InvalidMessage(_) => format!("{peer} does not speak TLS on this port"),
        Error::AlertReceived(alert) => explain_alert(peer, *alert),
        Error::PeerIncompatible(_) => format!(
            "{peer} and this service have no TLS version, cipher suite or key exchange in common; enable TLS 1.3, or TLS 1.2 with ECDHE"
        ),
        Error::NoApplicationProtocol => no_protocol(peer),
        Error::NoCertificatesPresented => format!("{peer} sent no certificate"),
        Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::DecryptError
        | Error::PeerSentOversizedRecord => format!("{peer} violated the TLS protocol"),
        _ => format!("the TLS handshake with {peer} failed"),
    }
}

/// Explains the alert by which the other side ended the handshake.
fn explain_alert(peer: &str, alert: AlertDescription) -> String {
    match alert {
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => format!(
            "{peer} found no cipher suite, key exchange or signature algorithm in common with this service, which does not support certificates with P-521 keys; {SUPPORTED}"
        ),
        AlertDescription::ProtocolVersion => format!("{peer} supports neither TLS 1.3 nor TLS 1.2"),
        AlertDescription::UnrecognisedName => format!("{peer} has no certificate for the name of the host"),
        AlertDescription::NoApplicationProtocol => no_protocol(peer),
        AlertDescription::CertificateRequired
        | AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA => format!("{peer} requires a client certificate"),
        AlertDescription::AccessDenied => format!("{peer} denies access"),
        AlertDescription::InternalError => format!("{peer} failed during the TLS handshake"),
        other => format!("{peer} ended the TLS handshake with alert {}", u8::from(other)),
    }
}

fn no_protocol(peer: &str) -> String {
    format!("{peer} speaks none of the protocols that this service offers (ALPN)")
}

/// Explains why a certificate is rejected. `whose` begins the sentence.
fn explain_certificate(whose: &str, problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => {
            format!("{whose} is signed by an authority that is not trusted, or intermediate certificates are missing")
        }
        CertificateError::BadSignature => format!(
            "{whose} is signed by an authority that is not trusted: a signature does not match its key, or is made with RSA below 2,048 bits"
        ),
        CertificateError::Expired => format!("{whose} has expired"),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("{whose} expired on {}", date(not_after.as_secs()))
        }
        CertificateError::NotValidYet => format!("{whose} is not valid yet"),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("{whose} is not valid before {}", date(not_before.as_secs()))
        }
        CertificateError::NotValidForName => format!("{whose} is for another name"),
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("{whose} is for {}, not for {}", names(presented), expected.to_str())
        }
        CertificateError::BadEncoding => format!("{whose} is not encoded correctly"),
        CertificateError::UnhandledCriticalExtension => {
            format!("{whose} has a critical extension that is not supported")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("{whose} is not for servers: its extended key usage lacks serverAuth")
        }
        CertificateError::Revoked => format!("{whose} was revoked"),
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. }
        | CertificateError::InvalidOcspResponse => format!("it is not known whether {whose} was revoked"),
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id, ..
        } => {
            let algorithm = algorithms::name(signature_algorithm_id);
            format!("{whose}, or one in its chain, is signed with {algorithm}, which is not supported; {SUPPORTED}")
        }
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            public_key_algorithm_id,
        } => {
            let algorithm = algorithms::name(signature_algorithm_id);
            let key = algorithms::name(public_key_algorithm_id);
            format!(
                "{whose}, or one in its chain, is signed with {algorithm} by a key of type {key}, which is not supported; {SUPPORTED}"
            )
        }
        CertificateError::Other(OtherError(cause)) => match cause.downcast_ref() {
            Some(cause) => explain_path(whose, cause),
            None => cannot_be_used(whose),
        },
        _ => cannot_be_used(whose),
    }
}

/// Explains a rejected certificate or chain that the TLS library has no error for.
fn explain_path(whose: &str, cause: &webpki::Error) -> String {
    use webpki::Error as Path;
    match cause {
        Path::CaUsedAsEndEntity => format!(
            "{whose} is that of a certificate authority (CA:TRUE), as `openssl req -x509` makes it, which cannot be a server's; make it with -addext basicConstraints=critical,CA:FALSE, or sign a certificate for the server with the authority"
        ),
        Path::EndEntityUsedAsCa => format!("{whose} is signed by a certificate that is not an authority's (CA:FALSE)"),
        Path::NameConstraintViolation => format!("{whose} is for a name that its authority must not sign"),
        Path::PathLenConstraintViolated | Path::MaximumPathDepthExceeded => {
            format!("the chain of {whose} is longer than its authority allows")
        }
        Path::MaximumPathBuildCallsExceeded
        | Path::MaximumSignatureChecksExceeded
        | Path::MaximumNameConstraintComparisonsExceeded => format!("the chain of {whose} is too complex"),
        Path::SignatureAlgorithmMismatch => format!("{whose} names two signature algorithms that differ"),
        Path::UnsupportedCertVersion => format!("{whose} is not of X.509 version 3"),
        Path::UnsupportedCriticalExtension => format!("{whose} has a critical extension that is not supported"),
        Path::EmptyEkuExtension | Path::ExtensionValueInvalid | Path::MalformedExtensions => {
            format!("{whose} has an invalid extension")
        }
        Path::UnsupportedNameType | Path::MalformedDnsIdentifier | Path::MalformedNameConstraint => {
            format!("{whose} has an invalid name")
        }
        _ => cannot_be_used(whose),
    }
}

fn cannot_be_used(whose: &str) -> String {
    format!("{whose} cannot be used")
}

/// The names of a certificate.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name (its subjectAltName lists none)".to_owned();
    }
    let mut list: Vec<String> = presented.iter().take(NAMES_MAX).map(|name| readable(name)).collect();
    if presented.len() > NAMES_MAX {
        list.push(format!("{} more names", presented.len() - NAMES_MAX));
    }
    list.join(", ")
}

/// The name in the library's notation `DnsName("host")`.
fn readable(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    let inner = inner.unwrap_or(name).trim_matches('"');
    inner.chars().take(NAME_CHARS_MAX).collect()
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

#[cfg(test)]
mod tests;
