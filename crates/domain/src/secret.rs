//! Signing secrets in their owners' form.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::random;

/// The prefix of the standard form.
pub const PREFIX: &str = "whsec_";
const CHARS_MIN: usize = 16;
const CHARS_MAX: usize = 128;
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a text is not a signing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too short or too long.
    #[error("must be {CHARS_MIN} to {CHARS_MAX} characters; it has {0}")]
    Length(usize),
    /// A character that is not printable ASCII.
    #[error("must contain only printable ASCII characters")]
    Characters,
    /// `whsec_` in another place than at the beginning, or in another case.
    #[error(
        "contains `whsec_` and must begin with it, in lower case: remove any text before it, such as `v1,`, spaces or quotes"
    )]
    Prefix,
    /// A space or a quote at an end.
    #[error("must not begin or end with a space or a quote: remove them")]
    Ends,
    /// `whsec_` followed by invalid or too short base64.
    #[error("must continue after `whsec_` with the base64 (standard alphabet, padded) of 24 to 64 bytes")]
    Base64,
}

impl SecretError {
    /// A stable reason in UPPER_SNAKE_CASE.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Length(_) => "SECRET_LENGTH",
            Self::Characters => "SECRET_CHARACTERS",
            Self::Prefix => "SECRET_PREFIX",
            Self::Ends => "SECRET_ENDS",
            Self::Base64 => "SECRET_BASE64",
        }
    }
}

/// A signing secret. `Debug` never prints its text.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret {
    text: String,
}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret(redacted)")
    }
}

impl SigningSecret {
    /// Generates a secret: `whsec_` and the base64 of 32 random bytes.
    ///
    /// # Panics
    /// When the operating system provides no randomness.
    pub fn generate() -> Self {
        let bytes = random::bytes::<32>().expect("the operating system gives randomness");
        Self {
            text: format!("{PREFIX}{}", STANDARD.encode(bytes)),
        }
    }

    /// Checks a secret that its owner supplied.
    ///
    /// # Errors
    /// When it breaks a rule.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        check_copied_well(text)?;
        Self::parse_stored(text)
    }

    /// Reads a stored secret, which may have been checked by a version with fewer rules.
    ///
    /// # Errors
    /// When it breaks a rule that every version had.
    pub fn parse_stored(text: &str) -> Result<Self, SecretError> {
        if !text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
            return Err(SecretError::Characters);
        }
        if !(CHARS_MIN..=CHARS_MAX).contains(&text.len()) {
            return Err(SecretError::Length(text.len()));
        }
        if let Some(encoded) = text.strip_prefix(PREFIX) {
            let key = STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?;
            if !KEY_BYTES.contains(&key.len()) {
                return Err(SecretError::Base64);
            }
        }
        Ok(Self { text: text.to_owned() })
    }

    /// The secret in its owner's form.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The key of Standard Webhooks: the decoded part after `whsec_`, or the text's bytes without that prefix.
    pub fn standard_key(&self) -> Vec<u8> {
        let decoded = self
            .text
            .strip_prefix(PREFIX)
            .and_then(|encoded| STANDARD.decode(encoded).ok());
        decoded.unwrap_or_else(|| self.text.as_bytes().to_vec())
    }

    /// The secret in the form that Standard Webhooks libraries accept.
    pub fn standard_form(&self) -> String {
        if self.text.starts_with(PREFIX) {
            self.text.clone()
        } else {
            format!("{PREFIX}{}", STANDARD.encode(&self.text))
        }
    }
}

/// Rejects a standard secret that was copied with surrounding text. It would be used as the bytes of its text, and no
/// Standard Webhooks library would verify its signatures.
fn check_copied_well(text: &str) -> Result<(), SecretError> {
    if !text.starts_with(PREFIX) && text.to_ascii_lowercase().contains(PREFIX) {
        return Err(SecretError::Prefix);
    }
    let is_around = |byte: Option<&u8>| byte.is_some_and(|byte| b" \"'`".contains(byte));
    if is_around(text.as_bytes().first()) || is_around(text.as_bytes().last()) {
        return Err(SecretError::Ends);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h05_secrets_that_are_refused() {
        assert_eq!(SigningSecret::parse(&"x".repeat(15)), Err(SecretError::Length(15)));
        assert_eq!(SigningSecret::parse(&"x".repeat(129)), Err(SecretError::Length(129)));
        for text in ["sixteen characte\n", "sixteen characte\u{e9}", "sixteen\0characters"] {
            assert_eq!(SigningSecret::parse(text), Err(SecretError::Characters), "{text:?}");
        }
        let short = format!("{PREFIX}{}", STANDARD.encode([7; 23]));
        for text in ["whsec_not base64 at all", "whsec_AAAAAAAAAAAAAAAA-_", &short] {
            assert_eq!(SigningSecret::parse(text), Err(SecretError::Base64), "{text}");
        }
        assert!(SigningSecret::parse(&"x".repeat(16)).is_ok());
        assert!(SigningSecret::parse(&"~".repeat(128)).is_ok());
    }

    #[test]
    fn b20_a_secret_that_was_copied_with_something_around_it_is_refused() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        for (text, error) in [
            (format!("v1,{secret}"), SecretError::Prefix),
            (format!(" {secret}"), SecretError::Prefix),
            (format!("\"{secret}\""), SecretError::Prefix),
            (secret.replace("whsec", "WHSEC"), SecretError::Prefix),
            (secret.replace("whsec", "Whsec"), SecretError::Prefix),
            ("sixteen characters ".to_owned(), SecretError::Ends),
            (" sixteen characters".to_owned(), SecretError::Ends),
            ("'sixteen characters'".to_owned(), SecretError::Ends),
        ] {
            assert_eq!(SigningSecret::parse(&text), Err(error), "{text:?}");
            assert!(
                SigningSecret::parse_stored(&text).is_ok(),
                "what is stored is read: {text:?}"
            );
        }
        for text in [format!("{secret} "), format!("{secret}\"")] {
            assert_eq!(SigningSecret::parse(&text), Err(SecretError::Ends), "{text:?}");
        }
        assert!(SigningSecret::parse("correct \"horse\" battery's staple").is_ok());
    }

    #[test]
    fn generated_secrets_differ_and_keep_the_rules() {
        let (one, two) = (SigningSecret::generate(), SigningSecret::generate());
        assert_ne!(one, two);
        assert_eq!(SigningSecret::parse(one.expose()).unwrap(), one);
        assert_eq!(one.standard_key().len(), 32);
        assert_eq!(format!("{one:?}"), "SigningSecret(redacted)");
    }

    #[test]
    fn the_standard_form_of_a_supplied_secret() {
        let secret = SigningSecret::parse("correct horse battery staple").unwrap();
        assert_eq!(secret.standard_form(), "whsec_Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==");
        let standard = SigningSecret::parse(&secret.standard_form()).unwrap();
        assert_eq!(standard.standard_key(), secret.standard_key());
    }
}
