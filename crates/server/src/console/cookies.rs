//! Cookies of sessions, and of data that a page shows once.
//!
//! A form redirects to an address of its page, so that a reload submits nothing. Data that only this answer may show, such
//! as a new secret, travels in an encrypted cookie with a lifetime of a minute, for that address and session only.
//!
//! With TLS, cookie names have a prefix by which browsers guarantee that only this host set them, over TLS. Sessions that
//! began over TLS are accepted only under that name. If browsers use TLS with the console, no other name is accepted,
//! because a sister site or an attacker on the network can set any other. Without TLS they can also add cookies of the right
//! name, so each one is tried.

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

const ONCE: &str = "hookwright-once";

/// Data that a page shows once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Once {
    pub(super) kind: OnceKind,
    /// The secret, token or link.
    pub(super) text: String,
    /// A related name or time.
    pub(super) note: String,
}

/// The event that the page reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum OnceKind {
    Installed,
    Rotated,
    Revealed,
    Token,
    PortalLink,
}

/// The values of all cookies of a name: browsers send one for each path and domain that it was set for.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';'));
    let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs.filter_map(move |(known, value)| (known == name).then_some(value))
}

/// The name of a session's cookie. With the prefix, browsers accept it only from this host.
fn session_name(site: Site, secure: bool) -> String {
    let prefix = if secure { "__Host-" } else { "" };
    format!("{prefix}{}", site.cookie())
}

/// The name of the cookie of one-time data, which is for one address and has another prefix.
fn once_name(secure: bool) -> String {
    let prefix = if secure { "__Secure-" } else { "" };
    format!("{prefix}{ONCE}")
}

impl Console {
    /// The session of a request to a site.
    pub(super) fn session(&self, headers: &HeaderMap, site: Site) -> Option<Session> {
        let session = |secure: bool| {
            let name = session_name(site, secure);
            let is_its_own = |session: &Session| session.is_secure() == secure && of(session) == site;
            values(headers, &name)
                .filter_map(|value| self.app.session(value).ok())
                .find(is_its_own)
        };
        let without_tls = || (!self.options.is_https()).then(|| session(false)).flatten();
        session(true).or_else(without_tls)
    }

    /// The return URL of a signed-out customer.
    pub(super) fn way_back(&self, headers: &HeaderMap) -> Option<String> {
        let way_back = |secure: bool| {
            let name = session_name(Site::Portal, secure);
            values(headers, &name).find_map(|value| self.app.return_url_of(value))
        };
        way_back(true).or_else(|| way_back(false))
    }

    /// The session's cookie, which browsers keep until they are closed.
    pub(super) fn session_cookie(&self, session: &Session, value: &str) -> HeaderValue {
        let name = session_name(of(session), session.is_secure());
        self.cookie(session, &format!("{name}={value}; Path=/"))
    }

    /// Removes the session's cookie from the browser.
    pub(super) fn forget(&self, response: &mut Response, session: &Session) {
        let name = session_name(of(session), session.is_secure());
        append(response, self.cookie(session, &format!("{name}=; Path=/; Max-Age=0")));
    }

    fn cookie(&self, session: &Session, pair_and_path: &str) -> HeaderValue {
        let secure = session.is_secure();
        let same_site = match of(session) {
            Site::Console => "Strict",
            // In a frame of another site, and only in that site's frames.
            Site::Portal if secure && !self.options.portal_parents.is_empty() => "None; Partitioned",
            // A user who follows a link from another site must arrive signed in.
            Site::Portal => "Lax",
        };
        let secure = if secure { "; Secure" } else { "" };
        let text = format!("{pair_and_path}; HttpOnly; SameSite={same_site}{secure}");
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Redirects to one of our pages, with data that it shows once.
    pub(super) fn show_once(&self, visitor: &Visitor, address: &str, once: &Once) -> Response {
        let mut response = Redirect::to(address).into_response();
        let sealed = self.app.seal_once(visitor.session(), once);
        append(&mut response, self.once_cookie(visitor, address, &sealed, 60));
        response
    }

    /// The one-time data of the page at an address.
    pub(super) fn once(&self, visitor: &Visitor, headers: &HeaderMap) -> Option<Once> {
        let session = visitor.session();
        let name = once_name(session.is_secure());
        values(headers, &name).find_map(|sealed| self.app.open_once(session, sealed))
    }

    /// Renders the page at an address, and removes its one-time data.
    pub(super) fn shown_once(&self, visitor: &Visitor, address: &str, mut page: Response, shows: bool) -> Response {
        if shows {
            append(&mut page, self.once_cookie(visitor, address, "", 0));
        }
        page
    }

    fn once_cookie(&self, visitor: &Visitor, address: &str, sealed: &str, seconds: u32) -> HeaderValue {
        let session = visitor.session();
        let name = once_name(session.is_secure());
        self.cookie(session, &format!("{name}={sealed}; Path={address}; Max-Age={seconds}"))
    }
}

fn append(response: &mut Response, cookie: HeaderValue) {
    response.headers_mut().append(SET_COOKIE, cookie);
}

/// The site of a session.
fn of(session: &Session) -> Site {
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
    fn cookies_of_a_name_are_found_among_others() {
        let mut headers = HeaderMap::new();
        let first = "a=b; hookwright-portal=1; __Host-hookwright=x=y; hookwright=z; Hookwright=0; =; hookwright";
        headers.append(COOKIE, HeaderValue::from_static(first));
        headers.append(COOKIE, HeaderValue::from_static("__Host-hookwright=v"));
        let found = |site, secure| values(&headers, &session_name(site, secure)).collect::<Vec<_>>();
        assert_eq!(found(Site::Console, true), ["x=y", "v"]);
        assert_eq!(found(Site::Console, false), ["z"], "the names are two");
        assert_eq!(found(Site::Portal, false), ["1"]);
        assert!(found(Site::Portal, true).is_empty());
    }
}
