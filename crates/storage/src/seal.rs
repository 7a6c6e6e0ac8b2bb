//! Encryption of secrets at rest: ChaCha20-Poly1305 (RFC 8439) under a master key. The associated data names the place
//! of a value, so that a value copied to another row does not open there.
//!
//! Sealed form: a version byte, a random nonce of 12 bytes, and the ciphertext with its tag.

use hookwright_domain::random;
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};

const VERSION: u8 = 1;

/// A sealed value does not open: it was altered, moved, or sealed under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value does not open: it was altered, moved, or sealed under another master key")]
pub struct UnsealError;

/// The key that encrypts secrets.
pub struct MasterKey {
    bytes: [u8; 32],
    key: LessSafeKey,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

impl MasterKey {
    /// From its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).expect("the algorithm's keys are 32 bytes");
        Self {
            bytes,
            key: LessSafeKey::new(key),
        }
    }

    /// Generates a key.
    ///
    /// # Panics
    /// Panics if the operating system provides no randomness.
    pub fn generate() -> Self {
        Self::new(random::bytes().expect("the operating system gives randomness"))
    }

    /// The bytes of the key, which are stored once.
    pub fn expose(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Derives a key for one purpose (HKDF with SHA-256, RFC 5869). A value that is sealed under it does not open under
    /// any other key.
    ///
    /// # Panics
    /// Never: a key of 32 bytes is short enough for HKDF.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"hookwright");
        let mut bytes = [0; 32];
        salt.extract(&self.bytes)
            .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|material| material.fill(&mut bytes))
            .expect("the hash returns 32 bytes");
        Self::new(bytes)
    }

    /// Seals a value for a place.
    ///
    /// # Panics
    /// Panics if the operating system provides no randomness.
    pub fn seal(&self, plain: &[u8], place: &[u8]) -> Vec<u8> {
        let nonce = random::bytes::<NONCE_LEN>().expect("the operating system gives randomness");
        let mut text = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut text)
            .expect("secrets are far below the algorithm's limit");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        sealed
    }

    /// Opens a value of a place.
    ///
    /// # Errors
    /// Fails unless the value was sealed for this place under this key.
    pub fn open(&self, sealed: &[u8], place: &[u8]) -> Result<Vec<u8>, UnsealError> {
        let (version, rest) = sealed.split_first().ok_or(UnsealError)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(UnsealError)?;
        if *version != VERSION {
            return Err(UnsealError);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| UnsealError)?;
        let mut text = text.to_vec();
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(place), &mut text)
            .map_err(|_| UnsealError)?;
        Ok(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_key_opens_what_it_sealed_alone() {
        let key = MasterKey::generate();
        let derived = key.derive("a");
        let sealed = derived.seal(b"secret", b"place");
        assert_eq!(
            MasterKey::new(key.bytes).derive("a").open(&sealed, b"place").unwrap(),
            b"secret",
            "the same every time"
        );
        for other in [
            &key,
            &key.derive("b"),
            &derived.derive("a"),
            &MasterKey::generate().derive("a"),
        ] {
            assert_eq!(other.open(&sealed, b"place"), Err(UnsealError));
        }
    }

    #[test]
    fn f12_a_sealed_value_opens_only_unaltered_in_its_place_under_its_key() {
        let key = MasterKey::generate();
        let sealed = key.seal(b"secret", b"signing_secrets/1");
        assert_eq!(key.open(&sealed, b"signing_secrets/1").unwrap(), b"secret");
        assert_eq!(
            key.open(&sealed, b"signing_secrets/2"),
            Err(UnsealError),
            "moved to another row"
        );
        assert_eq!(
            MasterKey::generate().open(&sealed, b"signing_secrets/1"),
            Err(UnsealError),
            "another key"
        );
        for cut in 0..sealed.len() {
            assert_eq!(
                key.open(&sealed[..cut], b"signing_secrets/1"),
                Err(UnsealError),
                "cut to {cut}"
            );
        }
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(
                key.open(&altered, b"signing_secrets/1"),
                Err(UnsealError),
                "altered at {at}"
            );
        }
    }
}
