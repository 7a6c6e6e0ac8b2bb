//! What a form or an address holds: names and values, in order, some more than once.

use url::form_urlencoded;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `a=1&b=2`.
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first value of a name without the blanks around it; empty if it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The first value of a name; empty if it is not there. Lines end as they do on Unix.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// Every value of a name.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let values = self.0.iter().filter(move |(known, _)| known == name);
        values.map(|(_, value)| value.as_str())
    }

    /// Whether a box was ticked.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// The value of a name, if there is one that is not empty.
    pub(super) fn some(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// As a query without those names, for the address of another page of the same list.
    pub(super) fn query_without(&self, names: &[&str]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let kept = self
            .0
            .iter()
            .filter(|(name, value)| !value.is_empty() && !names.contains(&name.as_str()));
        query.extend_pairs(kept);
        query.finish()
    }

    /// As a query with another value for one name.
    pub(super) fn query_with(&self, name: &str, value: &str) -> String {
        let rest = self.query_without(&[name, "before", "after", "done"]);
        let mut query = form_urlencoded::Serializer::new(rest);
        query.append_pair(name, value);
        query.finish()
    }
}

/// A text as part of a query.
pub(super) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_repeat_and_queries_keep_what_they_held() {
        let fields = Fields::parse(b"state=failed&state=paused&webhook=&before=7&q=a%26b");
        assert_eq!(fields.all("state").collect::<Vec<_>>(), ["failed", "paused"]);
        assert_eq!((fields.get("q"), fields.some("webhook")), ("a&b", None));
        assert_eq!(
            fields.query_with("before", "5"),
            "state=failed&state=paused&q=a%26b&before=5"
        );
    }
}
