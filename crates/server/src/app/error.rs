//! What a use case can answer instead of a result.
//!
//! Three tiers: what the caller can mend ([`AppError::Invalid`] and its kin name the field and the fix), what passes by
//! itself ([`AppError::Unavailable`] says when to try again), and what is ours ([`AppError::Internal`] is logged once, with
//! an id that the caller is given, and its details stay here).

use hookwright_delivery::engine::PublishError;
use hookwright_domain::schema::SchemaViolation;
use hookwright_storage::StoreError;

/// Result of a use case.
pub type AppResult<T> = Result<T, AppError>;

/// A field at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request.
    pub field: String,
    /// What is wrong and how to mend it.
    pub description: String,
    /// A stable reason in UPPER_SNAKE_CASE.
    pub reason: &'static str,
}

/// Collects every field at fault.
pub(super) struct Faults {
    /// What the message's fields are below: `webhook.`; empty where they are the request's own.
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
    /// When any field is at fault.
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
    /// Fields at fault.
    #[error("{}", summary(.0))]
    Invalid(Vec<Violation>),
    /// The resource does not exist, or the caller may not know that it does.
    #[error("the {} `{name}` does not exist{hint}", noun(kind))]
    NotFound {
        /// What kind of resource.
        kind: &'static str,
        /// Its name as the caller gave it.
        name: String,
        /// What may help, beginning with a separator; empty for nothing.
        hint: String,
    },
    /// The name is taken.
    #[error("{message}")]
    AlreadyExists {
        /// A stable reason in UPPER_SNAKE_CASE.
        reason: &'static str,
        /// What kind of resource.
        kind: &'static str,
        /// The existing resource's name.
        name: String,
        /// What is wrong and how to mend it.
        message: String,
    },
    /// The system is not in the state that the call needs.
    #[error("{message}")]
    Precondition {
        /// A stable reason in UPPER_SNAKE_CASE.
        reason: &'static str,
        /// The resource that stands in the way.
        subject: String,
        /// What is wrong and how to mend it.
        message: String,
    },
    /// A schema admits payloads that the one before it did not, which receivers may not understand.
    #[error(
        "the new schema of `{name}` admits what the one before did not: {}; set allow_breaking_schema if receivers are ready for it",
        listed(.changes)
    )]
    BreakingSchema {
        /// The event type's resource name.
        name: String,
        /// Every place of it.
        changes: Vec<SchemaViolation>,
    },
    /// The resource was changed by somebody else meanwhile.
    #[error("{0}")]
    Aborted(String),
    /// No valid token.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The token does not allow it.
    #[error("{0}")]
    Denied(String),
    /// A limit is reached.
    #[error("{message}")]
    Exhausted {
        /// What the limit is on.
        subject: String,
        /// Which limit, and how to raise it.
        message: String,
    },
    /// Passes by itself.
    #[error("{0}")]
    Unavailable(String),
    /// A fault of ours, with the id under which it was logged.
    #[error("internal error; the server's log has it under {0}")]
    Internal(String),
}

/// What people call a kind of resource: `event type` for `hookwright.v1.EventType`.
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

/// Every place, for people; the root has a name too.
fn listed(changes: &[SchemaViolation]) -> String {
    let told = changes.iter().map(|change| {
        let place = if change.pointer.is_empty() {
            "the payload"
        } else {
            &change.pointer
        };
        format!("{place} {}", change.message)
    });
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
    /// One field at fault.
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

    /// Logs a fault of ours and hides its details behind an id.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        let id = format!("{:08x}", rand_u32());
        tracing::error!(error_id = %id, %error, "internal error");
        Self::Internal(id)
    }
}

fn rand_u32() -> u32 {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 4];
    // Without randomness the id is zero, which only makes it harder to find in the log.
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    u32::from_be_bytes(bytes)
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
            // To try again changes nothing.
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
            Self::Unavailable("the database is read-only at the moment, so nothing was changed; try again".to_owned())
        } else if error.is_transient() {
            tracing::warn!(%error, "the store did not answer");
            Self::Unavailable("the store did not answer in time; try again".to_owned())
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
