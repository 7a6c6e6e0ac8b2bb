//! Converts use-case errors to gRPC statuses with `google.rpc` details (AIP-193: exactly one `ErrorInfo` each).

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::app::error::AppError;

/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "hookwright";
/// The retry delay that callers get.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl From<AppError> for Status {
    fn from(error: AppError) -> Self {
        let message = error.to_string();
        let mut details = ErrorDetails::new();
        details.set_error_info(reason(&error), DOMAIN, metadata(&error));
        match &error {
            AppError::Invalid(violations) => {
                for violation in violations {
                    details.add_bad_request_violation(&violation.field, &violation.description);
                }
            }
            AppError::NotFound { kind, name, .. } => {
                details.set_resource_info(*kind, name, "", &message);
            }
            AppError::AlreadyExists { kind, name, .. } => {
                details.set_resource_info(*kind, name, "", &message);
            }
            AppError::Precondition { reason, subject, .. } => {
                details.add_precondition_failure_violation(*reason, subject, &message);
            }
            AppError::BreakingSchema { name, changes } => {
                for change in changes {
                    let subject = format!("{name}{}", change.pointer);
                    details.add_precondition_failure_violation(reason(&error), subject, &change.message);
                }
            }
            AppError::Exhausted { subject, .. } => {
                details.add_quota_failure_violation(subject, &message);
                details.set_retry_info(Some(RETRY_DELAY));
            }
            AppError::Unavailable(_) => {
                details.set_retry_info(Some(RETRY_DELAY));
            }
            AppError::Aborted(_) | AppError::Unauthenticated(_) | AppError::Denied(_) | AppError::Internal(_) => {}
        }
        Status::with_error_details(code(&error), message, details)
    }
}

/// A status without a use-case error, with its reason.
pub(super) fn with_reason(code: Code, reason: &str, message: String) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

/// The status code of an error.
pub(crate) fn code(error: &AppError) -> Code {
    match error {
        AppError::Invalid(_) => Code::InvalidArgument,
        AppError::NotFound { .. } => Code::NotFound,
        AppError::AlreadyExists { .. } => Code::AlreadyExists,
        AppError::Precondition { .. } | AppError::BreakingSchema { .. } => Code::FailedPrecondition,
        AppError::Aborted(_) => Code::Aborted,
        AppError::Unauthenticated(_) => Code::Unauthenticated,
        AppError::Denied(_) => Code::PermissionDenied,
        AppError::Exhausted { .. } => Code::ResourceExhausted,
        AppError::Unavailable(_) => Code::Unavailable,
        AppError::Internal(_) => Code::Internal,
    }
}

/// The stable reason of an error.
pub(crate) fn reason(error: &AppError) -> &'static str {
    match error {
        AppError::Invalid(violations) => violations
            .first()
            .map_or("INVALID_REQUEST", |violation| violation.reason),
        AppError::NotFound { .. } => "RESOURCE_NOT_FOUND",
        AppError::AlreadyExists { reason, .. } | AppError::Precondition { reason, .. } => reason,
        AppError::BreakingSchema { .. } => "SCHEMA_BREAKS_RECEIVERS",
        AppError::Aborted(_) => "ETAG_MISMATCH",
        AppError::Unauthenticated(_) => "TOKEN_INVALID",
        AppError::Denied(_) => "SCOPE_MISSING",
        AppError::Exhausted { .. } => "LIMIT_REACHED",
        AppError::Unavailable(_) => "TEMPORARILY_UNAVAILABLE",
        AppError::Internal(_) => "INTERNAL",
    }
}

fn metadata(error: &AppError) -> HashMap<String, String> {
    let pairs: &[(&str, &str)] = match error {
        AppError::NotFound { name, .. }
        | AppError::AlreadyExists { name, .. }
        | AppError::BreakingSchema { name, .. } => &[("name", name)],
        AppError::Precondition { subject, .. } | AppError::Exhausted { subject, .. } => &[("subject", subject)],
        AppError::Internal(id) => &[("error_id", id)],
        _ => &[],
    };
    let mut metadata: HashMap<String, String> = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    if let AppError::Invalid(violations) = error {
        for violation in violations {
            metadata.insert(violation.field.clone(), violation.reason.to_owned());
        }
    }
    metadata
}
