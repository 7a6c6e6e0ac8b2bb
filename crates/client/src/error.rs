//! The error type.

use std::{collections::HashMap, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    retry,
    v1::{FieldViolation, PublishError},
};

/// Why a call, or one event of many, failed.
///
/// Programs should use [`code`](Self::code), [`reason`](Self::reason) and [`is_transient`](Self::is_transient); `Display` is
/// for people.
#[derive(Clone, Debug)]
pub struct Error(Box<Facts>);

#[derive(Clone, Debug)]
struct Facts {
    code: Code,
    message: String,
    reason: Option<String>,
    metadata: HashMap<String, String>,
    field_violations: Vec<FieldViolation>,
    retry_delay: Option<Duration>,
    transient: bool,
    /// `None` for one event of many, which has no status of its own.
    status: Option<Status>,
}

impl Error {
    /// The gRPC status code, for example `INVALID_ARGUMENT`.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The error and its fix.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The stable reason in UPPER_SNAKE_CASE (`google.rpc.ErrorInfo`), for example `REQUEST_ID_REUSED`; `None` for failures
    /// on the client's side, such as a lost connection.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// The metadata of the reason: for example the `name` of a missing resource.
    #[must_use]
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.0.metadata
    }

    /// The invalid fields; empty if there are none.
    #[must_use]
    pub fn field_violations(&self) -> &[FieldViolation] {
        &self.0.field_violations
    }

    /// The retry delay that the server asked for.
    #[must_use]
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_delay
    }

    /// Whether the failure is temporary: the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }

    /// The gRPC status; for one event of a batch or stream, it is built from the known data.
    #[must_use]
    pub fn to_status(&self) -> Status {
        let Facts { code, message, .. } = &*self.0;
        let made = || Status::new(*code, message.clone());
        self.0.status.clone().unwrap_or_else(made)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let metadata = info.map(|info| info.metadata.clone()).unwrap_or_default();
        let violations = details.bad_request().into_iter().flat_map(|bad| &bad.field_violations);
        let violation = |one: &tonic_types::FieldViolation| FieldViolation {
            field: one.field.clone(),
            description: one.description.clone(),
            // The reason of each field is in their metadata.
            reason: if one.reason.is_empty() {
                metadata.get(&one.field).cloned().unwrap_or_default()
            } else {
                one.reason.clone()
            },
        };
        Self(Box::new(Facts {
            code: status.code(),
            message: status.message().to_owned(),
            reason: info.map(|info| info.reason.clone()),
            field_violations: violations.map(violation).collect(),
            metadata,
            retry_delay: retry::delay(&status),
            transient: retry::is_transient(&status),
            status: Some(status),
        }))
    }
}

/// One event of a batch or stream.
impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        let code = Code::from(error.code);
        Self(Box::new(Facts {
            code,
            message: error.message,
            reason: (!error.reason.is_empty()).then_some(error.reason),
            metadata: HashMap::new(),
            field_violations: error.field_violations,
            retry_delay: None,
            transient: code == Code::Unavailable,
            status: None,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Code`'s own text is a sentence; documentation and logs use its name.
        write!(f, "{:?}: {}", self.0.code, self.0.message)?;
        for FieldViolation { field, description, .. } in &self.0.field_violations {
            let told = self.0.message.contains(description.as_str());
            if !told {
                write!(f, "; {field}: {description}")?;
            }
        }
        Ok(())
    }
}

/// The message contains the cause.
impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn details_can_be_asked_for() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("event_type", "is not a name");
        details.add_bad_request_violation("ordering_key", "is too long");
        let metadata = [("ordering_key".to_owned(), "TOO_LONG".to_owned())];
        details.set_error_info("INVALID_NAME", "hookwright", metadata);
        let status =
            Status::with_error_details(Code::InvalidArgument, "event_type: is not a name (and 1 more)", details);
        let error = Error::from(status);
        assert_eq!(
            (error.code(), error.reason()),
            (Code::InvalidArgument, Some("INVALID_NAME"))
        );
        assert_eq!(error.field_violations()[1].reason, "TOO_LONG");
        assert!(!error.is_transient());
        assert_eq!(
            error.to_string(),
            "InvalidArgument: event_type: is not a name (and 1 more); ordering_key: is too long"
        );
        assert_eq!(error.to_status().code(), Code::InvalidArgument);
    }

    #[test]
    fn an_event_of_many_has_the_same_face() {
        let error = Error::from(PublishError {
            code: Code::Unavailable as i32,
            reason: "TEMPORARILY_UNAVAILABLE".to_owned(),
            message: "the store does not answer".to_owned(),
            field_violations: Vec::new(),
        });
        assert!(error.is_transient());
        assert_eq!(error.to_status().message(), "the store does not answer");
    }
}
