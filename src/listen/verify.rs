//! Verifies the signatures of a received request.

use std::fmt;

use anyhow::anyhow;
use hookwright_domain::{secret::SigningSecret, signing};
use serde_json::{Value, json};

use super::http::Request;

/// Verifies with one or more secrets: during a rotation the schemes use different ones.
pub(crate) struct Verifier {
    secrets: Vec<SigningSecret>,
    sha1_header: String,
    sha256_header: String,
}

impl Verifier {
    /// `None` without a secret to verify with.
    pub(crate) fn new(secrets: &[String], header_prefix: &str) -> anyhow::Result<Option<Self>> {
        if secrets.is_empty() {
            return Ok(None);
        }
        let secrets = secrets.iter().map(|secret| SigningSecret::parse(secret.trim()));
        Ok(Some(Self {
            secrets: secrets
                .collect::<Result<_, _>>()
                .map_err(|error| anyhow!("--secret: {error}"))?,
            sha1_header: format!("{header_prefix}Signature"),
            sha256_header: format!("{header_prefix}Signature-256"),
        }))
    }

    /// Verifies each of the signatures.
    pub(crate) fn check(&self, request: &Request) -> Verdict {
        let sha1 = request.header(&self.sha1_header);
        let sha256 = request.header(&self.sha256_header);
        let standard = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let [id, timestamp, signature] = standard.map(|name| request.header(name));
        let standard = (
            id.unwrap_or_default(),
            timestamp.unwrap_or_default(),
            signature.unwrap_or_default(),
        );
        let mut schemes = [
            ("sha1", sha1.is_some()),
            ("sha256", sha256.is_some()),
            ("v1", signature.is_some()),
        ]
        .map(|(name, present)| (name, if present { Check::Mismatch } else { Check::Missing }));
        for secret in &self.secrets {
            let verified = signing::verify(secret, sha1, sha256, standard, request.body());
            for (scheme, valid) in schemes.iter_mut().zip([verified.sha1, verified.sha256, verified.v1]) {
                if valid {
                    scheme.1 = Check::Valid;
                }
            }
        }
        Verdict { schemes }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Valid,
    Mismatch,
    Missing,
}

/// The results of verifying a request.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    schemes: [(&'static str, Check); 3],
}

impl Verdict {
    /// Whether every scheme verified.
    pub(crate) fn complete(&self) -> bool {
        self.schemes.iter().all(|(_, check)| *check == Check::Valid)
    }

    /// One member per scheme.
    pub(in crate::listen) fn to_json(&self) -> Value {
        let [sha1, sha256, v1] = self.schemes.map(|(_, check)| check == Check::Valid);
        json!({ "sha1": sha1, "sha256": sha256, "v1": v1 })
    }
}

/// `verified: sha1 sha256 v1`, or the failed schemes with the reason.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |wanted: Check, text: &str| {
            let names: Vec<String> = self
                .schemes
                .iter()
                .filter(|(_, check)| *check == wanted)
                .map(|(name, _)| {
                    if text.is_empty() {
                        (*name).to_owned()
                    } else {
                        format!("{name} ({text})")
                    }
                })
                .collect();
            names.join(" ")
        };
        if self.complete() {
            return write!(f, "verified: {}", list(Check::Valid, ""));
        }
        let failed = [
            list(Check::Mismatch, "does not match the secret"),
            list(Check::Missing, "no such header"),
        ];
        let failed: Vec<String> = failed.into_iter().filter(|text| !text.is_empty()).collect();
        write!(f, "NOT verified: {}", failed.join(" "))?;
        match list(Check::Valid, "") {
            valid if valid.is_empty() => Ok(()),
            valid => write!(f, "; verified: {valid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's test vector.
    const REQUEST: &str = concat!(
        "POST /payload HTTP/1.1\r\n",
        "TT-Hook-Signature: sha1=5df13e99a4386c6213f241d7f2a5e5811dbe0595\r\n",
        "webhook-id: evt_01\r\n",
        "webhook-timestamp: 1735689600\r\n",
        "webhook-signature: v1,AAAA v1,NHuKArjDdNW5bZhpNy4zWNna9PpbyWN0HcO6a9uE+Ik=\r\n\r\n",
        r#"{"action":"created","clocking":{"id":"CLOCKING-ID-123","driverId":"DRIVER-ID-123","#,
        r#""clockingTimeStamp":"2018-01-01T09:01:53","isClockIn":true}}"#,
    );

    fn check(secrets: &[&str], request: &str) -> String {
        let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        let verifier = Verifier::new(&secrets, "TT-Hook-").unwrap().unwrap();
        verifier.check(&Request::parse(request)).to_string()
    }

    #[test]
    fn the_contracts_vector_verifies_with_any_of_the_secrets() {
        let secrets = ["correct horse battery staple", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
        assert_eq!(
            check(&secrets, REQUEST),
            "NOT verified: sha256 (no such header); verified: sha1 v1"
        );
        let altered = REQUEST.replace("created", "deleted");
        assert!(
            !check(&secrets, &altered).contains("; verified"),
            "an altered body does not verify"
        );
        assert!(
            !check(&secrets[..1], REQUEST).contains("; verified"),
            "another secret does not verify"
        );
        assert!(Verifier::new(&["short".to_owned()], "TT-Hook-").is_err());
    }

    #[test]
    fn a_verdict_says_what_failed() {
        let verdict = |checks: [Check; 3]| Verdict {
            schemes: [("sha1", checks[0]), ("sha256", checks[1]), ("v1", checks[2])],
        };
        assert_eq!(verdict([Check::Valid; 3]).to_string(), "verified: sha1 sha256 v1");
        assert!(verdict([Check::Valid; 3]).complete());
        let partly = verdict([Check::Valid, Check::Mismatch, Check::Missing]);
        assert!(!partly.complete());
        assert_eq!(
            partly.to_string(),
            "NOT verified: sha256 (does not match the secret) v1 (no such header); verified: sha1"
        );
    }
}
