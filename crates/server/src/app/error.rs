//! Errors of use cases.
//!
//! There are three tiers. The caller can correct [`AppError::Invalid`] and similar errors, which name the field and the fix.
//! [`AppError::Unavailable`] is temporary and says when to retry. [`AppError::Internal`] is our fault: it is logged once
//! under an id that the caller receives, and its details stay in the log.

use hookwright_delivery::engine::PublishError;
use hookwright_domain::{random, schema::SchemaViolation};
use hookwright_storage::StoreError;

/// The result of a use case.
pub type AppResult<T> = Result<T, AppError>;

/// An invalid field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request.
    pub field: String,
    /// The error and its fix.
    pub description: String,
    /// A stable reason in UPPER_SNAKE_CASE.
    pub reason: &'static str,
}

/// Collects all invalid fields.
pub(super) struct Faults {
    /// The prefix of the message's fields, such as `webhook.`; empty for the request's own fields.
    message: &'static str,
    violations: Vec<Violation>,
}

impl Faults {
    pub(super) const fn of(message: &'static str) -> Self {
        Self {
            message,
            violations: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, field: impl AsRef<str>, reason: &'static str, description: impl ToString) {
        self.violations.push(Violation {
            field: format!("{}{}", self.message, field.as_ref()),
            description: description.to_string(),
            reason,
        });
    }

    pub(super) fn extend(&mut self, others: impl IntoIterator<Item = Violation>) {
        self.violations.extend(others);
    }

    /// # Errors
    /// When any field is invalid.
    pub(super) fn check(self) -> AppResult<()> {
        match self.violations.is_empty() {
            true => Ok(()),
            false => Err(AppError::Invalid(self.violations)),
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// Invalid fields.
    #[error("{}", summary(.0))]
    Invalid(Vec<Violation>),
    /// The resource does not exist, or the caller may not know that it does.
    #[error("the {} `{name}` does not exist{hint}", noun(kind))]
    NotFound {
        /// The kind of resource.
        kind: &'static str,
        /// Its name, as the caller gave it.
        name: String,
        /// A hint, beginning with a separator; empty for none.
        hint: String,
    },
    /// The name is taken.
    #[error("{message}")]
    AlreadyExists {
        /// A stable reason in UPPER_SNAKE_CASE.
        reason: &'static str,
        /// The kind of resource.
        kind: &'static str,
        /// The existing resource's name.
        name: String,
        /// The error and its fix.
        message: String,
    },
    /// The system is not in the state that the call needs.
    #[error("{message}")]
    Precondition {
        /// A stable reason in UPPER_SNAKE_CASE.
        reason: &'static str,
        /// The resource in the way.
        subject: String,
        /// The error and its fix.
        message: String,
    },
    /// A schema allows payloads that the former one did not, which receivers may not understand.
    #[error(
        "the new schema of `{name}` allows what the former one did not: {}; set allow_breaking_schema (--allow-breaking-schema) if receivers are ready for it",
        listed(.changes)
    )]
    BreakingSchema {
        /// The event type's resource name.
        name: String,
        /// All such places.
        changes: Vec<SchemaViolation>,
    },
    /// The resource was changed in the meantime.
    #[error("{0}")]
    Aborted(String),
    /// No valid token.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The token lacks the right.
    #[error("{0}")]
    Denied(String),
    /// A limit is reached.
    #[error("{message}")]
    Exhausted {
        /// The limited resource.
        subject: String,
        /// The limit, and how to raise it.
        message: String,
    },
    /// Temporary.
    #[error("{0}")]
    Unavailable(String),
    /// Our fault, with the id under which it was logged.
    #[error("internal error; the server's log has it under {0}")]
    Internal(String),
}

/// The readable name of a kind of resource: `event type` for `hookwright.v1.EventType`.
fn noun(kind: &str) -> String {
    let name = kind.rsplit('.').next().unwrap_or_default();
    let mut noun = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !noun.is_empty() {
            noun.push(' ');
        }
        noun.extend(letter.to_lowercase());
    }
    noun
}

/// A violation with its place; the root has a name too.
pub(super) fn placed(violation: &SchemaViolation) -> String {
    let place = match violation.pointer.as_str() {
        "" => "the payload",
        pointer => pointer,
    };
    format!("{place}: {}", violation.message)
}

/// All places as text.
fn listed(changes: &[SchemaViolation]) -> String {
    let told = changes.iter().map(placed);
    told.collect::<Vec<_>>().join("; ")
}

fn summary(violations: &[Violation]) -> String {
    match violations {
        [] => "the request is invalid".to_owned(),
        [one] => format!("{}: {}", one.field, one.description),
        [first, rest @ ..] => format!("{}: {} (and {} more)", first.field, first.description, rest.len()),
    }
}

impl AppError {
    /// One invalid field.
    pub fn invalid(field: impl Into<String>, reason: &'static str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation {
            field: field.into(),
            description: description.into(),
            reason,
        }])
    }

    /// A resource that does not exist.
    pub fn not_found(kind: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound {
            kind,
            name: name.into(),
            hint: String::new(),
        }
    }

    /// Logs an internal error and hides its details behind an id.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        // Without randomness the id is zero, which only makes the log entry harder to find.
        let id = hex::encode(random::bytes::<4>().unwrap_or_default());
        tracing::error!(error_id = %id, %error, "internal error");
        Self::Internal(id)
    }
}

impl From<PublishError> for AppError {
    fn from(error: PublishError) -> Self {
        let message = error.to_string();
        match error {
            PublishError::Conflict(event) => Self::AlreadyExists {
                reason: "REQUEST_ID_REUSED",
                kind: "hookwright.v1.Event",
                name: event.to_string(),
                message,
            },
            // A retry changes nothing.
            PublishError::FanOut(..) => Self::Precondition {
                reason: "FAN_OUT_TOO_LARGE",
                subject: "webhooks per event".to_owned(),
                message,
            },
            PublishError::Full => Self::Exhausted {
                subject: "store".to_owned(),
                message,
            },
            PublishError::Refused => Self::internal(&error),
            PublishError::Unavailable(_) | PublishError::Stopping => Self::Unavailable(message),
        }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::ReadOnly) {
            tracing::warn!(%error, "the store takes no changes");
            Self::Unavailable("the database is read-only at the moment, so nothing was changed; retry".to_owned())
        } else if error.is_transient() {
            tracing::warn!(%error, "the store did not answer");
            Self::Unavailable("the store did not answer in time; retry".to_owned())
        } else {
            Self::internal(&error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_use_the_words_that_people_use() {
        let error = AppError::not_found("hookwright.v1.EventType", "eventTypes/x");
        assert_eq!(error.to_string(), "the event type `eventTypes/x` does not exist");
    }
}
