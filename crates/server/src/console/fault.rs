//! Error pages.
//!
//! A missing resource and one that the visitor may not see look the same: one page, which does not repeat the request. A
//! fault has the reason. The guard knows the visitor and the address, and renders it as a page ([`super::fault_page`]).

use axum::{
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Redirect, Response},
};

use super::{show::capitalized, site};
use crate::app::error::{AppError, Violation};

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Fault {
    /// The visitor is not signed in; with the address to return to.
    SignIn(Option<String>),
    /// A form was submitted without a valid session.
    SessionOver,
    /// A customer's session has expired.
    PortalOver,
    /// The visitor can see no such resource.
    NotFound,
    /// A portal link is not valid, with the reason.
    Link(&'static str),
    /// The post did not come from one of our pages.
    Forged,
    /// A form is incomplete or unreadable.
    Form(String),
    /// The answer timed out.
    Late,
    /// A use case failed.
    App(AppError),
}

impl From<AppError> for Fault {
    fn from(error: AppError) -> Self {
        match error {
            AppError::NotFound { .. } => Self::NotFound,
            AppError::Unauthenticated(_) => Self::SignIn(None),
            error => Self::App(error),
        }
    }
}

/// The contents of an error page, on its way to the guard.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) title: &'static str,
    pub(super) message: String,
    pub(super) violations: Vec<Violation>,
    /// Whether to offer signing in in another tab, so that the form's input is kept.
    pub(super) sign_in: bool,
}

impl Told {
    pub(super) fn new(title: &'static str, message: impl Into<String>) -> Self {
        Self {
            title,
            message: message.into(),
            violations: Vec::new(),
            sign_in: false,
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new("Not found", "This page doesn't exist, or you don't have access.")
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let told = |status: StatusCode, title: &'static str, message: &str| respond(status, Told::new(title, message));
        match self {
            Self::SignIn(next) => Redirect::to(&site::sign_in(next.as_deref())).into_response(),
            Self::SessionOver => respond(StatusCode::UNAUTHORIZED, session_over()),
            Self::PortalOver => told(
                StatusCode::UNAUTHORIZED,
                "Your session expired",
                "Open this page again from your application.",
            ),
            Self::NotFound => respond(StatusCode::NOT_FOUND, Told::not_found()),
            Self::Link(why) => told(
                StatusCode::UNAUTHORIZED,
                "This link is not valid",
                &format!("{}.", capitalized(why)),
            ),
            Self::Forged => told(
                StatusCode::FORBIDDEN,
                "Form rejected",
                "The form did not come from a page of this console, or the page was open for too long, so nothing was changed. \
                 Open the page again and submit the form there. If the server is behind a proxy, set console-url to the \
                 address in your browser.",
            ),
            Self::Form(message) => told(StatusCode::BAD_REQUEST, "Bad request", &message),
            Self::Late => told(
                StatusCode::SERVICE_UNAVAILABLE,
                "Temporarily unavailable",
                "The request timed out. Try again. If the problem persists, see the server's log.",
            ),
            Self::App(error) => app_fault(error),
        }
    }
}

fn session_over() -> Told {
    let message = "Nothing was changed. Sign in again, then return to this tab and reload it to submit the form again: your input is \
                   kept.";
    Told {
        sign_in: true,
        ..Told::new("Your session expired", message)
    }
}

/// The guard renders the page itself.
fn respond(status: StatusCode, told: Told) -> Response {
    let mut response = status.into_response();
    response.extensions_mut().insert(told);
    response
}

fn app_fault(error: AppError) -> Response {
    let message = capitalized(&error.to_string());
    let (status, title) = match &error {
        AppError::Invalid(_) | AppError::BreakingSchema { .. } => (StatusCode::BAD_REQUEST, "Invalid input"),
        AppError::NotFound { .. } => (StatusCode::NOT_FOUND, "Not found"),
        AppError::AlreadyExists { .. } | AppError::Precondition { .. } | AppError::Aborted(_) => {
            (StatusCode::CONFLICT, "Conflict")
        }
        AppError::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "Sign in"),
        AppError::Denied(_) => (StatusCode::FORBIDDEN, "Not allowed"),
        AppError::Exhausted { .. } => (StatusCode::TOO_MANY_REQUESTS, "Limit reached"),
        AppError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "Temporarily unavailable"),
        AppError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong"),
    };
    let violations = match error {
        AppError::Invalid(violations) => violations,
        _ => Vec::new(),
    };
    let told = Told {
        violations,
        ..Told::new(title, message)
    };
    let mut response = respond(status, told);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, 1.into());
    }
    response
}

/// Any other address, for any visitor: that the page does not exist is no secret.
pub(super) async fn no_such_page() -> Fault {
    Fault::NotFound
}
