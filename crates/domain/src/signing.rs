//! Signatures of a request, as in the contract.
//!
//! Keys are prepared once: a [`Signer`] contains the state of each HMAC after its key block. Signing a body therefore costs
//! one pass per scheme, without key setup.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha1::Sha1;
use sha2::Sha256;

use crate::{random, secret::SigningSecret};

/// The prepared keys of one secret.
#[derive(Clone)]
pub struct Signer {
    sha1: Hmac<Sha1>,
    sha256: Hmac<Sha256>,
    standard: Hmac<Sha256>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(redacted)")
    }
}

impl Signer {
    /// Prepares the keys of a secret.
    pub fn new(secret: &SigningSecret) -> Self {
        const ANY: &str = "HMAC takes keys of any length";
        let text = secret.expose().as_bytes();
        Self {
            sha1: Hmac::new_from_slice(text).expect(ANY),
            sha256: Hmac::new_from_slice(text).expect(ANY),
            standard: Hmac::new_from_slice(&secret.standard_key()).expect(ANY),
        }
    }

    /// `TT-Hook-Signature`: `sha1=` and hex.
    pub fn sha1(&self, body: &[u8]) -> String {
        let mut mac = self.sha1.clone();
        mac.update(body);
        hex_with_prefix("sha1=", &mac.finalize().into_bytes())
    }

    /// `TT-Hook-Signature-256`: `sha256=` and hex.
    pub fn sha256(&self, body: &[u8]) -> String {
        let mut mac = self.sha256.clone();
        mac.update(body);
        hex_with_prefix("sha256=", &mac.finalize().into_bytes())
    }

    /// Appends `v1,` and the base64 of the signature of `prefix` (`{id}.{timestamp}.`) and body.
    fn push_v1(&self, prefix: &[u8], body: &[u8], into: &mut String) {
        let mut mac = self.standard.clone();
        mac.update(prefix);
        mac.update(body);
        into.push_str("v1,");
        STANDARD.encode_string(mac.finalize().into_bytes(), into);
    }
}

fn hex_with_prefix(prefix: &str, bytes: &[u8]) -> String {
    let mut text = vec![0; prefix.len() + 2 * bytes.len()];
    text[..prefix.len()].copy_from_slice(prefix.as_bytes());
    hex::encode_to_slice(bytes, &mut text[prefix.len()..]).expect("the buffer has the right size");
    String::from_utf8(text).expect("hex is ASCII")
}

/// An ed25519 key pair.
pub struct Ed25519Key {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ed25519Key(redacted)")
    }
}

/// Why a text is not an ed25519 key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the base64 of an ed25519 seed and its public key, 64 bytes")]
pub struct Ed25519Error;

impl Ed25519Key {
    /// Generates a key pair.
    ///
    /// # Panics
    /// When the operating system provides no randomness.
    pub fn generate() -> Self {
        let seed = random::bytes().expect("the operating system gives randomness");
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed is 32 bytes");
        Self { seed, pair }
    }

    /// From the base64 of seed and public key.
    ///
    /// # Errors
    /// When the text is invalid, or the two do not match.
    pub fn from_base64(text: &str) -> Result<Self, Ed25519Error> {
        let bytes = STANDARD.decode(text).map_err(|_| Ed25519Error)?;
        let (seed, public) = bytes.split_at_checked(32).ok_or(Ed25519Error)?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| Ed25519Error)?;
        Ok(Self {
            seed: seed.try_into().map_err(|_| Ed25519Error)?,
            pair,
        })
    }

    /// The base64 of seed and public key.
    pub fn to_base64(&self) -> String {
        let mut bytes = self.seed.to_vec();
        bytes.extend_from_slice(self.pair.public_key().as_ref());
        STANDARD.encode(bytes)
    }

    /// The base64 of the public key.
    pub fn public_key_base64(&self) -> String {
        STANDARD.encode(self.pair.public_key().as_ref())
    }

    fn push_v1a(&self, prefix: &[u8], body: &[u8], into: &mut String) {
        let message = [prefix, body].concat();
        into.push_str("v1a,");
        STANDARD.encode_string(self.pair.sign(&message).as_ref(), into);
    }
}

/// The signing keys of a webhook.
#[derive(Debug)]
pub struct SigningKeys {
    /// The newest secret.
    pub current: Signer,
    /// The previous secret, and when its overlap ends (microseconds since the epoch).
    pub previous: Option<(Signer, i64)>,
    /// The ed25519 key, if the webhook has one.
    pub ed25519: Option<Ed25519Key>,
}

/// The values of the three signature headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatures {
    /// `TT-Hook-Signature`.
    pub sha1: String,
    /// `TT-Hook-Signature-256`.
    pub sha256: String,
    /// `webhook-signature`.
    pub webhook_signature: String,
}

impl SigningKeys {
    /// Signs a body. During the overlap of a rotation `webhook-signature` contains a signature of each secret, newest first.
    /// The other two have a single value each, made with the old secret.
    pub fn sign(&self, now_us: i64, webhook_id: &str, timestamp: i64, body: &[u8]) -> Signatures {
        let previous = self
            .previous
            .as_ref()
            .filter(|(_, until)| now_us < *until)
            .map(|(signer, _)| signer);
        let prefix = format!("{webhook_id}.{timestamp}.");
        let mut webhook_signature = String::with_capacity(48);
        self.current.push_v1(prefix.as_bytes(), body, &mut webhook_signature);
        if let Some(previous) = previous {
            webhook_signature.push(' ');
            previous.push_v1(prefix.as_bytes(), body, &mut webhook_signature);
        }
        if let Some(ed25519) = &self.ed25519 {
            webhook_signature.push(' ');
            ed25519.push_v1a(prefix.as_bytes(), body, &mut webhook_signature);
        }
        let single = previous.unwrap_or(&self.current);
        Signatures {
            sha1: single.sha1(body),
            sha256: single.sha256(body),
            webhook_signature,
        }
    }
}

/// The results of verifying the signatures of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// `TT-Hook-Signature`.
    pub sha1: bool,
    /// `TT-Hook-Signature-256`.
    pub sha256: bool,
    /// Any `v1` of `webhook-signature`.
    pub v1: bool,
}

/// Verifies the signatures of a received request, as a receiver does, in constant time.
pub fn verify(
    secret: &SigningSecret,
    sha1: Option<&str>,
    sha256: Option<&str>,
    (id, timestamp, signature): (&str, &str, &str),
    body: &[u8],
) -> Verification {
    let signer = Signer::new(secret);
    let plain = |given: Option<&str>, prefix: &str| {
        given
            .and_then(|given| given.strip_prefix(prefix))
            .and_then(|digits| hex::decode(digits).ok())
    };
    let sha1 =
        plain(sha1, "sha1=").is_some_and(|tag| signer.sha1.clone().chain_update(body).verify_slice(&tag).is_ok());
    let sha256 =
        plain(sha256, "sha256=").is_some_and(|tag| signer.sha256.clone().chain_update(body).verify_slice(&tag).is_ok());
    let prefix = format!("{id}.{timestamp}.");
    let v1 = signature
        .split(' ')
        .filter_map(|part| part.strip_prefix("v1,"))
        .any(|encoded| {
            let tag = STANDARD.decode(encoded).unwrap_or_default();
            signer
                .standard
                .clone()
                .chain_update(prefix.as_bytes())
                .chain_update(body)
                .verify_slice(&tag)
                .is_ok()
        });
    Verification { sha1, sha256, v1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::signature::UnparsedPublicKey;

    use super::*;

    const CLOCKING: &[u8] = br#"{"action":"created","clocking":{"id":"CLOCKING-ID-123","driverId":"DRIVER-ID-123","clockingTimeStamp":"2018-01-01T09:01:53","isClockIn":true}}"#;
    const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const PASSPHRASE: &str = "correct horse battery staple";

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse_stored(text).unwrap()
    }

    fn keys(text: &str) -> SigningKeys {
        SigningKeys {
            current: Signer::new(&secret(text)),
            previous: None,
            ed25519: None,
        }
    }

    /// Verifies a `v1a` signature (`v1a,` and base64) with the base64 of a public key.
    fn verify_v1a(public_key: &str, id: &str, timestamp: &str, signature: &str, body: &[u8]) -> bool {
        let decode = |text: &str| STANDARD.decode(text).unwrap_or_default();
        let message = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        let key = UnparsedPublicKey::new(&ring::signature::ED25519, decode(public_key));
        let mut parts = signature.split(' ').filter_map(|part| part.strip_prefix("v1a,"));
        parts.any(|encoded| key.verify(&message, &decode(encoded)).is_ok())
    }

    #[test]
    fn the_contracts_vectors() {
        assert_eq!(CLOCKING.len(), 142);
        let passphrase = Signer::new(&secret(PASSPHRASE));
        assert_eq!(
            passphrase.sha1(CLOCKING),
            "sha1=0a8a921357e8f34e3b01d5a3e1ef0978b684172f"
        );
        let sha256 = "sha256=0c76c5b6d307e41238f59c366a37dfe07533e2c0c86ef977238c3d7c29eef4c5";
        assert_eq!(passphrase.sha256(CLOCKING), sha256);
        let standard = keys(STANDARD_SECRET);
        let signed = standard.sign(0, "evt_01", 1_735_689_600, CLOCKING);
        assert_eq!(signed.sha1, "sha1=5df13e99a4386c6213f241d7f2a5e5811dbe0595");
        assert_eq!(
            signed.webhook_signature,
            "v1,NHuKArjDdNW5bZhpNy4zWNna9PpbyWN0HcO6a9uE+Ik="
        );
        let published = standard.sign(
            0,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(
            published.webhook_signature,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        let github = Signer::new(&secret("It's a Secret to Everybody"));
        let sha256 = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(github.sha256(b"Hello, World!"), sha256);
        assert_eq!(
            github.sha1(b"Hello, World!"),
            "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"
        );
    }

    #[test]
    fn the_contracts_ed25519_vector() {
        let pair = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
        let ed25519 = Ed25519Key::from_base64(pair).unwrap();
        assert_eq!(ed25519.to_base64(), pair);
        let public = ed25519.public_key_base64();
        let keys = SigningKeys {
            ed25519: Some(ed25519),
            ..keys(STANDARD_SECRET)
        };
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        let signed = keys.sign(0, id, 1_614_265_330, body).webhook_signature;
        let v1a = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
        assert!(signed.ends_with(&format!(" {v1a}")), "{signed}");
        assert!(verify_v1a(&public, id, "1614265330", &signed, body));
        assert!(!verify_v1a(&public, id, "1614265331", &signed, body));
        assert!(
            Ed25519Key::from_base64(&STANDARD.encode([7; 64])).is_err(),
            "seed and public key must belong together"
        );
    }

    #[test]
    fn a_rotation_signs_with_both_until_it_ends() {
        let rotated = SigningKeys {
            current: Signer::new(&secret(PASSPHRASE)),
            previous: Some((Signer::new(&secret(STANDARD_SECRET)), 1_000)),
            ed25519: None,
        };
        let (old, new) = (
            keys(STANDARD_SECRET).sign(0, "e", 1, b"{}"),
            keys(PASSPHRASE).sign(0, "e", 1, b"{}"),
        );
        let during = rotated.sign(999, "e", 1, b"{}");
        assert_eq!(during.sha1, old.sha1);
        assert_eq!(during.sha256, old.sha256);
        assert_eq!(
            during.webhook_signature,
            format!("{} {}", new.webhook_signature, old.webhook_signature)
        );
        assert_eq!(rotated.sign(1_000, "e", 1, b"{}"), new);
    }

    proptest! {
        #[test]
        fn signed_bytes_verify_and_altered_ones_do_not(
            text in "[ -~]{16,40}", body in proptest::collection::vec(any::<u8>(), 1..200), at in 0usize..200, time in 0i64..4_000_000_000,
        ) {
            prop_assume!(!text.starts_with("whsec_"));
            let signed = keys(&text).sign(0, "evt_1", time, &body);
            let time = time.to_string();
            let check = |body: &[u8], time: &str| {
                let standard = ("evt_1", time, signed.webhook_signature.as_str());
                verify(&secret(&text), Some(&signed.sha1), Some(&signed.sha256), standard, body)
            };
            prop_assert_eq!(check(&body, &time), Verification { sha1: true, sha256: true, v1: true });
            let mut altered = body.clone();
            let at = at % body.len();
            altered[at] ^= 1;
            prop_assert_eq!(check(&altered, &time), Verification::default());
            let later = format!("{time}0");
            prop_assert!(!check(&body, &later).v1);
        }
    }
}
