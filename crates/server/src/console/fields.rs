//! The fields of a form or an address: names and values, in order, possibly repeated.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

use super::{errors::Errors, units};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Parses `a=1&b=2`.
    pub(super) fn parse(text: &[u8]) -> Self {
        // Browsers submit CRLF line ends; stored text has LF.
        let fields = form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n")));
        Self(fields.collect())
    }

    /// The first value of a name, trimmed; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The first value of a name; empty if there is none.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// Every value of a name.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let values = self.0.iter().filter(move |(known, _)| known == name);
        values.map(|(_, value)| value.as_str())
    }

    /// The time range of a search.
    pub(super) fn times(&self, errors: &mut Errors) -> (Option<i64>, Option<i64>) {
        let mut time = |name: &str| {
            let text = self.some(name)?;
            units::instant(text)
                .inspect_err(|error| errors.add(name, error.clone()))
                .ok()
        };
        (time("start"), time("end"))
    }

    /// Whether a checkbox is checked.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// The value of a name, if it is not empty.
    pub(super) fn some(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// The untrimmed value of a name, if there is one: for values that must be taken literally.
    pub(super) fn untrimmed(&self, name: &str) -> Option<&str> {
        Some(self.raw(name)).filter(|value| !value.is_empty())
    }

    /// The request id of a form: the same for a repeated submission of the same page, and a different one otherwise.
    pub(super) fn request_id(&self) -> String {
        if self.get("nonce").is_empty() {
            return String::new();
        }
        let mut hash = Sha256::new();
        for (name, value) in &self.0 {
            hash.update(name.len().to_le_bytes());
            hash.update(name.as_bytes());
            hash.update(value.len().to_le_bytes());
            hash.update(value.as_bytes());
        }
        format!("console-{}", hex::encode(&hash.finalize()[..16]))
    }

    /// As a query without these names, for another page of the same list.
    pub(super) fn query_without(&self, names: &[&str]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let kept = self
            .0
            .iter()
            .filter(|(name, value)| !value.is_empty() && !names.contains(&name.as_str()));
        query.extend_pairs(kept);
        query.finish()
    }

    /// As a query with another value of one name.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(self.query_without(&[name, "done"]));
        query.append_pair(name, value);
        query.finish()
    }

    /// As a query with another value of one name, for another page of the same list.
    pub(super) fn query_with(&self, name: &str, value: &str) -> String {
        let rest = self.query_without(&[name, "before", "after", "done"]);
        let mut query = form_urlencoded::Serializer::new(rest);
        query.append_pair(name, value);
        query.finish()
    }
}

impl<S: Sync> FromRequestParts<S> for Fields {
    type Rejection = Infallible;

    /// The fields of the address.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default().as_bytes()))
    }
}

/// A text, encoded for a query.
pub(super) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_that_is_submitted_twice_has_one_request_id() {
        let id = |text: &str| Fields::parse(text.as_bytes()).request_id();
        assert_eq!(id("nonce=1&a=b"), id("nonce=1&a=b"));
        assert_ne!(id("nonce=1&a=b"), id("nonce=2&a=b"));
        assert_ne!(id("nonce=1&a=b&c="), id("nonce=1&a=bc&="));
        assert_eq!(id("a=b"), "");
        assert_eq!(Fields::parse(b"a=1%0D%0A2").get("a"), "1\n2");
    }

    #[test]
    fn names_may_repeat_and_queries_keep_what_they_held() {
        let fields = Fields::parse(b"state=failed&state=paused&webhook=&before=7&q=a%26b");
        assert_eq!(fields.all("state").collect::<Vec<_>>(), ["failed", "paused"]);
        assert_eq!((fields.get("q"), fields.some("webhook")), ("a&b", None));
        assert_eq!(
            fields.query_with("before", "5"),
            "state=failed&state=paused&q=a%26b&before=5"
        );
        assert_eq!(fields.with("q", "b"), "state=failed&state=paused&before=7&q=b");
    }
}
