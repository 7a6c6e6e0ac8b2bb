//! Error pages.
//!
//! A missing resource and one that the visitor may not see look the same: one page, which does not repeat the request. A
//! fault has the reason; the guard, which knows the visitor and the address, renders it as a page with navigation.

use askama::Template;
use axum::{
    extract::Request,
    http::{
        StatusCode, Uri,
        header::{CONTENT_TYPE, REFERER, RETRY_AFTER},
    },
    response::{IntoResponse, Redirect, Response},
};

use super::{
    Console,
    page::{Frame, html},
    session::Visitor,
    show::capitalized,
    sign_in,
    site::Site,
};
use crate::app::{
    error::{AppError, Violation},
    sessions::Session,
};

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
struct Told {
    title: &'static str,
    message: String,
    violations: Vec<Violation>,
    /// Whether to offer signing in in another tab, so that the form's input is kept.
    sign_in: bool,
}

impl Told {
    fn new(title: &'static str, message: impl Into<String>) -> Self {
        Self {
            title,
            message: message.into(),
            violations: Vec::new(),
            sign_in: false,
        }
    }

    fn not_found() -> Self {
        Self::new("Not found", "This page doesn't exist, or you don't have access.")
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let told = |status: StatusCode, title: &'static str, message: &str| respond(status, Told::new(title, message));
        match self {
            Self::SignIn(next) => Redirect::to(&sign_in::address(next.as_deref())).into_response(),
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

/// The visitor's place: the organization of the address, and the referring page.
pub(super) struct Whence {
    organization: Option<String>,
    back: Option<String>,
}

impl Whence {
    pub(super) fn of(request: &Request) -> Self {
        let mut parts = request.uri().path().split('/').skip(2);
        let organization = (parts.next() == Some("organizations")).then(|| parts.next().unwrap_or_default());
        let referrer = request.headers().get(REFERER).and_then(|value| value.to_str().ok());
        let back = referrer.and_then(|referrer| referrer.parse::<Uri>().ok());
        let back = back.and_then(|uri| uri.path_and_query().map(ToString::to_string));
        let ours = |back: &String| ["/console/", "/portal/"].iter().any(|root| back.starts_with(root));
        Self {
            organization: organization.map(str::to_owned),
            back: back.filter(ours),
        }
    }
}

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage {
    frame: Frame,
    told: Told,
    back: Option<String>,
    home: Option<&'static str>,
}

impl Console {
    /// A fault as a page, including the router's own errors. Other answers are unchanged.
    pub(super) fn shown(
        &self,
        mut response: Response,
        session: Option<Session>,
        site: Site,
        whence: &Whence,
    ) -> Response {
        let status = response.status();
        let is_plain = response
            .headers()
            .get(CONTENT_TYPE)
            .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
        let told = match response.extensions_mut().remove::<Told>() {
            Some(told) => told,
            None if is_plain && (status.is_client_error() || status.is_server_error()) => refused(status),
            None => return response,
        };
        let visitor = session.map(|session| Visitor::new(self, session, site));
        let page = FaultPage {
            frame: self.frame_of_fault(visitor.as_ref(), site, whence, told.title),
            back: whence.back.clone(),
            home: match (&visitor, site) {
                (Some(_), _) | (None, Site::Console) => Some(site.root()),
                (None, Site::Portal) => None,
            },
            told,
        };
        let (mut parts, body) = (status, html(&page)).into_response().into_parts();
        parts.headers.extend(
            response
                .headers()
                .iter()
                .filter(|(name, _)| **name != CONTENT_TYPE)
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        Response::from_parts(parts, body)
    }

    fn frame_of_fault(&self, visitor: Option<&Visitor>, site: Site, whence: &Whence, title: &str) -> Frame {
        let Some(visitor) = visitor else {
            return Frame::bare(site, title);
        };
        let entered = whence
            .organization
            .as_ref()
            .and_then(|name| self.enter(visitor, name).ok());
        match entered {
            Some(entered) => Frame::within(self, visitor, &entered, "", title),
            None => Frame::new(self, visitor, "", title),
        }
    }
}

/// The router's errors: an unreadable address, or a method that a page does not have.
fn refused(status: StatusCode) -> Told {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => Told::new("No page here", "This address accepts form submissions only."),
        StatusCode::NOT_FOUND => Told::not_found(),
        _ => Told::new("Bad request", "The address is malformed."),
    }
}

/// Any other address, for any visitor: that the page does not exist is no secret.
pub(super) async fn no_such_page() -> Fault {
    Fault::NotFound
}
