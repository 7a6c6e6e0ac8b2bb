//! Errors of a form, shown at their fields.

use super::show::{capitalized, words};
use crate::app::error::{AppError, Violation};

/// Errors by field.
#[derive(Clone, Debug, Default)]
pub(super) struct Errors {
    fields: Vec<Wrong>,
    /// An error that concerns no single field.
    pub(super) problem: Option<String>,
    /// The fields that the form shows, if it does not show all; `None` if it shows each of them.
    shown: Option<&'static [&'static str]>,
}

/// The error of a field or of a part of it.
#[derive(Clone, Debug)]
struct Wrong {
    /// The field's path: `payload/order`, `headers["Host"]`.
    path: String,
    sentence: String,
}

impl Wrong {
    /// The field's name, which is its id in the page.
    fn field(&self) -> &str {
        self.path.split(['[', '.', '/']).next().unwrap_or_default()
    }

    /// The part of the field, if it helps the user: a place in a document, or a name among several.
    fn part(&self) -> Option<&str> {
        let rest = &self.path[self.field().len()..];
        let named = rest.strip_prefix("[\"").and_then(|rest| rest.strip_suffix("\"]"));
        named
            .or(Some(rest).filter(|rest| rest.starts_with('/')))
            .filter(|part| !part.is_empty())
    }

    /// The text at the field.
    fn told(&self) -> String {
        match self.part() {
            Some(part) => format!("{part}: {}", self.sentence),
            None => capitalized(&self.sentence),
        }
    }
}

/// The error of a field, for the summary at the top of the page.
pub(super) struct Link {
    /// The field's id in the page, if the page shows it.
    pub(super) id: Option<String>,
    pub(super) sentence: String,
}

impl Errors {
    /// Takes the errors of a use case; returns errors that no form can correct. `message` is the message that contains the
    /// fields.
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
                problem: Some(capitalized(&error.to_string())),
                ..Self::default()
            }),
            other => Err(other),
        }
    }

    /// The same, if a field names a resource that does not exist. The error is shown at that field, followed by the hint.
    pub(super) fn of_missing(error: AppError, message: &str, field: &str, sentence: &str) -> Result<Self, AppError> {
        match error {
            AppError::NotFound { hint, .. } => Ok(Self::one(field, format!("{sentence}{hint}"))),
            error => Self::of(error, message),
        }
    }

    /// One invalid field.
    pub(super) fn one(field: &str, sentence: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.add(field, sentence);
        errors
    }

    fn from_violations(violations: Vec<Violation>, prefix: &str) -> Self {
        let fields = violations.into_iter().map(|violation| {
            let path = violation.field.strip_prefix(prefix).unwrap_or(&violation.field);
            Wrong {
                path: path.to_owned(),
                sentence: violation.description,
            }
        });
        Self {
            fields: fields.collect(),
            ..Self::default()
        }
    }

    /// For a form that shows only these fields: errors of other fields include their names.
    pub(super) fn shown_at(self, fields: &'static [&'static str]) -> Self {
        Self {
            shown: Some(fields),
            ..self
        }
    }

    /// The contents of a list; empty if the query has errors, which are added here. The query does not run if there are
    /// errors already.
    pub(super) async fn found<T: Default>(
        &mut self,
        asked: impl Future<Output = Result<T, AppError>>,
        message: &str,
    ) -> Result<T, AppError> {
        if !self.is_empty() {
            return Ok(T::default());
        }
        match asked.await {
            Ok(found) => Ok(found),
            Err(error) => {
                *self = Self::of(error, message)?;
                Ok(T::default())
            }
        }
    }

    /// These errors, or the others if there are none.
    pub(super) fn or(self, others: Self) -> Self {
        if self.is_empty() { others } else { self }
    }

    /// Adds an error.
    pub(super) fn add(&mut self, field: &str, sentence: impl Into<String>) {
        self.fields.push(Wrong {
            path: field.to_owned(),
            sentence: sentence.into(),
        });
    }

    /// Moves the errors of one field to another.
    pub(super) fn move_to(&mut self, from: &str, to: &str) {
        let fields = self.fields.iter_mut().filter(|wrong| wrong.path == from);
        fields.for_each(|wrong| to.clone_into(&mut wrong.path));
    }

    /// Whether there are no errors.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.problem.is_none()
    }

    /// The error of a field or a part of it.
    pub(super) fn at(&self, field: &str) -> Option<String> {
        let wrong = self.fields.iter().filter(|wrong| wrong.field() == field);
        let told: Vec<String> = wrong.map(Wrong::told).collect();
        (!told.is_empty()).then(|| told.join(" · "))
    }

    /// The errors, field by field.
    pub(super) fn links(&self) -> Vec<Link> {
        self.fields.iter().map(|wrong| self.link(wrong)).collect()
    }

    fn link(&self, wrong: &Wrong) -> Link {
        let field = wrong.field();
        if self.shown.is_some_and(|shown| !shown.contains(&field)) {
            return Link {
                id: None,
                sentence: format!("{}: {}", wrong.path, wrong.sentence),
            };
        }
        let name = capitalized(&words(field));
        let part = wrong.part().map(|part| format!(" {part}")).unwrap_or_default();
        Link {
            id: Some(field.to_owned()),
            sentence: format!("{name}{part}: {}", wrong.sentence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(violations: &[(&str, &str)]) -> Errors {
        let violations = violations.iter().map(|(field, description)| Violation {
            field: (*field).to_owned(),
            description: (*description).to_owned(),
            reason: "X",
        });
        Errors::of(AppError::Invalid(violations.collect()), "webhook").unwrap()
    }

    fn links(errors: &Errors) -> Vec<(Option<String>, String)> {
        let links = errors.links().into_iter();
        links.map(|link| (link.id, link.sentence)).collect()
    }

    #[test]
    fn sentences_stand_at_their_fields() {
        let errors = errors(&[
            ("webhook.retry_schedule.delays", "are too long"),
            ("webhook.timeout", "is too long"),
            ("parent", "is odd"),
        ]);
        let errors = errors.shown_at(&["retry_schedule", "timeout"]);
        assert_eq!(errors.at("retry_schedule").as_deref(), Some("Are too long"));
        assert_eq!(errors.at("timeout").as_deref(), Some("Is too long"));
        assert_eq!(errors.at("time"), None);
        let expected = [
            (Some("retry_schedule"), "Retry schedule: are too long"),
            (Some("timeout"), "Timeout: is too long"),
            (None, "parent: is odd"),
        ];
        let expected = expected.map(|(id, sentence)| (id.map(str::to_owned), sentence.to_owned()));
        assert_eq!(links(&errors), expected);
    }

    #[test]
    fn the_part_that_is_wrong_is_named() {
        let errors = errors(&[
            ("webhook.headers[\"Host\"]", "cannot be set"),
            ("webhook.headers[\"\"]", "must be at most 32 headers"),
            ("payload/order", "17 is not a string"),
            ("payload/lines/0", "is null"),
            ("payload", "is no object"),
        ]);
        assert_eq!(
            errors.at("headers").as_deref(),
            Some("Host: cannot be set · Must be at most 32 headers")
        );
        assert_eq!(
            errors.at("payload").as_deref(),
            Some("/order: 17 is not a string · /lines/0: is null · Is no object")
        );
        let told: Vec<String> = links(&errors).into_iter().map(|(_, sentence)| sentence).collect();
        assert_eq!(
            told,
            [
                "Headers Host: cannot be set",
                "Headers: must be at most 32 headers",
                "Payload /order: 17 is not a string",
                "Payload /lines/0: is null",
                "Payload: is no object",
            ]
        );
    }

    #[test]
    fn a_missing_name_is_reported_at_its_field() {
        let missing = AppError::NotFound {
            kind: "hookwright.v1.EventType",
            name: "eventTypes/a".to_owned(),
            hint: "; did you mean `b`?".to_owned(),
        };
        let errors = Errors::of_missing(missing, "event", "event_type", "is not registered").unwrap();
        assert_eq!(
            errors.at("event_type").as_deref(),
            Some("Is not registered; did you mean `b`?")
        );
    }
}
