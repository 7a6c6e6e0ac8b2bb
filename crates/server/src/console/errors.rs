//! What is wrong with a form, said at the field that it is wrong with.

use crate::app::error::{AppError, Violation};

/// Sentences by field.
#[derive(Clone, Debug, Default)]
pub(super) struct Errors {
    fields: Vec<(String, String)>,
    /// What concerns no one field.
    pub(super) problem: Option<String>,
}

/// What is wrong with one field, for the summary at a page's top.
pub(super) struct Link {
    /// The field's id in the page, if the page shows it.
    pub(super) id: Option<String>,
    pub(super) sentence: String,
}

impl Errors {
    /// Takes what a use case said; gives back what no form can mend. `message` is what its fields are part of.
    pub(super) fn of(error: AppError, message: &str) -> Result<Self, AppError> {
        let prefix = format!("{message}.");
        match error {
            AppError::Invalid(violations) => Ok(Self::from_violations(violations, &prefix)),
            AppError::AlreadyExists { .. }
            | AppError::Precondition { .. }
            | AppError::BreakingSchema { .. }
            | AppError::Aborted(_)
            | AppError::Exhausted { .. }
            | AppError::Unavailable(_) => Ok(Self {
                fields: Vec::new(),
                problem: Some(super::fault::capitalized(&error.to_string())),
            }),
            other => Err(other),
        }
    }

    fn from_violations(violations: Vec<Violation>, prefix: &str) -> Self {
        let fields = violations.into_iter().map(|violation| {
            let field = violation.field.strip_prefix(prefix).unwrap_or(&violation.field);
            (field.to_owned(), violation.description)
        });
        Self {
            fields: fields.collect(),
            problem: None,
        }
    }

    /// What a list holds; empty where it cannot be asked for like this, which is said here then.
    pub(super) fn unless<T: Default>(&mut self, found: Result<T, AppError>, message: &str) -> Result<T, AppError> {
        match found {
            Ok(found) => Ok(found),
            Err(error) => {
                *self = Self::of(error, message)?;
                Ok(T::default())
            }
        }
    }

    /// Adds a sentence.
    pub(super) fn add(&mut self, field: &str, sentence: impl Into<String>) {
        self.fields.push((field.to_owned(), sentence.into()));
    }

    /// What is said of one field is said at another.
    pub(super) fn move_to(&mut self, from: &str, to: &str) {
        let fields = self.fields.iter_mut().filter(|(field, _)| field == from);
        fields.for_each(|(field, _)| to.clone_into(field));
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.problem.is_none()
    }

    /// What is wrong with a field or a part of it.
    pub(super) fn at(&self, field: &str) -> Option<String> {
        let sentences = self.fields.iter().filter(|(known, _)| is_within(known, field));
        let sentences: Vec<String> = sentences
            .map(|(_, sentence)| super::fault::capitalized(sentence))
            .collect();
        (!sentences.is_empty()).then(|| sentences.join(" · "))
    }

    /// What is wrong, field by field, where the form shows each of them.
    pub(super) fn all_links(&self) -> Vec<Link> {
        self.links(&[])
    }

    /// What is wrong, field by field, but for what is said of fields that the form does not show: `elsewhere`.
    pub(super) fn links(&self, elsewhere: &[String]) -> Vec<Link> {
        let link = |(field, sentence): &(String, String)| {
            let hidden = format!("{field}: {sentence}");
            if elsewhere.contains(&hidden) {
                return Link {
                    id: None,
                    sentence: hidden,
                };
            }
            let id = field.split(['[', '.', '/']).next().unwrap_or_default();
            let name = super::fault::capitalized(&id.replace('_', " "));
            Link {
                id: Some(id.to_owned()),
                sentence: format!("{name}: {sentence}"),
            }
        };
        self.fields.iter().map(link).collect()
    }

    /// What is wrong with fields that the form does not show.
    pub(super) fn elsewhere(&self, shown: &[&str]) -> Vec<String> {
        let is_hidden = |field: &str| !shown.iter().any(|shown| is_within(field, shown));
        let hidden = self.fields.iter().filter(|(field, _)| is_hidden(field));
        hidden.map(|(field, sentence)| format!("{field}: {sentence}")).collect()
    }
}

/// Whether a path names a field or a part of it.
fn is_within(path: &str, field: &str) -> bool {
    let rest = path.strip_prefix(field);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.', '/']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_stand_at_their_fields() {
        let violation = |field: &str, description: &str| Violation {
            field: field.to_owned(),
            description: description.to_owned(),
            reason: "X",
        };
        let error = AppError::Invalid(vec![
            violation("webhook.headers[\"Host\"]", "is ours"),
            violation("webhook.timeout", "is too long"),
            violation("parent", "is odd"),
        ]);
        let errors = Errors::of(error, "webhook").unwrap();
        assert_eq!(errors.at("headers").as_deref(), Some("Is ours"));
        assert_eq!(errors.at("timeout").as_deref(), Some("Is too long"));
        assert_eq!(errors.at("time"), None);
        let elsewhere = errors.elsewhere(&["headers", "timeout"]);
        assert_eq!(elsewhere, ["parent: is odd"]);
        let links: Vec<_> = errors
            .links(&elsewhere)
            .into_iter()
            .map(|link| (link.id, link.sentence))
            .collect();
        let expected = [
            (Some("headers"), "Headers: is ours"),
            (Some("timeout"), "Timeout: is too long"),
            (None, "parent: is odd"),
        ];
        assert_eq!(
            links,
            expected.map(|(id, sentence)| (id.map(str::to_owned), sentence.to_owned()))
        );
    }
}
