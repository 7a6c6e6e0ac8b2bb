//! What is shown when something cannot be done.
//!
//! What does not exist and what the visitor may not know of look the same: one page, without a word of what was asked for.

use askama::Template;
use axum::{
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Redirect, Response},
};

use super::{
    page::{Frame, html},
    session::Visitor,
};
use crate::app::error::{AppError, Violation};

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nobody is signed in; the address to come back to afterwards.
    SignIn(Option<String>),
    /// There is no such thing that the visitor may know of.
    NotFound,
    /// A portal link does not open; why.
    Link(&'static str),
    /// The post was not made by a page of ours.
    Forged,
    /// A form lacks what every form has, or cannot be read.
    Form(String),
    /// A use case says no.
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

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage {
    frame: Frame,
    message: String,
    violations: Vec<Violation>,
}

impl Fault {
    fn page(status: StatusCode, title: &str, message: String, violations: Vec<Violation>) -> Response {
        let page = FaultPage {
            frame: Frame::bare(title),
            message,
            violations,
        };
        (status, html(&page)).into_response()
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(next) => Redirect::to(&super::session::sign_in_address(next.as_deref())).into_response(),
            Self::NotFound => {
                let message = "There is nothing at this address, or your token may not see it.".to_owned();
                Self::page(StatusCode::NOT_FOUND, "Not found", message, Vec::new())
            }
            Self::Link(why) => {
                let message = format!("{}.", capitalized(why));
                Self::page(StatusCode::UNAUTHORIZED, "This link does not open", message, Vec::new())
            }
            Self::Forged => {
                let message = "The form was not sent by a page of this console, so nothing was changed. Open the page here, and \
                               send it again. If a proxy stands before the server, set console-url to the address in your browser.";
                Self::page(StatusCode::FORBIDDEN, "Refused", message.to_owned(), Vec::new())
            }
            Self::Form(message) => Self::page(StatusCode::BAD_REQUEST, "Not understood", message, Vec::new()),
            Self::App(error) => app_fault(error),
        }
    }
}

fn app_fault(error: AppError) -> Response {
    let message = capitalized(&error.to_string());
    let (status, title) = match &error {
        AppError::Invalid(_) | AppError::BreakingSchema { .. } => (StatusCode::BAD_REQUEST, "Not accepted"),
        AppError::NotFound { .. } => (StatusCode::NOT_FOUND, "Not found"),
        AppError::AlreadyExists { .. } | AppError::Precondition { .. } | AppError::Aborted(_) => {
            (StatusCode::CONFLICT, "Not possible now")
        }
        AppError::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "Sign in"),
        AppError::Denied(_) => (StatusCode::FORBIDDEN, "Not allowed"),
        AppError::Exhausted { .. } => (StatusCode::TOO_MANY_REQUESTS, "A limit is reached"),
        AppError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "Not possible now"),
        AppError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong"),
    };
    let violations = match error {
        AppError::Invalid(violations) => violations,
        _ => Vec::new(),
    };
    let mut response = Fault::page(status, title, message, violations);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, 1.into());
    }
    response
}

/// A message as a sentence.
pub(super) fn capitalized(message: &str) -> String {
    let mut letters = message.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// Whatever else is asked for.
pub(super) async fn no_such_page(_visitor: Visitor) -> Fault {
    Fault::NotFound
}
