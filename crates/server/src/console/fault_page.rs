//! Renders faults as pages with navigation.

use askama::Template;
use axum::{
    extract::Request,
    http::{
        StatusCode, Uri,
        header::{CONTENT_TYPE, REFERER},
    },
    response::{IntoResponse as _, Response},
};

use super::{
    Console,
    fault::Told,
    page::{Frame, html},
    session::Visitor,
    site::Site,
};
use crate::app::sessions::Session;

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
