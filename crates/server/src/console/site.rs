//! The two sites: the console, for users with a token, and the portal, for customers with a link. A page belongs to the site
//! of its address, and uses only that site's session. A product that embeds the portal therefore never shows the view of an
//! operator who is signed in at the same time, and a link never replaces an operator's session.

use super::fields::encoded;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    Console,
    Portal,
}

impl Site {
    /// The site of an address.
    pub(super) fn of(path: &str) -> Self {
        if path == "/portal" || path.starts_with("/portal/") {
            Self::Portal
        } else {
            Self::Console
        }
    }

    /// The prefix of the site's addresses.
    pub(super) const fn root(self) -> &'static str {
        match self {
            Self::Console => "/console",
            Self::Portal => "/portal",
        }
    }

    /// The address of an organization's pages.
    pub(super) fn organization(self, name: &str) -> String {
        format!("{}/organizations/{name}", self.root())
    }

    /// The name of the session's cookie.
    pub(super) const fn cookie(self) -> &'static str {
        match self {
            Self::Console => "hookwright",
            Self::Portal => "hookwright-portal",
        }
    }
}

/// The address of the sign-in form, which redirects to another one afterwards.
pub(super) fn sign_in(next: Option<&str>) -> String {
    match next.map(local).filter(|next| !next.is_empty()) {
        Some(next) => format!("/console/sign-in?next={}", encoded(next)),
        None => "/console/sign-in".to_owned(),
    }
}

/// An address of ours; empty for any other, so that signing in never redirects elsewhere.
pub(super) fn local(address: &str) -> &str {
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
