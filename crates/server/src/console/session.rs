//! Identifies the visitor: the session of a request, and the forms made for it.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, OriginalUri, Request},
    http::{
        HeaderMap, HeaderValue, Method,
        header::{ACCEPT, SET_COOKIE},
        request::Parts,
    },
    response::Response,
};
use bytes::Bytes;

use super::{Console, fault::Fault, fields::Fields, site::Site};
use crate::app::{access::Caller, sessions::Session};

/// The header by which our script marks requests that a page makes by itself.
const FOLLOWS: &str = "hookwright-follows";

/// The guard's result for a request, for the pages.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) site: Site,
    pub(super) session: Option<Session>,
}

/// A signed-in visitor.
#[derive(Clone)]
pub(super) struct Visitor {
    session: Session,
    site: Site,
    form_tokens: [String; 2],
}

impl Visitor {
    pub(super) fn new(console: &Console, session: Session, site: Site) -> Self {
        Self {
            form_tokens: console.app.form_tokens(&session),
            session,
            site,
        }
    }

    /// Their session.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// The caller.
    pub(super) fn caller(&self) -> &Caller {
        &self.session.caller
    }

    /// Whether they are still signed in, during a long answer.
    pub(super) fn is_signed_in(&self, console: &Console) -> bool {
        console.app.is_signed_in(&self.session)
    }

    /// Their site.
    pub(super) fn site(&self) -> Site {
        self.site
    }

    /// The token of their forms.
    pub(super) fn form_token(&self) -> &str {
        &self.form_tokens[0]
    }
}

impl FromRequestParts<Arc<Console>> for Visitor {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Fault> {
        let asked = parts.extensions.get::<Asked>().cloned();
        let (site, session) = asked.map_or((Site::Console, None), |asked| (asked.site, asked.session));
        match (session, site) {
            (Some(session), _) => Ok(Self::new(console, session, site)),
            (None, Site::Portal) => Err(Fault::PortalOver),
            (None, Site::Console) if parts.method == Method::GET => {
                let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0);
                Err(Fault::SignIn(uri.path_and_query().map(ToString::to_string)))
            }
            (None, Site::Console) => Err(Fault::SessionOver),
        }
    }
}

/// A form that a signed-in visitor submitted from a page that was made for them.
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
        // Both are derived from a key, so the timing of the comparison reveals nothing useful.
        if !visitor
            .form_tokens
            .iter()
            .any(|token| fields.get("form_token") == token)
        {
            return Err(Fault::Forged);
        }
        Ok(Self { visitor, fields })
    }
}

/// Reads a submitted form.
pub(super) async fn read_form(request: Request) -> Result<Fields, Fault> {
    let body = Bytes::from_request(request, &()).await;
    let body = body.map_err(|error| Fault::Form(format!("The form cannot be read: {}.", error.body_text())))?;
    Ok(Fields::parse(&body))
}

impl Console {
    /// Sets the session's cookie in the browser.
    pub(super) fn keep(&self, response: &mut Response, session: &Session) {
        let cookie = self.session_cookie(session, &self.app.seal_session(session));
        response.headers_mut().append(SET_COOKIE, cookie);
    }

    /// A new cookie for a session whose cookie is getting old, after a page view.
    pub(super) fn renewed(&self, session: &Session, headers: &HeaderMap) -> Option<HeaderValue> {
        let sealed = Some(session).filter(|_| is_by_somebody(headers))?;
        let sealed = self.app.noted_session(sealed)?;
        Some(self.session_cookie(session, &sealed))
    }
}

/// Whether a user made the request, and not a page that follows changes, which must not extend the session. Our script marks
/// its requests where it can. Requests that a browser makes by itself name the type that they accept. Browsers describe
/// navigation only over TLS.
fn is_by_somebody(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_stream = text(ACCEPT.as_str()).is_some_and(|kinds| kinds.contains("text/event-stream"));
    let navigates = text("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
    navigates && !is_stream && !headers.contains_key(FOLLOWS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_the_script_keep_nobody_signed_in() {
        let asked = |named: &[(&'static str, &'static str)]| {
            let headers = named.iter().map(|(name, value)| {
                let value = HeaderValue::from_static(value);
                (axum::http::HeaderName::from_static(name), value)
            });
            is_by_somebody(&headers.collect())
        };
        assert!(asked(&[("sec-fetch-mode", "navigate"), ("accept", "text/html")]));
        assert!(asked(&[("accept", "text/html")]), "without TLS");
        for named in [
            &[("sec-fetch-mode", "cors")][..],
            &[(FOLLOWS, "1"), ("accept", "text/html")],
            &[("sec-fetch-mode", "navigate"), (FOLLOWS, "1")],
            &[("accept", "text/event-stream")],
        ] {
            assert!(!asked(named), "{named:?}");
        }
    }
}
