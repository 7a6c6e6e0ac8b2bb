//! What stands between browsers and the pages: who asks, how long an answer may take, headers that every answer carries, and a
//! check that a post comes from a page of ours.
//!
//! A forged post is refused twice: its origin is not ours, and it lacks the form token ([`super::session`]). The first also
//! covers signing in, where there is no session yet.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
            X_FRAME_OPTIONS,
        },
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::time::timeout;

use super::{
    Console,
    fault::{Fault, Whence},
    session::Asked,
    site::Site,
};

/// How long an answer may take to begin, a form's slow arrival included.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// No script, style or connection but our own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
                      connect-src 'self'; base-uri 'none'";

/// Finds out who asks, refuses forged posts, shows faults as pages and adds the headers.
pub(super) async fn guard(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Response {
    let changes = request.method() != Method::GET && request.method() != Method::HEAD;
    let site = Site::of(request.uri().path());
    let session = console.session(request.headers(), site);
    let whence = Whence::of(&request);
    let renewed = session
        .as_ref()
        .and_then(|session| console.renewed(session, request.headers()));
    request.extensions_mut().insert(Asked {
        site,
        session: session.clone(),
    });
    let response = if changes && !console.is_own(request.headers()) {
        Fault::Forged.into_response()
    } else {
        let answer = timeout(ANSWER_MAX, next.run(request)).await;
        answer.unwrap_or_else(|_| Fault::Late.into_response())
    };
    let mut response = console.shown(response, session, site, &whence);
    let headers = response.headers_mut();
    headers.extend(console.framing(site));
    let fixed = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Other sites learn nothing; our own posts must name their origin, which `no-referrer` would take from them.
        (REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Some(cookie) = renewed
        && !headers.contains_key(SET_COOKIE)
    {
        headers.insert(SET_COOKIE, cookie);
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

impl Console {
    /// The policy; and whether a frame may hold the page: none but the portal's, on the pages that the operator named.
    fn framing(&self, site: Site) -> HeaderMap {
        let parents = &self.options.portal_parents;
        let mut headers = HeaderMap::new();
        let ancestors = if site == Site::Portal && !parents.is_empty() {
            parents.join(" ")
        } else {
            headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
            "'none'".to_owned()
        };
        let policy = format!("{POLICY}; frame-ancestors {ancestors}");
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        headers
    }

    /// Whether a request that changes something comes from a page of ours, by what the browser says of it.
    fn is_own(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(site) = text("sec-fetch-site")
            && site != "same-origin"
        {
            return false;
        }
        match text(ORIGIN.as_str()) {
            Some(origin) => self.is_own_origin(origin, text(HOST.as_str())),
            None => text("sec-fetch-site").is_some(),
        }
    }

    fn is_own_origin(&self, origin: &str, host: Option<&str>) -> bool {
        if self.options.origin == origin {
            return true;
        }
        let authority = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        authority.is_some() && authority == host
    }
}
