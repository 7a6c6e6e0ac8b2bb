//! Cookies: the session's, and the one that holds what a page shows once.
//!
//! A page that answers a form leads on to an address of its own, so that loading it again sends nothing again. What only that
//! answer may show, such as a new secret, travels in a sealed cookie of a minute, for that address and session alone.

use axum::{
    http::{
        HeaderMap, HeaderValue,
        header::{COOKIE, SET_COOKIE},
    },
    response::{IntoResponse as _, Redirect, Response},
};
use serde::{Deserialize, Serialize};

use super::{Console, session::Visitor, site::Site};
use crate::app::sessions::Session;

/// What a cookie's name begins with where TLS protects it: browsers then take it from this host alone.
const SECURE_PREFIX: &str = "__Host-";
/// The same for a cookie of one address.
const SECURE_PATH_PREFIX: &str = "__Secure-";
const ONCE: &str = "hookwright-once";

/// What a page shows once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Once {
    pub(super) kind: OnceKind,
    /// The secret, token or link.
    pub(super) text: String,
    /// A name or a time that goes with it.
    pub(super) note: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum OnceKind {
    Installed,
    Rotated,
    Revealed,
    Token,
    PortalLink,
}

/// The value of a cookie. With TLS it has a prefix, without it has none.
pub(super) fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';'));
    let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    let plain = |known: &str| {
        let bare = known
            .strip_prefix(SECURE_PREFIX)
            .or_else(|| known.strip_prefix(SECURE_PATH_PREFIX));
        bare.unwrap_or(known) == name
    };
    pairs.find_map(|(known, value)| plain(known).then_some(value))
}

impl Console {
    /// The session's cookie as browsers are told to keep it: until they are closed.
    pub(super) fn session_cookie(&self, session: &Session, value: &str) -> HeaderValue {
        let prefix = if session.is_secure() { SECURE_PREFIX } else { "" };
        self.cookie(session, &format!("{prefix}{}={value}; Path=/", site(session).cookie()))
    }

    /// Has the browser drop the session's cookie.
    pub(super) fn forget(&self, response: &mut Response, session: &Session) {
        let prefix = if session.is_secure() { SECURE_PREFIX } else { "" };
        let gone = format!("{prefix}{}=; Path=/; Max-Age=0", site(session).cookie());
        append(response, self.cookie(session, &gone));
    }

    fn cookie(&self, session: &Session, pair_and_path: &str) -> HeaderValue {
        let secure = session.is_secure();
        let same_site = match site(session) {
            Site::Console => "Strict",
            // In a frame of another site, and in that site's frames alone.
            Site::Portal if secure && !self.options.portal_parents.is_empty() => "None; Partitioned",
            // Whoever comes from another site by a link is to arrive signed in.
            Site::Portal => "Lax",
        };
        let secure = if secure { "; Secure" } else { "" };
        let text = format!("{pair_and_path}; HttpOnly; SameSite={same_site}{secure}");
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Leads to a page of ours, which shows something once.
    pub(super) fn show_once(&self, visitor: &Visitor, address: &str, once: &Once) -> Response {
        let mut response = Redirect::to(address).into_response();
        let text = serde_json::to_string(once).unwrap_or_default();
        let sealed = self.app.seal_once(visitor.session(), &text);
        append(&mut response, self.once_cookie(visitor, address, &sealed, 60));
        response
    }

    /// What the page at an address is to show once.
    pub(super) fn once(&self, visitor: &Visitor, headers: &HeaderMap) -> Option<Once> {
        let text = self.app.open_once(visitor.session(), value(headers, ONCE)?)?;
        serde_json::from_str(&text).ok()
    }

    /// The page at an address; if it shows something once, that is gone afterwards.
    pub(super) fn shown_once(&self, visitor: &Visitor, address: &str, mut page: Response, shows: bool) -> Response {
        if shows {
            append(&mut page, self.once_cookie(visitor, address, "", 0));
        }
        page
    }

    fn once_cookie(&self, visitor: &Visitor, address: &str, sealed: &str, seconds: u32) -> HeaderValue {
        let session = visitor.session();
        let prefix = if session.is_secure() { SECURE_PATH_PREFIX } else { "" };
        self.cookie(
            session,
            &format!("{prefix}{ONCE}={sealed}; Path={address}; Max-Age={seconds}"),
        )
    }
}

fn append(response: &mut Response, cookie: HeaderValue) {
    response.headers_mut().append(SET_COOKIE, cookie);
}

fn site(session: &Session) -> Site {
    if session.is_portal() {
        Site::Portal
    } else {
        Site::Console
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(
            COOKIE,
            HeaderValue::from_static("a=b; hookwright-portal=1; __Host-hookwright=x=y"),
        );
        headers.append(COOKIE, HeaderValue::from_static("__Secure-hookwright-once=z"));
        assert_eq!(value(&headers, "hookwright"), Some("x=y"));
        assert_eq!(value(&headers, "hookwright-portal"), Some("1"));
        assert_eq!(value(&headers, "hookwright-once"), Some("z"));
        assert_eq!(value(&headers, "other"), None);
    }
}
