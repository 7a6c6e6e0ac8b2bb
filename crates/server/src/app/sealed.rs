//! Encrypted values that browsers and applications carry for us: nobody else can read, forge or alter them.
//!
//! Each kind has a purpose, and a key derived from the master key for that purpose: a value for one purpose cannot be
//! decrypted for another. A change of a value's format changes its purpose, so that no reader takes the old format for the
//! new one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hookwright_storage::MasterKey;
use serde::{Serialize, de::DeserializeOwned};

/// Above the longest text that is given out: a browser keeps no cookie above half of it.
const CHARS_MAX: usize = 8_192;

/// Encrypts and decrypts for one purpose.
pub(super) struct Seal(MasterKey);

impl Seal {
    pub(super) fn new(master: &MasterKey, purpose: &str) -> Self {
        Self(master.derive(purpose))
    }

    /// A value as text of letters, digits, `-` and `_`; `place` separates values of one kind.
    pub(super) fn seal(&self, value: &impl Serialize, place: &[u8]) -> String {
        // Serialization fails only for maps with unusual keys and for failing writers, and there are none; nothing decrypts
        // to a value.
        let plain = serde_json::to_vec(value).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(self.0.seal(&plain, place))
    }

    /// Decrypts a value of the place; `None` for anything else.
    pub(super) fn open<T: DeserializeOwned>(&self, text: &str, place: &[u8]) -> Option<T> {
        let text = Some(text).filter(|text| text.len() <= CHARS_MAX)?;
        let plain = self.0.open(&URL_SAFE_NO_PAD.decode(text).ok()?, place).ok()?;
        serde_json::from_slice(&plain).ok()
    }

    /// An unforgeable text, always the same for a subject.
    pub(super) fn mark(&self, subject: &str) -> String {
        hex::encode(self.0.derive(subject).expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: (i64, &str) = (7, "a-link");

    fn open(seal: &Seal, text: &str) -> Option<(i64, String)> {
        seal.open(text, b"place")
    }

    #[test]
    fn a_sealed_value_opens_and_never_has_the_same_text_twice() {
        let master = MasterKey::generate();
        let seal = Seal::new(&master, "a/1");
        let text = seal.seal(&VALUE, b"place");
        assert_eq!(open(&Seal::new(&master, "a/1"), &text), Some((7, "a-link".to_owned())));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(text.bytes().all(is_plain), "{text}");
        assert_ne!(seal.seal(&VALUE, b"place"), text, "each has a nonce");
        assert_eq!(seal.mark("a"), Seal::new(&master, "a/1").mark("a"));
        assert_ne!(seal.mark("a"), seal.mark("b"));
        assert_ne!(seal.mark("a"), Seal::new(&master, "b/1").mark("a"));
    }

    #[test]
    fn a_forged_altered_or_truncated_value_does_not_open() {
        let master = MasterKey::generate();
        let seal = Seal::new(&master, "a/1");
        let text = seal.seal(&VALUE, b"place");
        for cut in 0..text.len() {
            assert_eq!(open(&seal, &text[..cut]), None, "cut to {cut}");
        }
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            let altered = URL_SAFE_NO_PAD.encode(altered);
            assert_eq!(open(&seal, &altered), None, "altered at {at}");
        }
        let plain = serde_json::to_vec(&VALUE).unwrap();
        for (forged, why) in [
            (URL_SAFE_NO_PAD.encode(&plain), "not sealed"),
            (
                URL_SAFE_NO_PAD.encode(master.seal(&plain, b"place")),
                "sealed under the master key itself",
            ),
            (seal.seal(&VALUE, b"elsewhere"), "of another place"),
            (Seal::new(&master, "b/1").seal(&VALUE, b"place"), "of another purpose"),
            (
                Seal::new(&MasterKey::generate(), "a/1").seal(&VALUE, b"place"),
                "of another installation",
            ),
            (seal.seal(&"text", b"place"), "of another form"),
            (format!("{text}AAAA"), "longer"),
            (seal.seal(&(7, "x".repeat(CHARS_MAX)), b"place"), "far too long"),
            ("hw_0000".to_owned(), "an API token"),
            (String::new(), "nothing"),
        ] {
            assert_eq!(open(&seal, &forged), None, "{why}");
        }
    }
}
