use std::{sync::Arc, time::Duration};

use rustls::{
    ContentType, ExtendedKeyPurpose, HandshakeType, InvalidMessage, PeerIncompatible, PeerMisbehaved,
    pki_types::{ServerName, UnixTime},
};

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

/// One of each error of certificates.
fn certificate_errors() -> Vec<CertificateError> {
    use CertificateError as Problem;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(951_782_400));
    let ecdsa_sha512 = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04".to_vec();
    let p521 = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23".to_vec();
    vec![
        Problem::BadEncoding,
        Problem::Expired,
        Problem::ExpiredContext { time, not_after: time },
        Problem::NotValidYet,
        Problem::NotValidYetContext { time, not_before: time },
        Problem::Revoked,
        Problem::UnhandledCriticalExtension,
        Problem::UnknownIssuer,
        Problem::UnknownRevocationStatus,
        Problem::ExpiredRevocationList,
        Problem::ExpiredRevocationListContext {
            time,
            next_update: time,
        },
        Problem::BadSignature,
        #[expect(deprecated, reason = "the library may still return it")]
        Problem::UnsupportedSignatureAlgorithm,
        Problem::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: ecdsa_sha512.clone(),
            supported_algorithms: Vec::new(),
        },
        Problem::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: ecdsa_sha512,
            public_key_algorithm_id: p521,
        },
        Problem::NotValidForName,
        Problem::NotValidForNameContext {
            expected: ServerName::try_from("hook.example").unwrap(),
            presented: vec![
                "DnsName(\"other.example\")".to_owned(),
                "IpAddress(127.0.0.1)".to_owned(),
            ],
        },
        Problem::InvalidPurpose,
        Problem::InvalidPurposeContext {
            required: ExtendedKeyPurpose::ServerAuth,
            presented: vec![ExtendedKeyPurpose::ClientAuth],
        },
        Problem::InvalidOcspResponse,
        Problem::ApplicationVerificationFailure,
        other(webpki::Error::CaUsedAsEndEntity),
        other(webpki::Error::EndEntityUsedAsCa),
        other(webpki::Error::NameConstraintViolation),
        other(webpki::Error::PathLenConstraintViolated),
        other(webpki::Error::MaximumPathBuildCallsExceeded),
        other(webpki::Error::SignatureAlgorithmMismatch),
        other(webpki::Error::UnsupportedCertVersion),
        other(webpki::Error::UnsupportedCriticalExtension),
        other(webpki::Error::EmptyEkuExtension),
        other(webpki::Error::UnsupportedNameType),
        other(webpki::Error::CertDistrusted),
        CertificateError::Other(OtherError(Arc::new(std::fmt::Error))),
    ]
}

fn other(cause: webpki::Error) -> CertificateError {
    CertificateError::Other(OtherError(Arc::new(cause)))
}

/// Whether a word looks like a name in a program, such as `BadDer`.
fn is_identifier(word: &str) -> bool {
    const TERMS: [&str; 3] = ["basicConstraints", "serverAuth", "subjectAltName"];
    let is_term = TERMS.iter().any(|term| word.contains(term));
    let letters: Vec<char> = word.chars().collect();
    !is_term
        && letters
            .windows(2)
            .any(|pair| pair[0].is_lowercase() && pair[1].is_uppercase())
}

#[test]
fn b12_no_text_contains_the_names_of_the_librarys_errors() {
    let alerts = (0..=u8::MAX).map(|number| Error::AlertReceived(number.into()));
    let errors = certificate_errors()
        .into_iter()
        .map(Error::InvalidCertificate)
        .chain(alerts)
        .chain([
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::PeerMisbehaved(PeerMisbehaved::TooMuchEarlyDataReceived),
            Error::InappropriateMessage {
                expect_types: vec![ContentType::Handshake],
                got_type: ContentType::ApplicationData,
            },
            Error::InappropriateHandshakeMessage {
                expect_types: vec![HandshakeType::ServerHello],
                got_type: HandshakeType::Finished,
            },
            Error::NoApplicationProtocol,
            Error::NoCertificatesPresented,
            Error::General("BadThing".to_owned()),
        ]);
    for error in errors {
        let text = explain("the receiver", &error);
        assert!(text.contains("the receiver"), "{text}");
        assert!(!text.split_whitespace().any(is_identifier), "{error:?}: {text}");
        assert!(!text.contains(['{', '"']), "{error:?}: {text}");
    }
}

#[test]
fn names_are_listed_as_people_write_them() {
    let presented = ["DnsName(\"a.example\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()];
    assert_eq!(names(&presented), "a.example, 127.0.0.1");
    let many: Vec<String> = (0..9).map(|n| format!("DnsName(\"{n}.example\")")).collect();
    assert_eq!(names(&many), "0.example, 1.example, 2.example, 3.example, 5 more names");
    assert_eq!(
        readable(&format!("DnsName(\"{}\")", "x".repeat(300))).len(),
        NAME_CHARS_MAX
    );
}
