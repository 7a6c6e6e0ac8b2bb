//! The layer between browsers and pages: it identifies the visitor, limits the duration of an answer, adds headers, and
//! rejects forged posts.
//!
//! A forged post is rejected for two reasons: its origin is not ours, and it lacks the form token ([`super::session`]). The
//! first also covers signing in, which has no session yet.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
            X_FRAME_OPTIONS,
        },
        uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::time::timeout;

use super::{Console, ConsoleOptions, fault::Fault, fault_page::Whence, session::Asked, site::Site};

/// Timeout until an answer begins, including the arrival of a form.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Only our own scripts, styles and connections.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
                      connect-src 'self'; base-uri 'none'";

/// Identifies the visitor, rejects forged posts, renders faults as pages and adds the headers.
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
    let response = if changes && !console.is_own(&request) {
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
        // Other sites learn nothing; our own posts must name their origin, which `no-referrer` would remove.
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

impl ConsoleOptions {
    /// Whether an origin is the console's public one: the configured one, or the requested host. If TLS protects the
    /// console, a page without TLS is not ours, whatever its host, because anyone on the network can have written it.
    fn is_own_origin(&self, origin: &str, host: Option<&str>) -> bool {
        let with_tls = origin.strip_prefix("https://");
        let without = origin.strip_prefix("http://").filter(|_| !self.is_https());
        let authority = with_tls.or(without);
        self.origin == origin || authority.is_some() && authority == host
    }
}

impl Console {
    /// The content security policy, and whether a frame may show the page: only the portal, on the operator's configured
    /// origins.
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

    /// Whether a changing request comes from one of our pages, according to the browser.
    fn is_own(&self, request: &Request) -> bool {
        let headers = request.headers();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(site) = text("sec-fetch-site")
            && site != "same-origin"
        {
            return false;
        }
        match text(ORIGIN.as_str()) {
            Some(origin) => {
                // HTTP/2 has no such header: the host is in the address.
                let host = text(HOST.as_str()).or_else(|| request.uri().authority().map(Authority::as_str));
                self.options.is_own_origin(origin, host)
            }
            None => text("sec-fetch-site").is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c02_only_an_origin_of_ours_sends_forms() {
        let at = |origin: &str| ConsoleOptions {
            origin: origin.to_owned(),
            ..ConsoleOptions::default()
        };
        let (with_tls, without) = (at("https://hooks.example"), at("http://127.0.0.1:8080"));
        for (console, origin, host, expected) in [
            (&with_tls, "https://hooks.example", Some("10.0.0.1"), true),
            (&with_tls, "https://hooks.internal", Some("hooks.internal"), true),
            (&with_tls, "http://hooks.internal", Some("hooks.internal"), false),
            (&with_tls, "http://hooks.example", Some("hooks.example"), false),
            (&with_tls, "https://evil.example", Some("hooks.example"), false),
            (&without, "http://127.0.0.1:8080", None, true),
            (&without, "http://localhost:8080", Some("localhost:8080"), true),
            (&without, "https://hooks.example", Some("hooks.example"), true),
            (&without, "http://localhost", Some("localhost:8080"), false),
            (&without, "http://evil.example", None, false),
            (&without, "null", Some("null"), false),
            (&without, "", Some(""), false),
        ] {
            assert_eq!(console.is_own_origin(origin, host), expected, "{origin} at {host:?}");
        }
    }
}
