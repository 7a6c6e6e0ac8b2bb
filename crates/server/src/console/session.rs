//! Signing in and out, the session's cookie, and who asks.

use std::{sync::Arc, time::Instant};

use askama::Template;
use axum::{
    Extension,
    extract::{FromRequest, FromRequestParts, OriginalUri, Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{COOKIE, RETRY_AFTER, SET_COOKIE},
        request::Parts,
    },
    response::{IntoResponse as _, Redirect, Response},
};
use bytes::Bytes;

use super::{
    Answer, Console, Shared,
    fault::Fault,
    fields::{Fields, encoded},
    page::{Frame, html},
};
use crate::{
    app::{access::Caller, error::AppError, sessions::Session},
    http::connections::Peer,
};

/// What a cookie's name begins with where TLS protects it: browsers then take it from this host alone.
const SECURE_PREFIX: &str = "__Host-";
/// The cookie of those who signed in with a token.
const TOKEN_COOKIE: &str = "hookwright";
/// The cookie of those who came by a portal link. It counts where the other is missing, so that no link takes a session's place.
const PORTAL_COOKIE: &str = "hookwright-portal";

/// Somebody who is signed in and asks for a page.
pub(super) struct Visitor {
    session: Session,
}

impl Visitor {
    /// Whose rights they have.
    pub(super) fn caller(&self) -> &Caller {
        &self.session.caller
    }

    /// Whether they still are signed in, where an answer goes on for long.
    pub(super) fn is_signed_in(&self, console: &Console) -> bool {
        console.app.is_signed_in(&self.session)
    }

    /// Where the link back points, for those who came by a portal link.
    pub(super) fn return_url(&self) -> Option<&str> {
        self.session.return_url.as_deref()
    }

    /// Whether they came by a portal link.
    pub(super) fn is_portal(&self) -> bool {
        self.session.is_portal()
    }

    /// What their forms carry.
    pub(super) fn form_token(&self) -> String {
        self.session.form_token()
    }
}

impl FromRequestParts<Arc<Console>> for Visitor {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Fault> {
        let back = || {
            let asked = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0);
            let address = asked.path_and_query().map(ToString::to_string);
            address.filter(|_| parts.method == Method::GET)
        };
        let session = console.session(&parts.headers);
        session
            .map(|session| Self { session })
            .ok_or_else(|| Fault::SignIn(back()))
    }
}

/// A form that was sent by somebody who is signed in, from a page that was made for their session.
pub(super) struct Sent {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

impl FromRequest<Arc<Console>> for Sent {
    type Rejection = Fault;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Fault> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, console).await?;
        let fields = read_form(Request::from_parts(parts, body)).await?;
        let expected = visitor.form_token();
        // Both are hashes of something secret: what a comparison's time tells of them is of no use.
        if fields.get("form_token") != expected {
            return Err(Fault::Forged);
        }
        Ok(Self { visitor, fields })
    }
}

async fn read_form(request: Request) -> Result<Fields, Fault> {
    let body = Bytes::from_request(request, &()).await;
    let body = body.map_err(|error| Fault::Form(format!("The form cannot be read: {}.", error.body_text())))?;
    Ok(Fields::parse(&body))
}

impl Console {
    /// Whether browsers speak TLS with the console.
    fn is_secure(&self) -> bool {
        self.options.origin.starts_with("https://")
    }

    /// Who asks.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let mut names = [TOKEN_COOKIE, PORTAL_COOKIE].into_iter();
        names.find_map(|name| self.app.session(self.cookie(headers, name)?).ok())
    }

    fn cookie<'a>(&self, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
        pairs.find_map(|pair| {
            let (known, value) = pair.trim().split_once('=')?;
            let known = if self.is_secure() {
                known.strip_prefix(SECURE_PREFIX)?
            } else {
                known
            };
            (known == name).then_some(value)
        })
    }

    /// The cookie as browsers are told to keep it: until they are closed, unless `ending` says otherwise.
    fn cookie_header(&self, is_portal: bool, value: &str, ending: &str) -> HeaderValue {
        let (prefix, secure) = if self.is_secure() {
            (SECURE_PREFIX, "; Secure")
        } else {
            ("", "")
        };
        let (name, site) = match (is_portal, self.is_secure() && !self.options.portal_parents.is_empty()) {
            (false, _) => (TOKEN_COOKIE, "Strict"),
            // Whoever comes from another site by a link is to arrive signed in.
            (true, false) => (PORTAL_COOKIE, "Lax"),
            // In a frame of another site, and in that site's frames alone.
            (true, true) => (PORTAL_COOKIE, "None; Partitioned"),
        };
        let text = format!("{prefix}{name}={value}; Path=/; HttpOnly; SameSite={site}{secure}{ending}");
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Has the browser keep the session's cookie.
    pub(super) fn keep(&self, response: &mut Response, session: &Session) {
        let cookie = self.cookie_header(session.is_portal(), &self.app.seal_session(session), "");
        response.headers_mut().append(SET_COOKIE, cookie);
    }

    /// A new cookie for a session whose cookie grows old.
    pub(super) fn renewed(&self, session: &Session) -> Option<HeaderValue> {
        let sealed = self.app.noted_session(session)?;
        Some(self.cookie_header(session.is_portal(), &sealed, ""))
    }
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    next: String,
    error: Option<String>,
}

fn page(status: StatusCode, next: &str, error: Option<String>) -> Response {
    let page = SignInPage {
        frame: Frame::bare("Sign in"),
        next: next.to_owned(),
        error,
    };
    (status, html(&page)).into_response()
}

/// The form.
pub(super) async fn form(request: Request) -> Response {
    let fields = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    page(StatusCode::OK, local(fields.get("next")), None)
}

/// Begins a session, always a new one: what cookie the browser brought does not matter.
pub(super) async fn sign_in(
    State(console): Shared,
    Extension(Peer(address)): Extension<Peer>,
    request: Request,
) -> Answer {
    let fields = read_form(request).await?;
    let next = local(fields.get("next"));
    let now = Instant::now();
    if let Some(wait) = console.limit.wait(address, now) {
        let seconds = wait.as_secs() + 1;
        let message = format!("Too many attempts from this address failed. Try again in {seconds} seconds.");
        let mut response = page(StatusCode::TOO_MANY_REQUESTS, next, Some(message));
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
        return Ok(response);
    }
    match console.app.sign_in(fields.get("token")) {
        Ok(session) => {
            let home = if next.is_empty() { "/console/" } else { next };
            let mut response = Redirect::to(home).into_response();
            console.keep(&mut response, &session);
            Ok(response)
        }
        Err(error @ (AppError::Unauthenticated(_) | AppError::Denied(_))) => {
            console.limit.failed(address, now);
            let message = match error {
                AppError::Denied(message) => super::fault::capitalized(&message),
                _ => "The token is not valid: it may be mistyped, revoked or expired.".to_owned(),
            };
            Ok(page(StatusCode::UNAUTHORIZED, next, Some(message)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends the session.
pub(super) async fn sign_out(State(console): Shared, sent: Sent) -> Answer {
    console.app.end_session(&sent.visitor.session);
    let session = &sent.visitor.session;
    let next = session.return_url.as_deref().unwrap_or("/console/sign-in");
    let mut response = Redirect::to(next).into_response();
    let gone = console.cookie_header(session.is_portal(), "", "; Max-Age=0");
    response.headers_mut().append(SET_COOKIE, gone);
    Ok(response)
}

/// The address of the form, which leads to another one afterwards.
pub(super) fn sign_in_address(next: Option<&str>) -> String {
    match next.map(local).filter(|next| !next.is_empty()) {
        Some(next) => format!("/console/sign-in?next={}", encoded(next)),
        None => "/console/sign-in".to_owned(),
    }
}

/// An address of ours; empty for any other, so that nobody is led elsewhere after they signed in.
fn local(address: &str) -> &str {
    let plain = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if address.starts_with("/console/") && plain && !address.contains("//") && !address.contains("/../") {
        address
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c02_only_addresses_of_ours_are_gone_to_after_sign_in() {
        for ours in ["/console/", "/console/organizations/acme/events?type=a&before=7"] {
            assert_eq!(local(ours), ours);
        }
        for theirs in [
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example",
            "/console/..//evil.example",
            "/console/\r\nLocation: x",
            "/console/../metrics",
            "javascript:alert(1)",
            "/metrics",
            "",
        ] {
            assert_eq!(local(theirs), "", "{theirs}");
        }
    }
}
