//! What stands between browsers and the pages: headers that every answer carries, and a check that a post comes from a
//! page of ours.
//!
//! A forged post is refused twice: its origin is not ours, and it lacks the session's form token ([`super::session`]). The
//! first also covers signing in, where there is no session yet.

use std::sync::Arc;

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

use super::{Console, fault::Fault};

/// No script, style or connection but our own; no frame around the console.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
                      connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Refuses forged posts and adds the headers.
pub(super) async fn guard(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let changes = request.method() != Method::GET && request.method() != Method::HEAD;
    let renewed = console.renewed(request.headers());
    let mut response = if changes && !console.is_own(request.headers()) {
        Fault::Forged.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    let fixed = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        // Other sites learn nothing; our own posts must name their origin, which `no-referrer` would take from them.
        (REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Some(cookie) = renewed {
        headers.entry(SET_COOKIE).or_insert(cookie);
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

impl Console {
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
        if let Some(url) = &self.options.url
            && url.origin().ascii_serialization() == origin
        {
            return true;
        }
        let authority = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        authority.is_some() && authority == host
    }
}
